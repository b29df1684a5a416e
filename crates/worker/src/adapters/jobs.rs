//! The jobs behind Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use job::{
    AccountName, Attempt, CopyBacklog, Durations, Event, Job, JobId, JobSpec, JobState, Micros, Model,
    Outcome, Prices, Rules, StateName, TaskId, Timestamp,
};
use queue::claims::{Gate, Pass};
use queue::{
    AccountLimits, Call, CommitError, Committed, ExtraTask, LeaseGuard, Leases, OpenJobs, Orphans,
    PlacesLeft, Queue, QueueError, Quotas, Retention, TaskOwner, UnreadableRecord, Wait,
};
use tracing::warn;

use crate::accounts::Accounts;
use crate::config::WorkerConfig;
use crate::listings::{Heeded, ListTurn, Listed};
use crate::ports::{
    Beat, Became, Claimed, CommitFault, CreateTime, Jobs, JobsFault, KnownQuotas, Lease, Leftovers, Listings,
    OpenAttempt, Pausable, PausedCall, Permit, Recovery, Rescued, Resting, Rewritten, Sweep, Turn, Written,
};

/// The most held jobs that are read for one question.
///
/// Source: ours. Should more be held, what is found is left to people.
const HELD_MAX: usize = 5_000;

/// [`Jobs`] behind Redis.
pub struct QueueJobs {
    queue: Queue,
    leases: Leases,
    gate: Gate,
    rules: RwLock<Arc<Rules>>,
    retention: Retention,
    accounts: Accounts,
    /// Tells this worker from every other.
    worker: String,
    /// Jobs of whose records it was said that they cannot be read.
    unreadable: Mutex<BTreeSet<String>>,
}

impl QueueJobs {
    /// The jobs in `queue`, for a worker of `config`. What this claims is renewed by `leases`.
    pub fn new(queue: Queue, leases: Leases, config: &WorkerConfig) -> Self {
        let accounts = Accounts::new(config.accounts.clone());
        let (gate, rules) = (Gate::default(), RwLock::new(Arc::new(config.rules.clone())));
        let worker = queue.nonce();
        let (retention, unreadable) = (config.retention, Mutex::default());
        Self { queue, leases, gate, rules, retention, accounts, worker, unreadable }
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn limits_of(&self, account: &AccountName, model: Model) -> Result<AccountLimits, JobsFault> {
        let known = self.accounts.now();
        let limits = known.any(account).and_then(|account| account.limits.get(&model)).copied();
        limits.ok_or_else(|| JobsFault::UnknownAccount(account.clone()))
    }

    /// Says once of each record that it cannot be read.
    fn tell_unreadable(&self, unreadable: &[UnreadableRecord]) {
        let mut told = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        for record in unreadable {
            if told.insert(record.id.clone()) {
                warn!(
                    job.id = record.id,
                    error = record as &dyn std::error::Error,
                    records = told.len(),
                    "The record of job {} cannot be read ({} such records so far); a task without an owner may be its own, so that creates \
                     without an answer are held where there is one",
                    record.id,
                    told.len()
                );
            }
        }
    }

    /// The same behind the gate of its worker: what is claimed here keeps that open.
    #[must_use]
    pub fn behind(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// The same for accounts that may become others.
    #[must_use]
    pub(crate) fn of_accounts(mut self, accounts: Accounts) -> Self {
        self.accounts = accounts;
        self
    }
}

/// Queries are the account's, not the model's: should the settings name different figures, the smallest is safe.
pub(crate) fn query_limits<'a>(limits: impl Iterator<Item = &'a AccountLimits>) -> Option<AccountLimits> {
    limits.copied().min_by(|a, b| a.queries_per_second.total_cmp(&b.queries_per_second))
}

/// A lease as the steps see it.
pub(crate) struct HeldLease(pub(crate) LeaseGuard);

/// A lease with the pass of its claim.
struct PassedLease {
    lease: HeldLease,
    _pass: Pass,
}

impl Lease for PassedLease {
    fn age_of_renewal(&self) -> Option<Duration> {
        self.lease.age_of_renewal()
    }
}

impl Lease for HeldLease {
    fn age_of_renewal(&self) -> Option<Duration> {
        self.0.age_of_renewal()
    }
}

impl From<QueueError> for JobsFault {
    fn from(error: QueueError) -> Self {
        if error.is_retryable() { Self::Away(error.into()) } else { Self::Broken(error.into()) }
    }
}

impl From<CommitError> for CommitFault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fenced { .. } => Self::Fenced,
            CommitError::Illegal(illegal) => Self::Illegal(illegal),
            CommitError::Missing(_) => Self::Missing,
            CommitError::TaskOwned { owner, .. } => Self::TaskOwned(owner),
            // Only a person's request brings a job back to life.
            error @ CommitError::Superseded { .. } => Self::Broken(error.into()),
            CommitError::Queue(error) => Self::Broken(error.into()),
        }
    }
}

