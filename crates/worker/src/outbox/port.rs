//! All that the ends of batches may touch: the outbox, the bucket, the receivers. What stands behind them in production is in
//! [`crate::adapters`]. They decide nothing.

use std::time::Duration;

use async_trait::async_trait;
use job::{BatchName, ObjectKey, Timestamp};
use queue::{BatchSummary, Entry, EntryEnd, EntryOf, ResultsPage, ResultsPlace};

use crate::ports::{JobsFault, StoreFault};

/// The outbox, and what has to be known of batches.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// The clock that all times in records are on.
    fn now(&self) -> Timestamp;

    /// Leases entries that are due; and how long it is until there may be more, if that is known.
    async fn take(&self, max: usize, lease: Duration) -> Result<(Vec<Entry>, Option<Duration>), JobsFault>;

    /// Prolongs a lease; `false` once it is somebody else's.
    async fn keep(&self, entry: &Entry, lease: Duration) -> Result<bool, JobsFault>;

    /// Writes down what became of an entry; `false` if it is somebody else's. Waits for as long as the queue is away.
    async fn write(&self, entry: &Entry, end: &EntryEnd) -> Result<bool, JobsFault>;

    /// Whether an entry is open.
    async fn is_open(&self, of: &EntryOf) -> Result<bool, JobsFault>;

    /// Whether an entry is due, or worked on.
    async fn has_work(&self) -> Result<bool, JobsFault>;

    /// A batch in numbers.
    async fn batch(&self, name: &BatchName) -> Result<Option<BatchSummary>, JobsFault>;

    /// Jobs of a batch with what came of them, after a place.
    async fn results(&self, name: &BatchName, after: Option<ResultsPlace>) -> Result<ResultsPage, JobsFault>;
}

/// The bucket, for manifests.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// Begins an object of lines that will replace what stands at `key` once it is whole.
    async fn begin(&self, key: &ObjectKey) -> Box<dyn LinesUpload>;
}

/// An object on its way. Dropped before its end, it is given up.
#[async_trait]
pub trait LinesUpload: Send {
    /// Adds lines.
    async fn write(&mut self, lines: String) -> Result<(), StoreFault>;

    /// Ends it: the store holds all of it.
    async fn end(self: Box<Self>) -> Result<(), StoreFault>;
}

/// The receivers.
#[async_trait]
pub trait Receivers: Send + Sync {
    /// Sends an event, and returns the status of the answer. Nothing of the answer is read, and no redirect is followed.
    async fn send(&self, post: &Post) -> Result<u16, SendFault>;
}

/// An event on its way. Its address may hold a token: it is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Where to.
    pub url: String,
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`, in seconds since 1970.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// What is sent.
    pub body: String,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// There was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFault {
    /// No connection could be opened.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("it did not answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}
