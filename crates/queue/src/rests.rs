//! What single workers leave alone because of troubles that may be their own: for people to see, and for nothing else.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use job::{AccountName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::error::QueueError;

/// How long a note outlives its rest, at least: a worker that rests again writes another by then. Source: ours.
const KEPT: Duration = Duration::from_secs(5);

/// What a worker may leave alone by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resting {
    /// Creates of every model.
    Creates,
    /// Queries, lists and cancels.
    Queries,
}

impl Resting {
    /// `create` or `query`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creates => "create",
            Self::Queries => "query",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Creates, Self::Queries].into_iter().find(|call| call.name() == name)
    }
}

/// Workers that let a call of an account rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkersAtRest {
    /// Which.
    pub call: Resting,
    /// How many.
    pub workers: u64,
    /// Until when the last of them rests.
    pub until: Timestamp,
    /// Why that one does, for people.
    pub why: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    until_ms: i64,
    why: String,
}

impl Queue {
    /// Writes down that `worker` lets a call of an account rest.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn note_rest(
        &self,
        account: &AccountName,
        worker: &str,
        call: Resting,
        rest: Duration,
        why: &str,
    ) -> Result<(), QueueError> {
        let until_ms = (self.now() + rest).as_millisecond();
        let note = Note { until_ms, why: why.chars().take(200).collect() };
        let note = serde_json::to_string(&note).unwrap_or_default();
        let (key, kept) = (self.keys().rests(account), rest + KEPT);
        let mut pipeline = redis::pipe();
        // The longest rest of any worker decides how long the notes live: each says for itself when it is over.
        pipeline.hset(&key, format!("{}:{worker}", call.name()), note).ignore();
        for mode in ["NX", "GT"] {
            pipeline
                .cmd("PEXPIRE")
                .arg(&key)
                .arg(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX))
                .arg(mode)
                .ignore();
        }
        self.link().pipeline::<()>(&pipeline).await
    }

    /// Which calls of an account single workers leave alone.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn workers_at_rest(&self, account: &AccountName) -> Result<Vec<WorkersAtRest>, QueueError> {
        let notes: HashMap<String, String> =
            self.link().query(redis::cmd("HGETALL").arg(self.keys().rests(account))).await?;
        let now = self.now();
        let mut calls: BTreeMap<Resting, WorkersAtRest> = BTreeMap::new();
        for (field, note) in notes {
            let Some(call) = field.split_once(':').and_then(|(call, _)| Resting::named(call)) else {
                continue;
            };
            let Ok(Note { until_ms, why }) = serde_json::from_str(&note) else { continue };
            let Ok(until) = Timestamp::from_millisecond(until_ms) else { continue };
            if until <= now {
                continue;
            }
            let known = calls.entry(call).or_insert_with(|| WorkersAtRest {
                call,
                workers: 0,
                until,
                why: why.clone(),
            });
            known.workers += 1;
            if until > known.until {
                (known.until, known.why) = (until, why);
            }
        }
        Ok(calls.into_values().collect())
    }
}
