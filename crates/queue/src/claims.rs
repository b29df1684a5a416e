//! The apalis backends: one for each stage, fed by tasks of their own.
//!
//! A backend owns a semaphore with one permit for each handler that is free; a fetcher takes permits, then claims at most as
//! many jobs, and each claim carries its permit until its handler is done. So nothing is prefetched: what is claimed is worked
//! on at once. `poll_next` never returns an error, which would end the worker; faults of Redis are the fetcher's business, and
//! it waits them out.
//!
//! Stopping is the token's business, not apalis's: it does not poll a backend while it drains. When the token is cancelled the
//! fetchers end, what they claimed is still handed out (its handlers give it back), and then the backend is at its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::worker::context::WorkerContext;
use job::{AccountName, Curve, Event, Job, JobSpec, Outcome, Rules, Timestamp};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;
use tracing::{error, warn};

use crate::Queue;
use crate::breaker::Turn;
use crate::claim::{Claimed, ClaimedJob, SubmitAsk, SubmitClaim};
use crate::error::QueueError;
use crate::lease::{LeaseGuard, Leases};
use crate::limits::{AccountLimits, Call};
use crate::reply::Wait;
use crate::room::Room;
pub use crate::wake::{Wake, Wakes};
use crate::why_wait::WhyWait;

/// The longest time without a look, whatever the hints say: hints may be lost.
const IDLE: Duration = Duration::from_secs(1);

/// The shortest time between two looks that found nothing: many hints at once are one reason to look.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The most jobs that one claim of polls or copies brings.
const CLAIM_MAX: usize = 100;

/// The waits of a fetcher while Redis is away.
pub(crate) const RETRY: Curve =
    Curve { first: Duration::from_millis(100), factor: 2.0, cap: Duration::from_secs(2) };

/// A job in a worker's hands, for one step.
#[derive(Debug)]
pub struct Claim {
    /// The job.
    pub job: Job,
    /// What it asks for, at submit; the fault, if this version cannot read it.
    pub spec: Option<Result<Arc<JobSpec>, String>>,
    /// What its task brought, at archive.
    pub outcome: Option<Outcome>,
    /// Keeps the claim alive.
    pub lease: LeaseGuard,
    /// When the claim was asked for, by the boot clock.
    pub claimed_at_boot: Duration,
    /// When the create is to be sent, by the boot clock; at another stage when the claim was asked for.
    pub send_at_boot: Duration,
    /// Whether it goes through an open breaker, to find out whether that may close.
    pub probe: bool,
    _permit: OwnedSemaphorePermit,
    _pass: Pass,
}

/// Where a worker lets claims in, and where it keeps them out while one job is to be alone.
///
/// Each claim carries a pass from before it is asked for until its step is over. The gate closes once every pass has been given
/// back; from the moment that somebody wants to close it nobody else gets one, so that a busy worker comes to its turn as well.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<RwLock<()>>);

/// Leave to hold claims.
#[derive(Debug, Clone)]
pub struct Pass(#[expect(dead_code, reason = "it works by being held")] Arc<OwnedRwLockReadGuard<()>>);

/// The gate is closed for as long as this lives.
#[derive(Debug)]
pub struct Closed(#[expect(dead_code, reason = "it works by being held")] OwnedRwLockWriteGuard<()>);

impl Gate {
    /// Waits until the gate is open.
    pub async fn enter(&self) -> Pass {
        Pass(Arc::new(self.0.clone().read_owned().await))
    }

    /// Keeps everybody out, and waits until all who are in have left. Whoever gives up waiting opens the gate again.
    pub async fn close(&self) -> Closed {
        Closed(self.0.clone().write_owned().await)
    }
}

/// What a claim brought, before its lease is held.
struct Work {
    job: Job,
    spec: Option<Result<Arc<JobSpec>, String>>,
    outcome: Option<Outcome>,
    send_at: Option<Duration>,
    probe: bool,
}

/// What a fetcher does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<A> {
    /// It claims this.
    Claim(A),
    /// It claims nothing for so long: this worker leaves it to others.
    Rest(Duration),
    /// It ends. A claim that is under way by then is handed out like any other.
    End,
}

/// How a fetcher ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nobody wants its claims any more.
    Unwanted,
    /// Its stage is over.
    Stopped,
}

/// What the fetchers of a stage have in common.
#[derive(Clone)]
pub struct Stage {
    queue: Queue,
    leases: Leases,
    room: Room,
    wake: Wake,
    gate: Gate,
    stop: CancellationToken,
    claims: mpsc::Sender<Claim>,
}

impl Stage {
    /// A stage with room for `handlers` claims at once, never for more, and the backend that hands them out.
    pub fn new(
        queue: Queue,
        leases: Leases,
        handlers: usize,
        wake: Wake,
        gate: Gate,
        stop: CancellationToken,
    ) -> (Self, ClaimBackend) {
        let (claims, receiver) = mpsc::channel(handlers.max(1));
        let room = Room::new(handlers);
        (Self { queue, leases, room, wake, gate, stop, claims }, ClaimBackend { claims: receiver })
    }

