//! What waits for a claim: how many jobs, for which accounts, since when; and which accounts may make one.
//!
//! For people and for estimates: three round trips, whatever waits, with a bound on what they look at. Decides nothing: a claim goes by
//! `lua/claim_submit.lua` alone, and what is read here may be otherwise a moment later.

use std::collections::BTreeMap;

use job::{AccountName, BatchName, Micros, Model, Opens, PinnedTo, Priority, Timestamp};

use crate::budgets::NEAR_MIDNIGHT;
use crate::claim::parse_id;
use crate::keys::{lane_member, lane_place};
use crate::{AccountLimits, AccountStatus, HandPause, PauseOf, Purse, Queue, QueueError};

/// How many lanes of one model and place are looked at: a lane is a batch in one priority class.
///
/// Source: ours; more batches at once than anybody follows, and a few milliseconds of Redis's time.
const LANES_MAX: usize = 200;

/// Jobs of one model that wait for the same accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingJobs {
    /// The model.
    pub model: Model,
    /// The account or region; `None`: any account will do.
    pub pinned_to: Option<PinnedTo>,
    /// How many.
    pub jobs: u64,
    /// Whether there are more lanes than were looked at, so that these are the least.
    pub at_least: bool,
    /// When the one that has waited longest was enqueued.
    pub oldest: Option<Timestamp>,
    /// The fewest images that the first job of a lane may bring. A claim goes by the first of each lane: as long as there is money for
    /// these, something goes on.
    pub images_next: Option<u32>,
}

/// All that is queued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// What may be claimed, for each model and each place that was asked for.
    pub jobs: Vec<WaitingJobs>,
    /// Queued jobs that have no turn there, and do not wait for their time: in paused batches, for accounts and regions that were not
    /// asked for, in the quarantine. `None` where not all lanes were looked at.
    pub no_turn: Option<u64>,
}

impl Waiting {
    /// The fewest images of the jobs of a model that may go next, in the places that `is_asked` for; 1 where none waits.
    pub fn images_next(&self, model: Model, is_asked: impl Fn(Option<&PinnedTo>) -> bool) -> u32 {
        let asked = self.jobs.iter().filter(|of| of.model == model && is_asked(of.pinned_to.as_ref()));
        asked.filter_map(|of| of.images_next).min().unwrap_or(1)
    }
}

/// Where the queued jobs of a batch wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchLanes {
    /// Jobs that may be claimed, for each model and place that the batch has ever had jobs for; 0 where there are none now.
    pub ready: BTreeMap<(Model, Option<PinnedTo>), u64>,
    /// The fewest images that a job which goes next may bring, where there is one.
    pub images_next: BTreeMap<(Model, Option<PinnedTo>), u32>,
    /// Queued jobs that may not: they wait for their time, or to be run alone.
    pub delayed: u64,
}

/// A lane: of which entry of the answer, and its key.
type Lane = (usize, String);

