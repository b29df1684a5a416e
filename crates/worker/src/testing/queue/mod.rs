//! The queue's twin: records, leases, owners and due times in memory, under the rules of the scripts.
//!
//! It applies events as the real one does, and is away when it is told so. All workers of a run share it; each reaches it
//! through a [`TwinJobs`] of its own, so that a call may be cut off on either side of what it does.

mod books;
mod breaker;
mod changes;
mod jobs;
mod lineage;
mod listings;
mod quotas;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use job::{AccountName, Event, Job, JobId, JobSpec, Model, Outcome, Rules, TaskId, Timestamp};
use queue::AccountLimits;

use self::changes::Changes;
pub(crate) use self::jobs::TwinJobs;
pub(crate) use self::lineage::Seen;
pub(crate) use self::store::{Moment, Store};
use super::time::VirtualTime;
use crate::ports::{BoxError, CommitFault, JobsFault, Written};

/// How long a lease lives. Source: the default of the real queue.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// What is looked at after every commit.
pub(crate) type Onlooker = Box<dyn Fn(&Store) + Send + Sync>;

/// The queue of a run.
pub(crate) struct TwinQueue {
    pub(crate) time: VirtualTime,
    pub(crate) rules: Rules,
    pub(crate) limits: AccountLimits,
    /// From when until when it is away, since the run began.
    pub(crate) outages: Vec<(Duration, Duration)>,
    store: Mutex<Store>,
    copy: Mutex<Option<Store>>,
    pub(crate) changes: Changes,
    onlooker: Mutex<Option<Onlooker>>,
}

/// It is away.
#[derive(Debug, thiserror::Error)]
#[error("the queue's twin is away")]
struct Away;

fn away() -> JobsFault {
    JobsFault::Away(BoxError::from(Away))
}

impl TwinQueue {
    /// An empty queue.
    pub(crate) fn new(
        time: VirtualTime,
        rules: Rules,
        limits: AccountLimits,
        outages: Vec<(Duration, Duration)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            time,
            rules,
            limits,
            outages,
            store: Mutex::default(),
            copy: Mutex::default(),
            changes: Changes::default(),
            onlooker: Mutex::default(),
        })
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a job.
    pub(crate) fn enqueue(&self, job: Job, spec: JobSpec) {
        self.store().insert(job, spec);
        self.ring();
    }

    /// Whoever waits for something to claim, looks.
    pub(crate) fn ring(&self) {
        self.changes.ring();
    }

    pub(crate) fn look_on(&self, onlooker: Onlooker) {
        *self.onlooker.lock().unwrap_or_else(PoisonError::into_inner) = Some(onlooker);
    }

    pub(crate) fn is_away(&self) -> bool {
        let now = crate::clock::Clock::elapsed(&self.time);
        self.outages.iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    /// A person's request, or anything else that needs no fence.
    pub(crate) fn write_unfenced(&self, id: JobId, event: Event) -> Result<Written, CommitFault> {
        let nonce = self.store().nonce();
        let call = Call { nonce, chance: 0.5, now: self.time.now() };
        self.write(id, None, event, None, call)
    }

    pub(crate) fn write(
        &self,
        id: JobId,
        fence: Option<u64>,
        event: Event,
        outcome: Option<&Outcome>,
        call: Call,
    ) -> Result<Written, CommitFault> {
        let mut store = self.store();
        let written = store.write(id, fence, event, outcome, call, &self.rules);
        if written.is_ok() {
            let onlooker = self.onlooker.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(onlooker) = &*onlooker {
                onlooker(&store);
            }
        }
        drop(store);
        self.ring();
        written
    }
}

/// What a worker adds to a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Names it: a repeat gets the first answer.
    pub(crate) nonce: u64,
    /// Places what follows inside its jitter.
    pub(crate) chance: f64,
    /// What the worker takes for the queue's time: it computes what follows from the event.
    pub(crate) now: Timestamp,
}

/// A claim for submit, or what it has to wait for.
#[derive(Debug)]
pub(crate) enum SubmitClaimed {
    /// A job, with its attempt written down.
    Claimed {
        claim: Box<(Job, JobSpec)>,
        /// How long until its create is to be sent.
        send_in: Duration,
        /// Whether it goes through an open breaker.
        probe: bool,
    },
    /// Nothing now; after so long there may be, unless the queue changes before.
    Wait(Option<Duration>),
}

/// For whom, and until when, a job is claimed for submit.
#[derive(Debug, Clone)]
pub(crate) struct SubmitAsk {
    pub(crate) account: AccountName,
    pub(crate) model: Model,
    /// How long after the claim the create may be sent.
    pub(crate) send_within: Duration,
    /// How long after the claim the create can go out at the earliest.
    pub(crate) lead: Duration,
    /// How long after the claim a probe is answered at the latest.
    pub(crate) probe_window: Duration,
}

/// Jobs that were due, and how long it is until the next one is.
#[derive(Debug)]
pub(crate) struct DueClaimed {
    /// Each with what its task brought.
    pub(crate) jobs: Vec<(Job, Option<Outcome>)>,
    /// The time until there may be more, unless the queue changes before.
    pub(crate) wait: Option<Duration>,
    /// Whether the job goes through an open breaker.
    pub(crate) probe: bool,
}

/// Which due jobs are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Tasks to be asked.
    Poll,
    /// Images to be copied.
    Archive,
    /// Attempts to be settled.
    Settle,
    /// What is to be run alone, whichever of these it is.
    Alone,
}

/// What the run needs to hold tasks and records against each other.
pub(crate) fn owner_of(store: &Store, task: &TaskId) -> Option<JobId> {
    store.books.owners.get(task).map(|owner| owner.job)
}

pub(crate) fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
