//! Schedules as all schedulers see them: which tick was the last, who does one now, what came of each.
//!
//! A tick is claimed by one script, under a lease and a fence, so that any number of schedulers do it once. What a tick is, and which
//! is due, is decided by [`job::Ticks`] from what [`Queue::schedule`] says; what it enqueues is not known here. The items that
//! refreshes replace are in here too: which job was each one's last.

use std::collections::HashMap;
use std::time::Duration;

use job::{BatchName, Curve, CustomId, JobId, ScheduleName, StateName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::claim::parse_id;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::pauses::Note;
use crate::scripts::{SCHEDULE_CLAIM, SCHEDULE_END, SCHEDULE_LOOK, SCHEDULE_RENEW};

/// The waits before a tick that failed is tried again, and before one is taken over whose schedulers went away one after the other.
///
/// Source: ours; a store that is back is found within a quarter of an hour.
pub const TICK_AGAIN: Curve =
    Curve { first: Duration::from_secs(15), factor: 2.0, cap: Duration::from_secs(900) };

/// Lines of a schedule's history that are kept. Source: ours; a quarter of a year of nights.
const RUNS_KEPT: usize = 100;

/// How long nobody has looked at a schedule by an expression, when somebody does by another, until it counts as given up.
///
/// Source: ours; schedulers look every 5 s, and an update, in which some go by the old settings and some by the new ones, or an outage in it,
/// takes minutes.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);

/// The most items in one question. Source: ours, as for all calls over many ids.
const ITEMS_CHUNK: usize = 500;

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleState {
    /// The last tick that has ended.
    pub last: Option<Timestamp>,
    /// Since when schedulers know this expression: no tick before it was missed.
    pub known_since: Option<Timestamp>,
    /// The tick that is begun and has not ended.
    pub begun: Option<BegunTick>,
    /// Who has paused it.
    pub paused: Option<SchedulePause>,
}

/// A tick that is begun and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunTick {
    /// The tick.
    pub tick: Timestamp,
    /// Who does it, if somebody does.
    pub by: Option<String>,
    /// Until when it is theirs.
    pub lease_until: Option<Timestamp>,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Tries that failed.
    pub tries: u32,
    /// Whether a person asked for it: nobody else does it, and what is left of it is only ended.
    pub by_hand: bool,
}

/// A pause by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulePause {
    /// Who did it.
    pub by: String,
    /// Why; empty if nobody said.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// What somebody would do.
#[derive(Debug, Clone, Copy)]
pub struct TickAsk<'a> {
    /// The schedule.
    pub schedule: &'a ScheduleName,
    /// The tick.
    pub tick: Timestamp,
    /// [`ScheduleState::last`] as the caller saw it.
    pub saw: Option<Timestamp>,
    /// Who.
    pub by: &'a str,
    /// Whether a person asks: a pause, and the wait before another try, do not count.
    pub by_hand: bool,
    /// Whether it is one that was begun, as the caller saw it: if it has ended since, no new one is taken in its place.
    pub is_begun: bool,
    /// The batch of its jobs, which it keeps to its end, whatever the settings say by then.
    pub batch: Option<&'a BatchName>,
}

/// The answer to whoever would do a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TickClaim {
    /// It is ours.
    Claimed(ClaimedTick),
    /// It is paused.
    Paused,
    /// Another does one.
    Taken,
    /// It failed, and waits for another try.
    Waits,
    /// Another has ended one meanwhile: look again.
    Stale,
}

/// A tick that is ours, until its lease runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedTick {
    /// The schedule.
    pub schedule: ScheduleName,
    /// The tick: of one that was begun before, that one.
    pub tick: Timestamp,
    /// Tells this claim from all others.
    pub fence: String,
    /// Tries of it that failed before, or whose scheduler went away.
    pub tries: u32,
    /// The batch that it was begun with.
    pub batch: Option<BatchName>,
    /// Whether a person asked for it.
    pub by_hand: bool,
}

/// How a try of a tick ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickEnd<'a> {
    /// It is tried again after a while.
    Again(Duration),
    /// It is over, and this batch gets no more jobs: it can end.
    Over(Option<&'a BatchName>),
}

