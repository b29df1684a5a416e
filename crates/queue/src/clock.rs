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

    /// What is still sure of it when the clocks may have parted by `drift_us`.
    fn aged(self, drift_us: i64) -> Self {
        Self { least: self.least.saturating_sub(drift_us), most: self.most.saturating_add(drift_us) }
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

/// What all answers so far allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    offset: Offset,
    /// Up to when drift is counted in `offset`, in us since the beginning: less than the time of one microsecond of drift before the
    /// last answer. Counted from each answer anew, the drift between answers that follow each other within a millisecond would be rounded
    /// away every time.
    aged_at_us: i64,
}

impl Known {
    fn first(said: Offset, heard_us: i64) -> Self {
        Self { offset: said, aged_at_us: heard_us }
    }

    /// What is known with another answer.
    fn with(self, said: Offset, heard_us: i64) -> Self {
        let us_per_drift = 1_000_000 / DRIFT_PPM;
        let drift_us = heard_us.saturating_sub(self.aged_at_us).max(0) / us_per_drift;
        Self {
            offset: self.offset.aged(drift_us).with(said),
            aged_at_us: self.aged_at_us.saturating_add(drift_us.saturating_mul(us_per_drift)),
        }
    }
}

/// The estimate of Redis's clock.
pub(crate) struct RedisClock {
    started: Instant,
    known: Mutex<Option<Known>>,
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
        *known = Some(known.map_or(Known::first(said, heard_us), |known| known.with(said, heard_us)));
    }

    pub(crate) fn now(&self) -> Timestamp {
        let offset = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(0, |known| known.offset.middle());
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
        let known = Known::first(quick, 20).with(slow, 300_000).offset;
        assert!(
            (known.middle() - 1_000).abs() <= 310,
            "no more than they may have parted by since: {known:?}"
        );
    }

    #[test]
    fn a_clock_that_is_set_shows_in_the_next_answer() {
        for step in [-3_600_000_000, -5_000_000, 5_000_000, 3_600_000_000] {
            let known = Offset::of(1_010, 0, 20).with(Offset::of(1_010 + step, 0, 20));
            assert_eq!(known.middle(), 1_000 + step);
        }
    }

    #[test]
    fn clocks_part_as_much_whether_answers_are_many_or_few() {
        // Answers that say nothing, a microsecond less apart than one of drift.
        let vague = Offset { least: -1_000_000, most: 1_000_000 };
        let (first, mut often) =
            (Offset { least: 0, most: 0 }, Known::first(Offset { least: 0, most: 0 }, 0));
        for at_us in (999..=999_000).step_by(999) {
            often = often.with(vague, at_us);
        }
        assert_eq!(often.offset, Known::first(first, 0).with(vague, 999_000).offset);
        assert_eq!(often.offset, Offset { least: -999, most: 999 });
    }

    proptest! {
        /// Clocks that part as fast as they may, and answers in quick succession.
        #[test]
        fn the_truth_is_not_lost_while_the_clocks_part(
            ppm in -DRIFT_PPM..=DRIFT_PPM,
            answers in prop::collection::vec((0i64..300, 0i64..300, 0i64..900), 1..500),
        ) {
            let (mut known, mut now): (Option<Known>, i64) = (None, 0);
            for (there, back, pause) in answers {
                let (sent, heard) = (now, now + there + back);
                let said = Offset::of((sent + there) + (sent + there) * ppm / 1_000_000, sent, heard);
                known = Some(known.map_or(Known::first(said, heard), |known| known.with(said, heard)));
                now = heard + pause;
                let (Offset { least, most }, truth) = (known.unwrap().offset, heard * ppm / 1_000_000);
                prop_assert!(least - 2 <= truth && truth <= most + 2, "{truth} in {known:?}");
            }
        }

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
