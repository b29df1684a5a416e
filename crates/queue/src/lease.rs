//! Leases that a worker holds, and the task that renews them.
//!
//! A lease is renewed for as long as its [`LeaseGuard`] lives: when the handler ends, panics or is dropped, the renewal ends
//! with it, and a job whose handler forgot to commit comes back by itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use job::Job;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::places::lease_member;
use crate::scripts::RENEW;

/// How many leases one call renews.
const RENEW_CHUNK: usize = 500;

/// A lease: a job and the fence under which it is held.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Lease(String);

impl Lease {
    /// The lease of a claimed job.
    pub fn of(job: &Job) -> Self {
        Self(lease_member(job))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Queue {
    /// Prolongs leases and returns those that are lost.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses; then nothing is known of any of them.
    pub async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        let mut lost = Vec::new();
        for chunk in leases.chunks(RENEW_CHUNK) {
            let keys = [self.keys().leases()];
            let mut args = vec![self.lease_ms()];
            args.extend(chunk.iter().map(|lease| lease.0.clone()));
            let mut reply = self.script("renew", &RENEW, &keys, &args, TimeAt::First).await?;
            reply.int()?;
            lost.extend(reply.texts()?.into_iter().map(Lease));
        }
        Ok(lost)
    }
}

/// A clock that never stands still, not even while the machine sleeps (CLOCK_BOOTTIME).
pub type BootClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// All the leases that this process holds.
#[derive(Clone)]
pub struct Leases {
    inner: Arc<Inner>,
}

struct Inner {
    held: Mutex<HashMap<Lease, Held>>,
    boot: BootClock,
}

struct Held {
    renewed_at: Duration,
    lost: CancellationToken,
}

impl Leases {
    /// Begins renewing, every `every`, until `stop`.
    pub fn start(queue: Queue, every: Duration, boot: BootClock, stop: CancellationToken) -> Self {
        let leases = Self { inner: Arc::new(Inner { held: Mutex::default(), boot }) };
        tokio::spawn(leases.clone().renew_until(queue, every, stop));
        leases
    }

    /// Takes charge of the lease of a job that was claimed by a call sent at `claimed_at`, by the boot clock.
    pub fn guard(&self, job: &Job, claimed_at: Duration) -> LeaseGuard {
        let (lease, lost) = (Lease::of(job), CancellationToken::new());
        self.held().insert(lease.clone(), Held { renewed_at: claimed_at, lost: lost.clone() });
        LeaseGuard { lease, lost, leases: self.clone() }
    }

    /// Gives all of them up: Redis is an older one than the one that granted them.
    pub fn lose_all(&self) {
        for (_, held) in self.held().drain() {
            held.lost.cancel();
        }
    }

    /// The boot clock now.
    pub fn boot_now(&self) -> Duration {
        (self.inner.boot)()
    }

    /// How many leases are held.
    pub fn len(&self) -> usize {
        self.held().len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Lease, Held>> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew_until(self, queue: Queue, every: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut away = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let leases: Vec<Lease> = self.held().keys().cloned().collect();
            if leases.is_empty() {
                continue;
            }
            // The lease counts from before the call: its answer may have been long on the way.
            let sent = self.boot_now();
            match queue.renew(&leases).await {
                Ok(lost) => {
                    away = false;
                    self.note_renewal(&leases, &lost, sent);
                }
                Err(error) if !away => {
                    away = true;
                    warn!(
                        error = &error as &dyn std::error::Error,
                        held = leases.len(),
                        "Leases could not be renewed"
                    );
                }
                Err(_) => {}
            }
        }
    }

    fn note_renewal(&self, renewed: &[Lease], lost: &[Lease], sent: Duration) {
        let mut held = self.held();
        for lease in renewed {
            if let Some(entry) = held.get_mut(lease) {
                entry.renewed_at = entry.renewed_at.max(sent);
            }
        }
        for lease in lost {
            if let Some(entry) = held.remove(lease) {
                // Or it was given back at this moment: whoever commits under it is told which.
                debug!(lease = ?lease, "A lease is there no more");
                entry.lost.cancel();
            }
        }
    }
}

/// Keeps one lease alive until it is dropped.
pub struct LeaseGuard {
    lease: Lease,
    lost: CancellationToken,
    leases: Leases,
}

impl LeaseGuard {
    /// Cancelled when the lease is lost: what is done for the job counts no more.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// How long ago the lease was last known to be ours, by the boot clock; `None` once it is lost.
    pub fn age_of_renewal(&self) -> Option<Duration> {
        let renewed_at = self.leases.held().get(&self.lease)?.renewed_at;
        Some(self.leases.boot_now().saturating_sub(renewed_at))
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.leases.held().remove(&self.lease);
    }
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaseGuard").field(&self.lease).finish()
    }
}
