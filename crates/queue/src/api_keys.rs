//! Which namespace an API key works for.

use std::time::Duration;

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::HOLD_KEY;

/// How long a key stays held once nobody holds it any more.
///
/// Source: ours. Workers hold their keys again every minute; whoever moves to another namespace waits this long at most.
pub const KEY_HELD_FOR: Duration = Duration::from_secs(600);

impl Queue {
    /// Holds an API key, by its digest, for this namespace, for [`KEY_HELD_FOR`]. `Some`: another namespace holds it.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn hold_key(&self, digest: &str) -> Result<Option<String>, QueueError> {
        let keys = [self.keys().api_key(digest)];
        let namespace = self.keys().namespace().to_owned();
        let args = [namespace.clone(), KEY_HELD_FOR.as_millis().to_string()];
        let mut reply = self.script("hold_key", &HOLD_KEY, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(Some(reply.text()?).filter(|holder| *holder != namespace))
    }
}
