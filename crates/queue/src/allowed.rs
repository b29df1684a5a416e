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

/// How long nothing is refused before more places are tried; twice as long after each such try that was refused. Refusals of so
/// long a time are one storm.
///
/// Source: Model Studio's "Rate limits" (recovery within a minute).
pub(crate) const QUIET: Duration = Duration::from_secs(60);

/// The longest such wait. Source: ours; that of a breaker, for the same reason: what a person has raised should be used soon.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(600);

/// One of so many places more is tried at a time, and at least one.
///
/// Source: ours; half of the places are back after six minutes, whatever their number (one by one, 1,000 took most of a day), and a
/// try that is refused is one create too many: it goes back as far as it was refused.
const STEP_PART: u64 = 8;

/// The places of one account and model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed(Option<Lowered>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lowered {
    places: u64,
    at: Timestamp,
    /// Tries of more places in a row that were refused.
    row: u32,
    /// How many more the last change tried; 0 if it was no try.
    up: u64,
    /// When the storm began, and how many places it leaves.
    storm: Option<(Timestamp, u64)>,
}

/// What a refusal has made of an account's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacesLeft {
    /// How many may be taken.
    pub places: u64,
    /// Whether they are as few as may be for now, so that the account is to rest instead.
    pub held: bool,
}

fn most(limits: &AccountLimits) -> u64 {
    u64::from(limits.in_flight) + u64::from(limits.queue_ahead)
}

impl Allowed {
    /// How many may be taken.
    pub fn places(&self, limits: &AccountLimits) -> u64 {
        self.0.map_or(most(limits), |lowered| lowered.places.min(most(limits)))
    }

    /// Whether one more may be taken beside `used`; where all are, a quiet time allows a try of an eighth more.
    pub fn take(&mut self, limits: &AccountLimits, used: u64, now: Timestamp) -> bool {
        if used < self.places(limits) {
            return true;
        }
        let Some(lowered) = self.0.filter(|lowered| lowered.places < most(limits)) else { return false };
        let quiet = (QUIET * 2_u32.saturating_pow(lowered.row.min(16))).min(QUIET_MAX);
        // A time that lies ahead is of a clock that was set back.
        if used > lowered.places || (lowered.at <= now && lowered.at + quiet > now) {
            return false;
        }
        let up = (lowered.places / STEP_PART).max(1).min(most(limits) - lowered.places);
        let (places, row) = (lowered.places + up, if lowered.up > 0 { 0 } else { lowered.row });
        // Kept at the most as well: should that be refused, it was this try.
        self.0 = Some(Lowered { places, at: now, row, up, storm: lowered.storm });
        true
    }