/// What came of a tick: a line of its schedule's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct RunNote {
    /// The tick.
    pub tick: Timestamp,
    /// When this try began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Who did it.
    pub by: String,
    /// Whether a person asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// The batch that its jobs went to, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchName>,
    /// Jobs that it enqueued.
    #[serde(default)]
    pub new: u64,
    /// Items whose images are what they would be.
    #[serde(default)]
    pub unchanged: u64,
    /// Items whose last job asked for the same, and was refused, brought less than it was paid for, or could not be shown.
    #[serde(default)]
    pub given_up: u64,
    /// Items whose manifest cannot be read until somebody looks at it.
    #[serde(default)]
    pub unreadable: u64,
    /// Items that an earlier job is still at work on.
    #[serde(default)]
    pub busy: u64,
    /// Items whose job of this very tick was enqueued for something else: the list has changed since its first try.
    #[serde(default)]
    pub changed: u64,
    /// Lines of the source that are no jobs.
    #[serde(default)]
    pub faulty: u64,
    /// Images that its jobs bring at most.
    #[serde(default)]
    pub images_max: u64,
    /// What these cost.
    #[serde(default)]
    pub cost_max_micros: i64,
    /// Tries that failed before this one.
    #[serde(default)]
    pub tries: u32,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is wrong with the first of the faulty lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// The first of the manifests that cannot be read, each with its key and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_manifests: Vec<String>,
}

/// The last job of an item, as the items of a collection know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemJob {
    /// The job.
    pub id: JobId,
    /// Its state; `None` if it is gone.
    pub state: Option<StateName>,
}

impl ItemJob {
    /// Whether it may yet bring images.
    pub fn is_busy(&self) -> bool {
        self.state.is_some_and(|state| !state.is_final())
    }
}

