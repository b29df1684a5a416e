//! Asks about a task that is due.
//!
//! The claim brought the permit of one call. It never waits for a task, never gives one up, and never makes one. Driven by
//! the poll stage, once for each claim.

mod answer;
pub(crate) mod durations;
pub(crate) mod list;
#[cfg(test)]
mod tests;

use job::{Action, Event, Job, Outcome, TaskId};
use tracing::debug;

pub(crate) use self::answer::{Reading, outcome};
use crate::env::Env;
use crate::permit::query_permit;
use crate::place::Place;
use crate::ports::{CallFault, Lease};
use crate::settle::doubt_of;
use crate::silence::heed;

/// A claim for a poll.
pub(crate) struct PollClaim {
    /// The job, in `Polling`.
    pub(crate) job: Job,
    /// Its lease.
    pub(crate) lease: Box<dyn Lease>,
    /// Whether it goes through the open breaker of the account's queries.
    pub(crate) probe: bool,
}

/// Asks about the task of one claim, and writes down what it said.
pub(crate) async fn run(env: &Env, claim: PollClaim) {
    let PollClaim { job, lease, probe } = claim;
    if let Some(attempt) = job.state.attempt().filter(|_| probe) {
        env.query_probes.add(&attempt.account);
    }
    env.places.pass(Place::PollClaimed).await;
    let (event, outcome) = tokio::select! {
        biased;
        // Nothing is at stake: somebody else asks again.
        () = env.stop.cancelled() => (Event::GivenBack, None),
        answer = ask(env, &job) => answer,
    };
    let event = doubted(env, &job, event, outcome.as_ref()).await;
    env.places.pass(Place::PollAnswered).await;
    let outcome = outcome.filter(|_| !matches!(event, Event::PollUnanswered { .. }));
    env.commit(&job, event, outcome.as_ref()).await;
    env.places.pass(Place::PollSaved).await;
    drop(lease);
}

async fn ask(env: &Env, job: &Job) -> (Event, Option<Outcome>) {
    let Some(account) = job.state.attempt().map(|attempt| attempt.account.clone()) else {
        return (Event::GivenBack, None);
    };
    let task = match job.next_action(env.jobs.now()) {
        Action::Poll(task) => task,
        Action::Cancel(task) => {
            cancel(env, job, &task).await;
            // Whether it is cancelled, only a query tells.
            if query_permit(env, &account).await.is_err() {
                return (Event::PollUnanswered { retry_after: None }, None);
            }
            task
        }
        _ => return (Event::GivenBack, None),
    };
    let answer = env.api.fetch(&account, &task).await;
    heed(env, &account, &answer).await;
    let price = env.config.prices.per_image(job.model);
    let Some(reading) = Reading::of(job, env.jobs.now(), env.config.rules.task_retention, price) else {
        return (Event::GivenBack, None);
    };
    match answer {
        Ok(report) => answer::read(report, reading),
        Err(fault) => {
            debug!(task.id = %task, "Task {task} could not be asked: {fault}");
            (answer::unanswered(&fault, reading), None)
        }
    }
}

/// A task that was adopted by its time, and brought something else than its job asks for, is held for a person.
async fn doubted(env: &Env, job: &Job, event: Event, outcome: Option<&Outcome>) -> Event {
    let (true, Event::TaskSucceeded { images, billed, cost, .. }, Some(outcome)) =
        (job.adopted, &event, outcome)
    else {
        return event;
    };
    // Without an image to read it is held anyway.
    if *images == 0 {
        return event;
    }
    match env.jobs.spec(job.id).await {
        Ok(Some(spec)) => match doubt_of(&spec, outcome) {
            Some(why) => Event::TaskDoubtful { billed: *billed, cost: *cost, why },
            None => event,
        },
        Ok(None) => event,
        Err(fault) => {
            debug!(job.id = %job.id, error = &fault as &dyn std::error::Error, "Whether the adopted task of job {} fits cannot be told yet", job.id);
            Event::PollUnanswered { retry_after: None }
        }
    }
}

async fn cancel(env: &Env, job: &Job, task: &TaskId) {
    let Some(attempt) = job.state.attempt() else { return };
    let answer = env.api.cancel(&attempt.account, task).await;
    heed(env, &attempt.account, &answer).await;
    match answer {
        Ok(()) => debug!(task.id = %task, "The cancelling of task {task} was asked for"),
        // It runs already and will be paid for: it is finished and stored.
        Err(CallFault::Refused(answer)) => {
            debug!(task.id = %task, code = answer.code, "Task {task} cannot be cancelled")
        }
        Err(fault) => debug!(task.id = %task, "Task {task} could not be cancelled: {fault}"),
    }
}
