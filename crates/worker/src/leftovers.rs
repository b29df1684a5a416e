//! What settling leaves behind, as a port: tasks that no job can take, tasks adopted for the wrong job, tasks that nobody owns.
//!
//! A part of [`crate::ports::Jobs`], in a file of its own. Decides nothing.

use std::time::Duration;

use async_trait::async_trait;
use job::{AccountName, Job, JobId, TaskId};
use queue::{ExtraTask, Orphans};

use crate::ports::JobsFault;

/// The books of what settling leaves behind.
#[async_trait]
pub trait Leftovers: Send + Sync {
    /// A job's record.
    async fn job(&self, id: JobId) -> Result<Option<Job>, JobsFault>;

    /// Writes down a task whose job is gone. (A task that a job cannot take is written down by the commit that finds it.)
    async fn record_extra(&self, account: &AccountName, extra: &ExtraTask) -> Result<(), JobsFault>;

    /// The account's tasks that no job can take.
    async fn extras(&self, account: &AccountName) -> Result<Vec<ExtraTask>, JobsFault>;

    /// Writes down what became of one, and books what it cost; `false` if somebody else did so before.
    async fn close_extra(
        &self,
        account: &AccountName,
        before: &ExtraTask,
        after: &ExtraTask,
    ) -> Result<bool, JobsFault>;

    /// Forgets some.
    async fn forget_extras(&self, account: &AccountName, tasks: &[TaskId]) -> Result<(), JobsFault>;

    /// Tasks that turned out to be another's, each with the job that had adopted it and was not told yet.
    async fn taken_tasks(&self, account: &AccountName) -> Result<Vec<(TaskId, JobId)>, JobsFault>;

    /// Says that the job was told.
    async fn told_of_taken(&self, account: &AccountName, task: &TaskId) -> Result<(), JobsFault>;

    /// Whether it is this worker's turn to count the account's orphans: for `hold` it is nobody else's.
    async fn take_orphans_turn(&self, account: &AccountName, hold: Duration) -> Result<bool, JobsFault>;

    /// Stores a count of tasks that nobody owns.
    async fn store_orphans(&self, account: &AccountName, orphans: &Orphans) -> Result<(), JobsFault>;
}
