//! The queue's twin.

mod hints;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use job::{
    AccountName, Attempt, CopyBacklog, Durations, Event, Job, JobId, JobSpec, Micros, Model, Outcome, Prices,
    Rules, StateName, TaskId, Timestamp, Try,
};
use queue::{ExtraTask, Orphans, PlacesLeft, TaskOwner};
use tokio::sync::Notify;

use super::quotas::Told;
use crate::listings::{Heeded, ListTurn, Listed};
use crate::ports::{
    Beat, Became, Claimed, CommitFault, CreateTime, Jobs, JobsFault, Leftovers, Listings, OpenAttempt,
    Pausable, PausedCall, Permit, Recovery, Rescued, Resting, Rewritten, Sweep, Turn, Written,
};

pub(crate) struct FakeJobs {
    rules: Rules,
    state: Mutex<State>,
    /// Places that are taken at the provider.
    pub(crate) in_flight: Mutex<u64>,
    /// How many of them are young.
    pub(crate) young: Mutex<u64>,
    /// What the provider says of limits.
    pub(super) told: Told,
    /// Whether counting takes for ever.
    pub(crate) counts_hang: Mutex<bool>,
    /// Rung when counting hangs.
    pub(crate) counting: Notify,
}

struct State {
    now: Timestamp,
    jobs: HashMap<JobId, (Job, JobSpec)>,
    outcomes: HashMap<JobId, Outcome>,
    notes: HashMap<JobId, Vec<Try>>,
    owned: BTreeMap<TaskId, TaskOwner>,
    extras: BTreeMap<TaskId, ExtraTask>,
    taken: BTreeMap<TaskId, JobId>,
    orphans: Option<Orphans>,
    open: Vec<OpenAttempt>,
    placed: Vec<JobId>,
    pauses: Vec<(PausedCall, Duration, String)>,
    create_times: VecDeque<CreateTime>,
    rests: Vec<(&'static str, Duration)>,
    turns_kept: u32,
    /// Whether creates are held back, and how often that was asked.
    held_back: bool,
    looks: u32,
    places: u64,
    turns: Vec<(PausedCall, Option<String>, Turn)>,
    events: Vec<&'static str>,
    permits: u32,
    listed: Vec<Listed>,
    leases_lost: bool,
    rewritten: Option<Rewritten>,
}

impl FakeJobs {
    pub(crate) fn new(rules: Rules, now: Timestamp) -> Self {
        let state = State {
            now,
            jobs: HashMap::new(),
            outcomes: HashMap::new(),
            notes: HashMap::new(),
            owned: BTreeMap::new(),
            extras: BTreeMap::new(),
            taken: BTreeMap::new(),
            orphans: None,
            open: Vec::new(),
            placed: Vec::new(),
            pauses: Vec::new(),
            create_times: VecDeque::new(),
            rests: Vec::new(),
            turns_kept: 0,
            held_back: false,
            looks: 0,
            places: 3,
            turns: Vec::new(),
            events: Vec::new(),
            permits: 0,
            listed: Vec::new(),
            leases_lost: false,
            rewritten: None,
        };
        Self {
            rules,
            state: Mutex::new(state),
            in_flight: Mutex::default(),
            young: Mutex::default(),
            told: Told::default(),
            counts_hang: Mutex::default(),
            counting: Notify::new(),
        }
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
        self.own_for(task, JobId::fresh(9, 9), None);
    }

    /// The task is this job's, whose attempt was claimed then.
    pub(crate) fn own_for(&self, task: &str, job: JobId, claimed_at: Option<Timestamp>) {
        let owner = TaskOwner { job, attempt: 1, claimed_at, found: false };
        self.state.lock().unwrap().owned.insert(task.parse().unwrap(), owner);
    }

    pub(crate) fn owner(&self, task: &str) -> Option<JobId> {
        let task: TaskId = task.parse().unwrap();
        self.state.lock().unwrap().owned.get(&task).map(|owner| owner.job)
    }

    pub(crate) fn put_extra(&self, extra: ExtraTask) {
        self.state.lock().unwrap().extras.insert(extra.task.clone(), extra);
    }

    pub(crate) fn extra(&self, task: &str) -> Option<ExtraTask> {
        let task: TaskId = task.parse().unwrap();
        self.state.lock().unwrap().extras.get(&task).cloned()
    }

    /// What lists had to say.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        self.state.lock().unwrap().listed.clone()
    }

    pub(crate) fn orphans(&self) -> Option<Orphans> {
        self.state.lock().unwrap().orphans.clone()
    }

