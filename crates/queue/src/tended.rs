//! Whether anybody sees to the outbox: the outbox tells it, since workers leave no other trace where there is nothing to make.

use std::time::Duration;

use crate::Queue;
use crate::error::QueueError;

/// How long an entry that is due may wait until a worker that runs, and has nothing better to do, has leased it.
///
/// Source: ours; a worker looks once a second.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(3);

/// How many entries that are not due are looked at for a lease. Source: ours; a worker leases 32 at most.
const LOOKED_AT: isize = 100;

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
        pipeline.zcount(keys.outbox(), "-inf", overdue_ms);
        pipeline.zrangebyscore_limit(keys.outbox(), format!("({now_ms}"), "+inf", 0, LOOKED_AT);
        let (overdue, later): (u64, Vec<String>) = self.link().pipeline(&pipeline).await?;
        if overdue == 0 || later.is_empty() {
            return Ok(overdue == 0);
        }
        let mut leases = redis::cmd("HMGET");
        leases.arg(keys.outbox_leases()).arg(&later);
        let leases: Vec<Option<String>> = self.link().query(&leases).await?;
        Ok(leases.iter().any(Option::is_some))
    }
}
