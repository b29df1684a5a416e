//! Brings jobs back that wait for the budget of their batch, once it has room for them.
//!
//! A claim takes such jobs out of their turns. What makes room again, a task that cost less than it might have, a budget that was raised,
//! tells nobody: every worker looks once a second, at as much as there are batches that wait, and nothing that fails here is lost, since
//! the next look goes by what stands in Redis. It decides nothing: a claim does. Days and accounts need no look, since fetchers ask
//! again by themselves. Started by [`crate::run()`].

use std::time::Duration;

use tracing::debug;

use crate::env::Env;

/// How often is looked. Source: ours; a call without a batch that waits is one short read.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until the worker stops.
pub(crate) async fn run(env: &Env) {
    let (prices, per_batch) = (&env.config.prices, env.config.budgets.per_batch);
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match env.jobs.bring_back(prices, per_batch).await {
            Ok(0) => {}
            Ok(lanes) => debug!(lanes, "Jobs that waited for the budgets of their batches go on"),
            Err(fault) => debug!(error = &fault as &dyn std::error::Error, "Nothing could be brought back"),
        }
    }
}
