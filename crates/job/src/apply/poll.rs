//! What the task of a polling job said.

use std::time::Duration;

use super::Step;
use crate::{Asked, CanceledBy, Doubt, Event, HeldReason, JobState, TaskPhase, Timestamp, Transition};

impl Step<'_> {
    pub(super) fn while_polling(&self, event: Event) -> Option<Transition> {
        let JobState::Polling { attempt, task, created_at, polls, unknowns, phase, running_since, .. } =
            self.job.state.clone()
        else {
            return None;
        };
        let age = Duration::try_from(self.now.duration_since(created_at)).unwrap_or_default();
        let again = |wait: Duration, polls: u32, unknowns: u8, phase: TaskPhase, running_since| {
            self.moved(JobState::Polling {
                attempt: attempt.clone(),
                task: task.clone(),
                created_at,
                due: self.now + wait,
                polls,
                unknowns,
                phase,
                running_since,
            })
        };
        let running_for = |since: Option<Timestamp>| {
            since.map(|since| Duration::try_from(self.now.duration_since(since)).unwrap_or_default())
        };
        Some(match event {
            Event::StillGoing { phase: new, began_after } => {
                // A task that has just begun is asked as if it were fresh: PENDING says nothing about when it ends.
                let polls = if phase == TaskPhase::Pending && new == TaskPhase::Running {
                    1
                } else {
                    polls.saturating_add(1)
                };
                let since = began_after.map(|after| created_at + after).or(running_since);
                let asked = Asked { age, running_for: running_for(since), polls, phase: new };
                again(self.wait_before_question(asked), polls, 0, new, since)
            }
            Event::PollUnanswered { retry_after } => {
                let running_for = running_for(running_since);
                let asked = Asked { age, running_for, polls: polls.max(1), phase };
                let wait = self.wait_before_question(asked).max(retry_after.unwrap_or_default());
                again(wait, polls.saturating_add(1), unknowns, phase, running_since)
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
                // How long such tasks take says nothing about a task that is not known.
                let polls_so_far = u32::from(unknowns) + 1;
                let asked = Asked { age, running_for: None, polls: polls_so_far, phase: TaskPhase::Pending };
                let wait = self.rules.poll.wait(asked, None, self.chance);
                again(wait, polls.saturating_add(1), unknowns + 1, phase, running_since)
            }
            _ => return None,
        })
    }
}
