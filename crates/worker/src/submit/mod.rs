//! The paid call.
//!
//! Owns its order: the claim has written the intent down; the inputs are prepared; one create is sent, if the gate allows it
//! at the last moment; a task id is written down before anything else is done with it. It never sends twice: what got no
//! answer is the settler's. Driven by the submit stage, once for each claim.

pub(crate) mod breakers;
mod gate;
pub(crate) mod held_back;
mod inputs;
mod keep;
#[cfg(test)]
mod reference_tests;
pub(crate) mod spacing;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashscope::ImageRequest;
use job::{
    AccountName, Action, Attempt, Event, Failure, FailureClass, Job, JobSpec, JobState, Model, Refusal,
};
use queue::PlacesLeft;
use tracing::{debug, info, warn};

use self::breakers::{Finding, turns};
use self::gate::{GateFacts, Latch, may_send};
use self::held_back::Look;
use self::inputs::InputFault;
pub(crate) use self::keep::keep_again;
use self::spacing::late;
pub(crate) use self::table::failure_class;
use self::table::{Consequence, Rest, Whose, consequence, trouble};
use crate::config::AccountConfig;
use crate::env::Env;
use crate::place::Place;
use crate::ports::{Became, CreateFault, CreateTime, Created, Gate, Lease, Pausable, PausedCall, Withheld};
use crate::rests::{self, Resting};
use crate::streaks::Trouble;

/// A claim for submit.
pub(crate) struct SubmitClaim {
    /// The job, in `Submitting`.
    pub(crate) job: Job,
    /// What it asks for; the fault, if this version cannot read it.
    pub(crate) spec: Result<Arc<JobSpec>, String>,
    /// Its lease.
    pub(crate) lease: Arc<dyn Lease>,
    /// When the claim was asked for, by the boot clock.
    pub(crate) claimed_at: Duration,
    /// When its create is to be sent, by the boot clock.
    pub(crate) send_at: Duration,
    /// Whether it goes through an open breaker: then what comes of it decides about that.
    pub(crate) probe: bool,
}

/// What a create's times are, by the boot clock.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// When the claim was asked for.
    claimed_at: Duration,
    /// When the way to this create began: with the claim, or with the question for another moment.
    begun_at: Duration,
    /// When the create is to be sent.
    send_at: Duration,
}

/// The create of one claim: whose it is, and under what it goes out.
struct Sending<'a> {
    attempt: &'a Attempt,
    model: Model,
    lease: &'a Arc<dyn Lease>,
    latch: &'a Latch,
    /// Whether it goes through an open breaker, which then holds it back no more.
    is_probe: bool,
}

impl Times {
    /// How long the create may still be sent.
    fn left(self, env: &Env) -> Duration {
        env.config.send_within.saturating_sub(env.clock.elapsed().saturating_sub(self.claimed_at))
    }
}

/// The shortest wait before another moment is asked for again. Source: ours.
const SHORTEST: Duration = Duration::from_millis(5);

/// Sends the create of one claim, and writes down what became of it.
pub(crate) async fn run(env: &Env, claim: SubmitClaim) {
    let SubmitClaim { job, spec, lease, claimed_at, send_at, probe } = claim;
    let (Action::Submit, JobState::Submitting { attempt }) = (job.next_action(env.jobs.now()), &job.state)
    else {
        // A probe of it counts as lost when its window has passed.
        warn!(job.id = %job.id, "Job {} was claimed for submit and is {}", job.id, job.state_name());
        env.commit(&job, Event::GivenBack, None).await;
        return;
    };
    env.places.pass(Place::SubmitClaimed).await;
    let latch = Latch::default();
    let probe = probe.then(|| format!("{}:{}", job.id, attempt.number));
    let times = Times { claimed_at, begun_at: claimed_at, send_at };
    let sending =
        Sending { attempt, model: job.model, lease: &lease, latch: &latch, is_probe: probe.is_some() };
    let event = match create(env, &job, &sending, spec, times).await {
        Ok(created) => {
            env.streaks.end(&attempt.account, &Trouble::OF_CREATES);
            env.places.pass(Place::Answered).await;
            debug!(job.id = %job.id, task.id = %created.task, request.id = created.request_id, "Task {} was created", created.task);
            keep::keep(env, &job, attempt, created).await;
            env.places.pass(Place::TaskSaved).await;
            turn(env, job.model, attempt, probe.as_deref(), Finding::Works).await;
            return;
        }
        Err(Fruitless { event, finding, was_tried }) => {
            // Before the job is free again: else the same account could take it at once.
            turn(env, job.model, attempt, probe.as_deref(), finding).await;
            match was_tried {
                true => elsewhere_at_once(&env.accounts.now().current, &job, &attempt.account, event),
                false => event,
            }
        }
    };
    env.commit(&job, event, None).await;
    // Only now is it over: until then a worker that is told to stop waits for it.
    drop(latch);
}

