//! Calls that this worker leaves alone for a while, because of troubles that may be its own.
//!
//! A worker without a network, or one whose machine stands still now and then, knows nothing of the account: what it cannot do others
//! can, and a pause for everybody would let the account idle. So only its own fetchers rest, and longer and longer; an outage of the
//! service that all of them see is met by all of them in this way. What the service itself says is everybody's, in Redis.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use job::AccountName;
pub(crate) use queue::Resting;
use tracing::warn;

use crate::env::Env;

/// Until when, by the boot clock, which calls of which account rest.
#[derive(Debug, Default)]
pub(crate) struct Rests(Mutex<HashMap<(AccountName, Resting), Duration>>);

impl Rests {
    pub(crate) fn prolong(&self, account: &AccountName, call: Resting, until: Duration) {
        let mut rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rests.entry((account.clone(), call)).or_default();
        *known = (*known).max(until);
    }

    /// How long the call still rests at `now`.
    pub(crate) fn left(&self, account: &AccountName, call: Resting, now: Duration) -> Duration {
        let rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rests.get(&(account.clone(), call)).map_or(Duration::ZERO, |until| until.saturating_sub(now))
    }
}

/// Lets a call of this worker's rest for `wait`, and says so where people look.
pub(crate) async fn rest(env: &Env, account: &AccountName, call: Resting, wait: Duration, why: &str) {
    let name = call.name();
    warn!(account = %account, wait_ms = wait.as_millis() as u64, "This worker lets its {name} calls of account {account} rest for {wait:?}: {why}");
    env.rests.prolong(account, call, env.clock.elapsed() + wait);
    if let Err(fault) = env.jobs.note_rest(account, call, wait, why).await {
        tracing::debug!(account = %account, error = &fault as &dyn std::error::Error, "The rest could not be written down");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_of_one_call_of_one_account_and_is_only_ever_prolonged() {
        let (rests, second) = (Rests::default(), Duration::from_secs(1));
        let (a, b) = (AccountName::parse("a").unwrap(), AccountName::parse("b").unwrap());
        rests.prolong(&a, Resting::Creates, 9 * second);
        rests.prolong(&a, Resting::Creates, 5 * second);
        assert_eq!(rests.left(&a, Resting::Creates, 4 * second), 5 * second);
        assert_eq!(rests.left(&a, Resting::Creates, 10 * second), Duration::ZERO);
        assert_eq!(rests.left(&a, Resting::Queries, second), Duration::ZERO);
        assert_eq!(rests.left(&b, Resting::Creates, second), Duration::ZERO);
    }
}
