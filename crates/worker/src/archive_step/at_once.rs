//! How many jobs are copied at once: as many as make copying faster, and half as many when the store or the objects' host pushes back.
//!
//! Additive increase, multiplicative decrease, as TCP does for the same reason: nobody tells how much a store can take. Pure, but for
//! its lock. The archive stage asks before each claim; each round of copying tells how it went.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// With how many a worker begins. Source: ours; a store on the same machine takes more, and one that takes less says so soon.
const FIRST: usize = 8;

/// How many rounds at the least one rate is measured over.
const ROUNDS_MIN: usize = 8;

/// Which part of what a raised number could bring it must bring to be kept. Source: ours; below it is noise, and memory is better used
/// elsewhere.
const GAIN_MIN: f64 = 0.25;

/// How many measurements a number that was not worth raising, or was too much, is kept for.
const PATIENCE: u32 = 8;

/// The number of jobs copied at once by one worker.
#[derive(Debug)]
pub(crate) struct CopiesAtOnce(Mutex<Climb>);

/// How a round of copying went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundEnded {
    /// Bytes that were copied.
    pub(crate) bytes: u64,
    /// Whether the store, or the host of the objects, asked for less, or did not answer in time.
    pub(crate) pushed_back: bool,
}

#[derive(Debug)]
struct Climb {
    most: usize,
    limit: usize,
    under_way: usize,
    /// What is being measured: since when, how many rounds, how many bytes, and at how many ends there was no room to spare.
    since: Duration,
    rounds: usize,
    bytes: u64,
    full_ends: usize,
    /// The last rate, and by how much the number was raised after it.
    rate: Option<f64>,
    raised_by: usize,
    patience: u32,
    decreased_at: Option<Duration>,
}

