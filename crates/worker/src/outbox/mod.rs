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
mod webhooks;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod twin;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use job::KeyTemplate;
use queue::{Entry, EntryOf};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::chance::Chance;
use crate::place::Places;
use crate::ports::JobsFault;

pub use self::config::OutboxConfig;
use self::hook::Turns;
pub use self::hook::{Ponged, ping};
pub use self::port::{LinesUpload, Manifests, Outbox, Post, Receivers, SendFault};
pub use self::sign::{SecretFault, WebhookSecret};
pub(crate) use self::webhooks::Webhooks;
pub use self::webhooks::{EventKind, Webhook};

/// How long an entry belongs to a worker without a sign of life.
///
/// Source: ours; twice what a receiver may take to answer, and short enough that a worker's death delays nothing for long.
const LEASE: Duration = Duration::from_secs(30);

/// How often a lease is prolonged.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Entries that a worker works on at once.
///
/// Source: ours; a receiver that takes its whole time for each of some events leaves room for the others.
const AT_ONCE: usize = 32;

/// Manifests that a worker writes at once. Source: ours; each has up to two parts of an upload in memory, 16 MiB each.
const MANIFESTS_AT_ONCE: usize = 2;

/// How long a worker that is told to stop takes to give its entries back. Source: ours; with Redis in reach it takes milliseconds, without
/// they come back when their leases end.
const GIVE_BACK: Duration = Duration::from_millis(100);

/// How often the outbox is looked at while nothing is known to be due. Source: ours; a batch's end is told within a second or so.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Brings to their receivers what the ends of batches leave.
pub(crate) struct Courier {
    outbox: Arc<dyn Outbox>,
    manifests: Arc<dyn Manifests>,
    receivers: Arc<dyn Receivers>,
    config: OutboxConfig,
    webhooks: Webhooks,
    template: KeyTemplate,
    currency: String,
    places: Arc<dyn Places>,
    chance: Chance,
    manifests_at_once: Semaphore,
    turns: Turns,
    /// What is leased just now.
    under_way: Mutex<BTreeMap<EntryOf, Entry>>,
    /// Cancelled when the worker is to go down: what is under way is left, and comes back when its lease ends.
    stop: CancellationToken,
}

impl Courier {
    /// One with nothing in hand.
    #[expect(clippy::too_many_arguments, reason = "each is one of its parts")]
    pub(crate) fn new(
        outbox: Arc<dyn Outbox>,
        manifests: Arc<dyn Manifests>,
        receivers: Arc<dyn Receivers>,
        config: OutboxConfig,
        webhooks: Webhooks,
        template: KeyTemplate,
        currency: String,
        places: Arc<dyn Places>,
        chance: Chance,
        stop: CancellationToken,
    ) -> Self {
        let manifests_at_once = Semaphore::new(MANIFESTS_AT_ONCE);
        let (turns, under_way) = (Turns::default(), Mutex::default());
        Self {
            outbox,
            manifests,
            receivers,
            config,
            webhooks,
            template,
            currency,
            places,
            chance,
            manifests_at_once,
            turns,
            under_way,
            stop,
        }
    }

    /// Works until the worker stops, and gives back what it has not done by then.
    pub(crate) async fn run(&self) {
        self.work().await;
        let entries: Vec<Entry> = std::mem::take(&mut *self.entries()).into_values().collect();
        let given_back = entries.iter().map(async |entry| {
            let end = batch_end::put_back(entry, Duration::ZERO);
            let _ = self.outbox.write(entry, &end).await;
        });
        let _ = tokio::time::timeout(GIVE_BACK, futures::future::join_all(given_back)).await;
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<EntryOf, Entry>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(&self) {
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
        self.entries().insert(entry.of.clone(), entry.clone());
        self.try_to_deliver(&entry).await;
        self.entries().remove(&entry.of);
    }

    async fn try_to_deliver(&self, entry: &Entry) {
        let work = async {
            match &entry.of {
                EntryOf::Batch { batch, end, .. } => self.end_of_batch(entry, batch, *end).await,
                EntryOf::Hook { hook, batch, .. } => Some(self.event(entry, hook, batch).await),
            }
        };
        let end = tokio::select! {
            end = work => end,
            () = self.keep(entry) => {
                warn!(entry = %entry.of, "The lease of {} is lost: somebody else goes on with it", entry.of);
                return;
            }
        };
        let Some(end) = end else { return };
        match self.outbox.write(entry, &end).await {
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
