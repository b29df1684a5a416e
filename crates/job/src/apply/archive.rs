//! What a round of copying brought.

use std::time::Duration;

use super::Step;
use crate::{Event, JobState, Timestamp, Transition};

impl Step<'_> {
    pub(super) fn while_archiving(&self, event: Event) -> Option<Transition> {
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
}
