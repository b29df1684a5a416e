//! What answers to queries show of their account: whether this worker's queries rest, those of every worker, or a breaker holds
//! them back.
//!
//! A query that nobody answers holds a handler until its timeout. Without a rest one account's outage would fill every poll
//! handler, and the polls of the others would wait behind it. An account that a person must put right has a breaker instead, and
//! one query at a time finds out whether that was done. Called with each answer to a query, a list or a cancel.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dashscope::error::ErrorClass;
use job::AccountName;
use tracing::warn;

use crate::env::Env;
use crate::ports::{Answer, CallFault, Pausable, PausedCall, Turn};
use crate::rests::{self, Resting};
use crate::streaks::Trouble;
use crate::submit::breakers;

/// From so many unanswered queries in a row on, the account's queries rest: one lost connection among thousands is no outage.
///
/// Source: ours. Those that fail together count once, see [`crate::streaks::Streaks::add`].
const IN_A_ROW_MIN: u32 = 2;

/// The longest pause of queries that the service may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Whichever probe is out: a query changes nothing, so that any answer is as good as the probe's.
const ANY_PROBE: Option<&str> = Some("*");

/// Accounts for which this worker was let through the open breaker of their queries.
#[derive(Debug, Default)]
pub(crate) struct QueryProbes(Mutex<HashSet<AccountName>>);

impl QueryProbes {
    /// The next answer to a query of the account decides about its breaker.
    pub(crate) fn add(&self, account: &AccountName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone());
    }

    fn take(&self, account: &AccountName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(account)
    }
}

/// Learns from an answer, or from its absence, whether the account's queries are to rest.
pub(crate) async fn heed<T>(env: &Env, account: &AccountName, answer: &Result<T, CallFault>) {
    match answer {
        Err(CallFault::Unanswered { message }) => return rest(env, account, message).await,
        Err(CallFault::UnknownAccount) => return,
        Err(CallFault::Refused(refused)) if is_throttle(refused.class) => {
            env.streaks.end(account, &[Trouble::Silence]);
            slow_down(env, account, refused).await;
        }
        // Whatever it says: it answers.
        Ok(_) | Err(CallFault::Refused(_)) => env.streaks.end(account, &Trouble::OF_QUERIES),
    }
    let was_probe = env.query_probes.take(account);
    let turn = match answer {
        Err(fault @ CallFault::Refused(refused)) if is_the_accounts(refused.class) => {
            Turn::Open { code: refused.code.clone(), why: fault.to_string(), wait_min: Duration::ZERO }
        }
        _ if was_probe => Turn::Close,
        _ => return,
    };
    match env.jobs.turn_breaker(account, PausedCall::Query, ANY_PROBE, &turn).await {
        Ok(became) => breakers::say(account, PausedCall::Query, &turn, became),
        Err(fault) => {
            warn!(account = %account, error = &fault as &dyn std::error::Error, "A breaker could not be turned")
        }
    }
}

fn is_the_accounts(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::AccountFault { .. } | ErrorClass::AccessDenied)
}

fn is_throttle(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Throttled { .. } | ErrorClass::Capacity)
}

/// The service says that there were too many: every worker leaves it alone for as long as it asks for.
async fn slow_down(env: &Env, account: &AccountName, refused: &Answer) {
    let streak = env.streaks.add(account, Trouble::QueriesThrottled, env.clock.elapsed(), env.chance.draw());
    let wait = refused.retry_after.map_or(streak.wait, |wait| wait.min(PAUSE_MAX));
    let why = format!("HTTP {}, {}: {}", refused.http_status, refused.code, refused.message);
    warn!(account = %account, wait_ms = wait.as_millis() as u64, "Queries of account {account} rest for {wait:?}: {why}");
    pause(env, account, wait, &why).await;
}

async fn pause(env: &Env, account: &AccountName, wait: Duration, why: &str) {
    if let Err(fault) = env.jobs.pause(account, Pausable::Queries, wait, why).await {
        warn!(account = %account, error = &fault as &dyn std::error::Error, "The pause could not be written");
    }
}

async fn rest(env: &Env, account: &AccountName, message: &str) {
    let streak = env.streaks.add(account, Trouble::Silence, env.clock.elapsed(), env.chance.draw());
    if streak.in_a_row < IN_A_ROW_MIN {
        return;
    }
    let why = format!("{} queries in a row got no answer: {message}", streak.in_a_row);
    rests::rest(env, account, Resting::Queries, streak.wait, &why).await;
}
