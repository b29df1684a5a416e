//! What follows from an event: a pure, total function of job, event, time, rules and chance.
//!
//! Every pairing of state and event that is not written here is an [`IllegalTransition`], and leaves the job as it was.

mod archive;
mod created;
mod people;
mod poll;

use std::time::Duration;

use crate::{
    Asked, Attempt, CanceledBy, Doubt, Event, Failure, HeldReason, IllegalTransition, Job, JobState, Refusal,
    Rules, TaskId, TaskPhase, Timestamp, Transition, Try,
};

/// How often in a row a job keeps its turn when its account was held back.
///
/// Source: ours; with three of ten creates refused, one job in 100,000 is.
const TURNS_KEPT: u32 = 10;

/// The code of a job that a person gave up.
const CODE_BY_PERSON: &str = "ResolvedByPerson";

impl Job {
    /// What follows from `event` at `now`. `chance` (0 to 1) places every wait inside its jitter.
    ///
    /// A claim ends with each event of a worker: the job that comes back is not `claimed`. Version and fence are the queue's
    /// business and stay as they are.
    pub fn apply(
        &self,
        event: Event,
        now: Timestamp,
        rules: &Rules,
        chance: f64,
    ) -> Result<Transition, IllegalTransition> {
        let illegal = IllegalTransition { state: self.state_name(), event: event.name() };
        let step = Step { job: self, now, rules, chance };
        match event {
            Event::TaskCreated { attempt, task, request_id } => {
                Ok(step.task_created(attempt, task, request_id))
            }
            Event::CancelRequested => step.cancel_requested().ok_or(illegal),
            Event::RetryRequested => step.retry_requested().ok_or(illegal),
            Event::Replaced(asked) => step.replaced(asked).ok_or(illegal),
            Event::MissingRequested { job, images } => step.missing_requested(job, images).ok_or(illegal),
            Event::TaskTakenBack { task } => step.task_taken_back(&task).ok_or(illegal),
            Event::GivenBack => step.given_back().ok_or(illegal),
            Event::Rescued => step.rescued().ok_or(illegal),
            event => match &self.state {
                JobState::Submitting { attempt } => step.while_submitting(attempt, event).ok_or(illegal),
                JobState::Settling { attempt, looks, cause, .. } => {
                    step.while_settling(attempt, *looks, cause, event).ok_or(illegal)
                }
                JobState::Polling { .. } => step.while_polling(event).ok_or(illegal),
                JobState::Archiving { .. } => step.while_archiving(event).ok_or(illegal),
                JobState::Held { attempt, unsettled, .. } => {
                    step.while_held(attempt, *unsettled, event).ok_or(illegal)
                }
                _ => Err(illegal),
            },
        }
    }
}

/// A message as it stands in a history, which holds a hundred of them.
fn short(message: &str) -> String {
    message.chars().take(300).collect()
}

/// One application: everything that the rules below need.
struct Step<'a> {
    job: &'a Job,
    now: Timestamp,
    rules: &'a Rules,
    chance: f64,
}

