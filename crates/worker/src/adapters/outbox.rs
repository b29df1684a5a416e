//! The outbox behind Redis, and manifests behind the bucket.

use std::time::Duration;

use archive::{PieceUpload, Store};
use async_trait::async_trait;
use job::{BatchName, ObjectKey, Timestamp};
use queue::{
    BatchSummary, Entry, EntryEnd, EntryOf, Queue, RESULTS_PAGE_MAX, ResultsPage, ResultsPlace, Wait,
};

use super::archive::store_fault;
use crate::outbox::{LinesUpload, Manifests, Outbox};
use crate::ports::{JobsFault, StoreFault};

/// The type of an object of lines. Source: what most tools send; no registered type is JSONL's.
const LINES_CONTENT_TYPE: &str = "application/x-ndjson";

/// [`Outbox`] behind Redis.
pub struct QueueOutbox(pub Queue);

#[async_trait]
impl Outbox for QueueOutbox {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn take(&self, max: usize, lease: Duration) -> Result<(Vec<Entry>, Option<Duration>), JobsFault> {
        let taken = self.0.take_outbox(max, lease).await.map_err(JobsFault::from)?;
        let wait = match taken.wait {
            Wait::For(wait) => Some(wait),
            Wait::Unknown => None,
        };
        Ok((taken.entries, wait))
    }

    async fn keep(&self, entry: &Entry, lease: Duration) -> Result<bool, JobsFault> {
        self.0.keep_outbox(entry, lease).await.map_err(JobsFault::from)
    }

    async fn write(&self, entry: &Entry, end: &EntryEnd) -> Result<bool, JobsFault> {
        self.0.write_outbox(entry, end).await.map_err(JobsFault::from)
    }

    async fn is_open(&self, of: &EntryOf) -> Result<bool, JobsFault> {
        self.0.in_outbox(of).await.map_err(JobsFault::from)
    }

    async fn has_work(&self) -> Result<bool, JobsFault> {
        self.0.outbox_has_work().await.map_err(JobsFault::from)
    }

    async fn batch(&self, name: &BatchName) -> Result<Option<BatchSummary>, JobsFault> {
        self.0.batch(Some(name)).await.map_err(JobsFault::from)
    }

    async fn results(&self, name: &BatchName, after: Option<ResultsPlace>) -> Result<ResultsPage, JobsFault> {
        self.0.results(name, after, &[], RESULTS_PAGE_MAX).await.map_err(JobsFault::from)
    }
}

/// [`Manifests`] in a bucket.
pub struct BucketManifests(pub Store);

#[async_trait]
impl Manifests for BucketManifests {
    async fn begin(&self, key: &ObjectKey) -> Box<dyn LinesUpload> {
        Box::new(BucketLines(self.0.put_pieces(key, LINES_CONTENT_TYPE)))
    }
}

struct BucketLines(PieceUpload);

#[async_trait]
impl LinesUpload for BucketLines {
    async fn write(&mut self, lines: String) -> Result<(), StoreFault> {
        self.0.write(lines.as_bytes()).await.map_err(|error| store_fault(&error))
    }

    async fn end(self: Box<Self>) -> Result<(), StoreFault> {
        self.0.end().await.map(|_| ()).map_err(|error| store_fault(&error))
    }
}
