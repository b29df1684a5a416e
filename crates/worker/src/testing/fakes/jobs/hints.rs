//! What the fake knows of lists, durations, and tasks that no job has.

use super::*;

#[async_trait]
impl Listings for FakeJobs {
    async fn take_list_turn(
        &self,
        _: &AccountName,
        _: Model,
        hold: Duration,
        young_for: Duration,
    ) -> Result<ListTurn, JobsFault> {
        let in_flight = *self.in_flight.lock().unwrap();
        let young = if young_for.is_zero() { 0 } else { *self.young.lock().unwrap() };
        Ok(ListTurn { taken: true, over_in: hold, in_flight, young })
    }

    async fn end_list_turn(&self, _: &AccountName, _: Model, _: Duration) -> Result<(), JobsFault> {
        Ok(())
    }

    async fn heed_list(&self, _: &AccountName, listed: &[Listed]) -> Result<Heeded, JobsFault> {
        let mut state = self.state.lock().unwrap();
        state.listed.extend_from_slice(listed);
        Ok(Heeded { waiting: listed.len() as u64, brought: 0 })
    }

    async fn learn_durations(&self) -> Result<Arc<Durations>, JobsFault> {
        Ok(Arc::default())
    }
}

#[async_trait]
impl Leftovers for FakeJobs {
    async fn job(&self, id: JobId) -> Result<Option<Job>, JobsFault> {
        Ok(self.state.lock().unwrap().jobs.get(&id).map(|(job, _)| job.clone()))
    }

    async fn record_extra(&self, _: &AccountName, extra: &ExtraTask) -> Result<(), JobsFault> {
        self.state.lock().unwrap().extras.entry(extra.task.clone()).or_insert(extra.clone());
        Ok(())
    }

    async fn extras(&self, _: &AccountName) -> Result<Vec<ExtraTask>, JobsFault> {
        Ok(self.state.lock().unwrap().extras.values().cloned().collect())
    }

    async fn close_extra(
        &self,
        _: &AccountName,
        before: &ExtraTask,
        after: &ExtraTask,
    ) -> Result<bool, JobsFault> {
        let mut state = self.state.lock().unwrap();
        if state.extras.get(&before.task) != Some(before) {
            return Ok(false);
        }
        state.extras.insert(before.task.clone(), after.clone());
        Ok(true)
    }

    async fn forget_extras(&self, _: &AccountName, tasks: &[TaskId]) -> Result<(), JobsFault> {
        self.state.lock().unwrap().extras.retain(|task, _| !tasks.contains(task));
        Ok(())
    }

    async fn taken_tasks(&self, _: &AccountName) -> Result<Vec<(TaskId, JobId)>, JobsFault> {
        Ok(self.state.lock().unwrap().taken.iter().map(|(task, job)| (task.clone(), *job)).collect())
    }

    async fn told_of_taken(&self, _: &AccountName, task: &TaskId) -> Result<(), JobsFault> {
        self.state.lock().unwrap().taken.remove(task);
        Ok(())
    }

    async fn take_orphans_turn(&self, _: &AccountName, _: Duration) -> Result<bool, JobsFault> {
        Ok(true)
    }

    async fn store_orphans(&self, _: &AccountName, orphans: &Orphans) -> Result<(), JobsFault> {
        self.state.lock().unwrap().orphans = Some(orphans.clone());
        Ok(())
    }
}
