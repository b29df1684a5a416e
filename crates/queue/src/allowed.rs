//! How many of an account's places for a model may be taken, where the provider refuses more.
//!
//! The settings name places in process and places behind them; a provider that answers `Throttling.Concurrency` holds fewer. What
//! may be taken is the account's and stands in Redis, so that one refusal counts for every worker. [`Allowed`] is the rule of
//! `lower_places.lua` and `claim_submit.lua` once more: for the twin, and for the proof that it comes to rest.

use std::time::Duration;

use job::{AccountName, Model, Timestamp};

use crate::Queue;
use crate::error::QueueError;
use crate::limits::AccountLimits;
use crate::link::TimeAt;
use crate::scripts::LOWER_PLACES;

/// How long nothing is refused before one place more is tried; twice as long after each such try that was refused.
///
/// Source: Model Studio's "Rate limits" (recovery within a minute).
pub(crate) const QUIET: Duration = Duration::from_secs(60);

/// The longest such wait. Source: ours; that of a breaker, for the same reason: what a person has raised should be used soon.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(600);

/// The places of one account and model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed(Option<Lowered>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lowered {
    places: u64,
    at: Timestamp,
    /// Tries of one place more in a row that were refused.
    row: u32,
    /// Whether the last change was such a try.
    up: bool,
}

fn most(limits: &AccountLimits) -> u64 {
    u64::from(limits.in_flight) + u64::from(limits.queue_ahead)
}

impl Allowed {
    /// How many may be taken.
    pub fn places(&self, limits: &AccountLimits) -> u64 {
        self.0.map_or(most(limits), |lowered| lowered.places.min(most(limits)))
    }

    /// Whether one more may be taken beside `used`; where all are, a quiet time allows a try of one more.
    pub fn take(&mut self, limits: &AccountLimits, used: u64, now: Timestamp) -> bool {
        if used < self.places(limits) {
            return true;
        }
        let Some(lowered) = self.0.filter(|lowered| lowered.places < most(limits)) else { return false };
        let quiet = (QUIET * 2_u32.saturating_pow(lowered.row.min(16))).min(QUIET_MAX);
        if used > lowered.places || lowered.at + quiet > now {
            return false;
        }
        let (places, row) = (lowered.places + 1, if lowered.up { 0 } else { lowered.row });
        // Kept at the most as well: should that be refused, it was this try.
        self.0 = Some(Lowered { places, at: now, row, up: true });
        true
    }

    /// A create that was claimed at `claimed_at` was refused, with `used` places taken, its own among them.
    pub fn lower(&mut self, limits: &AccountLimits, used: u64, claimed_at: Timestamp, now: Timestamp) {
        let before = self.0;
        if before.is_some_and(|lowered| claimed_at < lowered.at) {
            return;
        }
        let places = self.places(limits);
        let in_flight = u64::from(limits.in_flight);
        let up = before.is_some_and(|lowered| lowered.up);
        let row = before.map_or(0, |lowered| lowered.row) + u32::from(up);
        let lower = match places.saturating_sub(in_flight) {
            ahead if ahead > 0 && !up => in_flight + ahead / 2,
            _ => places.saturating_sub(1),
        };
        let places = lower.min(used.saturating_sub(1)).max(1);
        self.0 = Some(Lowered { places, at: now, row, up: false });
    }
}

impl Queue {
    /// Lowers the places of an account and model, for every worker, because a create that was claimed at `claimed_at` was refused:
    /// how many may be taken now.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn lower_places(
        &self,
        account: &AccountName,
        model: Model,
        limits: &AccountLimits,
        claimed_at: Timestamp,
    ) -> Result<u64, QueueError> {
        let keys = [self.keys().account(account), self.keys().slots(account, model)];
        let args = [
            model.to_string(),
            limits.in_flight.to_string(),
            limits.queue_ahead.to_string(),
            claimed_at.as_millisecond().to_string(),
        ];
        let mut reply = self.script("lower_places", &LOWER_PLACES, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(u64::try_from(reply.int()?).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEGIN: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn limits(in_flight: u32, queue_ahead: u32) -> AccountLimits {
        AccountLimits { in_flight, queue_ahead, ..AccountLimits::default() }
    }

    #[test]
    fn what_waits_behind_shrinks_first_and_then_what_is_in_process() {
        let (limits, mut allowed) = (limits(5, 5), Allowed::default());
        let mut now = BEGIN;
        let mut seen = Vec::new();
        for _ in 0..8 {
            now += Duration::from_secs(1);
            allowed.lower(&limits, 99, now, now);
            seen.push(allowed.places(&limits));
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1, 1]);
    }

    #[test]
    fn no_more_are_taken_than_were_without_the_one_that_was_refused_and_others_under_way_say_nothing() {
        let (limits, mut allowed) = (limits(5, 50), Allowed::default());
        allowed.lower(&limits, 8, BEGIN, BEGIN + Duration::from_secs(1));
        assert_eq!(allowed.places(&limits), 7);
        allowed.lower(&limits, 8, BEGIN, BEGIN + Duration::from_secs(2));
        assert_eq!(allowed.places(&limits), 7);
    }

    proptest! {
        /// A provider that holds `holds` tasks: after few refusals nothing is refused but now and then a try, and all that it
        /// holds are used again within the tries that it takes.
        #[test]
        fn it_comes_to_rest_at_what_the_provider_holds(holds in 1u64..20, in_flight in 1u32..10, ahead in 0u32..10) {
            let (limits, mut allowed) = (limits(in_flight, ahead), Allowed::default());
            let usable = holds.min(most(&limits));
            let (mut now, mut refused) = (BEGIN, 0_u64);
            // Places that are full all the time; every task that ends is followed by another.
            let mut step = |allowed: &mut Allowed, now: Timestamp, used: u64| {
                if allowed.take(&limits, used, now) {
                    if used < holds { return used + 1; }
                    refused += 1;
                    allowed.lower(&limits, used + 1, now, now);
                }
                used.min(holds)
            };
            let mut used = 0;
            for second in 0..7_200 {
                now += Duration::from_secs(1);
                used = step(&mut allowed, now, used);
                if second > 600 {
                    prop_assert!(used + 1 >= usable, "{used} of {usable} at {second} s");
                }
                if second % 10 == 0 { used = used.saturating_sub(1); }
            }
            // A try every ten minutes in the end.
            prop_assert!(refused <= 25, "{refused} refused");
        }
    }
}
