//! The outbox: what must be delivered because a batch has ended, at least once, whatever crashes on the way.
//!
//! The script that ends a batch writes `batch:<name>:<began>:<end>` (`lua/shared/end_batch.lua`). Whoever has written the batch's manifest replaces
//! that by one entry for each webhook, `hook:<webhook>:<batch>:<began>:<end>`, so that a receiver which is down holds no other up. An entry is
//! leased while it is worked on, and is due again when its worker vanished. Nothing here delivers: the worker does.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use job::{BatchName, Timestamp, WebhookName};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::deliveries::{Delivery, DeliveryState, HookError};
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::reply::Wait;
use crate::scripts::{OUTBOX_KEEP, OUTBOX_TAKE, OUTBOX_WRITE};
use crate::{BatchSummary, Queue};

/// Of how many ends of a batch it is kept what became of their deliveries. Source: ours; a batch that ends more often is a test.
const ENDS_KEPT: u32 = 20;

/// How long an entry may be put back that was not tried yet: it waits for another one, or for its receiver's turn. Source: the worker's
/// `outbox` puts none back for more than 2 s.
const PUT_BACK_MAX_MS: i64 = 3_000;

/// How many of these are looked at. Source: ours; one is enough to know that there is work.
const PUT_BACK_LOOKED_AT: isize = 100;

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryOf {
    /// A batch has ended, for the how manieth time.
    Batch {
        /// The batch.
        batch: BatchName,
        /// When it began, in ms: there may be another of its name by now.
        created: i64,
        /// From 1.
        end: u32,
    },
    /// A webhook is to be told of that.
    Hook {
        /// The webhook's name.
        hook: WebhookName,
        /// The batch.
        batch: BatchName,
        /// When it began, in ms.
        created: i64,
        /// From 1.
        end: u32,
    },
}

impl EntryOf {
    /// When its batch began, in ms.
    pub fn created(&self) -> i64 {
        match self {
            Self::Batch { created, .. } | Self::Hook { created, .. } => *created,
        }
    }

    /// The batch that it is about.
    pub fn batch(&self) -> &BatchName {
        match self {
            Self::Batch { batch, .. } | Self::Hook { batch, .. } => batch,
        }
    }
}

impl fmt::Display for EntryOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { batch, created, end } => write!(f, "batch:{batch}:{created}:{end}"),
            Self::Hook { hook, batch, created, end } => write!(f, "hook:{hook}:{batch}:{created}:{end}"),
        }
    }
}

/// The text names no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no entry of the outbox")]
pub struct NotAnEntry(String);

impl FromStr for EntryOf {
    type Err = NotAnEntry;

    fn from_str(text: &str) -> Result<Self, NotAnEntry> {
        let wrong = || NotAnEntry(text.chars().take(200).collect());
        // Names have no colon in them.
        let parts: Vec<&str> = text.split(':').collect();
        let name = |text: &str| BatchName::parse(text).map_err(|_| wrong());
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let time = |text: &str| text.parse::<i64>().map_err(|_| wrong());
        match parts[..] {
            ["batch", batch, created, end] => {
                Ok(Self::Batch { batch: name(batch)?, created: time(created)?, end: number(end)? })
            }
            ["hook", hook, batch, created, end] => {
                let hook = WebhookName::parse(hook).map_err(|_| wrong())?;
                let created = time(created)?;
                Ok(Self::Hook { hook, batch: name(batch)?, created, end: number(end)? })
            }
            _ => Err(wrong()),
        }
    }
}

/// What is kept of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryDocument {
    /// When the batch ended, in ms.
    pub at: i64,
    /// Of a batch: its fields as they were when it ended.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub batch: HashMap<String, String>,
    /// Of a webhook: names the event, the same at each try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Of a webhook: what is sent, the same at each try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// When it was first tried, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<i64>,
    /// How often it was tried.
    #[serde(default)]
    pub tries: u32,
}

/// An entry under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub of: EntryOf,
    /// What is kept of it.
    pub document: EntryDocument,
    /// The call that leased it.
    pub lease: String,
}