/// The task, or what happened instead.
async fn create(
    env: &Env,
    job: &Job,
    sending: &Sending<'_>,
    spec: Result<Arc<JobSpec>, String>,
    times: Times,
) -> Result<Created, Fruitless> {
    let attempt = sending.attempt;
    let spec = spec.map_err(|fault| Fruitless::unasked(local_failure("UnreadableSpec", fault)))?;
    let left = times.left(env);
    let prepared = tokio::select! {
        biased;
        () = env.stop.cancelled() => return Err(Fruitless::unasked(Event::GivenBack)),
        prepared = tokio::time::timeout(left, inputs::prepare(env, &attempt.account, job.model, &spec.images)) => prepared,
    };
    let images = match prepared {
        Ok(Ok(images)) => images,
        Ok(Err(InputFault::Passing { code, message })) => {
            warn!(job.id = %job.id, code, "The inputs of job {} are not ready: {message}", job.id);
            return Err(Fruitless::unasked(Event::Refused(Refusal::ours(code, message))));
        }
        Ok(Err(InputFault::Final { code, message })) => {
            return Err(Fruitless::unasked(local_failure(code, message)));
        }
        // Growing waits, or a store that is too slow would cost a create permit every few seconds.
        Err(_) => {
            let refusal = Refusal::ours("InputsTooSlow", "the input images were not ready in time");
            return Err(Fruitless::unasked(Event::Refused(refusal)));
        }
    };
    let request = spec.request_with(images);
    env.places.pass(Place::BeforeSend).await;

    let answer = send(env, sending, &request, times).await;
    match answer {
        Ok(created) => Ok(created),
        Err(fault) => Err(learn(env, job, attempt, fault).await),
    }
}

/// Sends the create at its time; missed, at another. It is sent once: what was kept back was not sent.
async fn send(
    env: &Env,
    sending: &Sending<'_>,
    request: &ImageRequest,
    mut times: Times,
) -> Result<Created, CreateFault> {
    let account = &sending.attempt.account;
    loop {
        let answer = {
            let call = env.api.create(account, request, gate(env, sending, times));
            tokio::pin!(call);
            tokio::select! {
                biased;
                answer = &mut call => answer,
                () = env.stop.cancelled() => match sending.latch.close() {
                    true => Err(CreateFault::Withheld(Withheld::Stopping)),
                    // It is on the wire: its answer may be worth money.
                    false => call.await,
                },
            }
        };
        if answer != Err(CreateFault::Withheld(Withheld::Missed)) {
            return answer;
        }
        debug!(account = %account, "A create missed its moment, and takes another");
        times.begun_at = env.clock.elapsed();
        times.send_at = tokio::select! {
            biased;
            () = env.stop.cancelled() => return Err(CreateFault::Withheld(Withheld::Stopping)),
            moment = next_moment(env, sending, times) => moment.map_err(CreateFault::Withheld)?,
        };
    }
}

