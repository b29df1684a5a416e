//! What people ask of a job: cancel, retry, the missing images, and their word on a held one.

use super::{CODE_BY_PERSON, Step};
use crate::{
    AskedFor, Attempt, CanceledBy, Event, FailureClass, Job, JobId, JobState, TaskPhase, Transition,
};

impl Step<'_> {
    pub(super) fn cancel_requested(&self) -> Option<Transition> {
        let now = self.now;
        let flagged = |state: JobState| Transition {
            job: Job { state, cancel_requested: true, ..self.job.clone() },
            note: None,
            extra_task: None,
        };
        Some(match self.job.state.clone() {
            JobState::Queued { .. } => self.moved(JobState::Canceled { at: now, by: CanceledBy::User }),
            // PENDING can be cancelled at the provider, and the sooner the likelier.
            JobState::Polling {
                attempt,
                task,
                created_at,
                polls,
                unknowns,
                phase: phase @ TaskPhase::Pending,
                running_since,
                ..
            } => {
                let due = now;
                flagged(JobState::Polling {
                    attempt,
                    task,
                    created_at,
                    due,
                    polls,
                    unknowns,
                    phase,
                    running_since,
                })
            }
            state @ (JobState::Submitting { .. }
            | JobState::Settling { .. }
            | JobState::Polling { .. }
            | JobState::Archiving { .. }) => flagged(state),
            _ => return None,
        })
    }

    pub(super) fn retry_requested(&self) -> Option<Transition> {
        match &self.job.state {
            JobState::Failed { .. } | JobState::Canceled { .. } | JobState::Expired { .. } => {
                let mut transition = self.moved(JobState::Queued { due: self.now, cause: None });
                transition.job.cancel_requested = false;
                transition.job.retries = Default::default();
                transition.job.refusals = 0;
                Some(self.noted(transition, "retry_requested", None))
            }
            _ => None,
        }
    }

    /// A job that waits, or is over, asks for something else from now on, and runs for it. One under way is left alone: what it has paid
    /// for, or may have, is of the spec that it was claimed with.
    pub(super) fn replaced(&self, asked: AskedFor) -> Option<Transition> {
        if self.job.digest == asked.digest {
            return Some(Transition { job: self.job.clone(), note: None, extra_task: None });
        }
        let over = self.job.state_name().is_final();
        if !over && !matches!(self.job.state, JobState::Queued { .. }) {
            return None;
        }
        let due = asked.not_before.unwrap_or(self.now).max(self.now);
        let mut transition = self.moved(JobState::Queued { due, cause: None });
        let job = &mut transition.job;
        (job.model, job.pinned_to, job.images_max) = (asked.model, asked.pinned_to, asked.images_max);
        (job.shape, job.priority, job.digest) = (Some(asked.shape), asked.priority, asked.digest);
        job.cancel_requested = false;
        job.adopted = false;
        job.retries = Default::default();
        job.refusals = 0;
        // The images that it has brought were delivered; those of the new spec are counted from nothing.
        job.replaced_after = job.attempts;
        job.stored_before = job.stored_before.saturating_add(job.stored.into());
        job.stored = 0;
        Some(self.noted(transition, "replaced", None))
    }

    /// The job stays what it is: what is missing is another job's business, under keys of its own.
    pub(super) fn missing_requested(&self, job: JobId, images: u8) -> Option<Transition> {
        match &self.job.state {
            JobState::Succeeded { .. } | JobState::Expired { .. } => {
                let unchanged = Transition { job: self.job.clone(), note: None, extra_task: None };
                let mut noted = self.noted(unchanged, "missing_requested", None);
                if let Some(note) = &mut noted.note {
                    note.message = Some(format!("{images} asked for again, as job {job}"));
                }
                Some(noted)
            }
            _ => None,
        }
    }

    pub(super) fn while_held(&self, attempt: &Attempt, unsettled: bool, event: Event) -> Option<Transition> {
        Some(match event {
            Event::ResolvedDeliver { task, images, deadline }
                if !unsettled && self.job.state.task() == Some(&task) =>
            {
                let delivered = JobState::Archiving {
                    attempt: attempt.clone(),
                    task,
                    // No task is older than the claim that made it: its links are given up no later than they die.
                    created_at: attempt.claimed_at,
                    due: self.now,
                    deadline,
                    images,
                    tries: 0,
                    refetches: 0,
                };
                self.noted(self.moved(delivered), "resolved_deliver", None)
            }
            Event::ResolvedAdopt { task } if unsettled => {
                let mut adopted = self.polling(attempt, task);
                adopted.job.adopted = true;
                self.noted(adopted, "resolved_adopt", None)
            }
            Event::SlotReleased if unsettled => {
                let mut job = self.job.clone();
                if let JobState::Held { slot_free, .. } = &mut job.state {
                    *slot_free = true;
                }
                Transition { job, note: None, extra_task: None }
            }
            Event::ResolvedResubmit => {
                self.left_behind(attempt, unsettled, self.queued(self.now, None), "resolved_resubmit")
            }
            Event::ResolvedFail => {
                let failed = JobState::Failed {
                    at: self.now,
                    class: FailureClass::ByPerson,
                    code: CODE_BY_PERSON.to_owned(),
                };
                self.left_behind(attempt, unsettled, self.moved(failed), "resolved_fail")
            }
            _ => return None,
        })
    }

    /// The job goes on without the task that it was held with: as long as nobody knows how that ended it may still be billed, and is
    /// looked after as an extra one.
    fn left_behind(&self, attempt: &Attempt, unsettled: bool, moved: Transition, what: &str) -> Transition {
        match self.job.state.task().filter(|_| unsettled).cloned() {
            None => self.noted(moved, what, None),
            Some(task) => {
                let moved = Transition { extra_task: Some(task.clone()), ..moved };
                self.noted_task(moved, what, attempt.clone(), task, None)
            }
        }
    }
}
