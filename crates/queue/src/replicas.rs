//! Whether replicas have what was written: asked after a claim for submit, before anything is sent that is billed.
//!
//! A claim that a failover forgets would be made again, and its create paid for twice. Replication is ordered: a replica that has
//! acknowledged a write has all writes before it. So a write of its own, on a connection of its own (WAIT blocks it), followed by
//! WAIT, speaks for every claim whose answer came before. Acknowledged is not on disk: a power cut of both at once can still lose it.

use std::time::Duration;

use tokio::sync::Mutex;
use tracing::debug;

use crate::Queue;
use crate::error::QueueError;
use crate::keys::Keys;
use crate::link::Link;

/// How much longer than it was told WAIT may take to answer. Source: ours; a busy Redis is no reason to give up a claim.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What is demanded of replicas, and the connection on which they are waited for.
pub(crate) struct Replicas {
    demanded: u32,
    wait: Duration,
    connection: Mutex<Option<redis::aio::MultiplexedConnection>>,
}

impl Replicas {
    /// `demanded` replicas must acknowledge within `wait`.
    pub(crate) fn new(demanded: u32, wait: Duration) -> Self {
        Self { demanded, wait, connection: Mutex::default() }
    }

    async fn acknowledged(&self, link: &Link, keys: &Keys) -> Result<u32, QueueError> {
        // One question at a time: it speaks for all that was written before it, and the next waits no longer than this one.
        let mut held = self.connection.lock().await;
        // Taken out, and put back only after an answer: whoever drops this in between leaves a connection with a late answer.
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => link.connection(self.wait + ANSWER_WITHIN).await?,
        };
        let wait_ms = u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(keys.replicated()).arg(link.nonce()).ignore();
        pipeline.cmd("WAIT").arg(self.demanded).arg(wait_ms);
        let (acknowledged,): (u32,) = pipeline.query_async(&mut connection).await?;
        *held = Some(connection);
        Ok(acknowledged)
    }
}

impl Queue {
    /// Whether as many replicas as are demanded (`replicas` of the settings) have everything that was written until now. True at once
    /// where none is demanded; false when Redis cannot be asked.
    pub async fn is_replicated(&self) -> bool {
        let replicas = &self.inner.replicas;
        if replicas.demanded == 0 {
            return true;
        }
        match replicas.acknowledged(self.link(), self.keys()).await {
            Ok(acknowledged) => acknowledged >= replicas.demanded,
            Err(problem) => {
                debug!(
                    error = &problem as &dyn std::error::Error,
                    "Whether replicas follow could not be asked"
                );
                false
            }
        }
    }

    /// How many replicas must have a claim before its create is sent, and how long they are waited for.
    pub fn demanded_replicas(&self) -> (u32, Duration) {
        (self.inner.replicas.demanded, self.inner.replicas.wait)
    }
}
