//! The simulator's time.
//!
//! Owns the offset by which a test moves the simulated service into the future, and the signal that wakes calls which
//! wait for a task. It never decides anything: every rule elsewhere takes `now_ms` as an argument. Driven by
//! [`crate::Simulator`] and by `POST /_sim/clock`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

/// Where the simulator's time comes from, before any offset.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. Must never go back.
    fn now(&self) -> Timestamp;
}

/// The machine's time at start, carried on by its monotonic clock, so that a correction of the system time in
/// mid-run cannot reorder tasks.
#[derive(Debug)]
pub struct SystemClock {
    started: Timestamp,
    since: Instant,
}

impl SystemClock {
    /// A clock that reads the machine's time once, now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where the simulator meets real time"
    )]
    pub fn start() -> Self {
        Self { started: Timestamp::now(), since: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started.saturating_add(self.since.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

/// A clock that stands still. Time passes only by [`crate::Simulator::advance_clock`].
#[derive(Debug, Clone, Copy)]
pub struct FrozenClock(pub Timestamp);

impl Clock for FrozenClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A [`Clock`] plus a movable offset.
pub(crate) struct SimClock {
    base: Box<dyn Clock>,
    offset: Mutex<Duration>,
    moved: watch::Sender<()>,
}

impl SimClock {
    pub(crate) fn new(base: Box<dyn Clock>) -> Self {
        Self { base, offset: Mutex::new(Duration::ZERO), moved: watch::channel(()).0 }
    }

    /// Milliseconds since 1970-01-01 UTC, offset included.
    pub(crate) fn now_ms(&self) -> i64 {
        let offset_ms = i64::try_from(self.offset().as_millis()).unwrap_or(i64::MAX);
        self.base.now().as_millisecond().saturating_add(offset_ms)
    }

    /// Moves time on by `step`.
    pub(crate) fn advance(&self, step: Duration) {
        let mut offset = self.lock_offset();
        *offset = offset.saturating_add(step);
        drop(offset);
        self.moved.send_replace(());
    }

    /// Sets the offset. An offset below the present one is ignored, since the service's time never goes back.
    pub(crate) fn set_offset(&self, to: Duration) {
        let mut offset = self.lock_offset();
        *offset = (*offset).max(to);
        drop(offset);
        self.moved.send_replace(());
    }

    pub(crate) fn offset(&self) -> Duration {
        *self.lock_offset()
    }

    /// A signal that fires whenever the offset moves.
    pub(crate) fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    fn lock_offset(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.offset.lock().expect("the clock's lock is never held across a panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_forward_by_the_offset_and_never_back() {
        let clock = SimClock::new(Box::new(FrozenClock(Timestamp::UNIX_EPOCH)));
        assert_eq!(clock.now_ms(), 0);
        clock.advance(Duration::from_secs(2));
        clock.set_offset(Duration::from_secs(1));
        assert_eq!(clock.now_ms(), 2_000);
        clock.set_offset(Duration::from_secs(5));
        assert_eq!(clock.now_ms(), 5_000);
    }
}
