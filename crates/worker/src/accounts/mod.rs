//! Which accounts this worker works for, just now.
//!
//! The one owner of that: whoever needs an account or its limits asks here, each time anew, since the settings may be read again
//! while the worker works ([`reload`]), and the provider says what it allows. It keeps nobody's work and calls nobody; who has to begin or end something follows
//! [`Accounts::subscribe`], most through [`one_for_each`].

pub(crate) mod reload;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use job::{AccountName, Model};
use queue::Quotas;
use queue::claims::Ended;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::changes::Changes;
use crate::config::AccountConfig;

/// The accounts, shared by everybody in this worker.
#[derive(Clone)]
pub(crate) struct Accounts(watch::Sender<Arc<Known>>);

/// The accounts at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    /// As the settings have them.
    settings: Vec<AccountConfig>,
    /// What the provider says of them.
    quotas: BTreeMap<AccountName, Quotas>,
    /// Those of the settings, with the limits that follow from both: jobs may begin there.
    pub(crate) current: Vec<AccountConfig>,
    /// Those that the settings no longer have: nothing begins there, and what is at work there is finished.
    pub(crate) former: Vec<AccountConfig>,
}

impl Known {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &AccountConfig> {
        self.current.iter().chain(&self.former)
    }

    /// One where jobs may begin.
    pub(crate) fn current(&self, name: &AccountName) -> Option<&AccountConfig> {
        self.current.iter().find(|account| account.name == *name)
    }

    /// One that may have tasks.
    pub(crate) fn any(&self, name: &AccountName) -> Option<&AccountConfig> {
        self.all().find(|account| account.name == *name)
    }

    /// The same with `next` for the accounts of the settings. Those that are not among them become former ones, and former ones
    /// that are come back.
    fn with(&self, next: Vec<AccountConfig>) -> (Self, Changes<AccountName>) {
        let is_in = |accounts: &[AccountConfig], name: &AccountName| {
            accounts.iter().any(|account| account.name == *name)
        };
        let changes = Changes::between(&self.settings, &next, |account| &account.name);
        let former: Vec<_> = self.all().filter(|account| !is_in(&next, &account.name)).cloned().collect();
        let mut quotas = self.quotas.clone();
        quotas.retain(|name, _| is_in(&next, name));
        (Self { settings: next, quotas, current: Vec::new(), former }.judged(), changes)
    }

    /// The same with the limits that follow from settings and quotas.
    fn judged(mut self) -> Self {
        let under = |account: &AccountConfig| account.under(self.quotas.get(&account.name));
        self.current = self.settings.iter().map(under).collect();
        self
    }
}

impl Accounts {
    /// These.
    pub(crate) fn new(accounts: Vec<AccountConfig>) -> Self {
        let known = Known { settings: accounts, ..Known::default() };
        Self(watch::Sender::new(Arc::new(known.judged())))
    }

    /// As they are now.
    pub(crate) fn now(&self) -> Arc<Known> {
        self.0.borrow().clone()
    }

    /// Told of each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Known>> {
        self.0.subscribe()
    }

    /// Takes these for the accounts of the settings, from now on.
    pub(crate) fn replace(&self, next: Vec<AccountConfig>) -> Changes<AccountName> {
        let mut changes = Changes::default();
        self.0.send_modify(|known| {
            let (next, changed) = known.with(next);
            (*known, changes) = (Arc::new(next), changed);
        });
        changes
    }

    /// Goes by what the provider says of an account from now on. `false`: that changes no limit.
    pub(crate) fn learn(&self, name: &AccountName, quotas: &Quotas) -> bool {
        self.0.send_if_modified(|known| {
            let mut next = Known::clone(known);
            next.quotas.insert(name.clone(), quotas.clone());
            let next = next.judged();
            let changes = next.current != known.current;
            *known = Arc::new(next);
            changes
        })
    }

    /// Lets a former account go: nothing is left there.
    pub(crate) fn forget(&self, name: &AccountName) {
        self.0.send_modify(|known| {
            let mut next = Known::clone(known);
            next.former.retain(|account| account.name != *name);
            *known = Arc::new(next);
        });
    }
}

/// Each model of each of these accounts.
pub(crate) fn each_model<'a>(
    accounts: impl IntoIterator<Item = &'a AccountConfig>,
) -> Vec<(AccountName, Model)> {
    let models =
        |account: &'a AccountConfig| account.limits.keys().map(move |model| (account.name.clone(), *model));
    accounts.into_iter().flat_map(models).collect()
}

/// Runs one task for each thing that is `wanted`, until `stop`; whatever becomes wanted later gets its own then. A task finds out by
/// itself that it is no longer wanted ([`Ended::Unwanted`]), and what is wanted again after that gets a new one. One that
/// ended for another reason is not begun again. Returns when all have ended.
pub(crate) async fn one_for_each<K, F>(
    accounts: &Accounts,
    stop: &CancellationToken,
    wanted: impl Fn(&Known) -> Vec<K>,
    start: impl Fn(&K) -> F,
) where
    K: Clone + Eq + Hash + Send + 'static,
    F: Future<Output = Ended> + Send + 'static,
{
    let (mut tasks, mut running) = (JoinSet::new(), HashSet::new());
    let mut changes = accounts.subscribe();
    loop {
        let known = changes.borrow_and_update().clone();
        for key in wanted(&known) {
            if running.insert(key.clone()) {
                let task = start(&key);
                tasks.spawn(async move { (key, task.await) });
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = changes.changed() => {}
            Some(ended) = tasks.join_next() => {
                match ended {
                    Ok((key, Ended::Unwanted)) => {
                        running.remove(&key);
                    }
                    Ok((_, Ended::Stopped)) => {}
                    // Its account would be silent for as long as this worker lives.
                    Err(fault) => {
                        error!(error = &fault as &dyn std::error::Error, "A loop of an account broke down, and this worker with it");
                        stop.cancel();
                    }
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}
