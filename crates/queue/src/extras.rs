//! Tasks that exist and that no job can take, and tasks that were adopted for the wrong job.
//!
//! Both cost money and must not be forgotten with the process that noticed them. The script of the commit that finds one writes
//! it down ([`Queue::commit`]); a loop of the workers asks about it until its end, and books what was paid without need.

use job::{AccountName, JobId, Micros, Model, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::account::TaskOwner;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::CLOSE_EXTRA;

/// A task that no job can take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraTask {
    /// The task.
    pub task: TaskId,
    /// The job whose create it came from, or for which it was found.
    pub job: JobId,
    /// The number of that job's attempt.
    pub attempt: u32,
    /// The model.
    pub model: Model,
    /// When it was noticed.
    pub at: Timestamp,
    /// What has become of it.
    pub state: ExtraState,
    /// Images that were billed for it.
    pub images: u64,
    /// What they cost.
    pub cost: Micros,
}

/// What has become of an extra task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtraState {
    /// Not known yet: it is asked again.
    Open,
    /// It ended without images: nothing was paid.
    Unpaid,
    /// It has images that nobody asked for.
    Paid,
    /// The provider no longer knows it: whether it was paid cannot be told any more.
    Forgotten,
    /// Two jobs were given its images: its own, and one that had adopted it and was over by then. It is billed with the jobs.
    DeliveredTwice,
}

impl ExtraTask {
    /// An extra task as it is noticed.
    pub fn new(task: TaskId, job: JobId, attempt: u32, model: Model, now: Timestamp) -> Self {
        Self { task, job, attempt, model, at: now, state: ExtraState::Open, images: 0, cost: Micros(0) }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an extra task is plain data and always serializes")
    }
}

impl Queue {
    /// Writes down a task that has no job at all. (One that a job cannot take is written down by the commit.)
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn record_extra(&self, account: &AccountName, extra: &ExtraTask) -> Result<(), QueueError> {
        let (keys, task) = (self.keys(), extra.task.as_str());
        let owner = format!("{}:{}", extra.job, extra.attempt);
        let mut pipeline = redis::pipe();
        pipeline.atomic().hset_nx(keys.tasks(account), task, owner).ignore();
        pipeline.zadd(keys.tasks_by_time(account), task, extra.at.as_millisecond()).ignore();
        pipeline.hset_nx(keys.extras(account), task, extra.to_json()).ignore();
        self.link().pipeline(&pipeline).await
    }

    /// An account's extra tasks, the oldest first. There are few, or something is badly wrong.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn extras(&self, account: &AccountName) -> Result<Vec<ExtraTask>, QueueError> {
        let texts: Vec<String> =
            self.link().query(redis::cmd("HVALS").arg(self.keys().extras(account))).await?;
        let mut extras: Vec<ExtraTask> = texts
            .iter()
            .filter_map(|text| {
                let read = serde_json::from_str(text);
                read.inspect_err(|error| {
                    tracing::error!("The entry of an extra task cannot be read: {error}")
                })
                .ok()
            })
            .collect();
        extras.sort_by_key(|extra| extra.at);
        Ok(extras)
    }

    /// Writes down what became of an extra task, and books what it cost; `false` if somebody else did so before.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn close_extra(
        &self,
        account: &AccountName,
        before: &ExtraTask,
        after: &ExtraTask,
    ) -> Result<bool, QueueError> {
        let day = self.now().strftime("%Y-%m-%d").to_string();
        let keys = [self.keys().extras(account), self.keys().ledger(&day)];
        let args = [
            before.task.to_string(),
            before.to_json(),
            after.to_json(),
            after.images.saturating_sub(before.images).to_string(),
            (after.cost.0 - before.cost.0).to_string(),
            account.to_string(),
            format!("{account}:{}", after.model),
            self.keys().prefix().to_owned(),
            before.job.to_string(),
        ];
        let mut reply = self.script("close_extra", &CLOSE_EXTRA, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(reply.int()? == 1)
    }

    /// Forgets extra tasks, once they are too old to matter.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn forget_extras(&self, account: &AccountName, tasks: &[TaskId]) -> Result<(), QueueError> {
        self.forget_fields(self.keys().extras(account), tasks).await
    }

    /// Tasks that turned out to be another's, each with the job that had adopted it and was not told yet.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn taken_tasks(&self, account: &AccountName) -> Result<Vec<(TaskId, JobId)>, QueueError> {
        let fields: Vec<(String, String)> =
            self.link().query(redis::cmd("HGETALL").arg(self.keys().taken(account))).await?;
        let read =
            |(task, owner): (String, String)| Some((task.parse().ok()?, TaskOwner::parse(&owner).ok()?.job));
        Ok(fields.into_iter().filter_map(read).collect())
    }

    /// Says that the job was told.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn told_of_taken(&self, account: &AccountName, task: &TaskId) -> Result<(), QueueError> {
        self.forget_fields(self.keys().taken(account), std::slice::from_ref(task)).await
    }

    async fn forget_fields(&self, key: String, fields: &[TaskId]) -> Result<(), QueueError> {
        if fields.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HDEL");
        command.arg(key);
        for field in fields {
            command.arg(field.as_str());
        }
        self.link().query(&command).await
    }
}
