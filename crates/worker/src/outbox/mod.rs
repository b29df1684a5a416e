//! What follows from a batch's end: its results in the bucket, and webhooks that are told of it.
//!
//! Every worker takes entries of the outbox that are due, under a lease that it renews, and writes down what became of each. A worker that
//! vanishes leaves its entry to the next one: everything here may be done twice and is never left out, so that a receiver gets an event at
//! least once, always under the same id. Decides nothing about jobs. Started by [`crate::run()`].

mod batch_end;
mod config;
mod event;
mod hook;
mod port;
mod sign;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use job::KeyTemplate;
use queue::Entry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::chance::Chance;
use crate::place::Places;
use crate::ports::JobsFault;

pub use self::config::{EventKind, OutboxConfig, Webhook};
pub use self::hook::{Ponged, ping};
pub use self::port::{LinesUpload, Manifests, Outbox, Post, Receivers, SendFault};
pub use self::sign::{SecretFault, WebhookSecret};

/// How long an entry belongs to a worker without a sign of life.
///
/// Source: ours; twice what a receiver may take to answer, and short enough that a worker's death delays nothing for long.
const LEASE: Duration = Duration::from_secs(30);

/// How often a lease is prolonged.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Entries that a worker works on at once.
///
/// Source: ours; a receiver that takes its whole time for each of some events leaves room for the others.
const AT_ONCE: usize = 16;

/// How often the outbox is looked at while nothing is known to be due. Source: ours; a batch's end is told within a second or so.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Brings to their receivers what the ends of batches leave.
pub(crate) struct Courier {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) manifests: Arc<dyn Manifests>,
    pub(crate) receivers: Arc<dyn Receivers>,
    pub(crate) config: OutboxConfig,
    pub(crate) template: KeyTemplate,
    pub(crate) currency: String,
    pub(crate) places: Arc<dyn Places>,
    pub(crate) chance: Chance,
    /// Cancelled when the worker is to go down: what is under way is left, and comes back when its lease ends.
    pub(crate) stop: CancellationToken,
}

impl Courier {
    /// Works until the worker stops.
    pub(crate) async fn run(&self) {
        let mut under_way = FuturesUnordered::new();
        let mut look_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                // What it was may have left something that is due now.
                Some(()) = under_way.next() => look_at = Instant::now(),
                () = tokio::time::sleep_until(look_at), if under_way.len() < AT_ONCE => {
                    let taken = tokio::select! {
                        biased;
                        () = self.stop.cancelled() => return,
                        taken = self.outbox.take(AT_ONCE - under_way.len(), LEASE) => taken,
                    };
                    let wait = match taken {
                        Ok((entries, wait)) => {
                            under_way.extend(entries.into_iter().map(|entry| self.deliver(entry)));
                            wait
                        }
                        Err(fault) => {
                            unasked(&fault);
                            None
                        }
                    };
                    look_at = Instant::now() + wait.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
                }
            }
        }
    }

    /// Does what an entry asks for, and writes down what became of it.
    async fn deliver(&self, entry: Entry) {
        let work = async {
            match &entry.of {
                queue::EntryOf::Batch { batch, end } => self.end_of_batch(&entry, batch, *end).await,
                queue::EntryOf::Hook { hook, batch, .. } => self.event(&entry, hook, batch).await,
            }
        };
        let end = tokio::select! {
            end = work => end,
            () = self.keep(&entry) => {
                warn!(entry = %entry.of, "The lease of {} is lost: somebody else goes on with it", entry.of);
                return;
            }
        };
        let Some(end) = end else { return };
        match self.outbox.write(&entry, &end).await {
            Ok(true) => {}
            Ok(false) => debug!(entry = %entry.of, "{} was somebody else's by then", entry.of),
            Err(fault) => {
                warn!(entry = %entry.of, error = &fault as &dyn std::error::Error, "What became of {} could not be written down", entry.of);
            }
        }
    }

    /// Prolongs a lease, and returns once it is lost.
    async fn keep(&self, entry: &Entry) {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            match self.outbox.keep(entry, LEASE).await {
                Ok(true) => {}
                Ok(false) => return,
                // It may come back in time; if not, the write at the end is refused.
                Err(fault) => unasked(&fault),
            }
        }
    }
}

/// Redis that is away says so elsewhere.
fn unasked(fault: &JobsFault) {
    match fault {
        JobsFault::Away(_) => {
            debug!(error = fault as &dyn std::error::Error, "The outbox could not be asked")
        }
        _ => warn!(error = fault as &dyn std::error::Error, "The outbox cannot be asked"),
    }
}
