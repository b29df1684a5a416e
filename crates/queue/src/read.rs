//! Reading: jobs, batches, counts; lists with cursors and bounded work per call.

use std::collections::{BTreeMap, HashMap};

use job::{BatchName, Job, JobId, JobSpec, Micros, Outcome, StateName, Timestamp, Try};

use crate::Queue;
use crate::budgets::{BatchBudget, Spent};
use crate::claim::parse_id;
use crate::error::QueueError;
use crate::record::{Fields, UnreadableRecord, from_fields};

/// How many members a call looks at, at most, to fill a page: a filter that fits nothing must not scan a million jobs at once.
const SCAN_MAX: usize = 5_000;

/// How many records are fetched in one round trip.
const FETCH_CHUNK: usize = 500;

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor that was printed before.
    pub fn parse(text: &str) -> Option<Self> {
        let (index, place) = text.split_once('.')?;
        index.parse::<usize>().ok()?;
        place.parse::<u64>().ok()?;
        Some(Self(text.to_owned()))
    }

    fn of(index: usize, place: usize) -> Self {
        Self(format!("{index}.{place}"))
    }

    fn parts(&self) -> (usize, usize) {
        let (index, place) = self.0.split_once('.').unwrap_or(("0", "0"));
        (index.parse().unwrap_or(0), place.parse().unwrap_or(0))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where it goes on; `None` at the end. A page may be short, or empty, and still not be the last.
    pub next: Option<Cursor>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only jobs of this batch; `Some(None)`: only jobs without one.
    pub batch: Option<Option<BatchName>>,
    /// Only jobs in these states; empty: in any.
    pub states: Vec<StateName>,
}

/// A batch in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchSummary {
    /// Its name; `None` for the jobs without a batch.
    pub name: Option<BatchName>,
    /// Jobs.
    pub total: u64,
    /// Jobs that are not final.
    pub left: u64,
    /// Jobs by state.
    pub by_state: BTreeMap<StateName, u64>,
    /// The most images that its jobs can bring.
    pub expected: u64,
    /// Images billed.
    pub billed: u64,
    /// Images in the bucket.
    pub stored: u64,
    /// Jobs that succeeded with images missing.
    pub partial: u64,
    /// What the billed images cost.
    pub cost: Micros,
    /// Images of tasks that no job of it can take: they are not among those that were billed to its jobs.
    pub extra_images: u64,
    /// What these cost. It counts for the budget.
    pub extra_cost: Micros,
    /// Images that were billed and are not in the bucket, of jobs that are over.
    pub lost: u64,
    /// What these cost.
    pub lost_cost: Micros,
    /// The most that its attempts may cost of which that is not known yet.
    pub reserved: Micros,
    /// What it says of its budget.
    pub budget: BatchBudget,
    /// Since when jobs of it wait for that, if any do.
    pub waits_since: Option<Timestamp>,
    /// Whether its enqueueing is over.
    pub sealed: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// When its first job was enqueued.
    pub created_at: Timestamp,
    /// When its last job became final.
    pub ended_at: Option<Timestamp>,
    /// How often it has ended: a retry, or more jobs, let it run again.
    pub ends: u32,
    /// How many of these ends are still to be dealt with: its manifest, and who is told.
    pub undelivered: u32,
}

impl BatchSummary {
    /// Jobs in this state.
    pub fn count(&self, state: StateName) -> u64 {
        self.by_state.get(&state).copied().unwrap_or(0)
    }

    /// Jobs that a worker or the provider is busy with.
    pub fn in_flight(&self) -> u64 {
        [StateName::Submitting, StateName::Settling, StateName::Polling, StateName::Archiving]
            .into_iter()
            .map(|state| self.count(state))
            .sum()
    }

    /// What is spent of its budget.
    pub fn spent(&self) -> Spent {
        let booked = Micros(self.cost.0.saturating_add(self.extra_cost.0));
        Spent { booked, reserved: self.reserved }
    }

