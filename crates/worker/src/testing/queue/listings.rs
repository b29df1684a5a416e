//! The twin's part in reading the provider's list: whose turn it is, and due times that the list moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use job::{AccountName, Durations, Job, JobId, JobState, Model, Timestamp};

use super::{Store, TwinJobs, until};
use crate::listings::{Heeded, ListTurn, Listed};
use crate::ports::{JobsFault, Listings};

/// What the list moved.
#[derive(Debug, Clone, Default)]
pub(super) struct Moved {
    /// Until when it is somebody's turn to read the list.
    turn_until: Option<Timestamp>,
    /// When jobs are due, where that is not what their records say.
    due: BTreeMap<JobId, Timestamp>,
}

impl Moved {
    /// When a job whose record says `due` is asked.
    pub(super) fn due(&self, id: JobId, due: Timestamp) -> Timestamp {
        self.due.get(&id).copied().unwrap_or(due)
    }

    /// The job has a new record, which says itself when it is due.
    pub(super) fn forget(&mut self, id: JobId) {
        self.due.remove(&id);
    }
}

impl Store {
    /// `heed_list.lua`.
    fn heed_list(&mut self, listed: &[Listed], now: Timestamp) -> Heeded {
        let mut heeded = Heeded::default();
        for Listed { task, going_for } in listed {
            let Some(id) = self.books.owners.get(task).map(|owner| owner.job) else { continue };
            let Some(JobState::Polling { task: current, due, polls, unknowns, .. }) =
                self.records.get(&id).filter(|record| !record.job.claimed).map(|record| &record.job.state)
            else {
                continue;
            };
            if current != task {
                continue;
            }
            heeded.waiting += 1;
            let due = self.moved.due(id, *due);
            match going_for {
                _ if due <= now => {}
                None if *unknowns > 0 || *polls >= 4 => {}
                None => {
                    heeded.brought += 1;
                    self.moved.due.insert(id, now);
                }
                Some(wait) if due < now + *wait => {
                    self.moved.due.insert(id, now + *wait);
                }
                _ => {}
            }
        }
        heeded
    }
}

#[async_trait]
impl Listings for TwinJobs {
    async fn take_list_turn(
        &self,
        account: &AccountName,
        model: Model,
        hold: Duration,
        young_for: Duration,
    ) -> Result<ListTurn, JobsFault> {
        self.reach().await?;
        let now = self.queue.time.now();
        let mut store = self.queue.store();
        let before = store.moved.turn_until.filter(|until| *until > now);
        if before.is_none() {
            store.moved.turn_until = Some(now + hold);
        }
        let placed = store.placed(account, model);
        let is_young =
            |job: &&Job| job.state.slot().is_some_and(|attempt| attempt.claimed_at > now - young_for);
        Ok(ListTurn {
            taken: before.is_none(),
            over_in: until(now, before.unwrap_or(now + hold)),
            in_flight: placed.len() as u64,
            young: placed.iter().filter(is_young).count() as u64,
        })
    }

    async fn end_list_turn(&self, _: &AccountName, _: Model, wait: Duration) -> Result<(), JobsFault> {
        self.reach().await?;
        let now = self.queue.time.now();
        self.queue.store().moved.turn_until = Some(now + wait);
        Ok(())
    }

    async fn heed_list(&self, _: &AccountName, listed: &[Listed]) -> Result<Heeded, JobsFault> {
        self.ask().await?;
        let now = self.queue.time.now();
        let heeded = self.queue.store().heed_list(listed, now);
        if heeded.brought > 0 {
            self.queue.ring();
        }
        self.answer().await;
        Ok(heeded)
    }

    async fn learn_durations(&self) -> Result<Arc<Durations>, JobsFault> {
        self.reach().await?;
        Ok(Arc::default())
    }
}
