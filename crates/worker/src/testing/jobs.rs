//! The queue's twin.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use job::{
    AccountName, Attempt, Event, Job, JobId, JobSpec, Model, Outcome, Rules, StateName, TaskId, Timestamp,
};
use tokio::sync::Notify;

use crate::ports::{
    Beat, Became, Claimed, CommitFault, Jobs, JobsFault, PausedCall, Permit, Rescued, Turn, Written,
};

pub(crate) struct FakeJobs {
    rules: Rules,
    state: Mutex<State>,
    /// Whether counting takes for ever.
    pub(crate) counts_hang: Mutex<bool>,
    /// Rung when counting hangs.
    pub(crate) counting: Notify,
}

struct State {
    now: Timestamp,
    jobs: HashMap<JobId, (Job, JobSpec)>,
    outcomes: HashMap<JobId, Outcome>,
    owned: BTreeSet<TaskId>,
    open: Vec<(JobId, Attempt)>,
    placed: Vec<JobId>,
    pauses: Vec<(PausedCall, Duration, String)>,
    turns: Vec<(PausedCall, Option<String>, Turn)>,
    events: Vec<&'static str>,
    permits: u32,
}

impl FakeJobs {
    pub(crate) fn new(rules: Rules, now: Timestamp) -> Self {
        let state = State {
            now,
            jobs: HashMap::new(),
            outcomes: HashMap::new(),
            owned: BTreeSet::new(),
            open: Vec::new(),
            placed: Vec::new(),
            pauses: Vec::new(),
            turns: Vec::new(),
            events: Vec::new(),
            permits: 0,
        };
        Self { rules, state: Mutex::new(state), counts_hang: Mutex::default(), counting: Notify::new() }
    }

    pub(crate) fn put(&self, job: Job, spec: JobSpec) {
        self.state.lock().unwrap().jobs.insert(job.id, (job, spec));
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap();
        state.now += by;
    }

    /// Changes a record, as another worker or a person would.
    pub(crate) fn meddle(&self, id: JobId, change: impl FnOnce(&mut Job)) {
        change(&mut self.state.lock().unwrap().jobs.get_mut(&id).unwrap().0);
    }

    pub(crate) fn forget(&self, id: JobId) {
        self.state.lock().unwrap().jobs.remove(&id);
    }

    pub(crate) fn own(&self, task: &str) {
        self.state.lock().unwrap().owned.insert(task.parse().unwrap());
    }

    pub(crate) fn open(&self, id: JobId, attempt: Attempt) {
        self.state.lock().unwrap().open.push((id, attempt));
    }

    /// From now on the job is among those that hold a place, for as long as it says so.
    pub(crate) fn place(&self, id: JobId) {
        self.state.lock().unwrap().placed.push(id);
    }

    pub(crate) fn job(&self, id: JobId) -> Job {
        self.state.lock().unwrap().jobs[&id].0.clone()
    }

    pub(crate) fn outcome(&self, id: JobId) -> Option<Outcome> {
        self.state.lock().unwrap().outcomes.get(&id).cloned()
    }

    pub(crate) fn pauses(&self) -> Vec<(PausedCall, Duration, String)> {
        self.state.lock().unwrap().pauses.clone()
    }

    /// What breakers were told, in order, each with the probe that it was told by.
    pub(crate) fn turns(&self) -> Vec<(PausedCall, Option<String>, Turn)> {
        self.state.lock().unwrap().turns.clone()
    }

    /// The names of the events that were committed, in order.
    pub(crate) fn events(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().events.clone()
    }

    pub(crate) fn permits(&self) -> u32 {
        self.state.lock().unwrap().permits
    }