fn of_queue(call: PausedCall) -> Call {
    match call {
        PausedCall::Create => Call::Create(None),
        PausedCall::CreateModel(model) => Call::Create(Some(model)),
        PausedCall::Query => Call::Query,
    }
}

fn written(committed: Committed) -> Written {
    Written { job: committed.job, extra_task: committed.extra_task }
}

#[async_trait]
impl Jobs for QueueJobs {
    fn now(&self) -> Timestamp {
        self.queue.now()
    }

    async fn commit(
        &self,
        job: &Job,
        event: Event,
        outcome: Option<&Outcome>,
    ) -> Result<Written, CommitFault> {
        Ok(written(self.queue.commit(job, event, &self.rules(), outcome).await?))
    }

    async fn commit_unfenced(&self, id: JobId, event: Event) -> Result<Written, CommitFault> {
        Ok(written(self.queue.commit_unfenced(id, event, &self.rules()).await?))
    }

    async fn spec(&self, id: JobId) -> Result<Option<JobSpec>, JobsFault> {
        Ok(self.queue.spec(id).await?)
    }

    async fn query_permit(&self, account: &AccountName) -> Result<Permit, JobsFault> {
        let known = self.accounts.now();
        let limits = known.any(account).and_then(|account| query_limits(account.limits.values()));
        let limits = limits.ok_or_else(|| JobsFault::UnknownAccount(account.clone()))?;
        Ok(self.queue.take_query_permit(account, &limits).await?)
    }

    async fn create_time(
        &self,
        account: &AccountName,
        model: Model,
        lead: Duration,
        within: Duration,
    ) -> Result<CreateTime, JobsFault> {
        let limits = self.limits_of(account, model)?;
        Ok(self.queue.take_create_time(account, model, &limits, lead, within).await?)
    }

    async fn creates_held_back(&self, account: &AccountName, model: Model) -> Result<bool, JobsFault> {
        Ok(self.queue.creates_held_back(account, model).await?)
    }

    async fn note_rest(
        &self,
        account: &AccountName,
        call: Resting,
        rest: Duration,
        why: &str,
    ) -> Result<(), JobsFault> {
        Ok(self.queue.note_rest(account, &self.worker, call, rest, why).await?)
    }

    async fn lower_places(
        &self,
        account: &AccountName,
        model: Model,
        claimed_at: Timestamp,
    ) -> Result<PlacesLeft, JobsFault> {
        let limits = self.limits_of(account, model)?;
        Ok(self.queue.lower_places(account, model, &limits, claimed_at).await?)
    }

    async fn pause(
        &self,
        account: &AccountName,
        call: Pausable,
        pause: Duration,
        why: &str,
    ) -> Result<(), JobsFault> {
        Ok(self.queue.pause_account(account, call, pause, why).await?)
    }

    async fn turn_breaker(
        &self,
        account: &AccountName,
        call: PausedCall,
        probe: Option<&str>,
        turn: &Turn,
    ) -> Result<Became, JobsFault> {
        Ok(self.queue.turn_breaker(account, of_queue(call), probe, turn, &self.rules().breaker).await?)
    }

    async fn owners(
        &self,
        account: &AccountName,
        tasks: &[TaskId],
    ) -> Result<Vec<Option<TaskOwner>>, JobsFault> {
        /// How many ids one question names.
        const CHUNK: usize = 500;
        let mut owners = Vec::with_capacity(tasks.len());
        for chunk in tasks.chunks(CHUNK) {
            owners.extend(self.queue.task_owners(account, chunk).await?);
        }
        Ok(owners)
    }

    async fn placed(&self, account: &AccountName, model: Model) -> Result<Vec<Job>, JobsFault> {
        Ok(self.queue.jobs_with_slots(account, model).await?)
    }