impl Queue {
    /// What waits for any account and for each of `places`.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn waiting(&self, places: &[PinnedTo]) -> Result<Waiting, QueueError> {
        let keys = self.keys();
        let places: Vec<Option<PinnedTo>> =
            std::iter::once(None).chain(places.iter().cloned().map(Some)).collect();
        let mut all: Vec<WaitingJobs> = Model::ALL
            .into_iter()
            .flat_map(|model| {
                places.iter().map(move |pinned_to| WaitingJobs {
                    model,
                    pinned_to: pinned_to.clone(),
                    jobs: 0,
                    at_least: false,
                    oldest: None,
                    images_next: None,
                })
            })
            .collect();
        let mut pipeline = redis::pipe();
        for of in &all {
            pipeline.zrange(keys.turns(of.model, of.pinned_to.as_ref()), 0, LANES_MAX as isize);
        }
        let turns: Vec<Vec<String>> = self.link().pipeline(&pipeline).await?;
        let mut lanes: Vec<Lane> = Vec::new();
        for (at, (of, found)) in all.iter_mut().zip(turns).enumerate() {
            of.at_least = found.len() > LANES_MAX;
            let key = |lane: &String| keys.ready(of.model, of.pinned_to.as_ref(), lane);
            lanes.extend(found.iter().take(LANES_MAX).map(|lane| (at, key(lane))));
        }
        let (queued, heads) = self.lane_heads(&lanes, &mut all).await?;
        self.look_at_heads(&heads, &mut all).await?;
        let complete = all.iter().all(|of| !of.at_least);
        let seen: u64 = all.iter().map(|of| of.jobs).sum();
        Ok(Waiting { jobs: all, no_turn: complete.then(|| queued.saturating_sub(seen)) })
    }

    /// Counts the jobs of the lanes. Answers how many jobs are queued at that moment and do not wait for their time, and the first
    /// job of each lane: that with the lowest number, which was enqueued before all others there.
    async fn lane_heads(
        &self,
        lanes: &[Lane],
        all: &mut [WaitingJobs],
    ) -> Result<(u64, Vec<Lane>), QueueError> {
        let mut pipeline = redis::pipe();
        // At one moment, or jobs that are claimed meanwhile would seem to have no turn.
        pipeline.atomic();
        pipeline.hget(self.keys().counts(), "queued").zcard(self.keys().delayed());
        for (_, lane) in lanes {
            pipeline.zcard(lane).zrange(lane, 0, 0);
        }
        let replies: Vec<redis::Value> = self.link().pipeline(&pipeline).await?;
        let mut replies = replies.into_iter();
        let queued: Option<i64> = next(&mut replies)?;
        let delayed: i64 = next(&mut replies)?;
        let mut heads = Vec::with_capacity(lanes.len());
        for (at, _) in lanes {
            let jobs: u64 = next(&mut replies)?;
            let head: Vec<String> = next(&mut replies)?;
            all[*at].jobs += jobs;
            heads.extend(head.into_iter().map(|id| (*at, id)));
        }
        Ok((u64::try_from(queued.unwrap_or(0) - delayed).unwrap_or(0), heads))
    }

    /// Notes how long the first job of each lane has waited, and what it asks for.
    async fn look_at_heads(&self, heads: &[Lane], all: &mut [WaitingJobs]) -> Result<(), QueueError> {
        if heads.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (_, id) in heads {
            pipeline.cmd("HMGET").arg(self.keys().job(parse_id(id)?)).arg("e").arg("x");
        }
        let known: Vec<(Option<i64>, Option<u32>)> = self.link().pipeline(&pipeline).await?;
        for ((at, _), (ms, images)) in heads.iter().zip(known) {
            let enqueued = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let oldest = &mut all[*at].oldest;
            *oldest = [*oldest, enqueued].into_iter().flatten().min();
            let next = &mut all[*at].images_next;
            *next = [*next, images].into_iter().flatten().min();
        }
        Ok(())
    }

    /// Where the queued jobs of a batch wait.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn lanes_of_batch(&self, batch: Option<&BatchName>) -> Result<BatchLanes, QueueError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys().lanes(batch)).arg(0).arg(LANES_MAX);
        let names: Vec<String> = self.link().query(&command).await?;
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.hget(self.keys().batch(batch), "queued");
        let lanes: Vec<_> = names.iter().filter_map(|name| read_lane(name)).collect();
        for (model, pinned_to, priority) in &lanes {
            let lane = lane_member(*priority, batch);
            let lane = self.keys().ready(*model, pinned_to.as_ref(), &lane);
            pipeline.zcard(&lane).zrange(lane, 0, 0);
        }
        let mut replies = self.link().pipeline::<Vec<redis::Value>>(&pipeline).await?.into_iter();
        let queued: Option<i64> = next(&mut replies)?;
        let mut ready: BTreeMap<_, u64> = BTreeMap::new();
        let (mut heads, mut records) = (Vec::new(), redis::pipe());
        for (model, pinned_to, _) in lanes {
            let jobs: u64 = next(&mut replies)?;
            let head: Vec<String> = next(&mut replies)?;
            for id in head {
                records.hget(self.keys().job(parse_id(&id)?), "x");
                heads.push((model, pinned_to.clone()));
            }
            *ready.entry((model, pinned_to)).or_default() += jobs;
        }
        let mut images_next = BTreeMap::new();
        if !heads.is_empty() {
            let images: Vec<Option<u32>> = self.link().pipeline(&records).await?;
            for (of, images) in heads.into_iter().zip(images) {
                let Some(images) = images else { continue };
                let least = images_next.entry(of).or_insert(images);
                *least = images.min(*least);
            }
        }
        let delayed = u64::try_from(queued.unwrap_or(0)).unwrap_or(0).saturating_sub(ready.values().sum());
        Ok(BatchLanes { ready, images_next, delayed })
    }
}

