//! What an event leads to, as values.

use serde::{Deserialize, Serialize};

use crate::{Candidate, Job, StateName, TaskId, Timestamp};

/// A pairing of state and event that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {state} job cannot receive {event}")]
pub struct IllegalTransition {
    /// The job's state.
    pub state: StateName,
    /// The event's name.
    pub event: &'static str,
}

/// A line in a job's history: one attempt, failure or decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When; of a run of the same refusal, the last time.
    pub at: Timestamp,
    /// When a run of the same refusal began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How often the same refusal came in a row.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
    /// The attempt that it belongs to; 0 where there was none yet.
    pub attempt: u32,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What happened: a failure class, or the event in snake case.
    pub what: String,
    /// The service's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The service's message, cut to 300 characters; or ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The service's request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Tasks that may be the attempt's, where a person has to decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it may skip by reference")]
fn is_once(times: &u32) -> bool {
    *times == 1
}

impl Try {
    /// Whether a line that says the same may be counted into this one: a refusal comes back for as long as its cause lasts, and
    /// must not push what led here out of a history of bounded length.
    pub fn folds(&self) -> bool {
        self.what == Self::REFUSED
    }

    /// [`Self::what`] of a refusal.
    pub const REFUSED: &'static str = "refused";
}

/// What an event leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The job after it.
    pub job: Job,
    /// What to write into its history.
    pub note: Option<Try>,
    /// A task that exists and that the job cannot take: to be cancelled while PENDING, else shown as a double payment.
    pub extra_task: Option<TaskId>,
}
