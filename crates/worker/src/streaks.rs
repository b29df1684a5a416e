//! Bad answers in a row, by account and call: how long the next pause is.
//!
//! Kept in this process only: the pause itself is everybody's, in Redis, and a worker that starts anew begins with a short one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use job::{AccountName, Curve};

/// The pauses of a call that fails again and again.
///
/// Source: Model Studio's "Rate limits" (recovery within a minute).
const PAUSES: Curve = Curve { first: Duration::from_secs(1), factor: 2.0, cap: Duration::from_secs(60) };

/// The pauses of queries that were too many.
///
/// Source: ours. Permits keep them below the limit, so that one which is refused was unlucky, or others use the account as well: a short
/// pause is enough for the first, and what grows makes room for the second.
const QUERY_PAUSES: Curve =
    Curve { first: Duration::from_millis(200), factor: 2.0, cap: Duration::from_secs(10) };

/// The pauses of creates that came too fast.
///
/// Source: ours; one refusal among many is no more than a step too many, and a whole second for each would leave the account idle
/// for most of the time while three of ten calls are refused. What goes on grows to a minute as quickly.
const SHORT_PAUSES: Curve =
    Curve { first: Duration::from_millis(250), factor: 2.0, cap: Duration::from_secs(60) };

/// What a streak is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trouble {
    /// No connection.
    Connection,
    /// The service asked for fewer calls.
    Throttled,
    /// The service asked for less, and that does not pass with a moment: a quota, a growth too steep, no capacity.
    Exhausted,
    /// Creates without an answer.
    NoAnswer,
    /// Queries, lists or cancels without an answer.
    Silence,
    /// Queries, lists or cancels that were too many.
    QueriesThrottled,
}

impl Trouble {
    /// Those that a good create ends.
    pub(crate) const OF_CREATES: [Self; 4] =
        [Self::Connection, Self::Throttled, Self::Exhausted, Self::NoAnswer];

    /// Those that a good answer to a query ends.
    pub(crate) const OF_QUERIES: [Self; 2] = [Self::Silence, Self::QueriesThrottled];

    fn pauses(self) -> Curve {
        match self {
            Self::QueriesThrottled => QUERY_PAUSES,
            Self::Throttled => SHORT_PAUSES,
            _ => PAUSES,
        }
    }
}

/// Counts of bad answers in a row.
#[derive(Debug, Default)]
pub(crate) struct Streaks(Mutex<HashMap<(AccountName, Trouble), Streak>>);

#[derive(Debug, Default)]
struct Streak {
    in_a_row: u32,
    /// Until when, by the boot clock, the last pause holds.
    until: Duration,
}

impl Streaks {
    /// One more at `now` (by the boot clock), and the pause that it earns.
    ///
    /// What fails during a pause was under way when the pause began: it is the same trouble, not a new one, and does not make
    /// the pause longer. Otherwise one moment without a network would cost a minute on a worker with many calls at once.
    pub(crate) fn add(&self, account: &AccountName, trouble: Trouble, now: Duration, chance: f64) -> Pause {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = streaks.entry((account.clone(), trouble)).or_default();
        if streak.in_a_row == 0 || now >= streak.until {
            streak.in_a_row = streak.in_a_row.saturating_add(1);
            streak.until = now + trouble.pauses().wait_with_jitter(streak.in_a_row - 1, chance);
        }
        Pause { in_a_row: streak.in_a_row, wait: streak.until.saturating_sub(now) }
    }

    /// A good answer ended these streaks of the account.
    pub(crate) fn end(&self, account: &AccountName, troubles: &[Trouble]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(of, trouble), _| of != account || !troubles.contains(trouble));
    }
}

/// What a streak earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// How many in a row, this one with it.
    pub(crate) in_a_row: u32,
    /// How long the call is to be held back.
    pub(crate) wait: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_until_a_good_answer() {
        let (streaks, account) = (Streaks::default(), AccountName::parse("a").unwrap());
        let other = AccountName::parse("b").unwrap();
        let mut now = SECOND;
        let waits = [(); 8].map(|()| {
            let pause = streaks.add(&account, Trouble::Throttled, now, 1.0);
            now += pause.wait;
            pause.wait.as_millis()
        });
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
        assert_eq!(streaks.add(&account, Trouble::Exhausted, now, 1.0).wait, SECOND);
        assert_eq!(streaks.add(&account, Trouble::Connection, now, 1.0).in_a_row, 1);
        assert_eq!(streaks.add(&other, Trouble::Throttled, now, 1.0).in_a_row, 1);
        assert_eq!(streaks.add(&account, Trouble::Silence, now, 1.0).in_a_row, 1);
        streaks.end(&account, &Trouble::OF_CREATES);
        assert_eq!(streaks.add(&account, Trouble::Throttled, now, 1.0).in_a_row, 1);
        assert_eq!(
            streaks.add(&account, Trouble::Silence, now + SECOND, 1.0).in_a_row,
            2,
            "queries are another matter"
        );
        assert_eq!(streaks.add(&other, Trouble::Throttled, now + SECOND, 1.0).in_a_row, 2);
    }

    #[test]
    fn calls_that_fail_together_are_one_trouble() {
        let (streaks, account) = (Streaks::default(), AccountName::parse("a").unwrap());
        for ms in [0, 10, 900] {
            let pause = streaks.add(&account, Trouble::Connection, Duration::from_millis(5_000 + ms), 1.0);
            assert_eq!(pause.in_a_row, 1);
            assert_eq!(pause.wait, SECOND - Duration::from_millis(ms));
        }
        assert_eq!(streaks.add(&account, Trouble::Connection, 6 * SECOND, 1.0).in_a_row, 2);
    }
}
