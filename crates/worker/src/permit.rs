//! Permits for queries, lists and cancels beyond the one that a claim brings.

use std::time::Duration;

use job::AccountName;
use tracing::debug;

use crate::env::Env;
use crate::ports::Permit;
use crate::rests::Resting;

/// How long to wait when the queue does not say.
const RETRY: Duration = Duration::from_secs(1);

/// The longest wait for one permit: a step that waits through a pause holds its job and its place in its stage.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// There was no permit within [`WAIT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account's queries are held back")]
pub(crate) struct NoPermit;

/// Waits for a query permit of the account. The end of the worker does not end the wait: whoever calls this races it.
pub(crate) async fn query_permit(env: &Env, account: &AccountName) -> Result<(), NoPermit> {
    tokio::time::timeout(WAIT_MAX, granted(env, account)).await.map_err(|_| NoPermit)
}

async fn granted(env: &Env, account: &AccountName) {
    loop {
        let rest = env.rests.left(account, Resting::Queries, env.clock.elapsed());
        if !rest.is_zero() {
            tokio::time::sleep(rest.min(Duration::from_secs(5))).await;
            continue;
        }
        match env.jobs.query_permit(account).await {
            Ok(Permit::In(wait)) => return tokio::time::sleep(wait).await,
            Ok(Permit::ProbeIn(wait)) => {
                tokio::time::sleep(wait).await;
                return env.query_probes.add(account);
            }
            // A pause may be long, and may be lifted: look again now and then.
            Ok(Permit::Wait(wait)) => {
                tokio::time::sleep(wait.clamp(Duration::from_millis(1), Duration::from_secs(5))).await
            }
            Err(fault) => {
                debug!(account = %account, error = &fault as &dyn std::error::Error, "No permit could be asked for");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