impl CopiesAtOnce {
    /// Never more than `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self(Mutex::new(Climb {
            most: most.max(1),
            limit: FIRST.clamp(1, most.max(1)),
            under_way: 0,
            since: Duration::ZERO,
            rounds: 0,
            bytes: 0,
            full_ends: 0,
            rate: None,
            raised_by: 0,
            patience: 0,
            decreased_at: None,
        }))
    }

    /// How many there may be just now.
    pub(crate) fn limit(&self) -> usize {
        self.lock().limit
    }

    /// A round begins.
    pub(crate) fn begin(&self) {
        self.lock().under_way += 1;
    }

    /// A round that began at `began` ended, at `now`, both by the boot clock.
    pub(crate) fn end(&self, round: RoundEnded, began: Duration, now: Duration) {
        self.lock().end(round, began, now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Climb> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Climb {
    fn end(&mut self, round: RoundEnded, began: Duration, now: Duration) {
        // A quarter may be on its way from one round to the next: claims take a moment.
        let full = self.under_way >= self.limit - self.limit / 4;
        self.full_ends += usize::from(full);
        self.under_way = self.under_way.saturating_sub(1);
        if round.pushed_back {
            // What was under way at the last decrease is the same trouble.
            let is_new = self.decreased_at.is_none_or(|at| began >= at);
            if is_new {
                self.limit = (self.limit / 2).max(1);
                self.decreased_at = Some(now);
                self.patience = PATIENCE;
                self.rate = None;
            }
            self.measure_anew(now);
            return;
        }
        self.rounds += 1;
        self.bytes += round.bytes;
        if self.rounds < self.limit.max(ROUNDS_MIN) {
            return;
        }
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        // With less to do than there is room for, nothing is learned about the room.
        if self.full_ends * 4 >= self.rounds * 3 && seconds > 0.0 {
            self.judge(self.bytes as f64 / seconds);
        }
        self.measure_anew(now);
    }

    fn judge(&mut self, rate: f64) {
        let before_raise = self.limit.saturating_sub(self.raised_by).max(1);
        let could_gain = self.raised_by as f64 / before_raise as f64;
        let was_worth_it = self.rate.is_none_or(|before| rate >= before * (1.0 + could_gain * GAIN_MIN));
        if self.raised_by > 0 && !was_worth_it {
            self.limit = (self.limit - self.raised_by).max(1);
            (self.raised_by, self.patience) = (0, PATIENCE);
            return;
        }
        self.rate = Some(rate);
        if self.patience > 0 {
            self.patience -= 1;
            self.raised_by = 0;
            return;
        }
        let raised = (self.limit + (self.limit / 4).max(1)).min(self.most);
        self.raised_by = raised - self.limit;
        self.limit = raised;
    }

    fn measure_anew(&mut self, now: Duration) {
        (self.since, self.rounds, self.bytes, self.full_ends) = (now, 0, 0, 0);
        if self.rate.is_none() {
            self.raised_by = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store, and a worker that always has something to copy.
    struct Store {
        copies: CopiesAtOnce,
        now: Duration,
        /// When the rounds that are under way began.
        began: std::collections::VecDeque<Duration>,
        /// How many ends it takes until the room of one is taken again: a step writes down what it did, and the next is claimed.
        gap: usize,
        ends: usize,
    }

    impl Store {
        fn new(most: usize, gap: usize) -> Self {
            Self {
                copies: CopiesAtOnce::new(most),
                now: Duration::ZERO,
                began: Default::default(),
                gap,
                ends: 0,
            }
        }

        /// The end of the oldest round, `wait` after the last end.
        fn end(&mut self, wait: Duration, pushed_back: bool) {
            // Of the room that is free, the last few are still on their way.
            let on_the_way = self.gap.min(self.copies.limit() / 4).min(self.ends);
            while self.began.len() + on_the_way < self.copies.limit().max(1) || self.began.is_empty() {
                self.copies.begin();
                self.began.push_back(self.now);
            }
            self.now += wait;
            let began = self.began.pop_front().unwrap();
            let bytes = if pushed_back { 0 } else { 1_000 };
            self.copies.end(RoundEnded { bytes, pushed_back }, began, self.now);
            self.ends += 1;
        }

        /// `rounds` rounds of a thousand bytes each; `speed(n)` bytes a second with `n` under way.
        fn run(&mut self, rounds: usize, speed: impl Fn(usize) -> f64) -> usize {
            for _ in 0..rounds {
                self.end(Duration::from_secs_f64(1_000.0 / speed(self.copies.limit())), false);
            }
            self.copies.limit()
        }
    }

    #[test]
    fn a_store_that_takes_long_for_each_is_given_as_many_as_are_allowed() {
        for gap in [0, 1, 4, 16] {
            let limit = Store::new(64, gap).run(3_000, |n| 500.0 * n as f64);
            assert_eq!(limit, 64, "with {gap} on their way from one round to the next");
        }
    }

    #[test]
    fn a_line_that_is_full_is_not_given_more_and_more() {
        let limit = Store::new(1_000, 0).run(20_000, |n| 1_000_000.0_f64.min(50_000.0 * n as f64));
        assert!((16..=32).contains(&limit), "{limit}");
    }

    #[test]
    fn a_store_that_pushes_back_gets_half_and_only_once_for_what_was_under_way() {
        let mut store = Store::new(64, 0);
        assert_eq!(store.run(2_000, |n| 500.0 * n as f64), 64);
        // A stall of seven seconds: all that was under way fails, one after the other.
        for _ in 0..60 {
            store.end(Duration::from_millis(110), true);
        }
        assert_eq!(store.copies.limit(), 32);
        // It goes on: what began since fails as well.
        for _ in 0..600 {
            store.end(Duration::from_millis(110), true);
        }
        assert_eq!(store.copies.limit(), 1, "never none at all");
        assert_eq!(store.run(4_000, |n| 500.0 * n as f64), 64, "it recovers");
    }

    #[test]
    fn with_little_to_do_nothing_is_learned() {
        let copies = CopiesAtOnce::new(64);
        for n in 0..1_000 {
            let began = Duration::from_secs(n);
            copies.begin();
            copies.end(
                RoundEnded { bytes: 1_000, pushed_back: false },
                began,
                began + Duration::from_millis(500),
            );
        }
        assert_eq!(copies.limit(), FIRST);
    }
}
