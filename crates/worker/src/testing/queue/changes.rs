//! Wakes whoever waits for the queue to change, always in the order in which they began to wait.
//!
//! tokio's `watch` wakes its receivers in an order of chance, and then the same seed would not be the same run.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    count: AtomicU64,
    rung: Notify,
}

impl Changes {
    /// There may be something to claim.
    pub(crate) fn ring(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.rung.notify_waiters();
    }

    /// Returns once there was a change that `seen` does not know, and takes note of it.
    pub(crate) async fn since(&self, seen: &mut u64) {
        loop {
            let mut rung = pin!(self.rung.notified());
            // From here on a ring is not missed.
            rung.as_mut().enable();
            let count = self.count.load(Ordering::Relaxed);
            if count != *seen {
                *seen = count;
                return;
            }
            rung.await;
        }
    }
}