impl Queue {
    /// A schedule as it stands. With `expression`, whatever names what it ticks by, the caller is a scheduler that follows it: it is known
    /// from now on, if it was not, and others by which nobody looks any more are forgotten.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn schedule(
        &self,
        name: &ScheduleName,
        expression: Option<&str>,
    ) -> Result<ScheduleState, QueueError> {
        let key = self.keys().schedule(name);
        let fields: HashMap<String, String> = match expression {
            Some(expression) => {
                let args = [expression.to_owned(), GIVEN_UP_AFTER.as_millis().to_string()];
                let mut reply =
                    self.script("schedule_look", &SCHEDULE_LOOK, &[key], &args, TimeAt::First).await?;
                reply.int()?;
                reply.fields()?
            }
            None => self.link().query(redis::cmd("HGETALL").arg(key)).await?,
        };
        let since = expression.and_then(|expression| fields.get(&format!("since:{expression}")).cloned());
        let time = |name: &str| time(fields.get(name)?.as_str());
        Ok(ScheduleState {
            last: time("last"),
            known_since: since.as_deref().and_then(self::time),
            begun: time("tick").map(|tick| BegunTick {
                tick,
                by: fields.get("owner").cloned(),
                lease_until: time("lease"),
                retry_at: time("retry"),
                tries: fields.get("tries").and_then(|text| text.parse().ok()).unwrap_or(0),
                by_hand: fields.get("hand").is_some_and(|hand| hand == "1"),
            }),
            paused: fields.get("paused").and_then(|json| {
                let (by, why, since) = Note::read(json)?;
                Some(SchedulePause { by, why, since })
            }),
        })
    }

    /// Takes the tick that is asked for, or one that was begun and has not ended. `nonce` names the call: repeated with the same one after a
    /// lost answer, it gives the same tick.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn claim_tick(&self, ask: TickAsk<'_>, nonce: &str) -> Result<TickClaim, QueueError> {
        let TickAsk { schedule, tick, saw, by, by_hand, is_begun, batch } = ask;
        let key_names = [self.keys().schedule(schedule), self.keys().reply(nonce)];
        let args = [
            nonce.to_owned(),
            tick.as_millisecond().to_string(),
            saw.map_or_else(String::new, |saw| saw.as_millisecond().to_string()),
            by.to_owned(),
            self.lease_ms(),
            u8::from(by_hand).to_string(),
            batch.map(ToString::to_string).unwrap_or_default(),
            TICK_AGAIN.first.as_millis().to_string(),
            TICK_AGAIN.factor.to_string(),
            TICK_AGAIN.cap.as_millis().to_string(),
            u8::from(is_begun).to_string(),
        ];
        let mut reply =
            self.script("schedule_claim", &SCHEDULE_CLAIM, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        let word = reply.text()?;
        let bad = |problem: String| QueueError::Reply { call: "schedule_claim", problem };
        Ok(match word.as_str() {
            "claimed" => {
                let (claimed, fence, tries) = (reply.text()?, reply.text()?, reply.int()?);
                let (batch, by_hand) = (reply.text()?, reply.text()? == "1");
                let claimed = time(&claimed).ok_or_else(|| bad(format!("{claimed:?} is no time")))?;
                TickClaim::Claimed(ClaimedTick {
                    schedule: schedule.clone(),
                    tick: claimed,
                    fence,
                    tries: u32::try_from(tries).unwrap_or(0),
                    batch: batch.parse().ok(),
                    by_hand,
                })
            }
            "paused" => TickClaim::Paused,
            "taken" => TickClaim::Taken,
            "waits" => TickClaim::Waits,
            "stale" => TickClaim::Stale,
            other => return Err(bad(format!("{other:?} is no answer"))),
        })
    }

    /// Keeps a tick for another lease. `false` if it is somebody else's by now.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn renew_tick(&self, tick: &ClaimedTick) -> Result<bool, QueueError> {
        let key_names = [self.keys().schedule(&tick.schedule)];
        let args = [tick.fence.clone(), self.lease_ms()];
        let mut reply =
            self.script("schedule_renew", &SCHEDULE_RENEW, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(reply.int()? == 1)
    }

    /// Writes down what came of a tick. A run that a person asked for and that failed settles no tick that was missed before. `false` if it is
    /// somebody else's by now, and nothing was written. `nonce` names the call.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn end_tick(
        &self,
        tick: &ClaimedTick,
        note: &RunNote,
        end: TickEnd<'_>,
        nonce: &str,
    ) -> Result<bool, QueueError> {
        let keys = self.keys();
        let (again_in, batch) = match end {
            TickEnd::Again(wait) => (Some(wait), None),
            TickEnd::Over(batch) => (None, batch),
        };
        let mut key_names = vec![keys.schedule(&tick.schedule), keys.schedule_runs(&tick.schedule)];
        if batch.is_some() {
            key_names.extend([keys.batch(batch), keys.ended(), keys.outbox(), keys.outbox_entries()]);
        }
        let args = [
            nonce.to_owned(),
            tick.fence.clone(),
            serde_json::to_string(note).expect("a note is plain data and always serializes"),
            again_in.map_or_else(String::new, |wait| wait.as_millis().to_string()),
            RUNS_KEPT.to_string(),
            u8::from(!tick.by_hand || note.error.is_none()).to_string(),
            batch.map(ToString::to_string).unwrap_or_default(),
        ];
        let mut reply = self.script("schedule_end", &SCHEDULE_END, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(reply.int()? == 1)
    }

    /// What came of the last ticks, newest first. Lines that another version wrote otherwise are left out.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn schedule_runs(
        &self,
        schedule: &ScheduleName,
        limit: usize,
    ) -> Result<Vec<RunNote>, QueueError> {
        let mut command = redis::cmd("LRANGE");
        command.arg(self.keys().schedule_runs(schedule)).arg(0).arg(limit.max(1) - 1);
        let lines: Vec<String> = self.link().query(&command).await?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Lets no tick of a schedule begin until [`Self::resume_schedule`]. `false` if it was paused already: the first pause stands.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn pause_schedule(
        &self,
        schedule: &ScheduleName,
        by: &str,
        why: &str,
    ) -> Result<bool, QueueError> {
        let mut command = redis::cmd("HSETNX");
        command.arg(self.keys().schedule(schedule)).arg("paused").arg(Note::json(by, why, Some(self.now())));
        self.link().query(&command).await
    }

    /// Lets a schedule go on. `false` if it was not paused.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn resume_schedule(&self, schedule: &ScheduleName) -> Result<bool, QueueError> {
        let mut command = redis::cmd("HDEL");
        command.arg(self.keys().schedule(schedule)).arg("paused");
        self.link().query(&command).await
    }

    /// The last job of each item of a collection, in the order of `items`; `None` for an item that never had one.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn item_jobs(
        &self,
        collection: &BatchName,
        items: &[CustomId],
    ) -> Result<Vec<Option<ItemJob>>, QueueError> {
        let mut found = Vec::with_capacity(items.len());
        for chunk in items.chunks(ITEMS_CHUNK) {
            let mut command = redis::cmd("HMGET");
            command.arg(self.keys().items(Some(collection)));
            for item in chunk {
                command.arg(item.as_str());
            }
            let ids: Vec<Option<String>> = self.link().query(&command).await?;
            let ids: Vec<Option<JobId>> =
                ids.iter().map(|id| id.as_deref().map(parse_id).transpose()).collect::<Result<_, _>>()?;
            let mut pipeline = redis::pipe();
            for id in ids.iter().flatten() {
                pipeline.hget(self.keys().job(*id), "s");
            }
            let states: Vec<Option<String>> = if ids.iter().any(Option::is_some) {
                self.link().pipeline(&pipeline).await?
            } else {
                Vec::new()
            };
            let mut states = states.into_iter();
            found.extend(ids.into_iter().map(|id| {
                id.map(|id| ItemJob {
                    id,
                    // A state that this version does not know is one that may yet bring images.
                    state: states.next().flatten().map(|state| state.parse().unwrap_or(StateName::Held)),
                })
            }));
        }
        Ok(found)
    }
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(text.parse().ok()?).ok()
}
