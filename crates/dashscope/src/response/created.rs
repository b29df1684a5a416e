//! The answer to a create call.

use jiff::Timestamp;

use super::TaskStatus;
use super::answer::{Answer, ReplyError};
use crate::TaskId;

/// A task that was created, and will be billed if it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTask {
    /// Its id. Store it before anything else is done with it.
    pub task_id: TaskId,
    /// PENDING, by the documents.
    pub status: TaskStatus,
    /// The provider's id of the call; the task's row in a list names it again.
    pub request_id: Option<String>,
    /// The provider's clock when it answered, to the second, by its `Date` header.
    pub answered_at: Option<Timestamp>,
}

impl CreatedTask {
    /// Reads the body of an answer. A task id counts whatever else the answer says: a task that exists must not be lost over
    /// a contradiction.
    ///
    /// # Errors
    ///
    /// There is no task id: because the service refused, or because the body is something else.
    pub fn read(body: &[u8]) -> Result<Self, ReplyError> {
        let answer = Answer::read(body)?;
        let found = answer.output().and_then(|output| {
            let task_id = TaskId::new(output.text("task_id")?).ok()?;
            let status = output.text("task_status").map_or(TaskStatus::Pending, TaskStatus::from);
            Some((task_id, status))
        });
        let (task_id, status) = found.ok_or_else(|| answer.lacks("output.task_id"))?;
        Ok(Self { task_id, status, request_id: answer.request_id(), answered_at: None })
    }
}
