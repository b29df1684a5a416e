//! The last count of tasks that have a key of ours and that nobody here owns.

use std::time::Duration;

use job::{AccountName, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::error::QueueError;

/// Tasks of an account that no job, no command and no extra task accounts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphans {
    /// When they were counted.
    pub at: Timestamp,
    /// How many there are.
    pub count: u64,
    /// When the oldest was created, by the provider's clock.
    pub oldest: Option<Timestamp>,
    /// Some of them, at most 20, the oldest first.
    pub tasks: Vec<TaskId>,
}

impl Queue {
    /// Whether it is this worker's turn to count an account's orphans: for `hold` it is nobody else's.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn take_orphans_turn(&self, account: &AccountName, hold: Duration) -> Result<bool, QueueError> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys().orphans_turn(account)).arg(self.nonce());
        command.arg("NX").arg("PX").arg(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1));
        let set: Option<String> = self.link().query(&command).await?;
        Ok(set.is_some())
    }

    /// Stores a count.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn store_orphans(&self, account: &AccountName, orphans: &Orphans) -> Result<(), QueueError> {
        let json = serde_json::to_string(orphans).expect("a count is plain data and always serializes");
        self.link().query(redis::cmd("SET").arg(self.keys().orphans(account)).arg(json)).await
    }

    /// The last count.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn orphans(&self, account: &AccountName) -> Result<Option<Orphans>, QueueError> {
        let text: Option<String> =
            self.link().query(redis::cmd("GET").arg(self.keys().orphans(account))).await?;
        Ok(text.and_then(|text| {
            let read = serde_json::from_str(&text);
            read.inspect_err(|error| tracing::error!("The count of orphans cannot be read: {error}")).ok()
        }))
    }
}
