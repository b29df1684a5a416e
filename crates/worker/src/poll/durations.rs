//! Looks now and then at how long tasks run by now: all workers learn it together, from every task that ends. Started by [`crate::run()`].

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use job::{Durations, Likely, Model, TaskKind};
use tracing::debug;

use crate::env::Env;

/// What this worker knows.
#[derive(Debug, Default)]
pub(crate) struct KnownDurations(RwLock<Arc<Durations>>);

impl KnownDurations {
    /// What is likely for tasks of a kind.
    pub(crate) fn likely(&self, kind: TaskKind) -> Option<Likely> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).likely(kind)
    }

    pub(super) fn set(&self, durations: Arc<Durations>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = durations;
    }
}

/// How often. Source: ours; one read of a small hash, and at the documented limits no task ends unnoticed between two of them for long.
const EVERY: Duration = Duration::from_secs(2);

/// How often as long as nothing is known. Source: ours; with thousands in flight a hundred may end in each second by then.
const EVERY_AT_FIRST: Duration = Duration::from_millis(250);

/// Learns until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        match env.jobs.learn_durations().await {
            Ok(durations) => env.durations.set(durations),
            Err(fault) => {
                debug!(error = &fault as &dyn std::error::Error, "How long tasks run could not be looked at")
            }
        }
        let knows = Model::ALL
            .iter()
            .any(|model| env.durations.likely(TaskKind { model: *model, shape: None }).is_some());
        let wait = if knows { EVERY } else { EVERY_AT_FIRST };
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
