//! A worker in virtual time: the real steps and loops on the twins, each as a task of one process.
//!
//! What `stages` does with apalis and Redis is done here with a loop for each stage: claim, hand out, wait for a change.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dashscope::Model;
use jiff::SignedDuration;
use job::AccountName;
use queue::claims::{Gate, Wake};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::bucket::{Bucket, TwinArchive};
use super::fault::{Faults, FaultyPlaces};
use super::leases::TwinLeases;
use super::process::Process;
use super::provider::{Provider, TwinApi};
use super::queue::{Due, LEASE, SubmitAsk, SubmitClaimed, TwinJobs, TwinQueue};
use super::time::VirtualTime;
use crate::accounts::Accounts;
use crate::archive_step::{self, ArchiveClaim, CopiesAtOnce, CopyTime};
use crate::chance::Chance;
use crate::config::WorkerConfig;
use crate::created::Created;
use crate::env::Env;
use crate::poll::durations::KnownDurations;
use crate::poll::{self, PollClaim};
use crate::rests::Resting;
use crate::silence::QueryProbes;
use crate::streaks::Streaks;
use crate::submit::{self, SubmitClaim};
use crate::tally::Tally;
use crate::wire::OnTheWire;
use crate::{alone, backlog, extras, promote, release, rescue, restore, settle};

/// The longest wait of a stage that nobody wakes.
const IDLE: Duration = Duration::from_secs(5);

/// The wait of a stage while the queue is away.
const RETRY: Duration = Duration::from_millis(700);

/// Jobs that one claim takes.
const CLAIM_MAX: usize = 10;

/// What all workers of a run share.
pub(crate) struct Shared {
    pub(crate) time: VirtualTime,
    pub(crate) queue: Arc<TwinQueue>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) config: WorkerConfig,
    /// The clocks of the workers, in the order in which they begin, over and over.
    pub(crate) clocks: Vec<WorkerClock>,
}

/// What a worker knows of the time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WorkerClock {
    /// How long its machine had run when the run began.
    pub(crate) booted: Duration,
    /// How far its idea of the queue's time is ahead.
    pub(crate) ahead: SignedDuration,
}

/// A worker.
pub(crate) struct TestWorker {
    pub(crate) env: Arc<Env>,
    pub(crate) process: Arc<Process>,
}

/// What a stage needs.
#[derive(Clone)]
struct Stage {
    env: Arc<Env>,
    jobs: Arc<TwinJobs>,
    process: Arc<Process>,
    gate: Gate,
}

impl TestWorker {
    /// Starts one, the how manieth of the run.
    pub(crate) fn start(shared: &Arc<Shared>, number: usize, seed: u64) -> Self {
        let clocks = shared.clocks.get(number % shared.clocks.len().max(1)).copied().unwrap_or_default();
        let time = shared.time.booted(clocks.booted);
        let chance = |salt: u64| Chance::new(Box::new(ChaCha8Rng::seed_from_u64(seed ^ (salt << 56))));
        let process = Arc::new(Process::default());
        let leases = TwinLeases::new(time);
        let (queue, faults) = (shared.queue.clone(), shared.faults.clone());
        let jobs = Arc::new(TwinJobs {
            queue: queue.clone(),
            process: process.clone(),
            faults: faults.clone(),
            leases: leases.clone(),
            chance: chance(1),
            seen: Mutex::default(),
            ahead: clocks.ahead,
        });
        let api =
            TwinApi { provider: shared.provider.clone(), process: process.clone(), faults: faults.clone() };
        let archive = TwinArchive {
            bucket: shared.bucket.clone(),
            provider: shared.provider.clone(),
            process: process.clone(),
            faults: faults.clone(),
        };
        let stop = CancellationToken::new();
        let copies_at_once = CopiesAtOnce::new(shared.config.archive_concurrency);
        let env = Arc::new(Env {
            jobs: jobs.clone(),
            api: Arc::new(api),
            archive: Arc::new(archive),
            clock: Arc::new(time),
            chance: chance(2),
            config: WorkerConfig { accounts: Vec::new(), ..shared.config.clone() },
            accounts: Accounts::new(shared.config.accounts.clone()),
            stop: stop.clone(),
            places: Arc::new(FaultyPlaces { faults, process: process.clone(), stop }),
            put_off: Notify::new(),
            streaks: Streaks::default(),
            rests: Default::default(),
            query_probes: QueryProbes::default(),
            leads: Arc::default(),
            held_back: Arc::default(),
            on_the_wire: OnTheWire::new(),
            durations: KnownDurations::default(),
            polls_due: Wake::new(),
            copies_at_once,
            copy_time: CopyTime::default(),
            created: Created::default(),
            tally: Tally::default(),
        });
        process.spawn(leases.renew(queue, process.clone(), shared.config.renew_every));
        let gate = Gate::default();
        let stage = Stage { env: env.clone(), jobs, process: process.clone(), gate: gate.clone() };
        for account in &shared.config.accounts {
            for model in account.limits.keys() {
                process.spawn(stage.clone().submits(account.name.clone(), *model));
            }
        }
        process.spawn(stage.clone().due(Due::Poll));
        process.spawn(stage.due(Due::Archive));
        let of = env.clone();
        process.spawn(async move { rescue::run(&of, LEASE).await });
        let of = env.clone();
        process.spawn(async move { restore::run(&of, LEASE).await });
        let of = env.clone();
        process.spawn(async move { promote::run(&of).await });
        let of = env.clone();
        process.spawn(async move { release::run(&of).await });
        let of = env.clone();
        process.spawn(async move { settle::run(&of).await });
        let of = env.clone();
        process.spawn(async move { settle::count_orphans(&of).await });
        let of = env.clone();
        process.spawn(async move { extras::run(&of).await });
        let of = env.clone();
        process.spawn(async move { backlog::run(&of).await });
        let of = env.clone();
        process.spawn(async move { poll::list::run(&of).await });
        let of = env.clone();
        process.spawn(async move { alone::run(&of, &gate, LEASE * alone::PATIENCE_LEASES).await });
        Self { env, process }
    }
}

