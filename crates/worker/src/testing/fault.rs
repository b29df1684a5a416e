//! Faults: what goes wrong, where, and at the how manieth passing.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::process::Process;
use crate::place::{Place, Places};

/// Where a fault may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Between two steps of a worker.
    Place(Place),
    /// A create has passed its gate, and goes out.
    Create,
    /// A commit is about to be written.
    Commit,
    /// A claim, of any kind, was written; its answer is on the way.
    Claimed,
    /// An image is on its way into the bucket.
    Copy,
    /// A task is asked.
    Fetch,
}

/// What happens there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// The process dies before anything came of it. A create never reaches the provider.
    Crash,
    /// The process dies, and what it asked for happens all the same.
    CrashAfter,
    /// The process stands still, and then goes on.
    Pause(Duration),
    /// The worker is told to stop.
    Stop,
    /// What was asked for never arrives.
    Lose,
    /// What was asked for happens, and nobody answers.
    LoseAnswer,
    /// What was asked for happens, and a gateway answers with a 502.
    Gateway502,
    /// The connection breaks, and the provider acts on the request so much later.
    Late(Range<Duration>),
    /// The provider refuses: too many.
    Refuse,
    /// The provider refuses the request itself.
    Reject,
    /// There is no connection.
    NoConnection,
    /// The provider says UNKNOWN.
    SayUnknown,
}

/// A fault that waits for its moment.
#[derive(Debug, Clone)]
pub(crate) struct Armed {
    pub(crate) hook: Hook,
    /// At which passing it happens, from 1.
    pub(crate) nth: u32,
    /// At how many passings from there on.
    pub(crate) times: u32,
    pub(crate) act: Act,
}

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Faults(Mutex<Vec<(Armed, u32, u32)>>);

impl Faults {
    pub(crate) fn new(armed: Vec<Armed>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(armed.into_iter().map(|armed| (armed, 0, 0)).collect())))
    }

    /// Somebody is at `hook`: what happens there.
    pub(crate) fn at(&self, hook: Hook) -> Option<Act> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut happens = None;
        for (armed, passings, fired) in faults.iter_mut().filter(|(armed, ..)| armed.hook == hook) {
            *passings += 1;
            if (armed.nth..armed.nth.saturating_add(armed.times)).contains(passings) && happens.is_none() {
                *fired += 1;
                happens = Some(armed.act.clone());
            }
        }
        happens
    }

    /// Whether the first fault, that of the row, happened.
    pub(crate) fn fired(&self) -> bool {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.first().is_none_or(|(_, _, fired)| *fired > 0)
    }
}

/// The places of one worker's process.
pub(crate) struct FaultyPlaces {
    pub(crate) faults: Arc<Faults>,
    pub(crate) process: Arc<Process>,
    pub(crate) stop: CancellationToken,
}

#[async_trait]
impl Places for FaultyPlaces {
    async fn pass(&self, place: Place) {
        match self.faults.at(Hook::Place(place)) {
            Some(Act::Crash | Act::CrashAfter) => self.process.kill(),
            Some(Act::Pause(pause)) => self.process.pause(pause),
            Some(Act::Stop) => self.stop.cancel(),
            _ => {}
        }
        self.process.runs().await;
    }
}
