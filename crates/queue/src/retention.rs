//! Retention: whole ended batches are removed, by age and count, in chunks.

use std::time::Duration;

use job::{BatchName, JobId};

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::RETAIN;

/// What is kept of what has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long after its end. Default 30 days.
    pub age: Duration,
    /// How many ended batches and single jobs at most. Default 100,000.
    pub ended_max: u64,
    /// How long a tombstone keeps a removed job's id from being paid for again. Default 400 days.
    pub tombstones: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self { age: 30 * DAY, ended_max: 100_000, tombstones: 400 * DAY }
    }
}

/// How long the ids of our tasks are kept: the provider lists a task for 24 h, and an id that we forgot would look like
/// somebody else's.
const TASK_IDS_KEPT: Duration = Duration::from_secs(25 * 3600);

/// How many ended batches and single jobs are looked at in one round trip.
const PAGE: usize = 100;

/// How many are passed over in one call. Source: ours; so many batches whose end cannot be told are a fault that a person has to see to.
const PASSED_OVER_MAX: usize = 10_000;

/// How many entries one call removes.
const CHUNK: usize = 200;

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It has been kept for long enough.
    Retention,
    /// A person wants it.
    ByPerson,
    /// The same, and the jobs' ids go as well.
    ByPersonToForget,
}

/// What is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
    /// All of it: its end is to be delivered first.
    Undelivered,
}

impl Queue {
    /// Removes one chunk of what need not be kept, and returns how many jobs went. Zero means that nothing is left to remove.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn retain(&self, policy: &Retention) -> Result<u64, QueueError> {
        let keys = self.keys();
        let now_ms = self.now().as_millisecond();
        let before =
            |age: Duration| now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let _: u64 = self
            .link()
            .query(
                redis::cmd("ZREMRANGEBYSCORE")
                    .arg(keys.tombstones())
                    .arg("-inf")
                    .arg(before(policy.tombstones)),
            )
            .await?;
        let ended: u64 = self.link().query(redis::cmd("ZCARD").arg(keys.ended())).await?;
        let mut removed = 0;
        // What stays for now: batches whose end is to be told first. They hold nothing up.
        let mut passed_over = 0;
        while passed_over < PASSED_OVER_MAX {
            let mut command = redis::cmd("ZRANGE");
            command.arg(keys.ended()).arg(passed_over).arg(passed_over + PAGE - 1).arg("WITHSCORES");
            let page: Vec<(String, f64)> = self.link().query(&command).await?;
            if page.is_empty() {
                break;
            }
            let untold = self.untold(&page).await?;
            for ((member, ended_ms), untold) in page.iter().zip(untold) {
                let over = ended.saturating_sub(removed) > policy.ended_max;
                if !over && *ended_ms as i64 > before(policy.age) {
                    return Ok(removed);
                }
                if untold {
                    passed_over += 1;
                    continue;
                }
                match self.remove_ended(member, How::Retention).await? {
                    (_, Left::Undelivered) | (0, Left::More) => passed_over += 1,
                    (went, left) => {
                        removed += went;
                        if left == Left::More {
                            return Ok(removed);
                        }
                    }
                }
                if removed >= CHUNK as u64 {
                    return Ok(removed);
                }
            }
        }
        Ok(removed)
    }

    /// Removes a batch that has ended, now, though its end may not be told yet: nothing is told of it then. With `forget` its jobs leave no tombstones: enqueued again, they are made and paid for again.
    /// Returns how many jobs went, and whether the batch is gone: one that has work again meanwhile is left as it is.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses; the call may be repeated.
    pub async fn remove_batch(&self, batch: &BatchName, forget: bool) -> Result<(u64, bool), QueueError> {
        let member = format!("batch:{batch}");
        let how = if forget { How::ByPersonToForget } else { How::ByPerson };
        let mut removed = 0;
        loop {
            let (went, left) = self.remove_ended(&member, how).await?;
            removed += went;
            // Nothing more goes where records are in the way that are not over.
            if left != Left::More || went == 0 {
                return Ok((removed, self.batch(Some(batch)).await?.is_none()));
            }
        }
    }

    /// Which of what has ended are batches whose end is to be told first.
    async fn untold(&self, page: &[(String, f64)]) -> Result<Vec<bool>, QueueError> {
        let mut pipeline = redis::pipe();
        for (member, _) in page {
            let batch = member.strip_prefix("batch:").and_then(|name| BatchName::parse(name).ok());
            // Of a single job there is nothing to be told, nor in the hash of all of them.
            pipeline.hget(self.keys().batch(batch.as_ref()), "undelivered");
        }
        let found: Vec<Option<i64>> = self.link().pipeline(&pipeline).await?;
        Ok(found.into_iter().map(|untold| untold.unwrap_or(0) > 0).collect())
    }

    /// How many jobs went, and what is left.
    async fn remove_ended(&self, member: &str, how: How) -> Result<(u64, Left), QueueError> {
        let keys = self.keys();
        let (batch, single) = match member.split_once(':') {
            Some(("batch", name)) => (BatchName::parse(name).ok(), None),
            Some(("job", id)) => (None, id.parse::<JobId>().ok()),
            _ => (None, None),
        };
        if batch.is_none() && single.is_none() {
            let _: u64 = self.link().query(redis::cmd("ZREM").arg(keys.ended()).arg(member)).await?;
            return Ok((0, Left::Nothing));
        }
        let key_names = [
            keys.batch(batch.as_ref()),
            keys.members(batch.as_ref()),
            keys.batches(),
            keys.counts(),
            keys.ended(),
            keys.tombstones(),
            keys.lanes(batch.as_ref()),
            keys.paused(),
            keys.deliveries(batch.as_ref()),
            keys.outbox(),
            keys.outbox_entries(),
            keys.outbox_leases(),
        ];
        let args = [
            keys.prefix().to_owned(),
            batch.as_ref().map_or("-", BatchName::as_str).to_owned(),
            CHUNK.to_string(),
            single.map(|id| id.to_string()).unwrap_or_default(),
            if how == How::ByPersonToForget { "1" } else { "0" }.to_owned(),
            if how == How::Retention { "0" } else { "1" }.to_owned(),
        ];
        let mut reply = self.script("retain", &RETAIN, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        let removed = u64::try_from(reply.int()?).unwrap_or(0);
        let left = match reply.int()? {
            1 => Left::Nothing,
            2 => Left::Undelivered,
            _ => Left::More,
        };
        Ok((removed, left))
    }

    /// Forgets the ids of an account's tasks that the provider has forgotten as well, one chunk, and returns how many.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn forget_old_tasks(&self, account: &job::AccountName) -> Result<usize, QueueError> {
        let keys = self.keys();
        let oldest =
            self.now().as_millisecond() - i64::try_from(TASK_IDS_KEPT.as_millis()).unwrap_or(i64::MAX);
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(keys.tasks_by_time(account)).arg("-inf").arg(oldest).arg("LIMIT").arg(0).arg(CHUNK);
        let old: Vec<String> = self.link().query(&command).await?;
        if !old.is_empty() {
            let mut pipeline = redis::pipe();
            pipeline
                .hdel(keys.tasks(account), &old)
                .ignore()
                .zrem(keys.tasks_by_time(account), &old)
                .ignore();
            let () = self.link().pipeline(&pipeline).await?;
        }
        Ok(old.len())
    }
}
