//! The one place that uses the `backoff` crate: a curve of growing waits, with our own jitter.
//!
//! The crate's own jitter is off (`randomization_factor` 0), because it is drawn from the thread's generator and comes after
//! the cap, so that a wait could exceed it. Its `max_elapsed_time` is off as well: it counts from the start of this process.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;
use serde::{Deserialize, Serialize};

/// Waits that begin at `first`, grow by `factor` and never exceed `cap`.
///
/// ```
/// use std::time::Duration;
/// use job::Curve;
///
/// let curve = Curve { first: Duration::from_secs(5), factor: 2.0, cap: Duration::from_secs(300) };
/// assert_eq!(curve.wait(0), Duration::from_secs(5));
/// assert_eq!(curve.wait(3), Duration::from_secs(40));
/// assert_eq!(curve.wait(60), Duration::from_secs(300));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The first wait.
    pub first: Duration,
    /// What each wait is multiplied by to get the next; at least 1.
    pub factor: f64,
    /// No wait is longer.
    pub cap: Duration,
}

/// After so many steps every sensible curve has reached its cap; it bounds the work of [`Curve::wait`].
const STEPS_MAX: u32 = 64;

impl Curve {
    /// The wait number `step` (0 is the first), without jitter.
    pub fn wait(&self, step: u32) -> Duration {
        let mut backoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.first.min(self.cap))
            .with_multiplier(self.factor.max(1.0))
            .with_max_interval(self.cap)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        let mut wait = self.first.min(self.cap);
        for _ in 0..=step.min(STEPS_MAX) {
            wait = backoff.next_backoff().unwrap_or(self.cap);
        }
        wait.min(self.cap)
    }

    /// The wait number `step`, drawn from its upper half: `chance` 0 gives half of it, 1 the whole.
    ///
    /// Never above the cap, and never so short that many jobs that failed together come back together.
    pub fn wait_with_jitter(&self, step: u32, chance: f64) -> Duration {
        self.wait(step).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CURVE: Curve = Curve { first: Duration::from_secs(5), factor: 2.0, cap: Duration::from_secs(300) };

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits: Vec<u64> = (0..9).map(|step| CURVE.wait(step).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    proptest! {
        #[test]
        fn jitter_stays_in_the_upper_half_and_under_the_cap(step in 0u32..200, chance in 0.0f64..=1.0) {
            let (whole, drawn) = (CURVE.wait(step), CURVE.wait_with_jitter(step, chance));
            prop_assert!(drawn <= whole && whole <= CURVE.cap);
            prop_assert!(drawn + Duration::from_nanos(1) >= whole / 2);
        }
    }
}