/// Reads what [`crate::keys::lane_name`] writes.
fn read_lane(name: &str) -> Option<(Model, Option<PinnedTo>, Priority)> {
    let mut parts = name.split(':');
    let (model, place, priority) = (parts.next()?, parts.next()?, parts.next()?);
    let pinned_to = match place.strip_prefix('@') {
        Some(region) => Some(PinnedTo::Region(region.parse().ok()?)),
        None if place == lane_place(None) => None,
        None => Some(PinnedTo::Account(place.parse().ok()?)),
    };
    Some((model.parse().ok()?, pinned_to, Priority::try_from(priority.parse::<u8>().ok()?).ok()?))
}

impl AccountStatus {
    /// Whether an account may create tasks of a model, and from when on: the rule of `lua/claim_submit.lua`, but for its places.
    pub fn opens(
        &self,
        account: &AccountName,
        model: Model,
        limits: &AccountLimits,
        by_hand: &[HandPause],
        purse: &Purse,
        now: Timestamp,
    ) -> Opens {
        let of_model = format!("create:{model}");
        let is_create = |call: &str| call == "create" || call == of_model;
        let holds = |pause: &HandPause| match &pause.of {
            PauseOf::All => true,
            PauseOf::Model(of) => *of == model,
            PauseOf::Account(of) => of == account,
            PauseOf::ModelOnAccount(of, on) => *of == model && on == account,
            PauseOf::Batch(_) => false,
        };
        if self.breakers.iter().any(|breaker| is_create(&breaker.call)) || by_hand.iter().any(holds) {
            return Opens::Unknown;
        }
        let pauses = self.pauses.iter().filter(|pause| pause.call == of_model).map(|pause| pause.until);
        let reserved = u64::try_from(self.reserved).unwrap_or(0);
        let day_over = limits
            .images_per_day
            .filter(|most| self.images_today.saturating_add(reserved) >= *most)
            .and_then(|_| next_day(now));
        let no_money = purse.is_empty() || purse.is_empty_on(self.spent_today, limits.cost_per_day);
        let never = |budget: Option<Micros>| budget.is_some_and(|budget| budget < purse.next_job);
        if no_money && (never(purse.per_day) || never(limits.cost_per_day)) {
            return Opens::Unknown;
        }
        // At the latest: tasks under way may cost less than was reserved for them.
        let money = no_money.then(|| next_money(now)).flatten();
        let last = pauses.chain(self.next_creates.get(&model).copied()).chain(day_over).chain(money).max();
        last.filter(|at| *at > now).map_or(Opens::Now, Opens::At)
    }
}

fn next<T: redis::FromRedisValue>(
    replies: &mut impl Iterator<Item = redis::Value>,
) -> Result<T, redis::RedisError> {
    Ok(redis::from_redis_value(replies.next().unwrap_or(redis::Value::Nil))?)
}

/// When the budgets of a day begin anew: around midnight those of both days hold.
pub fn next_money(now: Timestamp) -> Option<Timestamp> {
    next_day(now - NEAR_MIDNIGHT).map(|day| day + NEAR_MIDNIGHT)
}

/// When the next UTC day begins.
fn next_day(now: Timestamp) -> Option<Timestamp> {
    const DAY: i64 = 86_400; // seconds
    Timestamp::from_second((now.as_second().div_euclid(DAY) + 1) * DAY).ok()
}