impl Step<'_> {
    /// The job in `state`, its claim over.
    fn moved(&self, state: JobState) -> Transition {
        let job = Job { state, claimed: false, rescues: 0, alone: false, ..self.job.clone() };
        Transition { job, note: None, extra_task: None }
    }

    fn noted(&self, mut transition: Transition, what: &str, failure: Option<&Failure>) -> Transition {
        transition.note = Some(Try {
            at: self.now,
            since: None,
            times: 1,
            attempt: self.job.attempts,
            account: self.job.state.attempt().map(|attempt| attempt.account.to_string()),
            what: what.to_owned(),
            code: failure.map(|failure| failure.code.clone()),
            message: failure.map(|failure| short(&failure.message)),
            request_id: failure.and_then(|failure| failure.request_id.clone()),
            task: self.job.state.task().or(transition.job.state.task()).cloned(),
            candidates: Vec::new(),
        });
        transition
    }

    fn wait_before_question(&self, asked: Asked) -> Duration {
        self.rules.poll.wait(asked, self.rules.durations.likely(self.job.kind()), self.chance)
    }

    fn polling(&self, attempt: &Attempt, task: TaskId) -> Transition {
        let asked = Asked { age: Duration::ZERO, running_for: None, polls: 0, phase: TaskPhase::Pending };
        let mut moved = self.moved(JobState::Polling {
            attempt: attempt.clone(),
            task,
            created_at: self.now,
            due: self.now + self.wait_before_question(asked),
            polls: 0,
            unknowns: 0,
            phase: TaskPhase::Pending,
            running_since: None,
        });
        moved.job.tasks = self.job.tasks.saturating_add(1);
        moved.job.adopted = false;
        moved.job.refusals = 0;
        moved
    }

    fn queued(&self, due: Timestamp, cause: Option<String>) -> Transition {
        // Somebody asked to cancel it while it was busy: now nothing is at stake any more.
        if self.job.cancel_requested {
            return self.moved(JobState::Canceled { at: self.now, by: CanceledBy::User });
        }
        let mut queued = self.moved(JobState::Queued { due, cause });
        queued.job.adopted = false;
        queued
    }

    fn held(&self, reason: HeldReason, attempt: &Attempt, unsettled: bool, slot_free: bool) -> Transition {
        let held = JobState::Held {
            since: self.now,
            reason,
            attempt: attempt.clone(),
            unsettled,
            slot_free,
            task: self.job.state.task().cloned(),
        };
        self.noted(self.moved(held), "held", None)
    }

    /// Held, with what the person is told in the history.
    fn held_in_doubt(
        &self,
        reason: HeldReason,
        attempt: &Attempt,
        unsettled: bool,
        slot_free: bool,
        doubt: Doubt,
    ) -> Transition {
        let mut held = self.held(reason, attempt, unsettled, slot_free);
        if let Some(note) = &mut held.note {
            note.message = Some(doubt.why.chars().take(300).collect());
            note.candidates = doubt.candidates;
        }
        held
    }

    /// Tries again if the class still has a retry, else fails.
    fn failed(&self, failure: Failure) -> Transition {
        let mut retries = self.job.retries;
        let mut transition = match retries.spend(failure.class, &self.rules.retry) {
            Some(spent) => {
                let wait = self.rules.retry.curve.wait_with_jitter(u32::from(spent), self.chance);
                self.queued(self.now + wait, Some(failure.code.clone()))
            }
            None => self.moved(JobState::Failed {
                at: self.now,
                class: failure.class,
                code: failure.code.clone(),
            }),
        };
        transition.job.retries = retries;
        transition.job.refusals = 0;
        self.noted(transition, failure.class.as_str(), Some(&failure))
    }

    fn refused(&self, refusal: &Refusal) -> Transition {
        // A job that is refused again and again while others pass may be the reason itself: then it makes way.
        let keeps_turn = refusal.account_waits && self.job.refusals < TURNS_KEPT;
        let step = if refusal.account_waits {
            self.job.refusals.saturating_sub(TURNS_KEPT)
        } else {
            self.job.refusals
        };
        let curve = self.rules.retry.curve.wait_with_jitter(step, self.chance);
        let asked = refusal.retry_after.map(|asked| asked.max(Duration::from_millis(100)));
        let wait = if keeps_turn { Duration::ZERO } else { asked.unwrap_or(curve) };
        let mut transition = self.queued(self.now + wait, Some(refusal.code.clone()));
        transition.job.refusals = self.job.refusals.saturating_add(1);
        let mut noted = self.noted(transition, Try::REFUSED, None);
        if let Some(note) = &mut noted.note {
            note.code = Some(refusal.code.clone());
            note.message = (!refusal.message.is_empty()).then(|| short(&refusal.message));
            note.request_id.clone_from(&refusal.request_id);
        }
        noted
    }

    fn given_back(&self) -> Option<Transition> {
        match &self.job.state {
            // Nothing was sent: the worker says so.
            JobState::Submitting { .. } => Some(self.queued(self.now, None)),
            JobState::Settling { .. } | JobState::Polling { .. } | JobState::Archiving { .. } => {
                let mut given_back = self.moved(self.job.state.clone());
                // Nothing came of the step: a worker that is told to stop does not show that the job lets workers live.
                given_back.job.rescues = self.job.rescues;
                given_back.job.alone = self.job.alone;
                Some(given_back)
            }
            _ => None,
        }
    }

    fn rescued(&self) -> Option<Transition> {
        match self.job.state.clone() {
            // Whether the vanished worker had sent it is unknown.
            JobState::Submitting { attempt } => Some(self.settling(&attempt, "worker_vanished")),
            mut
            state @ (JobState::Settling { .. } | JobState::Polling { .. } | JobState::Archiving { .. }) => {
                let rescues = self.job.rescues.saturating_add(1);
                // Images that are paid for are tried for as long as their links live: a person could only pay for them again.
                let copying = matches!(state, JobState::Archiving { deadline, .. } if self.now < deadline);
                if self.job.alone && !copying {
                    let attempt = state.attempt()?.clone();
                    // A task that is being copied has ended, and is booked.
                    let unsettled = !matches!(state, JobState::Archiving { .. });
                    return Some(self.held(HeldReason::Poison, &attempt, unsettled, false));
                }
                // The first time it was most likely not the job's fault; a job that keeps losing its workers waits longer and
                // longer, and in the end is run alone: whether its neighbours or itself are at fault, that shows it.
                if let JobState::Settling { due, .. }
                | JobState::Polling { due, .. }
                | JobState::Archiving { due, .. } = &mut state
                    && rescues > 1
                {
                    let wait = self.rules.archive.wait_with_jitter(u32::from(rescues), self.chance);
                    *due = (*due).max(self.now + wait);
                }
                let mut moved = self.moved(state);
                moved.job.rescues = rescues;
                moved.job.alone = rescues >= self.rules.rescues_max;
                Some(moved)
            }
            _ => None,
        }
    }

    /// Whatever cut the call short, the service's own gateway may hold the request, and act on it, for a while yet.
    fn settling(&self, attempt: &Attempt, cause: &str) -> Transition {
        let lull = self.rules.held_request_timeout.max(self.rules.create_timeout);
        let settling = JobState::Settling {
            attempt: attempt.clone(),
            due: attempt.send_by.max(self.now) + lull,
            looks: 0,
            cause: cause.to_owned(),
        };
        let mut noted = self.noted(self.moved(settling), "no_answer", None);
        if let Some(note) = &mut noted.note {
            note.code = Some(cause.to_owned());
        }
        noted
    }

    fn while_submitting(&self, attempt: &Attempt, event: Event) -> Option<Transition> {
        Some(match event {
            Event::NotSent => self.queued(self.now, None),
            Event::Rejected(failure) => self.failed(failure),
            Event::Refused(refusal) => self.refused(&refusal),
            Event::NoAnswer { cause } => self.settling(attempt, &cause),
            _ => return None,
        })
    }

    fn while_settling(&self, attempt: &Attempt, looks: u16, cause: &str, event: Event) -> Option<Transition> {
        Some(match event {
            Event::TaskFound { task } => {
                let mut found = self.polling(attempt, task);
                found.job.adopted = true;
                self.noted(found, "task_found", None)
            }
            Event::NotCreated => self.noted(self.queued(self.now, None), "not_created", None),
            Event::LookAgain { due } => self.moved(JobState::Settling {
                attempt: attempt.clone(),
                due: due.max(self.now),
                looks: looks.saturating_add(1),
                cause: cause.to_owned(),
            }),
            Event::Undecidable { reason, slot_free, doubt } => {
                self.held_in_doubt(reason, attempt, true, slot_free, doubt)
            }
            _ => return None,
        })
    }
}
