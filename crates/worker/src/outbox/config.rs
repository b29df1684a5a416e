//! What a worker is told about the ends of batches: whether a manifest is written, and how often telling somebody is tried.

use std::time::Duration;

use job::{BucketPlace, Curve};

/// What follows from a batch's end.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxConfig {
    /// The namespace of the queue: events of two of them have different ids.
    pub namespace: String,
    /// Whether a batch's results are written into the bucket. Default true.
    pub batch_manifest: bool,
    /// The bucket, for the addresses in results.
    pub place: Option<BucketPlace>,
    /// How long a receiver may take to answer. Default 15 s.
    ///
    /// Source: the Standard Webhooks specification, which advises 15 to 30 s.
    pub timeout: Duration,
    /// The waits between tries. Default 5 s × 3 up to 2 h.
    ///
    /// Source: ours, after the Standard Webhooks specification, which advises exponential backoff with jitter over a day or more: some
    /// 18 tries.
    pub retry: Curve,
    /// How long after its first try an event is given up. Default 24 h.
    pub give_up_after: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            namespace: "imagemill".to_owned(),
            batch_manifest: true,
            place: None,
            timeout: Duration::from_secs(15),
            retry: Curve { first: Duration::from_secs(5), factor: 3.0, cap: Duration::from_secs(2 * 3600) },
            give_up_after: Duration::from_secs(24 * 3600),
        }
    }
}