/// Entries that were due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenEntries {
    /// They, each leased.
    pub entries: Vec<Entry>,
    /// When there may be more.
    pub wait: Wait,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryEnd {
    /// It is tried again after so long.
    Later {
        /// After so long.
        wait: Duration,
        /// What is kept of it from now on.
        document: EntryDocument,
        /// Of a webhook: what is said of it.
        delivery: Option<Delivery>,
    },
    /// A batch's end has been dealt with; these take its place.
    Spread(Vec<(EntryOf, EntryDocument, Delivery)>),
    /// A webhook's event has come to its end.
    Closed(Delivery),
}

#[derive(Debug, Default, Serialize)]
struct Plan {
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<String>,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    next: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<u8>,
    say: Vec<String>,
    forget: Vec<String>,
    count: Vec<String>,
    last: Vec<String>,
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("an entry is plain data and always serializes")
}

impl Plan {
    fn new(entry: &Entry, end: &EntryEnd) -> Self {
        let mut plan = Self { created: entry.of.created().to_string(), ..Self::default() };
        match end {
            EntryEnd::Later { wait, document, delivery } => {
                plan.later = Some(wait.as_millis().to_string());
                plan.entry = Some(json(document));
                if let Some(delivery) = delivery {
                    plan.say(&entry.of, delivery);
                }
            }
            EntryEnd::Spread(next) => {
                plan.ends = Some(1);
                for (of, document, delivery) in next {
                    plan.next.extend([of.to_string(), json(document)]);
                    plan.say(of, delivery);
                }
            }
            EntryEnd::Closed(delivery) => {
                plan.say(&entry.of, delivery);
                if let EntryOf::Hook { hook, .. } = &entry.of {
                    let counter = match delivery.state {
                        DeliveryState::Delivered => "delivered",
                        _ => "given_up",
                    };
                    plan.count.extend([format!("{hook}:{counter}"), "1".to_owned()]);
                }
            }
        }
        plan
    }

    fn say(&mut self, of: &EntryOf, delivery: &Delivery) {
        let EntryOf::Hook { hook, end, .. } = of else { return };
        self.say.extend([format!("{hook}:{end}"), json(delivery)]);
        if let Some(old) = end.checked_sub(ENDS_KEPT).filter(|old| *old > 0) {
            self.forget.push(format!("{hook}:{old}"));
        }
        if let Some(error) = &delivery.error {
            let last = HookError { at: delivery.at, error: error.clone() };
            self.last.extend([format!("{hook}:error"), json(&last)]);
        }
    }
}

impl Queue {
    /// Leases up to `max` entries that are due, for `lease`.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn take_outbox(&self, max: usize, lease: Duration) -> Result<TakenEntries, QueueError> {
        let (keys, nonce) = (self.keys(), self.nonce());
        let key_names = [keys.outbox(), keys.outbox_entries(), keys.outbox_leases(), keys.reply(&nonce)];
        let args = [max.to_string(), lease.as_millis().to_string(), nonce.clone()];
        let mut reply = self.script("outbox_take", &OUTBOX_TAKE, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        let wait = reply.wait()?;
        let mut entries = Vec::new();
        while let Some(mut entry) = reply.list()? {
            let (name, document) = (entry.text()?, entry.text()?);
            let of = match name.parse::<EntryOf>() {
                Ok(of) => of,
                // One that somebody else has put there keeps nobody from the others.
                Err(error) => {
                    warn!("An entry of the outbox cannot be used and is taken out: {error}");
                    self.take_out(&name).await?;
                    continue;
                }
            };
            // Nobody is kept from the rest by a document that cannot be read: the worker fills in what it can.
            let document = serde_json::from_str(&document).unwrap_or_default();
            entries.push(Entry { of, document, lease: nonce.clone() });
        }
        Ok(TakenEntries { entries, wait })
    }

    async fn take_out(&self, entry: &str) -> Result<(), QueueError> {
        let keys = self.keys();
        let mut pipeline = redis::pipe();
        pipeline.zrem(keys.outbox(), entry).hdel(keys.outbox_entries(), entry);
        pipeline.hdel(keys.outbox_leases(), entry);
        let _: (i64, i64, i64) = self.link().pipeline(&pipeline).await?;
        Ok(())
    }

