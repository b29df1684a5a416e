//! What a worker is told about the ends of batches: whether a manifest is written, who is told, and how often that is tried.

use std::time::Duration;

use job::{BucketPlace, Curve, WebhookName};

use super::sign::WebhookSecret;

/// What follows from a batch's end.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxConfig {
    /// The namespace of the queue: events of two of them have different ids.
    pub namespace: String,
    /// Whether a batch's results are written into the bucket. Default true.
    pub batch_manifest: bool,
    /// The bucket, for the addresses in results.
    pub place: Option<BucketPlace>,
    /// Who is told.
    pub webhooks: Vec<Webhook>,
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
            webhooks: Vec::new(),
            timeout: Duration::from_secs(15),
            retry: Curve { first: Duration::from_secs(5), factor: 3.0, cap: Duration::from_secs(2 * 3600) },
            give_up_after: Duration::from_secs(24 * 3600),
        }
    }
}

/// Somebody who is told.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    /// Its name.
    pub name: WebhookName,
    /// Where events are sent to.
    pub url: String,
    /// What they are signed with.
    pub secret: WebhookSecret,
    /// What it is told of.
    pub events: Vec<EventKind>,
}

impl std::fmt::Debug for Webhook {
    /// Without the address: many receivers take a token in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A batch has ended: all of its jobs are final.
    BatchEnded,
    /// Nothing has happened: somebody tries whether the receiver works.
    Ping,
}

impl EventKind {
    /// Its name, as it stands in the event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BatchEnded => "batch.ended",
            Self::Ping => "ping",
        }
    }
}