impl Stage {
    async fn submits(self, account: AccountName, model: Model) {
        let mut seen = 0;
        let config = &self.env.config;
        let (send_within, probe_window) = (config.send_within, config.probe_window());
        let mut ask = SubmitAsk { account, model, send_within, lead: Duration::ZERO, probe_window };
        while !self.env.stop.is_cancelled() {
            let rest = self.env.rests.left(&ask.account, Resting::Creates, self.env.clock.elapsed());
            if !rest.is_zero() {
                self.rest(rest).await;
                continue;
            }
            let pass = self.gate.enter().await;
            ask.lead = self.env.lead(&ask.account);
            let (asked_at, nonce) = (self.env.clock.elapsed(), self.jobs.nonce());
            let claimed = loop {
                match self.jobs.claim_submit(&ask, nonce).await {
                    Ok(claimed) => break claimed,
                    Err(_) if self.env.stop.is_cancelled() => return,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            };
            match claimed {
                SubmitClaimed::Claimed { claim, send_in, probe } => {
                    let (job, spec) = *claim;
                    let send_at = self.env.clock.elapsed() + send_in;
                    let lease = Arc::new(self.jobs.leases.guard(&job, asked_at));
                    let spec = Ok(Arc::new(spec));
                    let claim = SubmitClaim { job, spec, lease, claimed_at: asked_at, send_at, probe };
                    let env = self.env.clone();
                    self.process.spawn(async move {
                        submit::run(&env, claim).await;
                        drop(pass);
                    });
                }
                SubmitClaimed::Wait(wait) => {
                    drop(pass);
                    self.wait(wait, &mut seen).await;
                }
            }
        }
    }

    async fn due(self, what: Due) {
        let mut seen = 0;
        while !self.env.stop.is_cancelled() {
            let of = self.env.accounts.now().current[0].name.clone();
            let rest = self.env.rests.left(&of, Resting::Queries, self.env.clock.elapsed());
            if what == Due::Poll && !rest.is_zero() {
                self.rest(rest).await;
                continue;
            }
            let pass = Arc::new(self.gate.enter().await);
            let (asked_at, nonce) = (self.env.clock.elapsed(), self.jobs.nonce());
            let claimed = loop {
                match self.jobs.claim_due(what, CLAIM_MAX, nonce).await {
                    Ok(claimed) => break claimed,
                    Err(_) if self.env.stop.is_cancelled() => return,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            };
            let (found, probe) = (!claimed.jobs.is_empty(), claimed.probe);
            for (job, outcome) in claimed.jobs {
                let (env, lease) = (self.env.clone(), self.jobs.leases.guard(&job, asked_at));
                let pass = pass.clone();
                self.process.spawn(async move {
                    match what {
                        Due::Poll => poll::run(&env, PollClaim { job, lease: Box::new(lease), probe }).await,
                        _ => {
                            let lease = Arc::new(lease);
                            let claim = ArchiveClaim { job, outcome, lease, claimed_at: asked_at };
                            archive_step::run(&env, claim).await;
                        }
                    }
                    drop(pass);
                });
            }
            drop(pass);
            if !found {
                self.wait(claimed.wait, &mut seen).await;
            }
        }
    }

    /// Leaves the account alone, whatever changes.
    async fn rest(&self, rest: Duration) {
        tokio::select! {
            biased;
            () = self.env.stop.cancelled() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }

    async fn wait(&self, wait: Option<Duration>, seen: &mut u64) {
        let most = wait.unwrap_or(IDLE).clamp(Duration::from_millis(5), IDLE);
        tokio::select! {
            biased;
            () = self.env.stop.cancelled() => {}
            () = async { self.jobs.queue.changes.since(seen).await; tokio::time::sleep(Duration::from_millis(5)).await } => {}
            () = tokio::time::sleep(most) => {}
        }
    }
}
