//! The three stages as apalis workers under one monitor. The only file here that names apalis.
//!
//! What apalis brings: the workers' loops, their concurrency, a task of its own for each step, panics that stay in their step,
//! and the wait for steps under way. What it is not given: errors. A step writes down what happened to its job by
//! itself, so that a handler always succeeds; one that panics drops its lease, and the job comes back.
//!
//! The end: the stop token ends the fetchers, and what they claimed is still handed out and given back. Then a backend is at
//! its end, and stops its worker by itself; the monitor ends with the last one. apalis's own shutdown signal would leave claims
//! behind, since a backend is not polled while its worker drains.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis::layers::WorkerBuilderExt as _;
use apalis::layers::catch_panic::CatchPanicLayer;
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::monitor::Monitor;
use apalis_core::task::Task;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use apalis_core::worker::ext::parallelize::ParallelizeExt as _;
use job::{AccountName, BatchName, Job, JobId, Model, Timestamp};
use queue::claims::{Claim, ClaimBackend, Gate, Next, Stage, Wakes};
use queue::{AccountLimits, Leases, OtherAccount, Queue, SubmitAsk};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, debug, error, info_span};

use crate::accounts::{Known, each_model, one_for_each};
use crate::adapters::{HeldLease, query_limits};
use crate::archive_step::{self, ArchiveClaim};
use crate::config::AccountConfig;
use crate::env::Env;
use crate::poll::{self, PollClaim};
use crate::rests::Resting;
use crate::submit::{self, SubmitClaim};

/// The longest poll: a cancel, a permit and a query, each with a timeout of its own, and a commit. Source: ours.
const POLL_MAX: Duration = Duration::from_secs(300);

/// The longest round of copying: twelve images of 20 MB over a slow line. Source: ours.
const ARCHIVE_MAX: Duration = Duration::from_secs(1800);

/// What the stages need besides the steps' own [`Env`].
#[derive(Clone)]
pub(crate) struct Stages {
    pub(crate) env: Arc<Env>,
    pub(crate) queue: Queue,
    pub(crate) leases: Leases,
    pub(crate) wakes: Wakes,
    /// Lets claims in, or keeps them out.
    pub(crate) gate: Gate,
    /// Tells this start of the worker from every other.
    pub(crate) name: String,
    pub(crate) stop: CancellationToken,
}

impl Stages {
    /// Runs all three until they have ended. `false`: one of them ended with an error.
    pub(crate) async fn run(self) -> bool {
        let (submit, poll, archive) = (self.clone(), self.clone(), self.clone());
        let stop = self.stop.clone();
        let monitor = Monitor::new()
            // The backends return no errors and panics stay in their step, so that only a fault of ours or of apalis gets here. A
            // stage that is gone must not leave the others working as if it were there.
            .should_restart(move |worker, fault: &WorkerError| {
                error!(worker = worker.name(), "A stage ended early, and this worker with it: {fault}");
                stop.cancel();
                false
            })
            .register(move |start| {
                WorkerBuilder::new(format!("{}-submit-{start}", submit.name))
                    .backend(submit.submits())
                    .data(submit.env.clone())
                    .concurrency(submit.env.config.submit_concurrency)
                    .parallelize(tokio::spawn)
                    .layer(CatchPanicLayer::with_panic_handler(panicked as PanicHandler))
                    .build(run_submit)
            })
            .register(move |start| {
                WorkerBuilder::new(format!("{}-poll-{start}", poll.name))
                    .backend(poll.polls())
                    .data(poll.env.clone())
                    .concurrency(poll.env.config.poll_concurrency)
                    .parallelize(tokio::spawn)
                    .layer(CatchPanicLayer::with_panic_handler(panicked as PanicHandler))
                    .build(run_poll)
            })
            .register(move |start| {
                WorkerBuilder::new(format!("{}-archive-{start}", archive.name))
                    .backend(archive.archives())
                    .data(archive.env.clone())
                    .concurrency(archive.env.config.archive_concurrency)
                    .parallelize(tokio::spawn)
                    .layer(CatchPanicLayer::with_panic_handler(panicked as PanicHandler))
                    .build(run_archive)
            });
        match monitor.run().await {
            Ok(()) => true,
            Err(fault) => {
                error!(error = &fault as &dyn std::error::Error, "The stages ended with an error");
                false
            }
        }
    }

    fn stage(&self, handlers: usize, wake: queue::claims::Wake) -> (Stage, Ending) {
        let (queue, leases, gate) = (self.queue.clone(), self.leases.clone(), self.gate.clone());
        let (stage, backend) = Stage::new(queue, leases, handlers, wake, gate, self.stop.clone());
        (stage, Ending(backend))
    }

