//! Holds the accounts' API keys for the queue's namespace, for as long as the worker works.
//!
//! Two namespaces that use one key would each keep its limits, and together break them; and each would count the other's tasks
//! as its own. So the second one is refused at its start, or when it is told of the key. Started by [`crate::run()`].

use std::time::Duration;

use archive::Sha256Digest;
use job::AccountName;
use queue::{Queue, QueueError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::accounts::Accounts;
use crate::config::AccountConfig;

/// How often the keys are held again. Source: ours; ten times in [`queue::KEY_HELD_FOR`].
const EVERY: Duration = Duration::from_secs(60);

/// The accounts' keys, as digests: a key itself is never written anywhere.
pub(crate) struct KeysHeld(Vec<(AccountName, String)>);

/// An account's key works for another namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldElsewhere {
    pub(crate) account: AccountName,
    pub(crate) namespace: String,
}

impl KeysHeld {
    pub(crate) fn of<'a>(accounts: impl IntoIterator<Item = &'a AccountConfig>) -> Self {
        let digests = accounts.into_iter().flat_map(|account| {
            let digest = |key: &dashscope::ApiKey| Sha256Digest::of(key.expose().as_bytes()).to_string();
            account.api_keys.iter().map(move |key| (account.name.clone(), digest(key)))
        });
        Self(digests.collect())
    }

    /// Holds them all; the first that another namespace holds.
    pub(crate) async fn hold(&self, queue: &Queue) -> Result<Option<HeldElsewhere>, QueueError> {
        for (account, digest) in &self.0 {
            if let Some(namespace) = queue.hold_key(digest).await? {
                return Ok(Some(HeldElsewhere { account: account.clone(), namespace }));
            }
        }
        Ok(None)
    }
}

/// Holds those of the accounts, as they are by then, again and again until `stop`.
pub(crate) async fn keep(accounts: Accounts, queue: Queue, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match KeysHeld::of(accounts.now().all()).hold(&queue).await {
            Ok(None) => {}
            Ok(Some(HeldElsewhere { account, namespace })) => {
                error!(account = %account, namespace, "The key of account {account} is used by namespace `{namespace}` as well: its limits are kept by neither");
            }
            Err(fault) => {
                debug!(error = &fault as &dyn std::error::Error, "The keys could not be held")
            }
        }
    }
}
