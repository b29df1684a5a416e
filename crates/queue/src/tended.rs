//! Whether anybody sees to the outbox: the outbox tells it, since workers leave no other trace where there is nothing to make.

use std::time::Duration;

use crate::Queue;
use crate::error::QueueError;

/// How long an entry that is due may wait until a worker that runs, and has nothing better to do, has leased it.
///
/// Source: ours; a worker looks once a second.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(3);

impl Queue {
    /// Whether somebody seems to see to the outbox: nothing has been due there for some seconds, or something is leased, by a worker that may
    /// have its hands full. What a worker that was killed had leased counts until its lease ends.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn outbox_is_tended(&self) -> Result<bool, QueueError> {
        let (keys, now) = (self.keys(), self.now());
        let (now_ms, overdue_ms) = (now.as_millisecond(), (now - LOOKED_AT_WITHIN).as_millisecond());
        let mut pipeline = redis::pipe();
        // Those that are leased are due when their leases end. A worker leases 32 at most.
        pipeline.zcount(keys.outbox(), "-inf", overdue_ms).hkeys(keys.outbox_leases());
        let (overdue, leased): (u64, Vec<String>) = self.link().pipeline(&pipeline).await?;
        if overdue == 0 || leased.is_empty() {
            return Ok(overdue == 0);
        }
        let mut ends = redis::cmd("ZMSCORE");
        ends.arg(keys.outbox()).arg(&leased);
        let ends: Vec<Option<f64>> = self.link().query(&ends).await?;
        Ok(ends.iter().flatten().any(|end| *end as i64 > now_ms))
    }
}