    /// How many claims it may hold at once, for whoever would make that fewer.
    pub fn room(&self) -> Room {
        self.room.clone()
    }

    /// Claims jobs for submit, one at a time: each takes a permit of the account's create rate. `next` says what is claimed, each time
    /// anew.
    pub async fn fetch_submits(self, next: impl Fn() -> Next<SubmitAsk> + Send + Sync) -> Ended {
        let stage = self;
        let mut woken = stage.wake.subscribe();
        while let Some((permit, pass)) = stage.permit().await {
            let ask = match next() {
                Next::Claim(ask) => ask,
                Next::Rest(rest) => {
                    drop((permit, pass));
                    stage.pause(Wait::For(rest), None).await;
                    continue;
                }
                Next::End => return Ended::Unwanted,
            };
            let (sent, nonce) = (stage.leases.boot_now(), stage.queue.nonce());
            match stage.until_redis_answers(|| stage.queue.claim_submit(&ask, &nonce)).await {
                Some(SubmitClaim::Claimed { job, spec, send_at, probe }) => {
                    let send_at = stage.boot_time(send_at);
                    let spec = Some(spec.map(|spec| Arc::new(*spec)));
                    if !stage.has_replicas().await {
                        stage.give_back_unsent(&job, &ask, probe).await;
                        drop((permit, pass));
                        stage.until_replicas_follow().await;
                        continue;
                    }
                    let work = Work { job: *job, spec, outcome: None, send_at: Some(send_at), probe };
                    if !stage.hand_out(work, sent, permit, pass).await {
                        return Ended::Stopped;
                    }
                }
                Some(SubmitClaim::Wait { why, wait }) => {
                    drop((permit, pass));
                    // Only a permit or a pause has a time; what else is missing comes with a hint.
                    let interruptible = !matches!(
                        why,
                        WhyWait::Permit | WhyWait::Paused | WhyWait::Restored | WhyWait::Recovering
                    );
                    stage.pause(wait, interruptible.then_some(&mut woken)).await;
                }
                None => return Ended::Stopped,
            }
        }
        Ended::Stopped
    }

    /// Claims tasks of one account that are due to be asked. `next` says within which limits, each time anew.
    pub async fn fetch_polls(
        self,
        account: AccountName,
        next: impl Fn() -> Next<AccountLimits> + Send + Sync,
    ) -> Ended {
        self.fetch_due(next, move |queue, limits, max, nonce| {
            let account = account.clone();
            async move { queue.claim_polls(&account, &limits, max, &nonce).await }
        })
        .await
    }

    /// Claims jobs whose images can be copied. `takes` says how long a copy takes just now.
    pub async fn fetch_archives(self, takes: impl Fn() -> Duration + Send + Sync) -> Ended {
        self.fetch_due(
            || Next::Claim(takes()),
            |queue, takes, max, nonce| async move { queue.claim_archives(max, takes, &nonce).await },
        )
        .await
    }

    async fn fetch_due<A: Copy, F>(
        self,
        next: impl Fn() -> Next<A> + Send + Sync,
        claim: impl Fn(Queue, A, usize, String) -> F + Send + Sync,
    ) -> Ended
    where
        F: Future<Output = Result<Claimed, QueueError>> + Send,
    {
        let stage = self;
        let mut woken = stage.wake.subscribe();
        while let Some((first, pass)) = stage.permit().await {
            let ask = match next() {
                Next::Claim(ask) => ask,
                Next::Rest(rest) => {
                    drop((first, pass));
                    stage.pause(Wait::For(rest), None).await;
                    continue;
                }
                Next::End => return Ended::Unwanted,
            };
            let mut permits = vec![first];
            while permits.len() < CLAIM_MAX {
                let Some(permit) = stage.room.try_take() else { break };
                permits.push(permit);
            }
            let (sent, nonce) = (stage.leases.boot_now(), stage.queue.nonce());
            let max = permits.len();
            let answer =
                stage.until_redis_answers(|| claim(stage.queue.clone(), ask, max, nonce.clone())).await;
            let Some(Claimed { jobs, wait, probe }) = answer else { return Ended::Stopped };
            let found = !jobs.is_empty();
            for (claimed, permit) in jobs.into_iter().zip(&mut std::iter::from_fn(|| permits.pop())) {
                let ClaimedJob { job, outcome } = claimed;
                let work = Work { job, spec: None, outcome, send_at: None, probe };
                if !stage.hand_out(work, sent, permit, pass.clone()).await {
                    return Ended::Stopped;
                }
            }
            drop((permits, pass));
            if !found || wait != Wait::For(Duration::ZERO) {
                stage.pause(wait, Some(&mut woken)).await;
            }
        }
        Ended::Stopped
    }

