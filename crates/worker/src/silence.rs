//! Accounts whose queries get no answer: their queries rest, for every worker.
//!
//! A query that nobody answers holds a handler until its timeout. Without a rest one account's outage would fill every poll
//! handler, and the polls of the others would wait behind it. Called with each answer to a query, a list or a cancel.

use job::AccountName;
use tracing::warn;

use crate::env::Env;
use crate::ports::{CallFault, PausedCall};
use crate::streaks::Trouble;

/// From so many unanswered queries in a row on, the account's queries rest: one lost connection among thousands is no outage.
///
/// Source: ours. Those that fail together count once, see [`crate::streaks::Streaks::add`].
const IN_A_ROW_MIN: u32 = 2;

/// Learns from an answer, or from its absence, whether the account's queries are to rest.
pub(crate) async fn heed<T>(env: &Env, account: &AccountName, answer: &Result<T, CallFault>) {
    let message = match answer {
        Err(CallFault::Unanswered { message }) => message,
        Err(CallFault::UnknownAccount) => return,
        // Whatever it says: it answers.
        Ok(_) | Err(CallFault::Refused(_)) => return env.streaks.end(account, &[Trouble::Silence]),
    };
    let streak = env.streaks.add(account, Trouble::Silence, env.clock.elapsed(), env.chance.draw());
    if streak.in_a_row < IN_A_ROW_MIN {
        return;
    }
    let why = format!("{} queries in a row got no answer: {message}", streak.in_a_row);
    warn!(account = %account, wait_ms = streak.wait.as_millis() as u64, "Queries of account {account} rest for {:?}: {why}", streak.wait);
    if let Err(fault) = env.jobs.pause(account, PausedCall::Query, streak.wait, &why).await {
        warn!(account = %account, error = &fault as &dyn std::error::Error, "The pause could not be written");
    }
}
