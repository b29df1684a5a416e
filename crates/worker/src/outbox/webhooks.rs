//! Who is told of the ends of batches. A running worker takes over those that its settings have by then.

use std::sync::{Arc, PoisonError, RwLock};

use job::WebhookName;

use super::sign::WebhookSecret;
use crate::changes::Changes;

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

/// The webhooks of the settings, shared by everybody in this worker.
#[derive(Clone, Default)]
pub(crate) struct Webhooks(Arc<RwLock<Arc<[Webhook]>>>);

impl Webhooks {
    /// These.
    pub(crate) fn new(webhooks: Vec<Webhook>) -> Self {
        Self(Arc::new(RwLock::new(webhooks.into())))
    }

    /// As they are now.
    pub(crate) fn now(&self) -> Arc<[Webhook]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes these for the webhooks of the settings, from the next event on.
    pub(crate) fn replace(&self, next: Vec<Webhook>) -> Changes<WebhookName> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changes = Changes::between(&known, &next, |webhook| &webhook.name);
        *known = next.into();
        changes
    }
}
