//! Creates that were claimed before the account was held back.
//!
//! A claim goes by the pauses and breakers of its moment, and its create goes out a while later. What comes up meanwhile must reach it:
//! what this worker itself found out up to the write ([`HeldBack`]), what another one did by a look at Redis shortly before that
//! ([`Look`]). A create that is kept back was not sent, for certain. It is no matter of safety: where Redis does not answer in time,
//! one create more is refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use job::{AccountName, Model};

use super::Times;
use super::spacing::LATE_MAX;
use crate::clock::Clock;
use crate::ports::Jobs;

/// How long before its moment a create looks once more.
///
/// Source: ours; above a round trip to Redis on a busy machine, and a fifth of the time between two creates at the documented rate, so
/// that what the answer to one says reaches the next.
const LOOK_BEFORE: Duration = Duration::from_millis(40);

/// How far past its moment a look may hold a create up. Source: ours; of the 20 ms that it may be late most are left.
const LOOK_PAST: Duration = Duration::from_millis(5);

/// A claim that is no older needs no other look. Source: ours; far below the time between two creates at the documented rate.
const FRESH: Duration = Duration::from_millis(50);

/// What this worker knows to hold creates back, by account and (where it is not all of them) model.
#[derive(Debug, Default)]
pub(crate) struct HeldBack(Mutex<HashMap<Creates, Hold>>);

/// Which creates a hold is for.
type Creates = (AccountName, Option<Model>, Until);

/// Until when a hold lasts. Holds of either kind are kept apart: a short pause after a breaker has closed is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Until {
    /// A pause: until its time.
    Time,
    /// A breaker: for those that were claimed before it opened, for good.
    Closed,
}

/// By the boot clock.
#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    /// Claims that were asked for later had to go by it themselves.
    since: Duration,
    until: Duration,
}

impl HeldBack {
    /// From `now` until then, creates of the account and model are held back.
    pub(crate) fn pause(&self, account: &AccountName, model: Model, now: Duration, until: Duration) {
        self.note((account.clone(), Some(model), Until::Time), now, until);
    }

    /// A breaker has opened: what was claimed before `now` for the account (for all models, without one) is held back.
    pub(crate) fn open(&self, account: &AccountName, model: Option<Model>, now: Duration) {
        self.note((account.clone(), model, Until::Closed), now, Duration::MAX);
    }

    fn note(&self, of: Creates, now: Duration, until: Duration) {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = holds.entry(of).or_default();
        (hold.since, hold.until) = (hold.since.max(now), hold.until.max(until));
    }

    /// Whether a create that was asked for at `begun_at` is to be kept back at `now`.
    pub(super) fn holds(
        &self,
        account: &AccountName,
        model: Model,
        begun_at: Duration,
        now: Duration,
    ) -> bool {
        let holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [(None, Until::Closed), (Some(model), Until::Closed), (Some(model), Until::Time)]
            .into_iter()
            .filter_map(|(model, until)| holds.get(&(account.clone(), model, until)))
            .any(|hold| begun_at < hold.since && now < hold.until)
    }
}

/// One create's look at what every worker knows.
pub(super) struct Look {
    pub(super) jobs: Arc<dyn Jobs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) account: AccountName,
    pub(super) model: Model,
    pub(super) times: Times,
    /// What it has found.
    pub(super) held_back: Arc<AtomicBool>,
}

impl Look {
    /// Waits until shortly before the create's moment, and looks, unless it was claimed just before.
    pub(super) async fn before_it_is_sent(self) {
        let Times { begun_at, send_at, .. } = self.times;
        let now = self.clock.elapsed();
        let look_at = now.max(send_at.saturating_sub(LOOK_BEFORE));
        // One that has missed its moment takes another first.
        if look_at.saturating_sub(begun_at) <= FRESH || now > send_at + LATE_MAX {
            return;
        }
        tokio::time::sleep(look_at - now).await;
        let left = (send_at + LOOK_PAST).saturating_sub(self.clock.elapsed());
        let answer = tokio::time::timeout(left, self.jobs.creates_held_back(&self.account, self.model)).await;
        if let Ok(Ok(true)) = answer {
            self.held_back.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Model = Model::Wan27Image;

    #[test]
    fn what_was_claimed_before_a_hold_is_kept_back_until_it_is_over_and_nothing_else_is() {
        let (held, account) = (HeldBack::default(), AccountName::parse("a").unwrap());
        let other = AccountName::parse("b").unwrap();
        let s = Duration::from_secs;
        held.pause(&account, MODEL, s(10), s(13));
        let holds = |begun_at, now| held.holds(&account, MODEL, s(begun_at), s(now));
        assert!(holds(9, 10) && holds(9, 12));
        assert!(!holds(10, 10), "that claim went by it");
        assert!(!holds(9, 13), "it is over");
        assert!(!held.holds(&account, Model::Wan27ImagePro, s(9), s(10)));
        assert!(!held.holds(&other, MODEL, s(9), s(10)));
        held.open(&account, None, s(11));
        assert!(held.holds(&account, Model::Wan27ImagePro, s(9), s(10)) && holds(10, 9_999));
        assert!(!holds(11, 11));
        held.pause(&account, MODEL, s(20), s(21));
        assert!(holds(19, 20) && !holds(19, 21), "the breaker is long closed");
    }
}
