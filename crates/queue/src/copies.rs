//! How copying goes: what waits, when its links die, and how much was copied of late. Read by the worker's warning and by
//! `status`; written by the commits themselves.

use std::collections::HashMap;

use job::{CopyBacklog, HORIZONS, Micros, PACE_STEP, PACE_WINDOW, Timestamp};

use crate::Queue;
use crate::error::QueueError;

/// The first link's job and end, how many jobs there are, how many images, and the counts of copies.
type Facts = (Vec<(String, f64)>, u64, Option<i64>, HashMap<i64, u64>);

/// Images that were billed and could not be had, since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// How many.
    pub images: u64,
    /// What they cost.
    pub cost: Micros,
}

/// The begin, in seconds, of the step that `now` falls into: the field that a copy is counted under.
pub(crate) fn pace_step(now: Timestamp) -> i64 {
    let step = i64::try_from(PACE_STEP.as_secs()).unwrap_or(1);
    now.as_second().div_euclid(step) * step
}

impl Queue {
    /// What waits to be copied, and how copying goes.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn copy_backlog(&self) -> Result<CopyBacklog, QueueError> {
        let (keys, now) = (self.keys(), self.now());
        let mut facts = redis::pipe();
        facts.zrange_withscores(keys.links(), 0, 0).zcard(keys.links());
        facts.hget(keys.counts(), "to_copy").hgetall(keys.copied());
        let (first, jobs, images, copied): Facts = self.link().pipeline(&facts).await?;
        let mut counts = redis::pipe();
        for horizon in HORIZONS {
            counts.zcount(keys.links(), "-inf", (now + horizon).as_millisecond());
        }
        let counts: Vec<u64> = self.link().pipeline(&counts).await?;
        let mut dying = [0; HORIZONS.len()];
        dying.iter_mut().zip(counts).for_each(|(slot, count)| *slot = count);
        Ok(CopyBacklog {
            now,
            jobs,
            images: images.map_or(0, |images| u64::try_from(images).unwrap_or(0)),
            first_link_dies_at: first
                .first()
                .and_then(|(_, ms)| Timestamp::from_millisecond(*ms as i64).ok()),
            dying,
            copied: copied
                .into_iter()
                .filter_map(|(second, jobs)| Some((Timestamp::from_second(second).ok()?, jobs)))
                .collect(),
        })
    }

    /// What was billed and could not be had.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn losses(&self) -> Result<Losses, QueueError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys().counts()).arg("lost").arg("lost_cost");
        let (images, cost): (Option<i64>, Option<i64>) = self.link().query(&command).await?;
        let images = images.map_or(0, |images| u64::try_from(images).unwrap_or(0));
        Ok(Losses { images, cost: Micros(cost.unwrap_or(0)) })
    }

    /// Drops counts of copies that no pace needs any more, and returns how many.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn forget_old_copies(&self) -> Result<usize, QueueError> {
        let copied = self.keys().copied();
        let steps: Vec<i64> = self.link().query(redis::cmd("HKEYS").arg(&copied)).await?;
        let oldest = (self.now() - 2 * PACE_WINDOW).as_second();
        let old: Vec<i64> = steps.into_iter().filter(|step| *step < oldest).collect();
        if !old.is_empty() {
            let _: u64 = self.link().query(redis::cmd("HDEL").arg(&copied).arg(&old)).await?;
        }
        Ok(old.len())
    }
}