    /// Prolongs an entry's lease; `false` if it is somebody else's by now.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn keep_outbox(&self, entry: &Entry, lease: Duration) -> Result<bool, QueueError> {
        let key_names = [self.keys().outbox(), self.keys().outbox_leases()];
        let args = [entry.of.to_string(), entry.lease.clone(), lease.as_millis().to_string()];
        let mut reply = self.script("outbox_keep", &OUTBOX_KEEP, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(reply.int()? == 1)
    }

    /// Writes down what became of a leased entry; `false` if it is somebody else's by now. Waits for as long as Redis is away.
    ///
    /// # Errors
    ///
    /// Redis refuses.
    pub async fn write_outbox(&self, entry: &Entry, end: &EntryEnd) -> Result<bool, QueueError> {
        let (keys, batch) = (self.keys(), entry.of.batch());
        let key_names = [
            keys.outbox(),
            keys.outbox_entries(),
            keys.outbox_leases(),
            keys.batch(Some(batch)),
            keys.deliveries(Some(batch)),
            keys.webhooks(),
        ];
        let args = [entry.of.to_string(), entry.lease.clone(), json(&Plan::new(entry, end))];
        let send = || self.script("outbox_write", &OUTBOX_WRITE, &key_names, &args, TimeAt::First);
        let mut reply = self.link().persist("what became of a delivery", send).await?;
        reply.int()?;
        Ok(reply.int()? == 1)
    }

    /// Whether an entry is in the outbox.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn in_outbox(&self, of: &EntryOf) -> Result<bool, QueueError> {
        let mut command = redis::cmd("ZSCORE");
        command.arg(self.keys().outbox()).arg(of.to_string());
        let score: Option<f64> = self.link().query(&command).await?;
        Ok(score.is_some())
    }

    /// Whether an entry is due, or worked on, or was put back before anybody has tried it. One that waits for another try is no work.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn outbox_has_work(&self) -> Result<bool, QueueError> {
        let mut pipeline = redis::pipe();
        let (keys, now_ms) = (self.keys(), self.now().as_millisecond());
        pipeline.zcount(keys.outbox(), "-inf", now_ms).hlen(keys.outbox_leases());
        let until = now_ms.saturating_add(PUT_BACK_MAX_MS);
        pipeline.zrangebyscore_limit(keys.outbox(), now_ms, until, 0, PUT_BACK_LOOKED_AT);
        let (due, leased, soon): (u64, u64, Vec<String>) = self.link().pipeline(&pipeline).await?;
        if due + leased > 0 || soon.is_empty() {
            return Ok(due + leased > 0);
        }
        let mut command = redis::cmd("HMGET");
        command.arg(keys.outbox_entries()).arg(&soon);
        let documents: Vec<Option<String>> = self.link().query(&command).await?;
        let read = documents.into_iter().flatten().filter_map(|text| serde_json::from_str(&text).ok());
        Ok(read.into_iter().any(|document: EntryDocument| !document.is_tried()))
    }
}

impl EntryDocument {
    /// Whether anybody has tried it.
    pub fn is_tried(&self) -> bool {
        self.tries > 0 || self.first_at.is_some()
    }

    /// The same, tried for the first time at `now` unless it was before.
    #[must_use]
    pub fn first_tried(&self, now: Timestamp) -> Self {
        let first_at = self.first_at.or(Some(now.as_millisecond()));
        Self { first_at, ..self.clone() }
    }

    /// The same after one more try.
    #[must_use]
    pub fn tried(&self, now: Timestamp) -> Self {
        Self { tries: self.tries.saturating_add(1), ..self.first_tried(now) }
    }

    /// The batch as it was when it ended, if that is known.
    pub fn summary(&self, batch: &BatchName) -> Option<BatchSummary> {
        BatchSummary::read(Some(batch.clone()), &self.batch)
    }

    /// When the batch ended, if that is known.
    pub fn ended_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.at).ok().filter(|_| self.at > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrys_name_reads_back() {
        for text in ["batch:spring.v2:1700000000000:1", "hook:shop:spring:1:12"] {
            assert_eq!(text.parse::<EntryOf>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "batch:spring",
            "batch:spring:1",
            "batch::1:1",
            "hook:a:b:1",
            "hook:a:b:1:x",
            "batch:a:b:1",
            "job:a:1:1",
        ] {
            assert!(text.parse::<EntryOf>().is_err(), "{text}");
        }
    }
}
