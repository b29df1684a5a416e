//! One worker's way to the queue's twin: [`Jobs`], and the claims of the stages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use job::{
    AccountName, CopyBacklog, Event, Job, JobId, JobSpec, Micros, Model, Outcome, Prices, StateName, TaskId,
    Timestamp,
};
use queue::{PlacesLeft, QUERY_AHEAD, Sweep, TaskOwner};

use super::{Call, Due, DueClaimed, Seen, SubmitAsk, SubmitClaimed, TwinQueue, away};
use crate::chance::Chance;
use crate::ports::{
    Beat, Became, Claimed, CommitFault, CreateTime, Jobs, JobsFault, OpenAttempt, Pausable, PausedCall,
    Permit, Recovery, Rescued, Resting, Rewritten, Turn, Written,
};
use crate::testing::fault::{Act, Faults, Hook};
use crate::testing::leases::TwinLeases;
use crate::testing::process::Process;

/// One way between a worker and the queue. Source: ours; a Redis in the same network.
const WAY: Duration = Duration::from_millis(1);

/// The response timeout of the queue's client.
const NO_ANSWER_AFTER: Duration = Duration::from_secs(10);

/// The wait between two tries while the queue is away.
const RETRY: Duration = Duration::from_millis(500);

/// [`Jobs`] behind a [`TwinQueue`], for one worker.
pub(crate) struct TwinJobs {
    pub(crate) queue: Arc<TwinQueue>,
    pub(crate) process: Arc<Process>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) leases: TwinLeases,
    pub(crate) chance: Chance,
    pub(crate) seen: Mutex<Seen>,
    /// How far the worker's idea of the queue's time is ahead of it.
    pub(crate) ahead: SignedDuration,
}

impl TwinJobs {
    /// Is there at once: for calls that are made every second, and change nothing or take a way back.
    pub(super) async fn reach(&self) -> Result<(), JobsFault> {
        self.process.runs().await;
        if self.queue.is_away() { Err(away()) } else { Ok(()) }
    }

    /// On the way to the queue.
    pub(super) async fn ask(&self) -> Result<(), JobsFault> {
        self.process.runs().await;
        tokio::time::sleep(WAY).await;
        if self.queue.is_away() { Err(away()) } else { Ok(()) }
    }

    /// On the way back.
    pub(super) async fn answer(&self) {
        tokio::time::sleep(WAY).await;
        self.process.runs().await;
    }

    /// On the way back with a claim, which may be lost there. `false`: it is.
    async fn answer_claim(&self) -> bool {
        match self.faults.at(Hook::Claimed) {
            Some(Act::Crash | Act::CrashAfter) => self.process.kill(),
            Some(Act::Pause(pause)) => self.process.pause(pause),
            Some(_) => {
                tokio::time::sleep(NO_ANSWER_AFTER).await;
                return false;
            }
            None => {}
        }
        self.answer().await;
        true
    }

