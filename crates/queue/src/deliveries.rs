//! What became of telling webhooks of the ends of batches, for people. Written by [`crate::outbox`]; reading only.

use std::collections::{BTreeMap, HashMap};

use job::BatchName;
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::error::QueueError;
use crate::outbox::EntryOf;

/// How many entries are looked at to count what waits. Source: ours; beyond that the number says no more.
const COUNTED_MAX: isize = 10_000;

/// Where the delivery of a batch's end to a webhook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Where it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub tries: u32,
    /// When that was said, in ms.
    pub at: i64,
    /// When it is tried again at the earliest, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<i64>,
    /// The event's id.
    pub id: String,
    /// What went wrong the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for its first, or its next, try.
    Waiting,
    /// The receiver has taken it.
    Delivered,
    /// The receiver did not take it for too long, or never will.
    GivenUp,
    /// The settings have no such webhook any more.
    Dropped,
}

/// A delivery with what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryOf {
    /// The webhook.
    pub hook: String,
    /// The how manieth end of the batch.
    pub end: u32,
    /// Where it is.
    pub delivery: Delivery,
}

/// What became of a webhook's events, since the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// The webhook.
    pub hook: String,
    /// Events that it has taken.
    pub delivered: u64,
    /// Events that were given up.
    pub given_up: u64,
    /// Events that wait for a try.
    pub waiting: u64,
    /// What went wrong last.
    pub last_error: Option<HookError>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookError {
    /// When, in ms.
    pub at: i64,
    /// What, without secrets.
    pub error: String,
}

impl Queue {
    /// What became of what a batch's ends sent: the last ends first.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn deliveries(&self, batch: &BatchName) -> Result<Vec<DeliveryOf>, QueueError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys().deliveries(Some(batch)));
        let fields: HashMap<String, String> = self.link().query(&command).await?;
        let read = |(field, text): (&String, &String)| {
            let (hook, end) = field.rsplit_once(':')?;
            let (hook, end) = (hook.to_owned(), end.parse().ok()?);
            Some(DeliveryOf { hook, end, delivery: serde_json::from_str(text).ok()? })
        };
        let mut found: Vec<DeliveryOf> = fields.iter().filter_map(read).collect();
        found.sort_by(|a, b| b.end.cmp(&a.end).then_with(|| a.hook.cmp(&b.hook)));
        Ok(found)
    }

    /// What became of every webhook's events.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn hook_counts(&self) -> Result<Vec<HookCounts>, QueueError> {
        let mut pipeline = redis::pipe();
        pipeline.hgetall(self.keys().webhooks()).zrange(self.keys().outbox(), 0, COUNTED_MAX - 1);
        let (fields, entries): (HashMap<String, String>, Vec<String>) =
            self.link().pipeline(&pipeline).await?;
        let mut hooks: BTreeMap<String, HookCounts> = Default::default();
        for (field, text) in &fields {
            let Some((hook, what)) = field.rsplit_once(':') else { continue };
            let of = hooks.entry(hook.to_owned()).or_default();
            match what {
                "delivered" => of.delivered = text.parse().unwrap_or(0),
                "given_up" => of.given_up = text.parse().unwrap_or(0),
                "error" => of.last_error = serde_json::from_str(text).ok(),
                _ => {}
            }
        }
        for entry in entries {
            if let Ok(EntryOf::Hook { hook, .. }) = entry.parse() {
                hooks.entry(hook.to_string()).or_default().waiting += 1;
            }
        }
        Ok(hooks.into_iter().map(|(hook, counts)| HookCounts { hook, ..counts }).collect())
    }
}