    fn submits(&self) -> Ending {
        let (stage, backend) = self.stage(self.env.config.submit_concurrency, self.wakes.submit.clone());
        let env = self.env.clone();
        tokio::spawn(async move {
            let fetcher = |(account, model): &(AccountName, Model)| {
                let (env, account, model) = (env.clone(), account.clone(), *model);
                stage.clone().fetch_submits(move || next_submit(&env, &account, model))
            };
            one_for_each(&env.accounts, &env.stop, |known| each_model(&known.current), fetcher).await;
        });
        backend
    }

    fn polls(&self) -> Ending {
        let (stage, backend) = self.stage(self.env.config.poll_concurrency, self.wakes.poll.clone());
        let env = self.env.clone();
        tokio::spawn(async move {
            let of_each = |known: &Known| known.all().map(|account| account.name.clone()).collect();
            let fetcher = |account: &AccountName| {
                let (env, of) = (env.clone(), account.clone());
                stage.clone().fetch_polls(account.clone(), move || next_polls(&env, &of))
            };
            one_for_each(&env.accounts, &env.stop, of_each, fetcher).await;
        });
        backend
    }

    fn archives(&self) -> Ending {
        let (stage, backend) = self.stage(self.env.config.archive_concurrency, self.wakes.archive.clone());
        let (env, room) = (self.env.clone(), stage.room());
        room.resize(env.copies_at_once.limit());
        tokio::spawn(stage.fetch_archives(move || {
            room.resize(env.copies_at_once.limit());
            env.copy_time.get()
        }));
        backend
    }
}

/// What is claimed for an account's model, as its settings are now.
fn next_submit(env: &Env, account: &AccountName, model: Model) -> Next<SubmitAsk> {
    let known = env.accounts.now();
    let Some((account, limits)) =
        known.current(account).and_then(|account| Some((account, *account.limits.get(&model)?)))
    else {
        return Next::End;
    };
    if let Some(rest) = rest(env, &account.name, Resting::Creates) {
        return rest;
    }
    Next::Claim(SubmitAsk {
        account: account.name.clone(),
        region: account.region.clone(),
        weight: account.weight,
        others: others(&known.current, account, model),
        model,
        limits,
        price: env.config.prices.per_image(model),
        budgets: env.config.budgets,
        send_within: env.config.send_within,
        lead: env.lead(&account.name),
        probe_window: env.config.probe_window(),
    })
}

/// Within which limits tasks of an account are asked, as its settings are now, or were when it had any.
fn next_polls(env: &Env, account: &AccountName) -> Next<AccountLimits> {
    let known = env.accounts.now();
    let Some(limits) = known.any(account).and_then(|account| query_limits(account.limits.values())) else {
        return Next::End;
    };
    rest(env, account, Resting::Queries).unwrap_or(Next::Claim(limits))
}

/// How long this worker leaves a call of the account alone, if it does.
fn rest<A>(env: &Env, account: &AccountName, call: Resting) -> Option<Next<A>> {
    let rest = env.rests.left(account, call, env.clock.elapsed());
    (!rest.is_zero()).then_some(Next::Rest(rest))
}

/// The accounts that share a model's jobs with this one.
fn others(accounts: &[AccountConfig], account: &AccountConfig, model: Model) -> Vec<OtherAccount> {
    let other = |other: &AccountConfig| {
        let limits = other.limits.get(&model).filter(|_| other.name != account.name)?;
        let (account, region) = (other.name.clone(), other.region.clone());
        Some(OtherAccount { account, region, weight: other.weight, limits: *limits })
    };
    accounts.iter().filter_map(other).collect()
}

async fn run_submit(claim: Claim, env: Data<Arc<Env>>) -> Result<(), BoxDynError> {
    let span = step_span("submit", &claim.job);
    // What is not named here, permit and pass, stays in `claim`, and so until the step is over.
    let Claim { job, spec, lease, claimed_at_boot, send_at_boot, probe, .. } = claim;
    let spec = spec.unwrap_or_else(|| Err("the claim came without it".to_owned()));
    // A later attempt waited for a reason, which its record does not keep.
    let due = (job.attempts == 1).then(|| {
        let not_before = spec.as_ref().ok().and_then(|spec| spec.not_before);
        not_before.map_or(job.enqueued_at, |time| time.max(job.enqueued_at))
    });
    let step = Told { step: "submit", job: job.id, fence: job.fence, due };
    let (claimed_at, send_at) = (claimed_at_boot, send_at_boot);
    let claim = SubmitClaim { job, spec, lease: Arc::new(HeldLease(lease)), claimed_at, send_at, probe };
    // Without a deadline: a create is bounded by its own timeout, and what it brought is kept however long that takes.
    told(&env, step, submit::run(&env, claim)).instrument(span).await;
    Ok(())
}

