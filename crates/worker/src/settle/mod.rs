//! Finds out what became of creates without an answer.
//!
//! Owns the loop, the evidence and the decision. It never sends a create: a job whose attempt created nothing is queued again,
//! and its next claim sends it. One attempt at a time: each look reads the account's whole list, and one list at a time is what
//! the shared query rate bears. Started by [`crate::run()`].

mod decide;
mod evidence;
#[cfg(test)]
mod step_tests;
#[cfg(test)]
mod tests;

use std::time::Duration;

use job::{Action, Event, Job, JobState};
use tracing::{Instrument as _, info, warn};

use self::decide::{Owner, Verdict, by_policy, decide, without_evidence};
use self::evidence::gather;
use crate::config::Ambiguous;
use crate::env::Env;
use crate::place::Place;
use crate::ports::Claimed;

/// How often the settler looks for attempts that are due.
const EVERY: Duration = Duration::from_secs(1);

/// How many attempts one claim takes: each is one list, so few, that others may take the rest.
const CLAIM_MAX: usize = 4;

/// Settles what is due until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        let claimed = match env.jobs.claim_settles(CLAIM_MAX).await {
            Ok(claimed) => claimed,
            Err(fault) => {
                tracing::debug!(
                    error = &fault as &dyn std::error::Error,
                    "Nothing could be claimed to be settled"
                );
                Vec::new()
            }
        };
        let idle = claimed.is_empty();
        for claimed in claimed {
            let span = tracing::info_span!(
                "settle", job.id = %claimed.job.id, batch = claimed.job.batch.as_ref().map(job::BatchName::as_str),
                account = claimed.job.state.attempt().map(|attempt| attempt.account.as_str()),
            );
            settle(env, claimed).instrument(span).await;
        }
        if env.stop.is_cancelled() {
            return;
        }
        if idle {
            tokio::select! {
                () = env.stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}

/// One look at one attempt.
pub(crate) async fn settle(env: &Env, claimed: Claimed) {
    let Claimed { job, lease } = claimed;
    env.places.pass(Place::SettleClaimed).await;
    let event = tokio::select! {
        biased;
        () = env.stop.cancelled() => Event::GivenBack,
        event = look(env, &job) => event,
    };
    env.places.pass(Place::SettleWeighed).await;
    // A verdict that took longer than the lease is somebody else's to give.
    let event = if lease.age_of_renewal().is_some() { event } else { Event::GivenBack };
    env.commit(&job, event, None).await;
    env.places.pass(Place::SettleSaved).await;
}

async fn look(env: &Env, job: &Job) -> Event {
    if job.next_action(env.jobs.now()) != Action::Settle {
        return Event::GivenBack;
    }
    let config = &env.config.settle;
    if let Some(verdict) = by_policy(config.ambiguous) {
        if config.ambiguous == Ambiguous::ResubmitMayPayTwice {
            warn!(job.id = %job.id, "Job {} is sent again without knowing what became of its create: it may be paid twice", job.id);
        }
        return event(verdict, env);
    }
    let rules = &env.config.rules;
    let evidence = match gather(env, job).await {
        Ok(evidence) => evidence,
        Err(fault) => {
            warn!(job.id = %job.id, error = &fault as &dyn std::error::Error, "Job {} cannot be settled yet", job.id);
            let JobState::Settling { attempt, looks, .. } = &job.state else { return Event::GivenBack };
            let verdict = without_evidence(attempt, *looks, env.jobs.now(), config, rules, env.chance.draw());
            return event(verdict, env);
        }
    };
    let verdict = decide(&evidence, config, rules, env.chance.draw());
    match &verdict {
        Verdict::Found(task) => {
            info!(job.id = %job.id, task.id = %task, "Job {} is settled: it created task {task}", job.id)
        }
        Verdict::NotCreated => info!(job.id = %job.id, "Job {} is settled: it created nothing", job.id),
        Verdict::LookAgain(_) => {}
        Verdict::Undecidable { .. } => {
            let candidates: Vec<&str> = evidence
                .listing
                .tasks
                .iter()
                .filter(|task| task.owner == Owner::Nobody)
                .map(|task| task.task.as_str())
                .take(20)
                .collect();
            warn!(job.id = %job.id, ?candidates, "Job {} cannot be settled; tasks that nobody owns: {candidates:?}", job.id);
        }
    }
    event(verdict, env)
}

fn event(verdict: Verdict, env: &Env) -> Event {
    match verdict {
        Verdict::Found(task) => Event::TaskFound { task },
        Verdict::NotCreated => Event::NotCreated,
        Verdict::LookAgain(wait) => Event::LookAgain { due: env.jobs.now() + wait },
        Verdict::Undecidable { reason, slot_free } => Event::Undecidable { reason, slot_free },
    }
}