    fn write(
        &self,
        id: JobId,
        fence: Option<u64>,
        event: Event,
        outcome: Option<&Outcome>,
    ) -> Result<Written, CommitFault> {
        let mut state = self.state.lock().unwrap();
        let (name, now) = (event.name(), state.now);
        let (job, _) = state.jobs.get_mut(&id).ok_or(CommitFault::Missing)?;
        if fence.is_some_and(|fence| fence != job.fence) {
            return Err(CommitFault::Fenced);
        }
        let transition = job.apply(event, now, &self.rules, 1.0)?;
        *job = transition.job.clone();
        let task = transition.job.state.task().cloned();
        state.owned.extend(task.into_iter().chain(transition.extra_task.clone()));
        state.events.push(name);
        if let Some(outcome) = outcome {
            state.outcomes.insert(id, outcome.clone());
        }
        Ok(Written { job: transition.job, extra_task: transition.extra_task })
    }
}

#[async_trait]
impl Jobs for FakeJobs {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap().now
    }

    async fn commit(
        &self,
        job: &Job,
        event: Event,
        outcome: Option<&Outcome>,
    ) -> Result<Written, CommitFault> {
        self.write(job.id, Some(job.fence), event, outcome)
    }

    async fn commit_unfenced(&self, id: JobId, event: Event) -> Result<Written, CommitFault> {
        self.write(id, None, event, None)
    }

    async fn spec(&self, id: JobId) -> Result<Option<JobSpec>, JobsFault> {
        Ok(self.state.lock().unwrap().jobs.get(&id).map(|(_, spec)| spec.clone()))
    }

    async fn query_permit(&self, _: &AccountName) -> Result<Permit, JobsFault> {
        self.state.lock().unwrap().permits += 1;
        Ok(Permit::Granted)
    }

    async fn pause(
        &self,
        _: &AccountName,
        call: PausedCall,
        pause: Duration,
        why: &str,
    ) -> Result<(), JobsFault> {
        self.state.lock().unwrap().pauses.push((call, pause, why.to_owned()));
        Ok(())
    }

    async fn turn_breaker(
        &self,
        _: &AccountName,
        call: PausedCall,
        probe: Option<&str>,
        turn: &Turn,
    ) -> Result<Became, JobsFault> {
        self.state.lock().unwrap().turns.push((call, probe.map(str::to_owned), turn.clone()));
        Ok(Became::Unchanged)
    }

    async fn unowned(&self, _: &AccountName, tasks: &[TaskId]) -> Result<Vec<TaskId>, JobsFault> {
        let state = self.state.lock().unwrap();
        Ok(tasks.iter().filter(|task| !state.owned.contains(*task)).cloned().collect())
    }

    async fn placed(&self, _: &AccountName, _: Model) -> Result<Vec<Job>, JobsFault> {
        let state = self.state.lock().unwrap();
        let jobs = state.placed.iter().filter_map(|id| state.jobs.get(id)).map(|(job, _)| job.clone());
        Ok(jobs.filter(|job| job.state.slot().is_some()).collect())
    }

    async fn open_attempts(&self, _: &AccountName, _: Model) -> Result<Vec<(JobId, Attempt)>, JobsFault> {
        Ok(self.state.lock().unwrap().open.clone())
    }

    async fn claim_settles(&self, _: usize) -> Result<Vec<Claimed>, JobsFault> {
        Ok(Vec::new())
    }

    async fn beat(&self) -> Result<Beat, JobsFault> {
        Ok(Beat { run_id: "r".to_owned(), time: self.now() })
    }

    async fn rescue(&self, _: usize) -> Result<Rescued, JobsFault> {
        Ok(Rescued { jobs: Vec::new(), more: false })
    }

    async fn promote(&self, _: usize) -> Result<Option<Duration>, JobsFault> {
        Ok(None)
    }

    async fn retain(&self) -> Result<u64, JobsFault> {
        Ok(0)
    }

    async fn counts(&self) -> Result<BTreeMap<StateName, u64>, JobsFault> {
        let hangs = *self.counts_hang.lock().unwrap();
        if hangs {
            self.counting.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(BTreeMap::new())
    }
}
