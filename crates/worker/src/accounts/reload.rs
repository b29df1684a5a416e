//! Takes accounts and webhooks over that were read again while the worker works, and lets go of accounts that are gone.
//!
//! All or nothing: what is wrong with one account, or a key that another namespace works with, leaves every account and webhook as it was. What
//! is taken over holds from the next call on; no claim and no step that is under way is touched. An account that is gone begins
//! nothing more, and keeps its client, its polls and its keys until no task is left there. Started by [`crate::run()`].

use std::collections::HashMap;
use std::time::Duration;

use job::{AccountName, Model, WebhookName};
use queue::{ExtraState, Queue, QueueError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tracing::{debug, info};

use super::Known;
use crate::adapters::{ApiSetupError, DashScopeApi};
use crate::changes::Changes;
use crate::config::{AccountConfig, ConfigError, check_accounts};
use crate::env::Env;
use crate::keys_held::{HeldElsewhere, KeysHeld};
use crate::outbox::{Webhook, Webhooks};
use crate::ports::JobsFault;

/// How often it is looked whether anything is left at accounts that are gone.
///
/// Source: ours; until then they cost a claim a second, and a look reads what holds their places.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Nothing is taken over. Accounts and webhooks stay as they were.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// They cannot work.
    #[error("the accounts cannot work")]
    Config(#[from] ConfigError),
    /// A client of the provider cannot be made.
    #[error("the provider's client cannot be set up")]
    Api(#[from] ApiSetupError),
    /// The queue cannot be asked whose keys these are.
    #[error("the queue cannot be asked whose keys these are")]
    Queue(#[from] QueueError),
    /// A key works for another namespace of the same Redis.
    #[error("the key of account `{account}` is in use by namespace `{namespace}` on this Redis")]
    KeyElsewhere {
        /// The account.
        account: AccountName,
        /// The other namespace.
        namespace: String,
    },
    /// An account would be looked for elsewhere, where its tasks are not: they would be taken for gone, and paid for again.
    #[error(
        "account `{0}` would go to another address or workspace, where its tasks are not known; \
         give the new one another name, and let this one end its work"
    )]
    Moved(AccountName),
    /// The worker is going down.
    #[error("the worker is going down")]
    GoingDown,
}

/// What was taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Accounts where jobs begin from now on, whose keys, limits or address are others, and where nothing begins any more.
    pub accounts: Changes<AccountName>,
    /// Webhooks that are told of what ends from now on, that are told elsewhere or otherwise, and that are told no more.
    pub webhooks: Changes<WebhookName>,
}

struct Request {
    accounts: Vec<AccountConfig>,
    webhooks: Vec<Webhook>,
    answer: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// Hands accounts and webhooks over to a worker that works.
#[derive(Clone)]
pub struct Reloader(mpsc::Sender<Request>);

/// The worker's end of a [`Reloader`].
pub struct Reloads(mpsc::Receiver<Request>);

/// The two ends.
#[must_use]
pub fn reloads() -> (Reloader, Reloads) {
    let (sender, receiver) = mpsc::channel(1);
    (Reloader(sender), Reloads(receiver))
}

impl Reloader {
    /// Has the worker work for these accounts and tell these webhooks, and no others, from now on.
    ///
    /// # Errors
    ///
    /// They are not taken over, and the worker goes on with those that it has.
    pub async fn reload(
        &self,
        accounts: Vec<AccountConfig>,
        webhooks: Vec<Webhook>,
    ) -> Result<Reloaded, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request { accounts, webhooks, answer }).await.map_err(|_| ReloadError::GoingDown)?;
        answered.await.unwrap_or(Err(ReloadError::GoingDown))
    }
}

/// Takes over what comes, and looks after what is gone, until the worker stops: one after the other, since an account that comes back
/// while it is let go would lose its client.
pub(crate) async fn run(env: &Env, queue: &Queue, api: &DashScopeApi, webhooks: &Webhooks, reloads: Reloads) {
    tokio::select! {
        biased;
        () = env.stop.cancelled() => {}
        () = work(env, queue, api, webhooks, reloads) => {}
    }
}