/// Another moment at which the create may be sent, by the boot clock.
async fn next_moment(env: &Env, sending: &Sending<'_>, times: Times) -> Result<Duration, Withheld> {
    let (account, model) = (&sending.attempt.account, sending.model);
    loop {
        // The next moment heeds pauses, and no breakers: it is also asked for by probes.
        if !sending.is_probe && matches!(env.jobs.creates_held_back(account, model).await, Ok(true)) {
            return Err(Withheld::HeldBack);
        }
        let left = times.left(env);
        if left.is_zero() {
            return Err(Withheld::TooLate);
        }
        match env.jobs.create_time(account, model, env.lead(account), left).await {
            Ok(CreateTime::In(wait)) => return Ok(env.clock.elapsed() + wait),
            Ok(CreateTime::Wait(wait)) if wait < left => tokio::time::sleep(wait.max(SHORTEST)).await,
            Ok(CreateTime::Wait(_)) => return Err(Withheld::HeldBack),
            Err(fault) => {
                debug!(account = %account, error = &fault as &dyn std::error::Error, "No moment could be asked for");
                return Err(Withheld::HeldBack);
            }
        }
    }
}

fn gate(env: &Env, sending: &Sending<'_>, times: Times) -> Gate {
    let (clock, stop, wire) = (env.clock.clone(), env.stop.clone(), env.on_the_wire.share());
    let (send_within, renewal_age_max) = (env.config.send_within, env.config.renewal_age_max);
    let (leads, account, model) = (env.leads.clone(), sending.attempt.account.clone(), sending.model);
    let (lease, latch, known) = (sending.lease.clone(), sending.latch.clone(), env.held_back.clone());
    let Times { claimed_at, begun_at, send_at } = times;
    let seen = Arc::new(AtomicBool::new(false));
    let look = (!sending.is_probe).then(|| Look {
        jobs: env.jobs.clone(),
        clock: clock.clone(),
        account: account.clone(),
        model,
        times,
        held_back: seen.clone(),
    });
    let is_held_back = {
        let (account, is_probe) = (account.clone(), sending.is_probe);
        move |now| !is_probe && (seen.load(Ordering::Acquire) || known.holds(&account, model, begun_at, now))
    };
    let (moment, given_up) = (clock.clone(), is_held_back.clone());
    Gate {
        ready: Box::pin(async move {
            leads.learn(&account, moment.elapsed().saturating_sub(begun_at));
            if let Some(look) = look {
                look.before_it_is_sent().await;
            }
            while let Some(left) = send_at.checked_sub(moment.elapsed()).filter(|left| !left.is_zero()) {
                if given_up(moment.elapsed()) {
                    return;
                }
                tokio::time::sleep(left).await;
            }
        }),
        pass: Box::new(move || {
            let now = clock.elapsed();
            may_send(GateFacts {
                since_claim: now.saturating_sub(claimed_at),
                send_within,
                renewal_age: lease.age_of_renewal(),
                renewal_age_max,
                late: late(now, send_at),
                held_back: is_held_back(now),
                stopping: stop.is_cancelled(),
            })?;
            if latch.send(&wire) { Ok(()) } else { Err(Withheld::Stopping) }
        }),
    }
}

/// What a create without a task means for the job; what it means for the account is done here.
async fn learn(env: &Env, job: &Job, attempt: &Attempt, fault: CreateFault) -> Fruitless {
    if let CreateFault::Unknown { cause } = &fault {
        warn!(job.id = %job.id, cause, "The create of job {} got no answer ({cause}); it will be settled, not repeated", job.id);
    }
    let account = &attempt.account;
    let streak =
        trouble(&fault).map(|kind| env.streaks.add(account, kind, env.clock.elapsed(), env.chance.draw()));
    let Consequence { event, mut rest, crowded, finding } = consequence(fault, streak);
    if crowded && let Some(left) = lower_places(env, job, attempt).await {
        // Who may still take a place waits for one. Where no fewer may be for now it is a storm, or somebody else fills the account.
        rest = rest.filter(|rest| rest.whose == Whose::Everybodys { asked: true } || left.held);
    }
    match rest {
        Some(Rest { whose: Whose::Ours, wait, why }) => {
            rests::rest(env, account, Resting::Creates, wait, &why).await;
        }
        Some(Rest { whose: Whose::Everybodys { .. }, wait, why }) => {
            pause(env, account, job.model, wait, &why).await;
        }
        None => {}
    }
    Fruitless { event, finding, was_tried: true }
}