async fn run_poll(claim: Claim, env: Data<Arc<Env>>) -> Result<(), BoxDynError> {
    let Claim { job, lease, probe, .. } = claim;
    poll(&env, PollClaim { job, lease: Box::new(HeldLease(lease)), probe }).await;
    Ok(())
}

/// One poll, told in the log and within its deadline.
pub(crate) async fn poll(env: &Env, claim: PollClaim) {
    let span = step_span("poll", &claim.job);
    let job = &claim.job;
    let step = Told { step: "poll", job: job.id, fence: job.fence, due: job.state.due() };
    told(env, step, within(POLL_MAX, poll::run(env, claim))).instrument(span).await;
}

async fn run_archive(claim: Claim, env: Data<Arc<Env>>) -> Result<(), BoxDynError> {
    let Claim { job, outcome, lease, claimed_at_boot, .. } = claim;
    let lease = Arc::new(HeldLease(lease));
    archive(&env, ArchiveClaim { job, outcome, lease, claimed_at: claimed_at_boot }).await;
    Ok(())
}

/// One round of copying, told in the log and within its deadline.
pub(crate) async fn archive(env: &Env, claim: ArchiveClaim) {
    let span = step_span("archive", &claim.job);
    let job = &claim.job;
    let step = Told { step: "archive", job: job.id, fence: job.fence, due: job.state.due() };
    told(env, step, within(ARCHIVE_MAX, archive_step::run(env, claim))).instrument(span).await;
}

/// What the log says of a step.
struct Told {
    step: &'static str,
    job: JobId,
    fence: u64,
    /// When it could begin; `None` where the record does not say.
    due: Option<Timestamp>,
}

/// Says when a step begins and when it ends: what lies between is what a vanished worker holds up. The evidence runs read it.
async fn told(env: &Env, told: Told, work: impl Future<Output = ()>) {
    let Told { step, job, fence, due } = told;
    let late_ms =
        due.map(|due| i64::try_from(env.jobs.now().duration_since(due).as_millis()).unwrap_or(i64::MAX));
    debug!(job.id = %job, step, fence, late_ms, "Job {job} is claimed: {step} begins");
    work.await;
    debug!(job.id = %job, step, fence, "Job {job}: {step} is over");
}

/// Drops a step that overruns its deadline. Its lease goes with it, so that its job comes back instead of being renewed for ever.
async fn within(deadline: Duration, step: impl Future<Output = ()>) {
    if tokio::time::timeout(deadline, step).await.is_err() {
        error!("A step did not end within {deadline:?}; its job comes back when its lease ends");
    }
}

/// One span for each step.
fn step_span(step: &'static str, job: &Job) -> Span {
    info_span!(
        "step", step, job.id = %job.id, task.id = job.state.task().map(job::TaskId::as_str),
        batch = job.batch.as_ref().map(BatchName::as_str),
        account = job.state.attempt().map(|attempt| attempt.account.as_str()),
    )
}

type PanicHandler = fn(&Box<dyn std::any::Any + Send>) -> StepPanicked;

/// A step panicked. Its lease is dropped with it, and the job comes back.
#[derive(Debug, thiserror::Error)]
#[error("a step panicked: {0}")]
struct StepPanicked(String);

fn panicked(cause: &Box<dyn std::any::Any + Send>) -> StepPanicked {
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "for no reason that can be shown".to_owned());
    error!("A step panicked: {text}");
    StepPanicked(text)
}

/// A backend that stops its worker when it is at its end: apalis waits for a stop even then.
struct Ending(ClaimBackend);

impl Backend for Ending {
    type Task = Task<Claim>;
    type Error = Infallible;

    fn poll_ready(&mut self, cx: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx, worker)
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        let next = self.0.poll_next(cx, worker);
        if matches!(next, Poll::Ready(None))
            && let Err(fault) = worker.stop()
        {
            error!("A stage at its end could not be stopped: {fault}");
        }
        next
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.0.poll_close(cx, worker)
    }
}

impl BackendConfig for Ending {
    type Args = Claim;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = <ClaimBackend as BackendConfig>::Layer;

    fn config(&self) -> &() {
        self.0.config()
    }

    fn middleware(&mut self, worker: &mut WorkerContext) -> Self::Layer {
        self.0.middleware(worker)
    }
}