    pub(crate) fn read(name: Option<BatchName>, fields: &HashMap<String, String>) -> Option<Self> {
        let number = |field: &str| fields.get(field).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let count = |field: &str| u64::try_from(number(field)).unwrap_or(0);
        let time = |field: &str| {
            fields
                .get(field)
                .and_then(|text| text.parse().ok())
                .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        };
        let left = count("left");
        Some(Self {
            name,
            total: count("total"),
            left,
            by_state: StateName::ALL.into_iter().map(|state| (state, count(state.as_str()))).collect(),
            expected: count("expected"),
            billed: count("billed"),
            stored: count("stored"),
            partial: count("partial"),
            cost: Micros(number("cost")),
            extra_images: count("extra_images"),
            extra_cost: Micros(number("extra_cost")),
            lost: count("lost"),
            lost_cost: Micros(number("lost_cost")),
            reserved: Micros(number("reserved_cost")),
            budget: BatchBudget::read(fields.get("budget").map(String::as_str)),
            waits_since: time("waits_since"),
            sealed: fields.get("sealed").is_some_and(|text| text == "1"),
            paused: fields.get("paused").is_some_and(|text| text == "1"),
            created_at: time("created_at")?,
            ended_at: time("ended_at").filter(|_| left == 0),
            ends: u32::try_from(count("ends")).unwrap_or(u32::MAX),
            undelivered: u32::try_from(count("undelivered")).unwrap_or(u32::MAX),
        })
    }
}