/// Holds every worker's creates of the model back.
async fn pause(env: &Env, account: &AccountName, model: Model, wait: Duration, why: &str) {
    warn!(account = %account, wait_ms = wait.as_millis() as u64, "Creates of {model} of account {account} rest for {wait:?}: {why}");
    let until = env.clock.elapsed() + wait;
    let note = || env.held_back.pause(account, model, env.clock.elapsed(), until);
    // At once, for those that wait for their moment; and again for what was claimed before Redis knew.
    note();
    if let Err(fault) = env.jobs.pause(account, Pausable::Creates(model), wait, why).await {
        warn!(account = %account, error = &fault as &dyn std::error::Error, "The pause could not be written");
    }
    note();
}

/// A refusal speaks of the account, which rests for it or has its breaker open. A job that another account may run need not wait with
/// it: each of the others gets it at once. When all of them have refused it, it waits like any other.
fn elsewhere_at_once(accounts: &[AccountConfig], job: &Job, refused_by: &AccountName, event: Event) -> Event {
    let may_run = |other: &AccountConfig| {
        other.name != *refused_by
            && other.limits.contains_key(&job.model)
            && job.pinned_to.as_ref().is_none_or(|place| place.allows(&other.name, other.region.as_ref()))
    };
    let others = accounts.iter().filter(|other| may_run(other)).count();
    match event {
        Event::Refused(refusal) if (job.refusals as usize) < others => {
            Event::Refused(Refusal { retry_after: Some(Duration::ZERO), ..refusal })
        }
        event => event,
    }
}

/// Lowers the places of the account and model, for every worker: how many are left, if that could be said.
async fn lower_places(env: &Env, job: &Job, attempt: &Attempt) -> Option<PlacesLeft> {
    let (account, model) = (&attempt.account, job.model);
    match env.jobs.lower_places(account, model, attempt.claimed_at).await {
        Ok(left @ PlacesLeft { places, .. }) => {
            info!(account = %account, places, "Account {account} takes at most {places} places for {model} for now: it may hold no more tasks");
            Some(left)
        }
        Err(fault) => {
            warn!(account = %account, error = &fault as &dyn std::error::Error, "The places could not be lowered");
            None
        }
    }
}

/// Tells the breakers of the account and of the model what the create has shown.
async fn turn(env: &Env, model: Model, attempt: &Attempt, probe: Option<&str>, finding: Finding) {
    let account = &attempt.account;
    for (call, turn) in turns(finding, model, probe.is_some()) {
        match env.jobs.turn_breaker(account, call, probe, &turn).await {
            Ok(became) => {
                breakers::say(account, call, &turn, became);
                if matches!(became, Became::Opened | Became::Reopened) {
                    let model = if call == PausedCall::Create { None } else { Some(model) };
                    env.held_back.open(account, model, env.clock.elapsed());
                }
            }
            Err(fault) => {
                warn!(account = %account, error = &fault as &dyn std::error::Error, "A breaker could not be turned");
            }
        }
    }
}

/// No task, and what that shows of the service.
struct Fruitless {
    event: Event,
    finding: Finding,
    /// Whether the create was tried. What came before it is the job's trouble, and the same at every account.
    was_tried: bool,
}

impl Fruitless {
    /// The service was not even asked.
    fn unasked(event: Event) -> Self {
        Self { event, finding: Finding::Nothing, was_tried: false }
    }
}

fn local_failure(code: &str, message: String) -> Event {
    Event::Rejected(Failure { class: FailureClass::Local, code: code.to_owned(), message, request_id: None })
}
