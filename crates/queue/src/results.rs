//! Reading a batch with all that came of its jobs, in the order in which they were enqueued, a page at a time.
//!
//! A page takes three round trips, however many jobs it has. Driven by `imagemill batch results` and by the worker that writes a
//! batch's manifest.

use job::{BatchName, JobId, JobSpec, Known, Outcome, StateName, Try};

use crate::Queue;
use crate::error::QueueError;
use crate::record::UnreadableRecord;

/// The most jobs in a page.
///
/// Source: ours; with specs of some kilobytes a page stays far below what a reply buffer of Redis holds, and memory bounded.
pub const RESULTS_PAGE_MAX: usize = 500;

/// The most lines of a job's history that are read; as many as are kept.
const TRIES_MAX: isize = 100;

/// A part of a batch.
#[derive(Debug, Clone)]
pub struct ResultsPage {
    /// Jobs with what came of them.
    pub jobs: Vec<Known>,
    /// Where the batch goes on; `None` at its end. A page may be short, or empty, and still not be the last.
    pub next: Option<ResultsPlace>,
}

/// A place in a batch: all jobs up to it were read. Jobs may share a place in the order, and stand by their ids there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResultsPlace {
    /// The last place in the order that was read.
    seq: u64,
    /// How many jobs of that place were read.
    of_seq: usize,
}

impl ResultsPlace {
    /// The place behind `seqs`, that were read from `before` on.
    fn behind(before: Option<Self>, seqs: &[u64]) -> Option<Self> {
        let seq = *seqs.last()?;
        let here = seqs.iter().rev().take_while(|other| **other == seq).count();
        let earlier = before.filter(|before| before.seq == seq).map_or(0, |before| before.of_seq);
        Some(Self { seq, of_seq: earlier + here })
    }
}

type Read = (Option<String>, Option<String>, Vec<String>);

impl Queue {
    /// At most `limit` (and [`RESULTS_PAGE_MAX`]) jobs of a batch that come after a place, those in `states` (empty: in any), each with
    /// all that is known of it.
    ///
    /// # Errors
    ///
    /// Redis is away, or a record cannot be read.
    pub async fn results(
        &self,
        batch: &BatchName,
        after: Option<ResultsPlace>,
        states: &[StateName],
        limit: usize,
    ) -> Result<ResultsPage, QueueError> {
        let keys = self.keys();
        let limit = limit.clamp(1, RESULTS_PAGE_MAX);
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(keys.members(Some(batch)));
        match after {
            Some(ResultsPlace { seq, .. }) => command.arg(seq),
            None => command.arg("-inf"),
        };
        let passed_over = after.map_or(0, |after| after.of_seq);
        command.arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(passed_over).arg(limit);
        let members: Vec<(String, f64)> = self.link().query(&command).await?;
        let seqs: Vec<u64> = members.iter().map(|(_, seq)| *seq as u64).collect();
        let next = if members.len() == limit { ResultsPlace::behind(after, &seqs) } else { None };
        let ids: Vec<String> = members.into_iter().map(|(id, _)| id).collect();
        if ids.is_empty() {
            return Ok(ResultsPage { jobs: Vec::new(), next });
        }
        // One that retention has just removed is no part of the batch any more.
        let jobs = self.records(&ids).await?.into_iter().flatten();
        let jobs: Vec<job::Job> =
            jobs.filter(|job| states.is_empty() || states.contains(&job.state_name())).collect();
        if jobs.is_empty() {
            return Ok(ResultsPage { jobs: Vec::new(), next });
        }
        let mut pipeline = redis::pipe();
        for job in &jobs {
            pipeline.get(keys.spec(job.id)).get(keys.outcome(job.id)).lrange(
                keys.tries(job.id),
                -TRIES_MAX,
                -1,
            );
        }
        let mut read: Vec<redis::Value> = self.link().pipeline(&pipeline).await?;
        let mut known = Vec::with_capacity(jobs.len());
        // From the end, so that each reply is dropped once it is read.
        for job in jobs.into_iter().rev() {
            let rest = read.split_off(read.len().saturating_sub(3));
            let (spec, outcome, tries): Read = redis::from_redis_value(redis::Value::Array(rest))
                .map_err(|error| QueueError::Reply { call: "results", problem: error.to_string() })?;
            let id = job.id;
            known.push(Known {
                job,
                spec: parse::<JobSpec>(id, spec, "spec")?,
                outcome: parse::<Outcome>(id, outcome, "outcome")?,
                tries: tries.iter().filter_map(|line| serde_json::from_str::<Try>(line).ok()).collect(),
            });
        }
        known.reverse();
        Ok(ResultsPage { jobs: known, next })
    }
}

fn parse<T: serde::de::DeserializeOwned>(
    id: JobId,
    text: Option<String>,
    field: &'static str,
) -> Result<Option<T>, QueueError> {
    let unreadable =
        |error: serde_json::Error| UnreadableRecord { id: id.to_string(), field, problem: error.to_string() };
    Ok(text.map(|text| serde_json::from_str(&text).map_err(unreadable)).transpose()?)
}
