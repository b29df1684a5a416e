//! Virtual time: tokio's paused clock, read as the times that the steps know.

use std::time::Duration;

use job::Timestamp;
use tokio::time::Instant;

use crate::clock::Clock;

/// The second at which every run begins, by the queue's clock. Any would do; a fixed one keeps timelines comparable.
const BEGINNING: i64 = 1_800_000_000;

/// The time since a run began. It moves when every task of the run waits, and then at once to the next timer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VirtualTime {
    began: Instant,
    /// What a machine's own clock showed by then.
    booted: Duration,
}

impl VirtualTime {
    /// Begins now. The runtime's clock must be paused.
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), booted: Duration::ZERO }
    }

    /// The same time by the clock of a machine that was started so long before the run.
    pub(crate) fn booted(self, before: Duration) -> Self {
        Self { booted: before, ..self }
    }

    /// The queue's clock.
    pub(crate) fn now(&self) -> Timestamp {
        let beginning = Timestamp::from_second(BEGINNING).expect("a second of this century is a timestamp");
        beginning + self.began.elapsed()
    }
}

impl Clock for VirtualTime {
    fn elapsed(&self) -> Duration {
        self.booted + self.began.elapsed()
    }
}
