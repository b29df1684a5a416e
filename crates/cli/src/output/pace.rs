//! How fast jobs end, and when the last of them will: over a sliding window, so that it follows what happens now. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// The window. Long enough to cover several polls of a task, short enough to notice a stop.
const WINDOW: Duration = Duration::from_secs(60);

/// Follows a rising count.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    samples: VecDeque<(Duration, u64)>,
}

impl Pace {
    /// At `at`, by any clock that does not go back, `done` had ended.
    pub(crate) fn observe(&mut self, at: Duration, done: u64) {
        // A retried job makes the count fall; the pace begins anew.
        if self.samples.back().is_some_and(|(_, last)| done < *last) {
            self.samples.clear();
        }
        self.samples.push_back((at, done));
        while self.samples.len() > 2
            && self.samples.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// How many ended per second of late; `None` before anything did.
    pub(crate) fn per_second(&self) -> Option<f64> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        let seconds = to.saturating_sub(*from).as_secs_f64();
        let ended = u32::try_from(last - first).unwrap_or(u32::MAX);
        (seconds > 0.0 && ended > 0).then(|| f64::from(ended) / seconds)
    }

    /// How long `left` more will take at this pace.
    pub(crate) fn time_for(&self, left: u64) -> Option<Duration> {
        let seconds = f64::from(u32::try_from(left).unwrap_or(u32::MAX)) / self.per_second()?;
        // A year is as good as never.
        (seconds < 31_536_000.0).then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_pace_is_that_of_the_last_minute() {
        let mut pace = Pace::default();
        for second in 0..=100 {
            pace.observe(at(second), second * 10);
        }
        for second in 101..=200 {
            pace.observe(at(second), 1_000 + (second - 100));
        }
        assert_eq!(pace.per_second(), Some(1.0));
        assert_eq!(pace.time_for(120), Some(at(120)));
    }

    #[test]
    fn nothing_is_foretold_before_anything_ended() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_second(), None);
        pace.observe(at(0), 5);
        pace.observe(at(10), 5);
        assert_eq!((pace.per_second(), pace.time_for(1)), (None, None));
    }

    #[test]
    fn a_falling_count_begins_anew() {
        let mut pace = Pace::default();
        pace.observe(at(0), 100);
        pace.observe(at(1), 50);
        pace.observe(at(2), 52);
        assert_eq!(pace.per_second(), Some(2.0));
    }
}
