//! How long a copy takes just now: from its claim to its committed end. Pure, but for its lock.
//!
//! The fetcher asks before each claim, so that no time is spent on links that will be dead before their turn is over. Only copies
//! that ended their job count: how long a store that is away lets us wait says nothing about how long a copy takes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The weight of a new time in the mean, and in the deviation from it.
///
/// Source: RFC 6298, which estimates round trips for the same purpose; applies to [`Estimate::add`].
const MEAN_WEIGHT: f64 = 1.0 / 8.0;
const DEVIATION_WEIGHT: f64 = 1.0 / 4.0;

/// How many deviations above the mean a copy may well take.
///
/// Source: ours; two cover nine of ten copies, and a link that is passed over for too long an estimate is lost as well.
const DEVIATIONS: f64 = 2.0;

/// The longest time that is believed.
///
/// Source: ours; a link that lives longer than this is always worth its try.
const MOST: Duration = Duration::from_secs(300);

/// A running estimate of the time that a copy takes. Shared by the copies of one worker.
#[derive(Debug, Default)]
pub(crate) struct CopyTime(Mutex<Estimate>);

impl CopyTime {
    /// A copy took so long.
    pub(crate) fn add(&self, took: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(took);
    }

    /// How long the next one will likely take at most. Nothing before the first: then every link is worth its try.
    pub(crate) fn get(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).most()
    }
}

/// Mean and mean deviation, in seconds; `None` before the first time.
#[derive(Debug, Default, Clone, Copy)]
struct Estimate(Option<(f64, f64)>);

impl Estimate {
    fn add(&mut self, took: Duration) {
        let took = took.min(MOST).as_secs_f64();
        self.0 = Some(match self.0 {
            None => (took, took / 2.0),
            Some((mean, deviation)) => (
                mean + MEAN_WEIGHT * (took - mean),
                deviation + DEVIATION_WEIGHT * ((took - mean).abs() - deviation),
            ),
        });
    }

    fn most(&self) -> Duration {
        let seconds = self.0.map_or(0.0, |(mean, deviation)| mean + DEVIATIONS * deviation);
        Duration::try_from_secs_f64(seconds).unwrap_or(MOST).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(ms: &[u64]) -> Duration {
        let times = CopyTime::default();
        ms.iter().for_each(|ms| times.add(Duration::from_millis(*ms)));
        times.get()
    }

    #[test]
    fn nothing_is_known_before_the_first_copy() {
        assert_eq!(after(&[]), Duration::ZERO);
        assert_eq!(after(&[100]), Duration::from_millis(200));
    }

    #[test]
    fn steady_copies_are_foretold_closely_and_a_change_is_followed() {
        let steady = after(&[100; 50]);
        assert!((100..105).contains(&steady.as_millis()), "{steady:?}");
        let slower = after(&[[100; 50], [2_000; 50]].concat());
        assert!((2_000..2_100).contains(&slower.as_millis()), "{slower:?}");
        let again = after(&[[2_000; 50], [100; 50]].concat());
        assert!((100..130).contains(&again.as_millis()), "{again:?}");
    }

    #[test]
    fn most_of_varying_copies_end_within_the_estimate() {
        let varying: Vec<u64> = (0..200).map(|n| 100 + (n * 37) % 100).collect();
        let estimate = after(&varying);
        let within = varying.iter().filter(|ms| Duration::from_millis(**ms) <= estimate).count();
        assert!(within >= 180, "{within} of 200 within {estimate:?}");
    }

    proptest! {
        #[test]
        fn the_estimate_never_leaves_what_is_believed(ms in prop::collection::vec(any::<u64>(), 0..50)) {
            prop_assert!(after(&ms) <= MOST);
        }
    }
}
