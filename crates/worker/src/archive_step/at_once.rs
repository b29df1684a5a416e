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

/// How long after a decrease nothing else decreases it: what fails then was under way before.
const ONE_TROUBLE: Duration = Duration::from_secs(1);

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
    /// What is being measured: since when, how many rounds, how many bytes, and whether there was enough to do all the time.
    since: Duration,
    rounds: usize,
    bytes: u64,
    was_full: bool,
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
            was_full: true,
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

    /// A round ended, at `now` by the boot clock.
    pub(crate) fn end(&self, round: RoundEnded, now: Duration) {
        self.lock().end(round, now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Climb> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Climb {
    fn end(&mut self, round: RoundEnded, now: Duration) {
        self.was_full &= self.under_way >= self.limit;
        self.under_way = self.under_way.saturating_sub(1);
        if round.pushed_back {
            let is_new = self.decreased_at.is_none_or(|at| now.saturating_sub(at) >= ONE_TROUBLE);
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
        if self.was_full && seconds > 0.0 {
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
        (self.since, self.rounds, self.bytes, self.was_full) = (now, 0, 0, true);
        if self.rate.is_none() {
            self.raised_by = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins as many as there is room for.
    fn fill(copies: &CopiesAtOnce) {
        let under_way = copies.lock().under_way;
        (under_way..copies.limit()).for_each(|_| copies.begin());
    }

    /// A store that copies `speed(n)` bytes a second while `n` copies are under way, each of a thousand bytes, for `rounds` rounds.
    fn climb(most: usize, rounds: usize, speed: impl Fn(usize) -> f64) -> (CopiesAtOnce, Duration) {
        let copies = CopiesAtOnce::new(most);
        let mut now = Duration::ZERO;
        for _ in 0..rounds {
            fill(&copies);
            now += Duration::from_secs_f64(1_000.0 / speed(copies.limit()));
            copies.end(RoundEnded { bytes: 1_000, pushed_back: false }, now);
        }
        (copies, now)
    }

    #[test]
    fn a_store_that_takes_long_for_each_is_given_as_many_as_are_allowed() {
        let (copies, _) = climb(64, 2_000, |n| 500.0 * n as f64);
        assert_eq!(copies.limit(), 64);
    }

    #[test]
    fn a_line_that_is_full_is_not_given_more_and_more() {
        let (copies, _) = climb(1_000, 20_000, |n| 1_000_000.0_f64.min(50_000.0 * n as f64));
        assert!((16..=32).contains(&copies.limit()), "{}", copies.limit());
    }

    #[test]
    fn a_store_that_pushes_back_gets_half_and_only_once_for_one_trouble() {
        let (copies, mut now) = climb(64, 2_000, |n| 500.0 * n as f64);
        for _ in 0..20 {
            now += Duration::from_millis(10);
            copies.begin();
            copies.end(RoundEnded { bytes: 0, pushed_back: true }, now);
        }
        assert_eq!(copies.limit(), 32);
        for _ in 0..20 {
            now += ONE_TROUBLE;
            copies.begin();
            copies.end(RoundEnded { bytes: 0, pushed_back: true }, now);
        }
        assert_eq!(copies.limit(), 1, "never none at all");
        (0..4_000).fold(now, |now, _| {
            fill(&copies);
            let now = now + Duration::from_secs_f64(2.0 / copies.limit() as f64);
            copies.end(RoundEnded { bytes: 1_000, pushed_back: false }, now);
            now
        });
        assert_eq!(copies.limit(), 64, "it recovers");
    }

    #[test]
    fn with_little_to_do_nothing_is_learned() {
        let copies = CopiesAtOnce::new(64);
        for n in 0..1_000 {
            copies.begin();
            copies.end(RoundEnded { bytes: 1_000, pushed_back: false }, Duration::from_secs(n));
        }
        assert_eq!(copies.limit(), FIRST);
    }
}
