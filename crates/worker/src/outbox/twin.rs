//! The outbox's twin: entries in memory, under the rules of the scripts. For tests.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use job::{BatchName, StateName, Timestamp};
use queue::{BatchSummary, Delivery, Entry, EntryDocument, EntryEnd, EntryOf, ResultsPage, ResultsPlace};
use tokio::time::Instant;

use super::LEASE;
use super::port::Outbox;
use crate::ports::JobsFault;

#[derive(Default)]
pub(super) struct State {
    pub(super) entries: BTreeMap<String, (Instant, EntryDocument, Option<u64>)>,
    pub(super) leases: u64,
    pub(super) batches: BTreeMap<BatchName, BatchSummary>,
    pub(super) said: Vec<(String, Delivery)>,
    pub(super) away: bool,
}

/// An outbox in memory, under the rules of the scripts.
pub(crate) struct FakeOutbox {
    began: Instant,
    pub(super) state: Mutex<State>,
}

impl Default for FakeOutbox {
    fn default() -> Self {
        Self { began: Instant::now(), state: Mutex::default() }
    }
}

impl FakeOutbox {
    /// A batch ends.
    pub(super) fn end(&self, summary: BatchSummary) {
        let batch = summary.name.clone().unwrap();
        let created = summary.created_at.as_millisecond();
        let fields = [
            ("created_at", created.to_string()),
            ("total", summary.total.to_string()),
            ("succeeded", summary.count(StateName::Succeeded).to_string()),
            ("stored", summary.stored.to_string()),
        ];
        let fields = fields.map(|(field, value)| (field.to_owned(), value)).into();
        let document =
            EntryDocument { at: self.now().as_millisecond(), batch: fields, ..EntryDocument::default() };
        let mut state = self.state.lock().unwrap();
        let of = EntryOf::Batch { batch: batch.clone(), created, end: summary.ends };
        state.entries.insert(of.to_string(), (Instant::now(), document, None));
        state.batches.insert(batch, summary);
    }

    pub(super) fn open(&self) -> Vec<String> {
        self.state.lock().unwrap().entries.keys().cloned().collect()
    }

    /// The last that was said of each delivery.
    pub(super) fn said(&self) -> BTreeMap<String, Delivery> {
        self.state.lock().unwrap().said.iter().cloned().collect()
    }
}

#[async_trait]
impl Outbox for FakeOutbox {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + self.began.elapsed()
    }

    async fn take(&self, max: usize, lease: Duration) -> Result<(Vec<Entry>, Option<Duration>), JobsFault> {
        let mut state = self.state.lock().unwrap();
        if state.away {
            return Err(JobsFault::Away("away".into()));
        }
        state.leases += 1;
        let (number, now) = (state.leases, Instant::now());
        let due = state.entries.iter_mut().filter(|(_, (due, ..))| *due <= now).take(max);
        let taken = due.map(|(name, (due, document, leased))| {
            (*due, *leased) = (now + lease, Some(number));
            Entry { of: name.parse().unwrap(), document: document.clone(), lease: number.to_string() }
        });
        Ok((taken.collect(), None))
    }

    async fn keep(&self, entry: &Entry, lease: Duration) -> Result<bool, JobsFault> {
        let mut state = self.state.lock().unwrap();
        let found = state.entries.get_mut(&entry.of.to_string());
        let ours = found
            .filter(|(_, _, leased)| leased.map(|number| number.to_string()).as_ref() == Some(&entry.lease));
        Ok(ours.map(|(due, ..)| *due = Instant::now() + lease).is_some())
    }

    async fn write(&self, entry: &Entry, end: &EntryEnd) -> Result<bool, JobsFault> {
        if !self.keep(entry, LEASE).await? {
            return Ok(false);
        }
        let (name, now) = (entry.of.to_string(), Instant::now());
        let mut state = self.state.lock().unwrap();
        match end {
            EntryEnd::Later { wait, document, delivery } => {
                state.entries.insert(name.clone(), (now + *wait, document.clone(), None));
                state.said.extend(delivery.clone().map(|delivery| (name, delivery)));
            }
            EntryEnd::Spread(next) => {
                state.entries.remove(&name);
                for (of, document, delivery) in next {
                    state.entries.insert(of.to_string(), (now, document.clone(), None));
                    state.said.push((of.to_string(), delivery.clone()));
                }
            }
            EntryEnd::Closed(delivery) => {
                state.entries.remove(&name);
                state.said.push((name, delivery.clone()));
            }
        }
        Ok(true)
    }

    async fn is_open(&self, of: &EntryOf) -> Result<bool, JobsFault> {
        Ok(self.state.lock().unwrap().entries.contains_key(&of.to_string()))
    }

    async fn has_work(&self) -> Result<bool, JobsFault> {
        let state = self.state.lock().unwrap();
        let soon = Instant::now() + Duration::from_secs(3);
        let is_work = |(due, document, leased): &(Instant, EntryDocument, Option<u64>)| {
            *due <= Instant::now() || leased.is_some() || (*due <= soon && !document.is_tried())
        };
        Ok(state.entries.values().any(is_work))
    }

    async fn batch(&self, name: &BatchName) -> Result<Option<BatchSummary>, JobsFault> {
        Ok(self.state.lock().unwrap().batches.get(name).cloned())
    }

    /// Two pages, each with one job.
    async fn results(&self, _: &BatchName, after: Option<ResultsPlace>) -> Result<ResultsPage, JobsFault> {
        let (job, spec) = crate::testing::World::new().submitting(1);
        let known = job::Known { job, spec: Some((*spec).clone()), outcome: None, tries: Vec::new() };
        let next = after.is_none().then(ResultsPlace::default);
        Ok(ResultsPage { jobs: vec![known], next })
    }
}