    async fn open_attempts(
        &self,
        account: &AccountName,
        model: Model,
    ) -> Result<Vec<OpenAttempt>, JobsFault> {
        let OpenJobs { jobs, unreadable, all } = self.queue.open_jobs(account, model, HELD_MAX).await?;
        self.tell_unreadable(&unreadable);
        let open = |job: Job| {
            let on_the_way = matches!(job.state, JobState::Submitting { .. });
            match job.state {
                JobState::Submitting { attempt }
                | JobState::Settling { attempt, .. }
                | JobState::Held { attempt, unsettled: true, task: None, .. } => {
                    Some(OpenAttempt { job: job.id, attempt, on_the_way })
                }
                _ => None,
            }
        };
        let mut open: Vec<_> = jobs.into_iter().filter_map(open).collect();
        // A create that belongs to no job, and whose outcome nobody told, may have made what is found as well.
        for at in self.queue.stray_creates(account, model).await? {
            let attempt = Attempt {
                number: 0,
                account: account.clone(),
                claimed_at: at,
                send_by: at,
                cost_max: Micros(0),
            };
            open.push(OpenAttempt { job: JobId::fresh(0, 0), attempt, on_the_way: false });
        }
        if !all || !unreadable.is_empty() {
            // Any time may be that of one which was not read, and any task its own: none is given to another job, nor is a job sent
            // again for which one may be there. What is asked about waits, and is held in the end; where no task is without an owner
            // nothing depends on it.
            let (account, send_by) = (account.clone(), self.queue.now());
            let attempt = Attempt {
                number: 0,
                account,
                claimed_at: Timestamp::UNIX_EPOCH,
                send_by,
                cost_max: Micros(0),
            };
            open.push(OpenAttempt { job: JobId::fresh(0, 0), attempt, on_the_way: true });
        }
        Ok(open)
    }

    async fn claim_settles(&self, max: usize) -> Result<Vec<Claimed>, JobsFault> {
        let pass = self.gate.enter().await;
        let (asked_at, nonce) = (self.leases.boot_now(), self.queue.nonce());
        let claimed = self.queue.claim_settles(max, &nonce).await?;
        let hold = |job: Job| {
            let lease = HeldLease(self.leases.guard(&job, asked_at));
            Claimed { lease: Box::new(PassedLease { lease, _pass: pass.clone() }), job }
        };
        Ok(claimed.jobs.into_iter().map(|claimed| hold(claimed.job)).collect())
    }

    async fn take_quarantine_turn(&self, hold: Duration) -> Result<bool, JobsFault> {
        Ok(self.queue.take_quarantine_turn(hold).await?)
    }

    async fn keep_quarantine_turn(&self, hold: Duration) -> Result<(), JobsFault> {
        Ok(self.queue.keep_quarantine_turn(hold).await?)
    }

    async fn claim_alone(&self) -> Result<Option<(Claimed, Option<Outcome>)>, JobsFault> {
        let asked_at = self.leases.boot_now();
        let Some(claimed) = self.queue.claim_alone().await? else { return Ok(None) };
        let lease = Box::new(HeldLease(self.leases.guard(&claimed.job, asked_at)));
        Ok(Some((Claimed { job: claimed.job, lease }, claimed.outcome)))
    }

    async fn beat(&self) -> Result<Beat, JobsFault> {
        // The facts bring Redis's time with them and set this clock right: run id and time are of one moment, and a step of Redis's
        // clock shows in this very beat. Evaluated in this order, for that reason.
        let run_id = self.queue.server_facts().await?.run_id;
        let time = self.queue.now();
        Ok(Beat { run_id, time })
    }

    async fn rescue(&self, max: usize) -> Result<Rescued, JobsFault> {
        let rescued = self.queue.rescue(max, &self.queue.nonce()).await?;
        Ok(Rescued { jobs: rescued.jobs, more: rescued.more })
    }

    async fn went_back(&self) -> Result<bool, JobsFault> {
        Ok(self.queue.went_back().await?)
    }

    fn lose_leases(&self) {
        self.leases.lose_all();
    }

    async fn recover(&self, rewritten: Rewritten, hold: Duration) -> Result<Recovery, JobsFault> {
        Ok(self.queue.recover(rewritten, hold).await?)
    }

    async fn promote(&self, max: usize) -> Result<Option<Duration>, JobsFault> {
        Ok(match self.queue.promote(max).await?.wait {
            Wait::For(wait) => Some(wait),
            Wait::Unknown => None,
        })
    }

    async fn bring_back(&self, prices: &Prices, per_batch: Option<Micros>) -> Result<u64, JobsFault> {
        Ok(self.queue.bring_back(prices, per_batch).await?)
    }

