//! What this worker has done since its start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use job::{Job, JobState, StateName};

/// Counts of what this worker committed. Jobs that other workers ended are not in it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    submitted: AtomicU64,
    images_stored: AtomicU64,
    succeeded: AtomicU64,
    partial: AtomicU64,
    failed: AtomicU64,
    canceled: AtomicU64,
    expired: AtomicU64,
    held: AtomicU64,
    extra_tasks: AtomicU64,
}

/// What a worker did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tasks created.
    pub submitted: u64,
    /// Images stored.
    pub images_stored: u64,
    /// Jobs that succeeded whole.
    pub succeeded: u64,
    /// Jobs that succeeded with images missing.
    pub partial: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that were canceled.
    pub canceled: u64,
    /// Jobs whose images could no longer be had.
    pub expired: u64,
    /// Jobs that wait for a person.
    pub held: u64,
    /// Tasks that no job could take: possible double payments.
    pub extra_tasks: u64,
    /// Whether every step ended, or was given back, before the process goes.
    pub drained: bool,
    /// Whether it ended because nothing was left to do.
    pub idle: bool,
}

impl Tally {
    /// Counts the way from `before` to `after`.
    pub(crate) fn count(&self, before: &Job, after: &Job) {
        self.images_stored.fetch_add(u64::from(after.stored.saturating_sub(before.stored)), Relaxed);
        if before.state_name() == after.state_name() {
            return;
        }
        let counter = match &after.state {
            JobState::Polling { .. } if before.state_name() == StateName::Submitting => &self.submitted,
            JobState::Succeeded { partial: true, .. } => &self.partial,
            JobState::Succeeded { .. } => &self.succeeded,
            JobState::Failed { .. } => &self.failed,
            JobState::Canceled { .. } => &self.canceled,
            JobState::Expired { .. } => &self.expired,
            JobState::Held { .. } => &self.held,
            _ => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a task that no job could take.
    pub(crate) fn count_extra(&self) {
        self.extra_tasks.fetch_add(1, Relaxed);
    }

    /// The counts so far.
    pub(crate) fn summary(&self, drained: bool, idle: bool) -> Summary {
        Summary {
            submitted: self.submitted.load(Relaxed),
            images_stored: self.images_stored.load(Relaxed),
            succeeded: self.succeeded.load(Relaxed),
            partial: self.partial.load(Relaxed),
            failed: self.failed.load(Relaxed),
            canceled: self.canceled.load(Relaxed),
            expired: self.expired.load(Relaxed),
            held: self.held.load(Relaxed),
            extra_tasks: self.extra_tasks.load(Relaxed),
            drained,
            idle,
        }
    }
}
