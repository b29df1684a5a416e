//! The leases that one worker of a run holds, and their renewal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use job::{Job, JobId};
use tokio::sync::Notify;

use super::process::Process;
use super::queue::TwinQueue;
use super::time::VirtualTime;
use crate::clock::Clock as _;
use crate::ports::Lease;

type Held = Arc<Mutex<BTreeMap<(JobId, u64), Duration>>>;

/// All leases of one worker.
#[derive(Clone)]
pub(crate) struct TwinLeases {
    time: VirtualTime,
    held: Held,
    taken: Arc<Notify>,
}

impl TwinLeases {
    pub(crate) fn new(time: VirtualTime) -> Self {
        Self { time, held: Held::default(), taken: Arc::new(Notify::new()) }
    }

    pub(crate) fn boot_now(&self) -> Duration {
        self.time.elapsed()
    }

    /// Takes charge of the lease of a job that was claimed by a call sent at `asked_at`.
    pub(crate) fn guard(&self, job: &Job, asked_at: Duration) -> TwinLease {
        let lease = (job.id, job.fence);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(lease, asked_at);
        self.taken.notify_one();
        TwinLease { lease, leases: self.clone() }
    }

    /// Gives all of them up.
    pub(crate) fn lose_all(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Renews until the process dies.
    pub(crate) async fn renew(self, queue: Arc<TwinQueue>, process: Arc<Process>, every: Duration) {
        loop {
            let leases: Vec<_> =
                self.held.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
            if leases.is_empty() {
                self.taken.notified().await;
                continue;
            }
            process.runs().await;
            let sent = self.boot_now();
            if !queue.is_away() {
                let now = queue.time.now();
                let lost = queue.store().renew(&leases, now);
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                for lease in &leases {
                    if let Some(renewed_at) = held.get_mut(lease) {
                        *renewed_at = sent;
                    }
                }
                for lease in lost {
                    held.remove(&lease);
                }
            }
            tokio::time::sleep(every).await;
        }
    }
}

/// One of them; it is renewed until it is dropped.
pub(crate) struct TwinLease {
    lease: (JobId, u64),
    leases: TwinLeases,
}

impl Lease for TwinLease {
    fn age_of_renewal(&self) -> Option<Duration> {
        let held = self.leases.held.lock().unwrap_or_else(PoisonError::into_inner);
        Some(self.leases.boot_now().saturating_sub(*held.get(&self.lease)?))
    }
}

impl Drop for TwinLease {
    fn drop(&mut self) {
        self.leases.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.lease);
    }
}