    /// A create that was claimed at `claimed_at` was refused, with `used` places taken, its own among them.
    pub fn lower(
        &mut self,
        limits: &AccountLimits,
        used: u64,
        claimed_at: Timestamp,
        now: Timestamp,
    ) -> PlacesLeft {
        let (before, places) = (self.0, self.places(limits));
        if before.is_some_and(|lowered| lowered.at <= now && claimed_at < lowered.at) {
            return PlacesLeft { places, held: false };
        }
        let in_flight = u64::from(limits.in_flight);
        let up = before.map_or(0, |lowered| lowered.up);
        let row = before.map_or(0, |lowered| lowered.row) + u32::from(up > 0);
        let mut storm = before.and_then(|lowered| lowered.storm);
        let lower = if up > 0 {
            used.min(places).saturating_sub(1).max(places.saturating_sub(up)).max(1)
        } else {
            storm = storm.filter(|(since, _)| *since <= now && *since + QUIET > now);
            let (_, least) = *storm.get_or_insert((now, (places / 2).max(1)));
            let lower = match places.saturating_sub(in_flight) {
                ahead if ahead > 0 => in_flight + ahead / 2,
                _ => places.saturating_sub(1),
            };
            lower.min(used.saturating_sub(1)).max(least).min(places)
        };
        self.0 = Some(Lowered { places: lower, at: now, row, up: 0, storm });
        PlacesLeft { places: lower, held: lower == places }
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
    ) -> Result<PlacesLeft, QueueError> {
        let keys = [self.keys().account(account), self.keys().slots(account, model)];
        let args = [
            model.to_string(),
            limits.in_flight.to_string(),
            limits.queue_ahead.to_string(),
            claimed_at.as_millisecond().to_string(),
            QUIET.as_millis().to_string(),
        ];
        let mut reply = self.script("lower_places", &LOWER_PLACES, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        let places = u64::try_from(reply.int()?).unwrap_or(1);
        Ok(PlacesLeft { places, held: reply.text()? == "held" })
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

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_waits_behind_shrinks_first_and_then_what_is_in_process() {
        let (limits, mut allowed) = (limits(5, 5), Allowed::default());
        let mut now = BEGIN;
        let mut seen = Vec::new();
        for _ in 0..8 {
            now += secs(60);
            seen.push(allowed.lower(&limits, 99, now, now).places);
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1, 1]);
    }

    #[test]
    fn no_more_are_taken_than_were_without_the_one_that_was_refused_and_others_under_way_say_nothing() {
        let (limits, mut allowed) = (limits(5, 5), Allowed::default());
        let left = allowed.lower(&limits, 7, BEGIN, BEGIN + secs(1));
        assert_eq!(left, PlacesLeft { places: 6, held: false });
        assert_eq!(allowed.lower(&limits, 7, BEGIN, BEGIN + secs(2)), left);
    }

    #[test]
    fn a_storm_of_refusals_leaves_half_and_is_over_within_minutes() {
        let (limits, mut allowed) = (limits(1_000, 1_000), Allowed::default());
        let mut now = BEGIN;
        // Tasks end meanwhile, and no other takes their places.
        let mut left = None;
        for used in (0..2_000).rev().step_by(40) {
            now += secs(1);
            left = Some(allowed.lower(&limits, used, now, now));
        }
        assert_eq!(left, Some(PlacesLeft { places: 1_000, held: true }));
        assert_eq!(allowed.places(&limits), 1_000);
        let mut minutes = 0;
        while allowed.places(&limits) < 2_000 {
            now += secs(60);
            minutes += 1;
            assert!(allowed.take(&limits, allowed.places(&limits), now));
        }
        assert_eq!(minutes, 6);
    }

    #[test]
    fn two_thousand_places_come_back_from_one_within_an_hour_and_ten_one_by_one() {
        for (in_flight, minutes_max) in [(2_000, 60), (10, 9)] {
            let limits = limits(in_flight, 0);
            let mut allowed = Allowed(Some(Lowered { places: 1, at: BEGIN, row: 0, up: 0, storm: None }));
            let (mut now, mut minutes) = (BEGIN, 0);
            while allowed.places(&limits) < u64::from(in_flight) {
                now += secs(60);
                minutes += 1;
                assert!(allowed.take(&limits, allowed.places(&limits), now));
            }
            assert!(minutes <= minutes_max, "{minutes} minutes for {in_flight}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_place_away() {
        let (limits, mut allowed) = (limits(5, 5), Allowed::default());
        allowed.lower(&limits, 10, BEGIN, BEGIN);
        let earlier = BEGIN - secs(7_200);
        let mut other = allowed;
        assert!(other.take(&limits, 7, earlier));
        assert_eq!(allowed.lower(&limits, 7, earlier, earlier).places, 6);
    }

    /// A provider that holds `holds` tasks, for two hours: after some refusals nothing is refused but now and then a try, and nearly all
    /// that it holds are used.
    fn comes_to_rest(holds: u64, in_flight: u32, ahead: u32) -> Result<(), String> {
        let (limits, mut allowed) = (limits(in_flight, ahead), Allowed::default());
        let usable = holds.min(most(&limits));
        // As many creates a second as keep all places full with tasks of 20 s, five at least.
        let per_second = (most(&limits) / 10).max(5);
        let (mut now, mut refused, mut late_refused) = (BEGIN, 0_u64, 0_u64);
        let (mut used, mut rests_until, mut wait) = (0_u64, BEGIN, secs(1));
        for second in 0..7_200_u64 {
            now += secs(1);
            used -= (used / 20).max(u64::from(second % 10 == 0)).min(used);
            for _ in 0..per_second {
                if now < rests_until || !allowed.take(&limits, used, now) {
                    break;
                }
                if used < holds {
                    (used, wait) = (used + 1, secs(1));
                    continue;
                }
                refused += 1;
                late_refused += u64::from(second >= 3_600);
                if allowed.lower(&limits, used + 1, now, now).held {
                    rests_until = now + wait;
                    wait = (wait * 2).min(secs(60));
                }
            }
            if second > 1_800 && used + 1 < usable - usable / 4 {
                return Err(format!("{used} of {usable} at {second} s"));
            }
        }
        // Every minute half of the places; until then, where a task ends each second, a refusal after each rest of a second. In the end a
        // try every ten minutes.
        if refused > 30 + 60 * u64::from(most(&limits).ilog2()) {
            return Err(format!("{refused} refused"));
        }
        if late_refused > 30 { Err(format!("{late_refused} refused in the second hour")) } else { Ok(()) }
    }

    #[test]
    fn where_a_task_ends_each_second_it_is_refused_as_often_and_comes_to_rest_all_the_same() {
        for (holds, in_flight, ahead) in [(20, 663, 9), (37, 1_680, 1_554), (44, 1_970, 1_614)] {
            assert_eq!(comes_to_rest(holds, in_flight, ahead), Ok(()), "{holds} of {in_flight} + {ahead}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_comes_to_rest_at_what_the_provider_holds(
            holds in prop_oneof![1u64..20, 20u64..3_000],
            in_flight in prop_oneof![1u32..10, 10u32..2_000],
            ahead in prop_oneof![0u32..10, 10u32..2_000],
        ) {
            prop_assert_eq!(comes_to_rest(holds, in_flight, ahead), Ok(()));
        }
    }
}