    async fn retain(&self) -> Result<u64, JobsFault> {
        for account in self.accounts.now().all() {
            self.queue.forget_old_tasks(&account.name).await?;
        }
        self.queue.halve_durations().await?;
        self.queue.forget_old_copies().await?;
        Ok(self.queue.retain(&self.retention).await?)
    }

    async fn sweep(&self, every: Duration) -> Result<Sweep, JobsFault> {
        let accounts: Vec<_> = self.accounts.now().all().map(|account| account.name.clone()).collect();
        Ok(self.queue.sweep(&accounts, every).await?)
    }

    async fn copy_backlog(&self) -> Result<CopyBacklog, JobsFault> {
        Ok(self.queue.copy_backlog().await?)
    }

    async fn counts(&self) -> Result<BTreeMap<StateName, u64>, JobsFault> {
        Ok(self.queue.counts().await?)
    }
}

#[async_trait]
impl Listings for QueueJobs {
    async fn take_list_turn(
        &self,
        account: &AccountName,
        model: Model,
        hold: Duration,
        young_for: Duration,
    ) -> Result<ListTurn, JobsFault> {
        Ok(self.queue.take_list_turn(account, model, hold, young_for).await?)
    }

    async fn end_list_turn(
        &self,
        account: &AccountName,
        model: Model,
        wait: Duration,
    ) -> Result<(), JobsFault> {
        Ok(self.queue.end_list_turn(account, model, wait).await?)
    }

    async fn heed_list(&self, account: &AccountName, listed: &[Listed]) -> Result<Heeded, JobsFault> {
        Ok(self.queue.heed_list(account, listed).await?)
    }

    async fn learn_durations(&self) -> Result<Arc<Durations>, JobsFault> {
        let durations = Arc::new(self.queue.durations().await?);
        let rules = Rules { durations: durations.clone(), ..Rules::clone(&self.rules()) };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(durations)
    }
}

#[async_trait]
impl Leftovers for QueueJobs {
    async fn job(&self, id: JobId) -> Result<Option<Job>, JobsFault> {
        Ok(self.queue.job(id).await?)
    }

    async fn record_extra(&self, account: &AccountName, extra: &ExtraTask) -> Result<(), JobsFault> {
        Ok(self.queue.record_extra(account, extra).await?)
    }

    async fn extras(&self, account: &AccountName) -> Result<Vec<ExtraTask>, JobsFault> {
        Ok(self.queue.extras(account).await?)
    }

    async fn close_extra(
        &self,
        account: &AccountName,
        before: &ExtraTask,
        after: &ExtraTask,
    ) -> Result<bool, JobsFault> {
        Ok(self.queue.close_extra(account, before, after).await?)
    }

    async fn forget_extras(&self, account: &AccountName, tasks: &[TaskId]) -> Result<(), JobsFault> {
        Ok(self.queue.forget_extras(account, tasks).await?)
    }

    async fn taken_tasks(&self, account: &AccountName) -> Result<Vec<(TaskId, JobId)>, JobsFault> {
        Ok(self.queue.taken_tasks(account).await?)
    }

    async fn told_of_taken(&self, account: &AccountName, task: &TaskId) -> Result<(), JobsFault> {
        Ok(self.queue.told_of_taken(account, task).await?)
    }

    async fn take_orphans_turn(&self, account: &AccountName, hold: Duration) -> Result<bool, JobsFault> {
        Ok(self.queue.take_orphans_turn(account, hold).await?)
    }

    async fn store_orphans(&self, account: &AccountName, orphans: &Orphans) -> Result<(), JobsFault> {
        Ok(self.queue.store_orphans(account, orphans).await?)
    }
}

#[async_trait]
impl KnownQuotas for QueueJobs {
    async fn take_quotas_turn(&self, account: &AccountName, hold: Duration) -> Result<bool, JobsFault> {
        Ok(self.queue.take_quotas_turn(account, hold).await?)
    }

    async fn store_quotas(
        &self,
        account: &AccountName,
        quotas: &Quotas,
        fresh: Duration,
    ) -> Result<(), JobsFault> {
        Ok(self.queue.store_quotas(account, quotas, fresh).await?)
    }

    async fn quotas(&self, account: &AccountName) -> Result<Option<Quotas>, JobsFault> {
        Ok(self.queue.quotas(account).await?)
    }
}