    /// A time of Redis's by the boot clock.
    fn boot_time(&self, time: Timestamp) -> Duration {
        let (now, boot_now) = (self.queue.now(), self.leases.boot_now());
        match Duration::try_from(time.duration_since(now)) {
            Ok(ahead) => boot_now + ahead,
            Err(_) => boot_now.saturating_sub(now.duration_since(time).unsigned_abs()),
        }
    }

    /// Whether the claim that was just granted survives the loss of this Redis, as far as that is demanded.
    ///
    /// A worker that is told to stop does not wait for that: its step gives the claim back unsent.
    async fn has_replicas(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => true,
            replicated = self.queue.is_replicated() => replicated,
        }
    }

    /// Nothing was sent for the claim, and nothing will be: place and turn go back, and the next probe may go out at once.
    async fn give_back_unsent(&self, job: &Job, ask: &SubmitAsk, probe: bool) {
        let (demanded, wait) = self.queue.demanded_replicas();
        warn!(
            job.id = %job.id, demanded,
            "Job {} is not sent: fewer than {demanded} replicas have its claim after {wait:?}; \
             see `connected_slaves` and `lag` in INFO replication, or lower `redis.replicas`", job.id
        );
        let rules = Rules::default();
        if let Err(problem) = self.queue.commit(job, Event::NotSent, &rules, None).await {
            warn!(job.id = %job.id, error = &problem as &dyn std::error::Error, "Job {} was not given back", job.id);
        }
        let token = format!("{}:{}", job.id, job.attempts);
        for call in [Call::Create(None), Call::Create(Some(ask.model))].into_iter().filter(|_| probe) {
            let (token, waits) = (Some(token.as_str()), &rules.breaker);
            if let Err(problem) =
                self.queue.turn_breaker(&ask.account, call, token, &Turn::Release, waits).await
            {
                warn!(account = %ask.account, error = &problem as &dyn std::error::Error, "A probe was not given back");
            }
        }
    }

    /// Waits before the next claim: one that is given back as well would only be another attempt of a job.
    async fn until_replicas_follow(&self) {
        while !self.stop.is_cancelled() && !self.has_replicas().await {
            self.pause(Wait::For(IDLE), None).await;
        }
    }

    /// A free handler, and a pass.
    async fn permit(&self) -> Option<(OwnedSemaphorePermit, Pass)> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            both = async {
                let permit = self.room.take().await?;
                Some((permit, self.gate.enter().await))
            } => both,
        }
    }

    /// `false`: the worker of this stage is gone, and nothing may be claimed for it any more.
    async fn hand_out(
        &self,
        work: Work,
        claimed_at_boot: Duration,
        permit: OwnedSemaphorePermit,
        pass: Pass,
    ) -> bool {
        let Work { job, spec, outcome, send_at, probe } = work;
        let lease = self.leases.guard(&job, claimed_at_boot);
        let send_at_boot = send_at.unwrap_or(claimed_at_boot);
        let claim = Claim {
            job,
            spec,
            outcome,
            lease,
            claimed_at_boot,
            send_at_boot,
            probe,
            _permit: permit,
            _pass: pass,
        };
        // The channel has room for as many claims as there are permits.
        let handed_out = self.claims.send(claim).await.is_ok();
        if !handed_out {
            warn!("The worker of a stage is gone; its claims come back when their leases end");
        }
        handed_out
    }

    /// Asks until there is an answer, with the same nonce, so that a claim whose answer was lost is not lost with it.
    async fn until_redis_answers<T, F>(&self, mut ask: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let mut failures = 0;
        loop {
            // Not raced against the stop: an answer that is on its way may hold a claim.
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(problem) => {
                    if failures == 0 {
                        match problem.is_retryable() {
                            true => warn!(
                                error = &problem as &dyn std::error::Error,
                                "Redis is away; claims wait for it"
                            ),
                            false => error!(error = &problem as &dyn std::error::Error, "A claim failed"),
                        }
                    }
                    let wait = RETRY.wait_with_jitter(failures, self.queue.link().chance());
                    failures = failures.saturating_add(1);
                    tokio::select! {
                        () = self.stop.cancelled() => return None,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    async fn pause(&self, wait: Wait, woken: Option<&mut watch::Receiver<u64>>) {
        let most = match wait {
            Wait::For(wait) => wait.clamp(PAUSE_MIN, IDLE),
            Wait::Unknown => IDLE,
        };
        let ring = async {
            match woken {
                Some(woken) => {
                    let _ = woken.changed().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(most) => {}
            () = async { tokio::join!(ring, tokio::time::sleep(PAUSE_MIN)); } => {}
        }
    }
}

/// Hands a stage's claims to apalis.
pub struct ClaimBackend {
    claims: mpsc::Receiver<Claim>,
}

impl Backend for ClaimBackend {
    type Task = Task<Claim>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.claims.poll_recv(cx).map(|claim| claim.map(|claim| Ok(TaskBuilder::new(claim).build())))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.claims.close();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for ClaimBackend {
    type Args = Claim;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
