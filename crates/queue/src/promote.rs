//! Promotion: what has become due moves to where claims look.

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::reply::Wait;
use crate::scripts::PROMOTE;

/// What a promotion moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// How many jobs.
    pub moved: u64,
    /// When the next is due.
    pub wait: Wait,
}

impl Queue {
    /// Moves up to `max` jobs of each kind that have become due. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn promote(&self, max: usize) -> Result<Promoted, QueueError> {
        let keys = self.keys();
        let key_names = [keys.delayed(), keys.wait_archive(), keys.ready_archive()];
        let args = [keys.prefix().to_owned(), max.to_string()];
        let mut reply = self.script("promote", &PROMOTE, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(Promoted { moved: u64::try_from(reply.int()?).unwrap_or(0), wait: reply.wait()? })
    }
}
