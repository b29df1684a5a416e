//! Redis's clock as seen from here: all due times, leases and permits live on it, so that workers need not agree on the time.
//!
//! Every answer that holds Redis's time was made between its question and now: that bounds how far the two clocks are apart,
//! loosely where the answer was slow. What all answers allow is what is believed, so that one slow answer spoils nothing; creates
//! of many workers are spaced by this estimate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use job::Timestamp;

/// How fast two clocks may part.
///
/// Source: the kernel disciplines a clock by at most 500 ppm, on either side.
const DRIFT_PPM: i64 = 1_000;

/// How far Redis's clock is ahead of ours, in microseconds: from … to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    least: i64,
    most: i64,
}

impl Offset {
    /// What one answer says, that was made at `time_us` by Redis's clock, after `sent_us` and before `heard_us` by ours.
    fn of(time_us: i64, sent_us: i64, heard_us: i64) -> Self {
        Self { least: time_us.saturating_sub(heard_us), most: time_us.saturating_sub(sent_us) }
    }

    /// What is still sure of it after `passed_us`.
    fn aged(self, passed_us: i64) -> Self {
        let drift = passed_us.max(0) / (1_000_000 / DRIFT_PPM);
        Self { least: self.least.saturating_sub(drift), most: self.most.saturating_add(drift) }
    }

    /// What both allow. Where they contradict each other a clock was set: the newer one counts.
    fn with(self, newer: Self) -> Self {
        let (least, most) = (self.least.max(newer.least), self.most.min(newer.most));
        if least <= most { Self { least, most } } else { newer }
    }

    fn middle(self) -> i64 {
        self.least.saturating_add(self.most.saturating_sub(self.least) / 2)
    }
}

/// The estimate of Redis's clock.
pub(crate) struct RedisClock {
    started: Instant,
    /// What is known, and when (in us since `started`) that was so.
    known: Mutex<Option<(Offset, i64)>>,
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl RedisClock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), known: Mutex::new(None) }
    }

    /// Takes note of an answer that was just heard, held `time_us`, and whose question was sent at `sent`.
    pub(crate) fn observe(&self, time_us: i64, sent: Instant) {
        let (sent_us, heard_us) =
            (micros(sent.saturating_duration_since(self.started)), micros(self.started.elapsed()));
        let said = Offset::of(time_us, sent_us, heard_us);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = match *known {
            None => said,
            Some((offset, at_us)) => offset.aged(heard_us - at_us).with(said),
        };
        *known = Some((offset, heard_us));
    }

    pub(crate) fn now(&self) -> Timestamp {
        let offset =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).map_or(0, |known| known.0.middle());
        Timestamp::from_microsecond(micros(self.started.elapsed()).saturating_add(offset))
            .unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slow_answer_does_not_move_what_a_quick_one_has_shown() {
        // Redis is 1,000 ahead; the first answer took 20, the second 200,000, nearly all of it on the way back.
        let quick = Offset::of(1_010, 0, 20);
        let slow = Offset::of(101_005, 100_000, 300_000);
        let known = quick.aged(100_000).with(slow);
        assert!((known.middle() - 1_000).abs() <= 110, "{known:?}");
    }

    #[test]
    fn a_clock_that_is_set_shows_in_the_next_answer() {
        for step in [-3_600_000_000, -5_000_000, 5_000_000, 3_600_000_000] {
            let known = Offset::of(1_010, 0, 20).with(Offset::of(1_010 + step, 0, 20));
            assert_eq!(known.middle(), 1_000 + step);
        }
    }

    proptest! {
        #[test]
        fn the_truth_is_never_excluded(
            offset in -1_000_000_000i64..1_000_000_000,
            answers in prop::collection::vec((0i64..500_000, 0i64..500_000, 0i64..5_000_000), 1..50),
        ) {
            let (mut known, mut now): (Option<Offset>, i64) = (None, 0);
            let mut quickest = i64::MAX;
            for (there, back, pause) in answers {
                let (sent, heard) = (now, now + there + back);
                let said = Offset::of(offset + sent + there, sent, heard);
                known = Some(known.map_or(said, |known| known.with(said)));
                quickest = quickest.min(there + back);
                now = heard + pause;
                let known = known.unwrap();
                prop_assert!(known.least <= offset && offset <= known.most, "{:?}", known);
                prop_assert!((known.middle() - offset).abs() <= quickest, "no worse than the quickest answer");
            }
        }
    }
}