    pub(crate) fn open(&self, job: JobId, attempt: Attempt) {
        self.state.lock().unwrap().open.push(OpenAttempt { job, attempt, on_the_way: false });
    }

    /// The attempt's create may yet be answered.
    pub(crate) fn on_the_way(&self, job: JobId, attempt: Attempt) {
        self.state.lock().unwrap().open.push(OpenAttempt { job, attempt, on_the_way: true });
    }

    /// From now on the job is among those that hold a place, for as long as it says so.
    pub(crate) fn place(&self, id: JobId) {
        self.state.lock().unwrap().placed.push(id);
    }

    /// The job holds no place any more.
    pub(crate) fn displace(&self, id: JobId) {
        self.state.lock().unwrap().placed.retain(|placed| *placed != id);
    }

    pub(crate) fn job(&self, id: JobId) -> Job {
        self.state.lock().unwrap().jobs[&id].0.clone()
    }

    /// The job's history, oldest first.
    pub(crate) fn notes(&self, id: JobId) -> Vec<Try> {
        self.state.lock().unwrap().notes.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn outcome(&self, id: JobId) -> Option<Outcome> {
        self.state.lock().unwrap().outcomes.get(&id).cloned()
    }

    /// Answers the next question for another moment with this; otherwise it is now.
    pub(crate) fn on_create_time(&self, time: CreateTime) {
        self.state.lock().unwrap().create_times.push_back(time);
    }

    /// From now on creates are held back, as another worker would.
    pub(crate) fn hold_creates_back(&self) {
        self.state.lock().unwrap().held_back = true;
    }

    /// How often it was asked whether they are.
    pub(crate) fn looks(&self) -> u32 {
        self.state.lock().unwrap().looks
    }

    /// How often the turn to run jobs alone was kept.
    pub(crate) fn turns_kept(&self) -> u32 {
        self.state.lock().unwrap().turns_kept
    }

    /// How many places may be taken.
    pub(crate) fn places(&self) -> u64 {
        self.state.lock().unwrap().places
    }

    /// What the worker alone let rest.
    pub(crate) fn rests(&self) -> Vec<(&'static str, Duration)> {
        self.state.lock().unwrap().rests.clone()
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

    /// Whether all leases were given up, and what was then written down again.
    pub(crate) fn recovered(&self) -> (bool, Option<Rewritten>) {
        let state = self.state.lock().unwrap();
        (state.leases_lost, state.rewritten)
    }

    /// Forgets that a task is owned, as an older Redis does.
    pub(crate) fn disown(&self, task: &str) {
        self.state.lock().unwrap().owned.remove(&task.parse::<TaskId>().unwrap());
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
        let job = state.jobs.get(&id).ok_or(CommitFault::Missing)?.0.clone();
        if fence.is_some_and(|fence| fence != job.fence) {
            return Err(CommitFault::Fenced);
        }
        let transition = job.apply(event, now, &self.rules, 1.0)?;
        let (before, after) = (job.clone(), transition.job.clone());
        let gained = after.state.task().filter(|task| before.state.task() != Some(*task));
        if let Some(task) = transition.extra_task.as_ref().or(gained).cloned() {
            let found = after.adopted && transition.extra_task.is_none();
            let owner = state.owned.get(&task).map(|owner| owner.job).filter(|owner| *owner != id);
            match owner {
                Some(owner) if found => return Err(CommitFault::TaskOwned(owner)),
                Some(owner) => _ = state.taken.insert(task.clone(), owner),
                None => {}
            }
            let claimed_at = after.state.attempt().map(|attempt| attempt.claimed_at);
            state.owned.insert(
                task.clone(),
                TaskOwner { job: id, attempt: after.attempts, claimed_at, found: after.adopted },
            );
            if transition.extra_task.is_some() {
                let extra = ExtraTask::new(task.clone(), id, after.attempts, after.model, now);
                state.extras.entry(task).or_insert(extra);
            }
        }
        state.jobs.get_mut(&id).expect("it was read").0 = after;
        state.notes.entry(id).or_default().extend(transition.note.clone());
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
        Ok(Permit::In(Duration::ZERO))
    }

    async fn create_time(
        &self,
        _: &AccountName,
        _: Model,
        _: Duration,
        _: Duration,
    ) -> Result<CreateTime, JobsFault> {
        let next = self.state.lock().unwrap().create_times.pop_front();
        Ok(next.unwrap_or(CreateTime::In(Duration::ZERO)))
    }

    async fn creates_held_back(&self, _: &AccountName, _: Model) -> Result<bool, JobsFault> {
        let mut state = self.state.lock().unwrap();
        state.looks += 1;
        Ok(state.held_back)
    }

    async fn note_rest(
        &self,
        _: &AccountName,
        call: Resting,
        rest: Duration,
        _: &str,
    ) -> Result<(), JobsFault> {
        self.state.lock().unwrap().rests.push((call.name(), rest));
        Ok(())
    }

    async fn lower_places(&self, _: &AccountName, _: Model, _: Timestamp) -> Result<PlacesLeft, JobsFault> {
        let mut state = self.state.lock().unwrap();
        let places = state.places.saturating_sub(1).max(1);
        let held = std::mem::replace(&mut state.places, places) == places;
        Ok(PlacesLeft { places, held })
    }

    async fn pause(
        &self,
        _: &AccountName,
        call: Pausable,
        pause: Duration,
        why: &str,
    ) -> Result<(), JobsFault> {
        self.state.lock().unwrap().pauses.push((call.into(), pause, why.to_owned()));
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

    async fn owners(&self, _: &AccountName, tasks: &[TaskId]) -> Result<Vec<Option<TaskOwner>>, JobsFault> {
        let state = self.state.lock().unwrap();
        Ok(tasks.iter().map(|task| state.owned.get(task).cloned()).collect())
    }

    async fn placed(&self, _: &AccountName, _: Model) -> Result<Vec<Job>, JobsFault> {
        let state = self.state.lock().unwrap();
        let jobs = state.placed.iter().filter_map(|id| state.jobs.get(id)).map(|(job, _)| job.clone());
        Ok(jobs.filter(|job| job.state.slot().is_some()).collect())
    }

    async fn open_attempts(&self, _: &AccountName, _: Model) -> Result<Vec<OpenAttempt>, JobsFault> {
        Ok(self.state.lock().unwrap().open.clone())
    }

    async fn claim_settles(&self, _: usize) -> Result<Vec<Claimed>, JobsFault> {
        Ok(Vec::new())
    }

    async fn take_quarantine_turn(&self, _: Duration) -> Result<bool, JobsFault> {
        Ok(self.state.lock().unwrap().jobs.values().any(|(job, _)| job.alone && !job.claimed))
    }

    async fn keep_quarantine_turn(&self, _: Duration) -> Result<(), JobsFault> {
        self.state.lock().unwrap().turns_kept += 1;
        Ok(())
    }

    async fn claim_alone(&self) -> Result<Option<(Claimed, Option<Outcome>)>, JobsFault> {
        let mut state = self.state.lock().unwrap();
        let now = state.now;
        let due = |job: &Job| job.alone && !job.claimed && job.state.due().is_some_and(|due| due <= now);
        let Some((job, _)) = state.jobs.values_mut().find(|(job, _)| due(job)) else { return Ok(None) };
        job.claimed = true;
        let (job, lease) = (job.clone(), Box::new(super::FakeLease(Some(Duration::ZERO))));
        let outcome = state.outcomes.get(&job.id).cloned();
        Ok(Some((Claimed { job, lease }, outcome)))
    }

    async fn beat(&self) -> Result<Beat, JobsFault> {
        Ok(Beat { run_id: "r".to_owned(), time: self.now() })
    }

    async fn rescue(&self, _: usize) -> Result<Rescued, JobsFault> {
        Ok(Rescued { jobs: Vec::new(), more: false })
    }

    async fn went_back(&self) -> Result<bool, JobsFault> {
        Ok(false)
    }

    fn lose_leases(&self) {
        self.state.lock().unwrap().leases_lost = true;
    }

    async fn recover(&self, rewritten: Rewritten, _: Duration) -> Result<Recovery, JobsFault> {
        let mut state = self.state.lock().unwrap();
        state.rewritten = Some(rewritten);
        Ok(Recovery { first: true, held_until: state.now })
    }

    async fn promote(&self, _: usize) -> Result<Option<Duration>, JobsFault> {
        Ok(None)
    }

    async fn bring_back(&self, _: &Prices, _: Option<Micros>) -> Result<u64, JobsFault> {
        Ok(0)
    }

    async fn retain(&self) -> Result<u64, JobsFault> {
        Ok(0)
    }

    async fn sweep(&self, every: Duration) -> Result<Sweep, JobsFault> {
        Ok(Sweep { ours: true, pause: every, ..Sweep::default() })
    }

    async fn copy_backlog(&self) -> Result<CopyBacklog, JobsFault> {
        Ok(CopyBacklog::default())
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
