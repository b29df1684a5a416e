//! Who owns which task, by the queue's twin, and what settling leaves behind: [`Leftovers`].

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use job::{AccountName, Job, JobId, TaskId, Timestamp, Transition};
use queue::{ExtraTask, Orphans, TaskOwner};

use super::TwinJobs;
use crate::ports::{CommitFault, JobsFault, Leftovers};

/// The books.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    pub(crate) owners: BTreeMap<TaskId, TaskOwner>,
    pub(crate) extras: BTreeMap<TaskId, ExtraTask>,
    /// Tasks that turned out to be another's, with the job that had adopted them.
    taken: BTreeMap<TaskId, JobId>,
    /// Until when it is somebody's turn to count orphans.
    turn_until: Option<Timestamp>,
    pub(crate) orphans: Option<Orphans>,
}

impl Books {
    /// What a commit writes down of the task that it brings; a fault if it must not bring it.
    pub(crate) fn book(
        &mut self,
        before: &Job,
        transition: &Transition,
        now: Timestamp,
    ) -> Result<(), CommitFault> {
        let after = &transition.job;
        let gained = after.state.task().filter(|task| before.state.task() != Some(*task));
        let Some(task) = transition.extra_task.as_ref().or(gained) else { return Ok(()) };
        let noted = transition.note.as_ref().map_or(after.attempts, |note| note.attempt);
        let attempt = if transition.extra_task.is_some() { noted } else { after.attempts };
        let another = self.owners.get(task).map(|owner| owner.job).filter(|owner| *owner != after.id);
        if let Some(other) = another {
            if after.adopted && transition.extra_task.is_none() {
                return Err(CommitFault::TaskOwned(other));
            }
            self.taken.insert(task.clone(), other);
        }
        if another.is_some() || !self.owners.contains_key(task) {
            let current = after.state.attempt().filter(|current| current.number == attempt);
            let found = after.adopted && transition.extra_task.is_none() && current.is_some();
            let claimed_at = current.filter(|_| !found).map(|current| current.claimed_at);
            self.owners.insert(task.clone(), TaskOwner { job: after.id, attempt, claimed_at, found });
        }
        if transition.extra_task.is_some() {
            let extra = ExtraTask::new(task.clone(), after.id, attempt, after.model, now);
            self.extras.entry(task.clone()).or_insert(extra);
        }
        Ok(())
    }
}

#[async_trait]
impl Leftovers for TwinJobs {
    async fn job(&self, id: JobId) -> Result<Option<Job>, JobsFault> {
        self.ask().await?;
        let job = self.queue.store().records.get(&id).map(|record| record.job.clone());
        self.answer().await;
        Ok(job)
    }

    async fn record_extra(&self, _: &AccountName, extra: &ExtraTask) -> Result<(), JobsFault> {
        self.ask().await?;
        {
            let books = &mut self.queue.store().books;
            let owner = TaskOwner { job: extra.job, attempt: extra.attempt, claimed_at: None, found: false };
            books.owners.entry(extra.task.clone()).or_insert(owner);
            books.extras.entry(extra.task.clone()).or_insert(extra.clone());
        }
        self.answer().await;
        Ok(())
    }

    async fn extras(&self, _: &AccountName) -> Result<Vec<ExtraTask>, JobsFault> {
        self.reach().await?;
        let mut extras: Vec<_> = self.queue.store().books.extras.values().cloned().collect();
        extras.sort_by_key(|extra| extra.at);
        Ok(extras)
    }

    async fn close_extra(
        &self,
        _: &AccountName,
        before: &ExtraTask,
        after: &ExtraTask,
    ) -> Result<bool, JobsFault> {
        self.ask().await?;
        let closed = {
            let books = &mut self.queue.store().books;
            let open = books.extras.get(&before.task) == Some(before);
            if open {
                books.extras.insert(before.task.clone(), after.clone());
            }
            open
        };
        self.answer().await;
        Ok(closed)
    }

    async fn forget_extras(&self, _: &AccountName, tasks: &[TaskId]) -> Result<(), JobsFault> {
        self.reach().await?;
        self.queue.store().books.extras.retain(|task, _| !tasks.contains(task));
        Ok(())
    }

    async fn taken_tasks(&self, _: &AccountName) -> Result<Vec<(TaskId, JobId)>, JobsFault> {
        self.reach().await?;
        Ok(self.queue.store().books.taken.iter().map(|(task, job)| (task.clone(), *job)).collect())
    }

    async fn told_of_taken(&self, _: &AccountName, task: &TaskId) -> Result<(), JobsFault> {
        self.ask().await?;
        self.queue.store().books.taken.remove(task);
        self.answer().await;
        Ok(())
    }

    async fn take_orphans_turn(&self, _: &AccountName, hold: Duration) -> Result<bool, JobsFault> {
        self.reach().await?;
        let now = self.queue.time.now();
        let books = &mut self.queue.store().books;
        let free = books.turn_until.is_none_or(|until| until <= now);
        if free {
            books.turn_until = Some(now + hold);
        }
        Ok(free)
    }

    async fn store_orphans(&self, _: &AccountName, orphans: &Orphans) -> Result<(), JobsFault> {
        self.ask().await?;
        self.queue.store().books.orphans = Some(orphans.clone());
        self.answer().await;
        Ok(())
    }
}
