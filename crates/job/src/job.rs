//! A job's record: what changes while it lives. What was asked for is its [`crate::JobSpec`], which never changes.

use std::fmt;

use dashscope::Model;
use serde::{Deserialize, Serialize};

use crate::{
    AccountName, Attempt, BatchName, JobId, JobState, Micros, PinnedTo, RetriesSpent, Rules, Shape,
    StateName, TaskId, TaskKind, TaskPhase, Timestamp,
};

/// How urgent a job is: 0 goes first, 9 last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// A priority over 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a priority is a number from 0 (first) to 9 (last), not {0}")]
pub struct InvalidPriority(u8);

impl TryFrom<u8> for Priority {
    type Error = InvalidPriority;

    fn try_from(number: u8) -> Result<Self, InvalidPriority> {
        if number <= 9 { Ok(Self(number)) } else { Err(InvalidPriority(number)) }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job's record.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// Its batch.
    pub batch: Option<BatchName>,
    /// The model that it asks for.
    pub model: Model,
    /// Where alone it may run, where its user said so.
    pub pinned_to: Option<PinnedTo>,
    /// The most images that it can bring (`n`).
    pub images_max: u8,
    /// What its task makes, where its producer told: how long that takes is learned by it.
    pub shape: Option<Shape>,
    /// How urgent it is.
    pub priority: Priority,
    /// Its place in the order of enqueueing.
    pub seq: u64,
    /// When it was accepted.
    pub enqueued_at: Timestamp,
    /// The first 16 hex digits of the SHA-256 of its spec: tells a repeated line from a changed one.
    pub digest: String,

    /// Where it is in its life.
    pub state: JobState,
    /// Attempts so far; also the number of the last one.
    pub attempts: u32,
    /// Tasks so far that turned out to be this job's. Above 1, images are written beside the stable keys first.
    pub tasks: u8,
    /// Refusals in a row since something else happened.
    pub refusals: u32,
    /// Retries spent, by class of failure.
    pub retries: RetriesSpent,
    /// Rescues of the same step, with no commit between.
    pub rescues: u8,
    /// It lost so many workers in one step that it is run only by a worker which has nothing else in hand.
    pub alone: bool,
    /// The settler or a person, not an answer, gave it its task.
    pub adopted: bool,
    /// Somebody asked to cancel it.
    pub cancel_requested: bool,
    /// Images billed, over all its tasks.
    pub billed: u16,
    /// Images in the bucket.
    pub stored: u8,
    /// What the billed images cost.
    pub cost: Micros,
    /// Attempts up to this number asked for something else: the spec was replaced after them. 0: never.
    pub replaced_after: u32,
    /// Images that were in the bucket when the spec was replaced, over all replacements.
    pub stored_before: u16,

    /// Whether a worker holds it.
    pub claimed: bool,
    /// Rises at each claim and each rescue, at least to the time in ms: a worker whose fence is old has lost the job.
    pub fence: u64,
    /// Rises at each change of the record, and at a claim at least to the time in ms.
    pub version: u64,
}

/// What a worker has to do for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the create call of the attempt under way.
    Submit,
    /// Find out what became of an attempt.
    Settle,
    /// Ask about the task.
    Poll(TaskId),
    /// Cancel the task at the provider, then ask about it.
    Cancel(TaskId),
    /// Copy images.
    Archive,
    /// Nothing before this time; the queue keeps the job until then.
    Wait(Timestamp),
    /// Nothing: a claim for submit moves it on.
    WaitForClaim,
    /// Nothing: a person has to decide.
    AskPerson,
    /// Nothing: it is over.
    Nothing,
}

impl Job {
    /// A job as it is enqueued.
    #[expect(clippy::too_many_arguments, reason = "each is a field of the record, and there is one caller")]
    pub fn queued(
        id: JobId,
        batch: Option<BatchName>,
        model: Model,
        pinned_to: Option<PinnedTo>,
        images_max: u8,
        priority: Priority,
        digest: String,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            batch,
            model,
            pinned_to,
            images_max,
            shape: None,
            priority,
            seq: 0,
            enqueued_at: now,
            digest,
            state: JobState::Queued { due: now, cause: None },
            attempts: 0,
            tasks: 0,
            refusals: 0,
            retries: RetriesSpent::default(),
            rescues: 0,
            alone: false,
            adopted: false,
            cancel_requested: false,
            billed: 0,
            stored: 0,
            cost: Micros(0),
            replaced_after: 0,
            stored_before: 0,
            claimed: false,
            fence: 0,
            version: 1,
        }
    }

    /// The job as the claim for submit leaves it: the next attempt is written down before anything is sent.
    ///
    /// The claim script does the same in Redis; a test holds the two against each other. Fence and version are never lower than
    /// the time, so that a Redis restored from an older copy hands out none twice.
    #[must_use]
    pub fn begin_attempt(
        &self,
        account: AccountName,
        claimed_at: Timestamp,
        send_by: Timestamp,
        cost_max: Micros,
    ) -> Self {
        let attempt = Attempt { number: self.attempts + 1, account, claimed_at, send_by, cost_max };
        let floor = u64::try_from(claimed_at.as_millisecond()).unwrap_or(0);
        Self {
            attempts: attempt.number,
            state: JobState::Submitting { attempt },
            claimed: true,
            fence: floor.max(self.fence + 1),
            version: floor.max(self.version + 1),
            ..self.clone()
        }
    }

    /// What a worker has to do for the job now.
    pub fn next_action(&self, now: Timestamp) -> Action {
        match &self.state {
            JobState::Queued { .. } => Action::WaitForClaim,
            JobState::Submitting { .. } => Action::Submit,
            JobState::Settling { due, .. }
            | JobState::Polling { due, .. }
            | JobState::Archiving { due, .. }
                if *due > now =>
            {
                Action::Wait(*due)
            }
            JobState::Settling { .. } => Action::Settle,
            JobState::Polling { task, phase: TaskPhase::Pending, .. } if self.cancel_requested => {
                Action::Cancel(task.clone())
            }
            JobState::Polling { task, .. } => Action::Poll(task.clone()),
            JobState::Archiving { .. } => Action::Archive,
            JobState::Held { .. } => Action::AskPerson,
            JobState::Succeeded { .. }
            | JobState::Failed { .. }
            | JobState::Canceled { .. }
            | JobState::Expired { .. } => Action::Nothing,
        }
    }

    /// When the first of the job's links dies, or its task is forgotten, in the states where that matters.
    pub fn deadline(&self, rules: &Rules) -> Option<Timestamp> {
        match &self.state {
            JobState::Archiving { deadline, .. } => Some(*deadline),
            JobState::Polling { created_at, .. } => Some(*created_at + rules.task_retention),
            _ => None,
        }
    }

    /// Images that were billed and are not in the bucket, once the job is over.
    pub fn lost_images(&self) -> u16 {
        let delivered = self.stored_before.saturating_add(self.stored.into());
        if self.state_name().is_final() { self.billed.saturating_sub(delivered) } else { 0 }
    }

    /// What these images cost: their share of all that the job cost.
    pub fn lost_cost(&self) -> Micros {
        let lost = self.cost.0.saturating_mul(self.lost_images().into());
        Micros(lost.checked_div(self.billed.into()).unwrap_or(0))
    }

    /// The kind of its task.
    pub fn kind(&self) -> TaskKind {
        TaskKind { model: self.model, shape: self.shape }
    }

    /// The state's name.
    pub fn state_name(&self) -> StateName {
        self.state.name()
    }
}
