//! A rate limit as the service is said to apply it: no more than so many requests in any window, wherever it starts.
//!
//! Pure. A request that is refused does not count against the next one.

use std::collections::VecDeque;

/// The times of the requests granted within the last window.
#[derive(Debug)]
pub(crate) struct SlidingWindow {
    /// Requests allowed in one window; 0 means no limit.
    max: u32,
    window_ms: i64,
    granted_ms: VecDeque<i64>,
}

impl SlidingWindow {
    /// `per_second` requests a second, counted over windows of `window_ms`. A window shorter than a second enforces the
    /// same rate over a shorter time, so that a burst is refused although the second as a whole had room.
    pub(crate) fn new(per_second: u32, window_ms: u32) -> Self {
        let max = match per_second {
            0 => 0,
            rate => u32::try_from(u64::from(rate) * u64::from(window_ms) / 1_000).unwrap_or(u32::MAX).max(1),
        };
        // A rate too low for one request a window stretches the window instead.
        let window_ms = i64::from(window_ms).max(i64::from(max) * 1_000 / i64::from(per_second.max(1)));
        Self { max, window_ms, granted_ms: VecDeque::new() }
    }

    /// Whether a request at `now_ms` is within the limit; if so, it is counted.
    pub(crate) fn grant(&mut self, now_ms: i64) -> bool {
        if self.max == 0 {
            return true;
        }
        while self.granted_ms.front().is_some_and(|&at| at <= now_ms - self.window_ms) {
            self.granted_ms.pop_front();
        }
        if self.granted_ms.len() >= self.max as usize {
            return false;
        }
        self.granted_ms.push_back(now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sixth_request_within_a_second_is_refused_and_the_next_second_starts_where_the_first_request_was() {
        let mut limit = SlidingWindow::new(5, 1_000);
        let answers: Vec<bool> = [0, 100, 200, 300, 400, 999].into_iter().map(|at| limit.grant(at)).collect();
        assert_eq!(answers, [true, true, true, true, true, false]);
        assert!(limit.grant(1_000));
        assert!(!limit.grant(1_099));
        assert!(limit.grant(1_100));
    }

    #[test]
    fn a_short_window_refuses_a_burst_that_the_whole_second_would_allow() {
        let mut limit = SlidingWindow::new(5, 200);
        assert!(limit.grant(0));
        assert!(!limit.grant(199));
        assert!(limit.grant(200));
    }

    #[test]
    fn a_window_too_short_for_one_request_is_stretched() {
        let mut limit = SlidingWindow::new(2, 100);
        assert!(limit.grant(0));
        assert!(!limit.grant(499));
        assert!(limit.grant(500));
    }

    #[test]
    fn zero_means_no_limit() {
        let mut limit = SlidingWindow::new(0, 1_000);
        assert!((0..10_000).all(|_| limit.grant(0)));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(steps in prop::collection::vec(0i64..400, 1..200), rate in 1u32..20) {
            let mut limit = SlidingWindow::new(rate, 1_000);
            let mut now = 0;
            let mut granted = Vec::new();
            for step in steps {
                now += step;
                if limit.grant(now) {
                    granted.push(now);
                }
            }
            for &start in &granted {
                let inside = granted.iter().filter(|&&at| (start..start + 1_000).contains(&at)).count();
                prop_assert!(inside <= rate as usize);
            }
        }
    }
}
