//! Paid calls of commands that run without the queue, such as `imagemill generate`.
//!
//! They hold no job, but they share the account: the settler must not take their tasks for a job's, and the account's images of
//! the day must count theirs.

use std::time::Duration;

use job::{AccountName, JobId, Micros, Model, TaskId, Timestamp};

use crate::Queue;
use crate::error::QueueError;

/// How long a create whose outcome nobody told is kept in mind: as long as the provider's list may show its task.
const KEPT: Duration = Duration::from_secs(25 * 3600);

/// A create that was announced, and whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayCreate {
    key: String,
    nonce: String,
}

impl Queue {
    /// Says, before it is sent, that a create will be sent that belongs to no job.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses: then it must not be sent.
    pub async fn announce_create(
        &self,
        account: &AccountName,
        model: Model,
    ) -> Result<StrayCreate, QueueError> {
        let stray = StrayCreate { key: self.keys().strays(account, model), nonce: self.nonce() };
        let now_ms = self.now().as_millisecond();
        let oldest = now_ms - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let mut pipeline = redis::pipe();
        pipeline.zadd(&stray.key, &stray.nonce, now_ms).ignore();
        pipeline.cmd("ZREMRANGEBYSCORE").arg(&stray.key).arg("-inf").arg(oldest).ignore();
        let () = self.link().pipeline(&pipeline).await?;
        Ok(stray)
    }

    /// Says that an announced create made this task: it is ours, and no job's.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses. Then the create stays announced, and nothing is taken for a job's that may be its task.
    pub async fn own_task(
        &self,
        account: &AccountName,
        stray: &StrayCreate,
        task: &TaskId,
    ) -> Result<(), QueueError> {
        let (keys, now_ms) = (self.keys(), self.now().as_millisecond());
        let owner = JobId::fresh(u64::try_from(now_ms).unwrap_or(0), self.link().random().into());
        let mut pipeline = redis::pipe();
        pipeline
            .atomic()
            .hset_nx(keys.tasks(account), task.as_str(), format!("{owner}:0"))
            .ignore()
            .zadd(keys.tasks_by_time(account), task.as_str(), now_ms)
            .ignore()
            .zrem(&stray.key, &stray.nonce)
            .ignore();
        self.link().pipeline(&pipeline).await
    }

    /// Says that an announced create was certainly not carried out.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn withdraw_create(&self, stray: &StrayCreate) -> Result<(), QueueError> {
        self.link().query(redis::cmd("ZREM").arg(&stray.key).arg(&stray.nonce)).await
    }

    /// When each create was announced whose outcome is not known.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn stray_creates(
        &self,
        account: &AccountName,
        model: Model,
    ) -> Result<Vec<Timestamp>, QueueError> {
        let oldest = self.now().as_millisecond() - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(self.keys().strays(account, model)).arg(oldest).arg("+inf").arg("WITHSCORES");
        let announced: Vec<(String, f64)> = self.link().query(&command).await?;
        Ok(announced.into_iter().filter_map(|(_, ms)| Timestamp::from_millisecond(ms as i64).ok()).collect())
    }

    /// Counts images that were billed to no job, so that the account's images of the day and the ledger hold them.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn book_images(
        &self,
        account: &AccountName,
        model: Model,
        images: u64,
        cost: Micros,
    ) -> Result<(), QueueError> {
        let ledger = self.keys().ledger(&self.now().strftime("%Y-%m-%d").to_string());
        let line = format!("{account}:{model}:-");
        let mut pipeline = redis::pipe();
        pipeline
            .atomic()
            .hincr(&ledger, format!("images:{account}"), images)
            .ignore()
            .hincr(&ledger, format!("images:{line}"), images)
            .ignore()
            .hincr(&ledger, format!("cost:{line}"), cost.0)
            .ignore()
            .hincr(&ledger, format!("cost:{account}"), cost.0)
            .ignore()
            .hincr(&ledger, "cost", cost.0)
            .ignore();
        self.link().pipeline(&pipeline).await
    }
}
