#![doc = include_str!("../README.md")]

mod account;
mod allowed;
mod api_keys;
mod audit;
mod breaker;
mod budgets;
mod claim;
pub mod claims;
mod clock;
mod commit;
mod copies;
mod deliveries;
mod durations;
mod ended;
mod error;
mod events;
mod extras;
mod figures;
mod keys;
mod lease;
mod ledger;
mod limits;
mod link;
mod listing;
mod open;
mod orphans;
mod outbox;
mod pacer;
mod patience;
mod pauses;
mod places;
mod plan;
mod produce;
mod producer;
mod promote;
mod quotas;
mod read;
mod record;
mod repair;
mod replicas;
mod reply;
mod reserved;
mod restore;
mod rests;
mod results;
mod retention;
mod room;
mod safety;
mod schedules;
mod scripts;
mod standing;
mod strays;
mod tended;
mod waiting;
mod wake;
mod why_wait;

use std::sync::Arc;
use std::time::Duration;

pub use account::{AHEAD_PART, AccountStatus, CreateTime, Pause, Permit, QUERY_AHEAD, TaskOwner};
pub use allowed::{Allowed, PlacesLeft};
pub use api_keys::KEY_HELD_FOR;
pub use audit::SlotAudit;
pub use breaker::{Became, OpenBreaker, QUERY_PROBE_WINDOW, Turn};
pub use budgets::{BatchBudget, Budgets, Purse, Spent, WaitingBatch};
pub use claim::{Claimed, ClaimedJob, OTHERS_MAX, OtherAccount, Rescued, SubmitAsk, SubmitClaim};
pub use commit::{CommitError, Committed};
pub use copies::Losses;
pub use deliveries::{Delivery, DeliveryOf, DeliveryState, HookCounts, HookError};
pub use error::{ConnectError, QueueError, UnsafeRedis};
pub use events::{EventWatch, Hint};
pub use extras::{ExtraState, ExtraTask};
pub use figures::{CommandFigures, ServerFigures};
use job::Timestamp;
pub use keys::Keys;
pub use lease::{BootClock, Lease, LeaseGuard, Leases};
pub use ledger::LedgerLine;
pub use limits::{AccountLimits, Call, Pausable, USED_SHARE};
use link::Link;
pub use link::RedisSettings;
pub use listing::{Heeded, ListTurn, Listed};
pub use open::OpenJobs;
pub use orphans::Orphans;
pub use outbox::{Entry, EntryDocument, EntryEnd, EntryOf, NotAnEntry, TakenEntries};
pub use pacer::{CREATE_LATE_MAX, Pacer};
pub use patience::patiently;
pub use pauses::{HandPause, PauseChange, PauseOf};
pub use produce::{CHUNK_MAX, EnqueueError, Enqueued, NewJob, Origin, SourceFile};
pub use producer::{JobRefused, Producer, PushError, Tally};
pub use promote::Promoted;
pub use quotas::{FigureSource, FigureSources, Quota, Quotas, SetFigures};
use rand::Rng;
pub use read::{BatchSummary, Cursor, JobFilter, Page};
pub use record::UnreadableRecord;
pub use repair::{Repair, Sweep};
use replicas::Replicas;
pub use reply::Wait;
use restore::Memory;
pub use restore::{Recovery, RestoreNote, Rewritten};
pub use rests::{Resting, WorkersAtRest};
pub use results::{RESULTS_PAGE_MAX, ResultsPage, ResultsPlace};
pub use retention::Retention;
pub use room::Room;
pub use safety::ServerFacts;
pub use schedules::{
    BegunTick, ClaimedTick, ItemJob, RunNote, SchedulePause, ScheduleState, TICK_AGAIN, TickAsk, TickClaim,
    TickEnd,
};
pub use standing::Standing;
pub use strays::StrayCreate;
pub use waiting::{BatchLanes, Waiting, WaitingJobs, next_money};
pub use why_wait::WhyWait;

/// The queue: all that is known of jobs, in one Redis. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    keys: Keys,
    lease: Duration,
    memory: Memory,
    replicas: Replicas,
}

impl Queue {
    /// Connects to Redis. `rng` names calls and places waits inside their jitter.
    ///
    /// # Errors
    ///
    /// A URL that is none, a Redis that does not answer, or a cluster.
    pub async fn connect(settings: &RedisSettings, rng: Box<dyn Rng + Send>) -> Result<Self, ConnectError> {
        let link = Link::open(settings, rng).await?;
        let keys = Keys::new(&settings.namespace);
        let replicas = Replicas::new(settings.replicas, settings.replica_wait);
        let (lease, memory) = (settings.lease, Memory::default());
        Ok(Self { inner: Arc::new(Inner { link, keys, lease, memory, replicas }) })
    }

    /// Redis's time now, estimated from its last answer and our monotonic clock.
    pub fn now(&self) -> Timestamp {
        self.link().now()
    }

    /// The keys, for tools that look at Redis themselves.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// How long a claim lasts without renewal.
    pub fn lease(&self) -> Duration {
        self.inner.lease
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    pub(crate) fn link(&self) -> &Link {
        &self.inner.link
    }

    pub(crate) fn lease_ms(&self) -> String {
        self.inner.lease.as_millis().to_string()
    }
}
