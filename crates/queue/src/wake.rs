//! What wakes the fetchers of [`crate::claims`]: Redis's hints, and whoever knows of something to claim. A hint may be lost, so that
//! nobody relies on one: fetchers look now and then all the same.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::claims::RETRY;
use crate::{Hint, Queue};

/// Wakes the fetchers of one stage.
#[derive(Clone)]
pub struct Wake(watch::Sender<u64>);

impl Wake {
    /// One that nobody has rung yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// There may be something to claim.
    pub fn ring(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self::new()
    }
}

/// What each stage is woken by.
#[derive(Clone, Default)]
pub struct Wakes {
    /// Something was queued, or a place at the provider became free.
    pub submit: Wake,
    /// A task is to be asked.
    pub poll: Wake,
    /// Images are to be copied.
    pub archive: Wake,
}

impl Wakes {
    /// Rings whom a hint concerns.
    pub fn hint(&self, hint: &Hint) {
        use job::StateName::{Archiving, Polling, Settling, Submitting};
        match hint {
            Hint::Enqueued { .. } | Hint::Resumed => self.submit.ring(),
            Hint::Job { state: Polling, .. } | Hint::PollsDue => self.poll.ring(),
            Hint::Job { state: Archiving, .. } => {
                self.archive.ring();
                self.submit.ring();
            }
            Hint::Job { state: Submitting | Settling, .. } => {}
            Hint::Job { .. } => self.submit.ring(),
        }
    }

    /// Follows Redis's hints until `stop`.
    pub async fn follow(self, queue: Queue, stop: CancellationToken) {
        let mut events = queue.watch_events();
        let mut failures = 0;
        loop {
            let hints = tokio::select! {
                () = stop.cancelled() => return,
                hints = events.next() => hints,
            };
            match hints {
                Ok(hints) => {
                    failures = 0;
                    hints.iter().for_each(|hint| self.hint(hint));
                }
                // Nothing to say: the fetchers' own calls say it. Hints are only ever a help.
                Err(_) => {
                    let wait = RETRY.wait_with_jitter(failures, queue.link().chance());
                    failures = failures.saturating_add(1);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }
}