impl Queue {
    /// A job's record.
    ///
    /// # Errors
    ///
    /// Redis is away, or the record cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        let fields: Fields = self.link().query(redis::cmd("HGETALL").arg(self.keys().job(id))).await?;
        if fields.is_empty() { Ok(None) } else { Ok(Some(from_fields(id, &fields)?)) }
    }

    /// What a job asks for.
    ///
    /// # Errors
    ///
    /// Redis is away, or the spec cannot be read.
    pub async fn spec(&self, id: JobId) -> Result<Option<JobSpec>, QueueError> {
        self.json(id, self.keys().spec(id), "spec").await
    }

    /// What a job's task brought.
    ///
    /// # Errors
    ///
    /// Redis is away, or the document cannot be read.
    pub async fn outcome(&self, id: JobId) -> Result<Option<Outcome>, QueueError> {
        self.json(id, self.keys().outcome(id), "outcome").await
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        id: JobId,
        key: String,
        field: &'static str,
    ) -> Result<Option<T>, QueueError> {
        let text: Option<String> = self.link().query(redis::cmd("GET").arg(key)).await?;
        let unreadable = |error: serde_json::Error| UnreadableRecord {
            id: id.to_string(),
            field,
            problem: error.to_string(),
        };
        Ok(text.map(|text| serde_json::from_str(&text).map_err(unreadable)).transpose()?)
    }

    /// A job's history, oldest first.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn tries(&self, id: JobId) -> Result<Vec<Try>, QueueError> {
        let lines: Vec<String> =
            self.link().query(redis::cmd("LRANGE").arg(self.keys().tries(id)).arg(0).arg(-1)).await?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// A batch in numbers, or the jobs without a batch.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn batch(&self, name: Option<&BatchName>) -> Result<Option<BatchSummary>, QueueError> {
        let fields: HashMap<String, String> =
            self.link().query(redis::cmd("HGETALL").arg(self.keys().batch(name))).await?;
        Ok(BatchSummary::read(name.cloned(), &fields))
    }

    /// Batches, newest first; the jobs without a batch are among them, without a name.
    ///
    /// # Errors
    ///
    /// Redis is away, or the cursor is not one of these lists.
    pub async fn batches(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<BatchSummary>, QueueError> {
        let from = cursor.map_or(0, |cursor| cursor.parts().1);
        let names: Vec<String> = self
            .link()
            .query(redis::cmd("ZREVRANGE").arg(self.keys().batches()).arg(from).arg(from + limit.max(1) - 1))
            .await?;
        let next = (names.len() == limit).then(|| Cursor::of(0, from + names.len()));
        let names: Vec<Option<BatchName>> = names.iter().map(|name| BatchName::parse(name).ok()).collect();
        let mut pipeline = redis::pipe();
        for name in &names {
            pipeline.hgetall(self.keys().batch(name.as_ref()));
        }
        let found: Vec<HashMap<String, String>> =
            if names.is_empty() { Vec::new() } else { self.link().pipeline(&pipeline).await? };
        let items = names
            .into_iter()
            .zip(&found)
            .filter_map(|(name, fields)| BatchSummary::read(name, fields))
            .collect();
        Ok(Page { items, next })
    }

    /// Jobs, in the order of enqueueing within a batch, batches newest first.
    ///
    /// Bounded work: a page may be short, or empty, and still have a `next`.
    ///
    /// # Errors
    ///
    /// Redis is away, or a record cannot be read.
    pub async fn jobs(
        &self,
        filter: &JobFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Job>, QueueError> {
        let (mut index, mut place) = cursor.map_or((0, 0), Cursor::parts);
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let batch = match &filter.batch {
                Some(batch) if index == 0 => batch.clone(),
                Some(_) => return Ok(Page { items, next: None }),
                None => {
                    let name: Vec<String> = self
                        .link()
                        .query(redis::cmd("ZREVRANGE").arg(self.keys().batches()).arg(index).arg(index))
                        .await?;
                    let Some(name) = name.first() else { return Ok(Page { items, next: None }) };
                    BatchName::parse(name).ok()
                }
            };
            let chunk = FETCH_CHUNK.min(limit.saturating_mul(4).max(50));
            let ids: Vec<String> = self
                .link()
                .query(
                    redis::cmd("ZRANGE")
                        .arg(self.keys().members(batch.as_ref()))
                        .arg(place)
                        .arg(place + chunk - 1),
                )
                .await?;
            if ids.is_empty() {
                (index, place) = (index + 1, 0);
                continue;
            }
            let jobs = self.records(&ids).await?;
            for (at, job) in jobs.into_iter().enumerate() {
                if items.len() == limit {
                    return Ok(Page { items, next: Some(Cursor::of(index, place + at)) });
                }
                items.extend(
                    job.filter(|job| filter.states.is_empty() || filter.states.contains(&job.state_name())),
                );
            }
            place += ids.len();
            looked_at += ids.len();
            if looked_at >= SCAN_MAX {
                return Ok(Page { items, next: Some(Cursor::of(index, place)) });
            }
        }
    }

    /// Jobs by id, those that are gone as `None`.
    ///
    /// # Errors
    ///
    /// Redis is away, or a record cannot be read.
    pub(crate) async fn records(&self, ids: &[String]) -> Result<Vec<Option<Job>>, QueueError> {
        let ids: Vec<JobId> = ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        let mut pipeline = redis::pipe();
        for id in &ids {
            pipeline.hgetall(self.keys().job(*id));
        }
        let found: Vec<Fields> = self.link().pipeline(&pipeline).await?;
        ids.into_iter()
            .zip(found)
            .map(
                |(id, fields)| if fields.is_empty() { Ok(None) } else { Ok(Some(from_fields(id, &fields)?)) },
            )
            .collect()
    }

    /// Jobs by state, over everything.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn counts(&self) -> Result<BTreeMap<StateName, u64>, QueueError> {
        let fields: HashMap<String, i64> =
            self.link().query(redis::cmd("HGETALL").arg(self.keys().counts())).await?;
        Ok(StateName::ALL
            .into_iter()
            .map(|state| {
                (state, fields.get(state.as_str()).map_or(0, |count| u64::try_from(*count).unwrap_or(0)))
            })
            .collect())
    }

    /// Jobs that wait for a person, those that have waited longest first, at most `max`.
    ///
    /// # Errors
    ///
    /// Redis is away, or a record cannot be read.
    pub async fn held_jobs(&self, max: usize) -> Result<Vec<Job>, QueueError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys().held()).arg(0).arg(max.max(1) - 1);
        let ids: Vec<String> = self.link().query(&command).await?;
        Ok(if ids.is_empty() {
            Vec::new()
        } else {
            self.records(&ids).await?.into_iter().flatten().collect()
        })
    }

    /// How many jobs wait for their time: a retry, a refusal, a `not_before`.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn delayed(&self) -> Result<u64, QueueError> {
        self.link().query(redis::cmd("ZCARD").arg(self.keys().delayed())).await
    }
}
