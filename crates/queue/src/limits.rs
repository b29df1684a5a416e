//! An account's limits, and the pace that keeps them.

use std::time::Duration;

use job::Micros;

/// What one account may do, per model. The figures are the account's, not a worker's: all workers share them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccountLimits {
    /// Creations per second.
    pub create_per_second: f64,
    /// Queries, lists and cancels per second, together.
    pub queries_per_second: f64,
    /// Tasks that are processed at once.
    pub in_flight: u32,
    /// Tasks kept PENDING behind them, so that no place idles while we notice an end.
    pub queue_ahead: u32,
    /// A stop for the account's images of one UTC day. Off by default.
    pub images_per_day: Option<u64>,
    /// The account's budget of one UTC day. None by default.
    pub cost_per_day: Option<Micros>,
}

impl Default for AccountLimits {
    /// Source: Model Studio docs, "Rate limits" of the Wan series (5 submissions/s and 5 tasks in processing for each model) and
    /// "Manage asynchronous tasks" (20 QPS for query, list and cancel, all RAM users together).
    fn default() -> Self {
        Self {
            create_per_second: 5.0,
            queries_per_second: 20.0,
            in_flight: 5,
            queue_ahead: 5,
            images_per_day: None,
            cost_per_day: None,
        }
    }
}

/// The part of a documented rate that is used: the service counts in windows of its own, and clocks differ.
pub const USED_SHARE: f64 = 0.95;

/// A rate as the scripts keep it (GCRA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Microseconds between two permits.
    pub(crate) step_us: u64,
    /// How far ahead of the pace a permit may be, in microseconds. 0 for documented rates: a limit of 300 a minute may be
    /// enforced as 5 in any second. Rates far above them get 25 ms, or each permit would cost
    /// a round trip: half of what [`USED_SHARE`] leaves of a second, so that the rest is there for the way to the service.
    pub(crate) burst_us: u64,
}

impl Pace {
    pub(crate) fn of(per_second: f64) -> Self {
        let step = Duration::from_secs_f64(1.0 / (per_second * USED_SHARE).max(0.001));
        let step_us = u64::try_from(step.as_micros()).unwrap_or(u64::MAX).max(1);
        Self { step_us, burst_us: if step_us < 25_000 / 2 { 25_000 } else { 0 } }
    }
}

/// The longest pause of an account's call: one that ends later was written before a clock was set back, and counts for nothing.
///
/// Source: ours; the scripts hold to it (`pause_account.lua`). Six times what a worker pauses for at most.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// Calls that share a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Creations, of one model or (for a breaker) of all.
    Create(Option<job::Model>),
    /// Queries, lists and cancels.
    Query,
}

/// Calls that the provider may ask to be left for a while. Creations are counted by model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pausable {
    /// Creations of a model.
    Creates(job::Model),
    /// Queries, lists and cancels.
    Queries,
}

impl Pausable {
    /// The call's name in fields.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Creates(model) => Call::Create(Some(model)).name(),
            Self::Queries => Call::Query.name(),
        }
    }
}

impl Call {
    /// The call's name in keys and fields.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Create(None) => "create".to_owned(),
            Self::Create(Some(model)) => format!("create:{model}"),
            Self::Query => "query".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One rate as `take_permit.lua` and `claim_due.lua` keep it together, in microseconds.
    struct Shared {
        pace: Pace,
        full_us: u64,
        /// When the calls have their part again.
        ahead_us: u64,
    }

    impl Shared {
        /// Up to `most` polls, which are sent at once: how many.
        fn polls(&mut self, now_us: u64, most: u64) -> u64 {
            let (full_us, step_us) = (self.full_us.max(now_us), self.pace.step_us);
            let granted =
                (now_us + self.pace.burst_us).checked_sub(full_us).map_or(0, |spare| spare / step_us + 1);
            let granted = granted.min(most);
            if granted > 0 {
                self.full_us = full_us + step_us * granted;
            }
            granted
        }

        /// One call that is given its moment, up to `ahead_us` before it.
        fn moment(&mut self, now_us: u64, ahead_us: u64) -> Option<u64> {
            let at_us = self.full_us.max(now_us);
            if at_us > now_us + ahead_us || self.ahead_us.min(self.full_us + self.pace.step_us) > now_us {
                return None;
            }
            self.ahead_us = now_us + crate::AHEAD_PART * self.pace.step_us;
            self.full_us = at_us + self.pace.step_us;
            Some(at_us)
        }
    }

    proptest! {
        /// Polls that are always due, and calls that take their moment ahead of them: together they keep the figure in every second, a
        /// call waits for no poll that is not sent yet, and nothing of the rate is lost.
        #[test]
        fn what_is_promised_ahead_goes_before_what_is_due_and_the_figure_holds_in_every_second(
            per_second in prop_oneof![1u32..20, Just(20), 20u32..1_000],
            ahead_us in prop_oneof![Just(crate::QUERY_AHEAD.as_micros() as u64), 0u64..500_000],
            steps in prop::collection::vec((1u64..60_000, prop::bool::weighted(0.1)), 50..400),
        ) {
            let pace = Pace::of(f64::from(per_second));
            let (mut shared, mut now_us, mut sent) = (Shared { pace, full_us: 0, ahead_us: 0 }, 1_000_000, Vec::new());
            // Each moment that is promised while none was yet: how long it is until then.
            let mut promised_until_us = 0;
            for (passes_us, calls) in steps {
                now_us += passes_us;
                if calls && let Some(at_us) = shared.moment(now_us, ahead_us) {
                    let behind_us = promised_until_us.max(now_us) + pace.step_us + pace.burst_us;
                    prop_assert!(at_us <= behind_us, "{at_us} is later than {behind_us}");
                    promised_until_us = at_us + pace.step_us;
                    sent.push(at_us);
                }
                sent.extend((0..shared.polls(now_us, 50)).map(|_| now_us));
            }
            sent.sort_unstable();
            for (first, from_us) in sent.iter().enumerate() {
                let within = sent[first..].iter().take_while(|at_us| **at_us < from_us + 1_000_000).count();
                prop_assert!(within <= per_second as usize, "{within} of {per_second} in the second from {from_us}");
            }
            // Asked every 60 ms at most, which a rate of more than that with no burst does not fill.
            if pace.step_us >= 60_000 {
                let rate = sent.len() as u64 * pace.step_us;
                prop_assert!(rate + 60_000 * sent.len() as u64 >= now_us - 1_000_000, "{} sent", sent.len());
            }
        }
    }

    #[test]
    fn documented_rates_are_smoothed_below_their_figure_without_bursts() {
        assert_eq!(Pace::of(5.0), Pace { step_us: 210_526, burst_us: 0 });
        assert_eq!(Pace::of(20.0), Pace { step_us: 52_631, burst_us: 0 });
    }

    #[test]
    fn raised_rates_may_take_several_permits_in_one_call() {
        assert_eq!(Pace::of(1_000.0), Pace { step_us: 1_052, burst_us: 25_000 });
    }
}
