//! What a person is told who has to decide what became of a create.

use serde::{Deserialize, Serialize};

use crate::{TaskId, Timestamp};

/// Why the evidence does not decide, and the tasks that may be the attempt's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Why, in words.
    pub why: String,
    /// Tasks that nobody owns and that the attempt can have made, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// A task that may be an attempt's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The task.
    pub task: TaskId,
    /// When it was created, by the provider's clock; `None` if the list does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Where the provider said it was, such as `RUNNING`.
    pub status: String,
}
