//! What follows from an event: a pure, total function of job, event, time, rules and chance.
//!
//! Every pairing of state and event that is not written here is an [`IllegalTransition`], and leaves the job as it was.

use std::time::Duration;

use crate::{
    Attempt, CanceledBy, Doubt, Event, Failure, FailureClass, HeldReason, IllegalTransition, Job, JobId,
    JobState, Refusal, Rules, TaskId, TaskPhase, Timestamp, Transition, Try,
};

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
        let job = Job { state, claimed: false, rescues: 0, ..self.job.clone() };
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

    fn polling(&self, attempt: &Attempt, task: TaskId) -> Transition {
        let mut moved = self.moved(JobState::Polling {
            attempt: attempt.clone(),
            task,
            created_at: self.now,
            due: self.now + self.rules.poll.first,
            polls: 0,
            unknowns: 0,
            phase: TaskPhase::Pending,
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
        let curve = self.rules.retry.curve.wait_with_jitter(self.job.refusals, self.chance);
        let wait = refusal.retry_after.map_or(curve, |asked| asked.max(Duration::from_millis(100)));
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

    /// A task id is never thrown away: it costs money. The job takes it where it can, else it is an extra one.
    fn task_created(&self, attempt: Attempt, task: TaskId, request_id: Option<String>) -> Transition {
        if self.job.state.task() == Some(&task) {
            // The same answer again.
            return Transition { job: self.job.clone(), note: None, extra_task: None };
        }
        let takes = match &self.job.state {
            JobState::Queued { .. } => true,
            // A later attempt than the one in the record: the record is of an older Redis, and that attempt was over by then.
            JobState::Submitting { attempt: current } | JobState::Settling { attempt: current, .. } => {
                current.number <= attempt.number
            }
            JobState::Held { attempt: current, unsettled: true, .. } => current.number <= attempt.number,
            _ => false,
        };
        if takes {
            let mut transition = self.polling(&attempt, task.clone());
            transition.job.attempts = self.job.attempts.max(attempt.number);
            return self.noted_task(transition, "created", attempt, task, request_id);
        }
        let unchanged = Transition { job: self.job.clone(), note: None, extra_task: Some(task.clone()) };
        self.noted_task(unchanged, "extra_task", attempt, task, request_id)
    }

    /// A line about a task, with the attempt that made it: the job itself may be at another one by now.
    fn noted_task(
        &self,
        transition: Transition,
        what: &str,
        attempt: Attempt,
        task: TaskId,
        request_id: Option<String>,
    ) -> Transition {
        let mut noted = self.noted(transition, what, None);
        if let Some(note) = &mut noted.note {
            note.task = Some(task);
            note.attempt = attempt.number;
            note.account = Some(attempt.account.to_string());
            note.request_id = request_id;
        }
        noted
    }

    /// The task is another's. What became of this job's own create is unknown again; what was booked for the task stays booked here
    /// as well, and the history says so.
    fn task_taken_back(&self, task: &TaskId) -> Option<Transition> {
        let (JobState::Polling { attempt, .. }
        | JobState::Archiving { attempt, .. }
        | JobState::Held { attempt, .. }) = &self.job.state
        else {
            return None;
        };
        if self.job.state.task() != Some(task) {
            return None;
        }
        let why = format!(
            "task {task} was adopted for this job, and is another's: its own create was answered late"
        );
        let doubt = Doubt { why, candidates: Vec::new() };
        let mut held = self.held_in_doubt(HeldReason::DoubtfulAdoption, attempt, true, false, doubt);
        held.job.adopted = false;
        if let JobState::Held { task, .. } = &mut held.job.state {
            *task = None;
        }
        Some(held)
    }

    fn cancel_requested(&self) -> Option<Transition> {
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
                phase: TaskPhase::Pending,
                ..
            } => {
                let phase = TaskPhase::Pending;
                flagged(JobState::Polling { attempt, task, created_at, due: now, polls, unknowns, phase })
            }
            state @ (JobState::Submitting { .. }
            | JobState::Settling { .. }
            | JobState::Polling { .. }
            | JobState::Archiving { .. }) => flagged(state),
            _ => return None,
        })
    }

    fn retry_requested(&self) -> Option<Transition> {
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

    /// The job stays what it is: what is missing is another job's business, under keys of its own.
    fn missing_requested(&self, job: JobId, images: u8) -> Option<Transition> {
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

    fn given_back(&self) -> Option<Transition> {
        match &self.job.state {
            // Nothing was sent: the worker says so.
            JobState::Submitting { .. } => Some(self.queued(self.now, None)),
            JobState::Settling { .. } | JobState::Polling { .. } | JobState::Archiving { .. } => {
                Some(self.moved(self.job.state.clone()))
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
                let too_often = rescues > self.rules.rescues_max;
                // Images that are paid for are tried for as long as their links live: a person could only pay for them again.
                let copying = matches!(state, JobState::Archiving { deadline, .. } if self.now < deadline);
                if too_often && !copying {
                    let attempt = state.attempt()?.clone();
                    return Some(self.held(HeldReason::Poison, &attempt, true, false));
                }
                // The first time it was most likely not the job's fault; a job that keeps losing its workers waits longer and
                // longer, so that it and its neighbours are not caught together again.
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

    fn while_polling(&self, event: Event) -> Option<Transition> {
        let JobState::Polling { attempt, task, created_at, polls, unknowns, phase, .. } =
            self.job.state.clone()
        else {
            return None;
        };
        let age = Duration::try_from(self.now.duration_since(created_at)).unwrap_or_default();
        let asked_again = |due: Timestamp, polls: u32, unknowns: u8, phase: TaskPhase| {
            self.moved(JobState::Polling {
                attempt: attempt.clone(),
                task: task.clone(),
                created_at,
                due,
                polls,
                unknowns,
                phase,
            })
        };
        Some(match event {
            Event::StillGoing { phase: new } => {
                // A task that has just begun is asked as if it were fresh: PENDING says nothing about when it ends.
                let polls = if phase == TaskPhase::Pending && new == TaskPhase::Running {
                    1
                } else {
                    polls.saturating_add(1)
                };
                asked_again(self.now + self.rules.poll.wait(age, polls, new, self.chance), polls, 0, new)
            }
            Event::PollUnanswered { retry_after } => {
                let wait = self.rules.poll.wait(age, polls.max(1), phase, self.chance);
                asked_again(
                    self.now + wait.max(retry_after.unwrap_or_default()),
                    polls.saturating_add(1),
                    unknowns,
                    phase,
                )
            }
            Event::TaskSucceeded { images, billed, cost, deadline } => {
                let mut moved = if images == 0 {
                    // It is paid for: never again without a person's word.
                    self.held(HeldReason::UnreadableResult, &attempt, false, true)
                } else {
                    self.moved(JobState::Archiving {
                        attempt: attempt.clone(),
                        task: task.clone(),
                        created_at,
                        due: self.now,
                        deadline,
                        images,
                        tries: 0,
                        refetches: 0,
                    })
                };
                moved.job.billed = self.job.billed.saturating_add(u16::from(billed));
                moved.job.cost.0 = self.job.cost.0.saturating_add(cost.0);
                moved.job.stored = 0;
                moved
            }
            Event::TaskDoubtful { billed, cost, why } => {
                let doubt = Doubt { why, candidates: Vec::new() };
                let mut held = self.held_in_doubt(HeldReason::DoubtfulAdoption, &attempt, false, true, doubt);
                held.job.billed = self.job.billed.saturating_add(u16::from(billed));
                held.job.cost.0 = self.job.cost.0.saturating_add(cost.0);
                held.job.stored = 0;
                held
            }
            Event::TaskFailed(failure) => self.failed(failure),
            Event::TaskCanceled => {
                let by = if self.job.cancel_requested { CanceledBy::User } else { CanceledBy::Provider };
                self.noted(self.moved(JobState::Canceled { at: self.now, by }), "task_canceled", None)
            }
            Event::TaskUnknown if age >= self.rules.task_retention => self.noted(
                self.moved(JobState::Expired { at: self.now, task: task.clone() }),
                "task_forgotten",
                None,
            ),
            Event::TaskUnknown if unknowns >= self.rules.unknowns_max => {
                self.held(HeldReason::UnknownTask, &attempt, true, false)
            }
            Event::TaskUnknown => {
                let wait =
                    self.rules.poll.wait(age, u32::from(unknowns) + 1, TaskPhase::Pending, self.chance);
                asked_again(self.now + wait, polls.saturating_add(1), unknowns + 1, phase)
            }
            _ => return None,
        })
    }

    fn while_archiving(&self, event: Event) -> Option<Transition> {
        let JobState::Archiving { attempt, task, created_at, deadline, images, tries, refetches, .. } =
            self.job.state.clone()
        else {
            return None;
        };
        let later = |due: Timestamp, deadline: Timestamp, tries: u16, refetches: u8| {
            self.moved(JobState::Archiving {
                attempt: attempt.clone(),
                task: task.clone(),
                created_at,
                due,
                deadline,
                images,
                tries,
                refetches,
            })
        };
        Some(match event {
            Event::Copied { stored, lost, retry_after } => {
                let mut moved = if stored.saturating_add(lost) < images {
                    let wait = self.rules.archive.wait_with_jitter(u32::from(tries), self.chance);
                    let wait = wait.max(retry_after.unwrap_or_default());
                    later(self.now + wait, deadline, tries.saturating_add(1), refetches)
                } else if stored > 0 || images == 0 {
                    self.moved(JobState::Succeeded { task: task.clone(), at: self.now, partial: lost > 0 })
                } else {
                    self.noted(
                        self.moved(JobState::Expired { at: self.now, task: task.clone() }),
                        "images_lost",
                        None,
                    )
                };
                moved.job.stored = stored;
                moved
            }
            Event::FreshLinks { deadline } => {
                // The first fresh links are tried at once; links that are refused again and again are a fault that passes.
                let wait = match refetches {
                    0 => Duration::ZERO,
                    _ => self.rules.archive.wait_with_jitter(u32::from(tries), self.chance),
                };
                later(self.now + wait, deadline, tries.saturating_add(1), refetches.saturating_add(1))
            }
            Event::LinksDead if self.job.stored > 0 => self.noted(
                self.moved(JobState::Succeeded { task: task.clone(), at: self.now, partial: true }),
                "links_dead",
                None,
            ),
            Event::LinksDead => self.noted(
                self.moved(JobState::Expired { at: self.now, task: task.clone() }),
                "links_dead",
                None,
            ),
            _ => return None,
        })
    }

    fn while_held(&self, attempt: &Attempt, unsettled: bool, event: Event) -> Option<Transition> {
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
            Event::ResolvedResubmit => self.noted(self.queued(self.now, None), "resolved_resubmit", None),
            Event::ResolvedFail => {
                let failed = JobState::Failed {
                    at: self.now,
                    class: FailureClass::ByPerson,
                    code: CODE_BY_PERSON.to_owned(),
                };
                self.noted(self.moved(failed), "resolved_fail", None)
            }
            _ => return None,
        })
    }
}