async fn work(
    env: &Env,
    queue: &Queue,
    api: &DashScopeApi,
    webhooks: &Webhooks,
    Reloads(mut requests): Reloads,
) {
    let (mut empty, mut looks) = (HashMap::new(), tokio::time::interval(LOOK_EVERY));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(Request { accounts, webhooks: next, answer }) = requests.recv() => {
                let taken = take(env, queue, api, accounts).await;
                let taken = taken.map(|accounts| Reloaded { accounts, webhooks: webhooks.replace(next) });
                // Nobody may wait for the answer: what was taken over was taken over.
                let _ = answer.send(taken);
            }
            _ = looks.tick() => let_go(env, api, &mut empty).await,
        }
    }
}

/// Takes these accounts over, or none of them.
async fn take(
    env: &Env,
    queue: &Queue,
    api: &DashScopeApi,
    accounts: Vec<AccountConfig>,
) -> Result<Changes<AccountName>, ReloadError> {
    check_accounts(&accounts)?;
    if let Some(moved) = moved(&env.accounts.now(), &accounts) {
        return Err(ReloadError::Moved(moved));
    }
    let clients = api.prepare(&accounts)?;
    // Before they are used: a key that is used elsewhere has its limits kept there.
    if let Some(HeldElsewhere { account, namespace }) = KeysHeld::of(&accounts).hold(queue).await? {
        return Err(ReloadError::KeyElsewhere { account, namespace });
    }
    // Clients first: whoever finds an account finds its client.
    api.adopt(clients);
    Ok(env.accounts.replace(accounts))
}

/// The first account that is known at another address, or in another workspace. Pure.
pub(super) fn moved(known: &Known, next: &[AccountConfig]) -> Option<AccountName> {
    let is_moved = |account: &&AccountConfig| {
        known.any(&account.name).is_some_and(|before| {
            before.base_url != account.base_url || before.workspace != account.workspace
        })
    };
    next.iter().find(is_moved).map(|account| account.name.clone())
}

/// Lets go of accounts where nothing is left.
async fn let_go(env: &Env, api: &DashScopeApi, empty: &mut HashMap<AccountName, Duration>) {
    for name in over(env, empty).await {
        info!(account = %name, "Nothing is left at account {name}, which the settings no longer have");
        env.accounts.forget(&name);
        api.forget(&name);
    }
}

/// Former accounts that were empty at every look for as long as the provider keeps tasks: what was just being claimed when an account went
/// has come to light by then, and no image is left whose link the account may have to renew. `empty` keeps since when, by the boot clock.
pub(super) async fn over(env: &Env, empty: &mut HashMap<AccountName, Duration>) -> Vec<AccountName> {
    let known = env.accounts.now();
    let mut over = Vec::new();
    let now = env.clock.elapsed();
    empty.retain(|name, _| known.former.iter().any(|account| account.name == *name));
    for account in &known.former {
        let name = &account.name;
        match is_empty(env, name).await {
            Ok(true) => {
                let since = *empty.entry(name.clone()).or_insert(now);
                if now.saturating_sub(since) >= env.config.rules.task_retention {
                    empty.remove(name);
                    over.push(name.clone());
                }
            }
            Ok(false) => {
                empty.remove(name);
            }
            Err(fault) => {
                empty.remove(name);
                debug!(account = %name, error = &fault as &dyn std::error::Error, "What is left at account {name} cannot be read");
            }
        }
    }
    over
}

/// Whether no task is, or may be, at work at the account, and no task that nobody asked for is still asked about.
async fn is_empty(env: &Env, account: &AccountName) -> Result<bool, JobsFault> {
    for model in Model::ALL {
        if !env.jobs.placed(account, model).await?.is_empty() {
            return Ok(false);
        }
    }
    let extras = env.jobs.extras(account).await?;
    Ok(extras.iter().all(|extra| extra.state != ExtraState::Open))
}