    async fn write(
        &self,
        id: JobId,
        fence: Option<u64>,
        event: Event,
        outcome: Option<&Outcome>,
    ) -> Result<Written, CommitFault> {
        let (nonce, chance) = (self.queue.store().nonce(), self.chance.draw());
        loop {
            if self.ask().await.is_err() {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            let act = self.faults.at(Hook::Commit);
            match &act {
                Some(Act::Crash) => self.process.kill(),
                Some(Act::Lose) => {
                    tokio::time::sleep(NO_ANSWER_AFTER).await;
                    continue;
                }
                _ => {}
            }
            if self.process.is_dead() {
                std::future::pending::<()>().await;
            }
            let call = Call { nonce, chance, now: Jobs::now(self) };
            let written = self.queue.write(id, fence, event.clone(), outcome, call);
            match act {
                Some(Act::CrashAfter) => self.process.kill(),
                Some(Act::LoseAnswer) => {
                    tokio::time::sleep(NO_ANSWER_AFTER).await;
                    continue;
                }
                Some(Act::Pause(pause)) => self.process.pause(pause),
                _ => {}
            }
            self.answer().await;
            return written;
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new nonce, for one claim and its repeats.
    pub(crate) fn nonce(&self) -> u64 {
        self.queue.store().nonce()
    }

    /// Claims one job for submit.
    ///
    /// # Errors
    ///
    /// The queue is away, or its answer was lost: the same nonce asks again.
    pub(crate) async fn claim_submit(&self, ask: &SubmitAsk, nonce: u64) -> Result<SubmitClaimed, JobsFault> {
        self.ask().await?;
        let (now, limits) = (self.queue.time.now(), &self.queue.limits);
        let claimed = {
            let (mut store, mut seen) = (self.queue.store(), self.seen());
            let claimed = store.claim_submit(ask, *seen, limits, nonce, now);
            if !store.lineage.is_older(*seen) {
                seen.note(&store.lineage);
            }
            claimed
        };
        if matches!(claimed, SubmitClaimed::Claimed { .. }) && !self.answer_claim().await {
            return Err(away());
        }
        Ok(claimed)
    }

    /// Claims jobs that are due.
    ///
    /// # Errors
    ///
    /// The queue is away, or its answer was lost: the same nonce asks again.
    pub(crate) async fn claim_due(&self, what: Due, max: usize, nonce: u64) -> Result<DueClaimed, JobsFault> {
        self.ask().await?;
        let now = self.queue.time.now();
        let claimed = self.queue.store().claim_due(what, max, &self.queue.limits, nonce, now);
        if !claimed.jobs.is_empty() && !self.answer_claim().await {
            return Err(away());
        }
        Ok(claimed)
    }
}

#[async_trait]
impl Jobs for TwinJobs {
    fn now(&self) -> Timestamp {
        self.queue.time.now() + self.ahead
    }

    async fn commit(
        &self,
        job: &Job,
        event: Event,
        outcome: Option<&Outcome>,
    ) -> Result<Written, CommitFault> {
        self.write(job.id, Some(job.fence), event, outcome).await
    }

    async fn commit_unfenced(&self, id: JobId, event: Event) -> Result<Written, CommitFault> {
        self.write(id, None, event, None).await
    }

    async fn spec(&self, id: JobId) -> Result<Option<JobSpec>, JobsFault> {
        self.ask().await?;
        let spec = self.queue.store().records.get(&id).map(|record| record.spec.clone());
        self.answer().await;
        Ok(spec)
    }

    async fn query_permit(&self, _: &AccountName) -> Result<Permit, JobsFault> {
        self.ask().await?;
        let now = self.queue.time.now();
        let permit = self.queue.store().query_permit(now, &self.queue.limits, QUERY_AHEAD, "permit");
        self.answer().await;
        Ok(permit)
    }

    async fn create_time(
        &self,
        _: &AccountName,
        model: Model,
        lead: Duration,
        _: Duration,
    ) -> Result<CreateTime, JobsFault> {
        self.ask().await?;
        let (now, rate) = (self.queue.time.now(), self.queue.limits.create_per_second);
        let time = self.queue.store().create_time(model, rate, lead, now);
        self.answer().await;
        Ok(time)
    }

    async fn creates_held_back(&self, _: &AccountName, model: Model) -> Result<bool, JobsFault> {
        self.ask().await?;
        let held_back = self.queue.store().holds.hold_back(model, self.queue.time.now());
        self.answer().await;
        Ok(held_back)
    }

    async fn note_rest(&self, _: &AccountName, _: Resting, _: Duration, _: &str) -> Result<(), JobsFault> {
        self.reach().await
    }

    async fn lower_places(
        &self,
        account: &AccountName,
        model: Model,
        claimed_at: Timestamp,
    ) -> Result<PlacesLeft, JobsFault> {
        self.ask().await?;
        let now = self.queue.time.now();
        let left = self.queue.store().lower_places(account, model, &self.queue.limits, claimed_at, now);
        self.answer().await;
        Ok(left)
    }

    async fn pause(
        &self,
        _: &AccountName,
        call: Pausable,
        pause: Duration,
        _: &str,
    ) -> Result<(), JobsFault> {
        self.ask().await?;
        let over = self.queue.time.now() + pause;
        self.queue.store().holds.pause(call.into(), over);
        self.answer().await;
        Ok(())
    }

    async fn turn_breaker(
        &self,
        _: &AccountName,
        call: PausedCall,
        probe: Option<&str>,
        turn: &Turn,
    ) -> Result<Became, JobsFault> {
        self.ask().await?;
        let now = self.queue.time.now();
        let became = self.queue.store().holds.turn(call, probe, turn, &self.queue.rules.breaker, now);
        self.queue.ring();
        self.answer().await;
        Ok(became)
    }

    async fn owners(&self, _: &AccountName, tasks: &[TaskId]) -> Result<Vec<Option<TaskOwner>>, JobsFault> {
        self.ask().await?;
        let owners = {
            let books = &self.queue.store().books;
            tasks.iter().map(|task| books.owners.get(task).cloned()).collect()
        };
        self.answer().await;
        Ok(owners)
    }

    async fn placed(&self, account: &AccountName, model: Model) -> Result<Vec<Job>, JobsFault> {
        self.ask().await?;
        let placed = self.queue.store().placed(account, model);
        self.answer().await;
        Ok(placed)
    }

    async fn open_attempts(
        &self,
        account: &AccountName,
        model: Model,
    ) -> Result<Vec<OpenAttempt>, JobsFault> {
        self.ask().await?;
        let open = self.queue.store().open_attempts(account, model);
        self.answer().await;
        Ok(open)
    }

    async fn claim_settles(&self, max: usize) -> Result<Vec<Claimed>, JobsFault> {
        // Asked every second, and almost always in vain.
        if !self.queue.store().is_any_due(Due::Settle, self.queue.time.now()) {
            self.reach().await?;
            return Ok(Vec::new());
        }
        let asked_at = self.leases.boot_now();
        let nonce = self.nonce();
        let claimed = self.claim_due(Due::Settle, max, nonce).await?;
        let hold = |job: Job| Claimed { lease: Box::new(self.leases.guard(&job, asked_at)), job };
        Ok(claimed.jobs.into_iter().map(|(job, _)| hold(job)).collect())
    }

    async fn take_quarantine_turn(&self, _: Duration) -> Result<bool, JobsFault> {
        self.reach().await?;
        Ok(self.queue.store().is_any_due(Due::Alone, self.queue.time.now()))
    }

    async fn keep_quarantine_turn(&self, _: Duration) -> Result<(), JobsFault> {
        self.reach().await
    }

    async fn claim_alone(&self) -> Result<Option<(Claimed, Option<Outcome>)>, JobsFault> {
        let (asked_at, nonce) = (self.leases.boot_now(), self.nonce());
        let mut claimed = self.claim_due(Due::Alone, 1, nonce).await?;
        let hold = |job: Job| Claimed { lease: Box::new(self.leases.guard(&job, asked_at)), job };
        Ok(claimed.jobs.pop().map(|(job, outcome)| (hold(job), outcome)))
    }

    async fn sweep(&self, every: Duration) -> Result<Sweep, JobsFault> {
        Ok(Sweep { ours: true, pause: every, ..Sweep::default() })
    }

    async fn beat(&self) -> Result<Beat, JobsFault> {
        self.reach().await?;
        let time = self.queue.time.now();
        let run_id = self.queue.store().run.to_string();
        Ok(Beat { run_id, time })
    }

    async fn rescue(&self, max: usize) -> Result<Rescued, JobsFault> {
        self.reach().await?;
        let now = self.queue.time.now();
        let jobs = self.queue.store().rescue(max, now);
        let more = jobs.len() == max;
        if !jobs.is_empty() && !self.answer_claim().await {
            return Err(away());
        }
        Ok(Rescued { jobs, more })
    }

    async fn went_back(&self) -> Result<bool, JobsFault> {
        // Looked up before: what is noted while the question is under way is no contradiction.
        let seen = *self.seen();
        self.reach().await?;
        Ok(self.queue.store().lineage.is_older(seen))
    }

    fn lose_leases(&self) {
        self.leases.lose_all();
    }

    async fn recover(&self, _: Rewritten, hold: Duration) -> Result<Recovery, JobsFault> {
        let nonce = self.nonce();
        while self.ask().await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
        let now = self.queue.time.now();
        let (first, held_until) = {
            let (mut store, mut seen) = (self.queue.store(), self.seen());
            let recovery = store.lineage.recover(*seen, nonce, hold, now);
            seen.accept(&store.lineage);
            recovery
        };
        self.answer().await;
        Ok(Recovery { first, held_until })
    }

    async fn promote(&self, _: usize) -> Result<Option<Duration>, JobsFault> {
        self.reach().await?;
        let now = self.queue.time.now();
        let wait = self.queue.store().promote(now);
        if wait == Some(Duration::ZERO) {
            self.queue.ring();
        }
        Ok(wait)
    }

    /// The twin has no budgets: what waits for one is held against a small model in `tests/it/queue`.
    async fn bring_back(&self, _: &Prices, _: Option<Micros>) -> Result<u64, JobsFault> {
        self.reach().await?;
        Ok(0)
    }

    async fn retain(&self) -> Result<u64, JobsFault> {
        Ok(0)
    }

    async fn copy_backlog(&self) -> Result<CopyBacklog, JobsFault> {
        self.reach().await?;
        Ok(CopyBacklog { now: self.queue.time.now(), ..CopyBacklog::default() })
    }

    async fn counts(&self) -> Result<BTreeMap<StateName, u64>, JobsFault> {
        self.ask().await?;
        Ok(self.queue.store().counts())
    }
}
