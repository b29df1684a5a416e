//! Finds out what became of creates without an answer.
//!
//! Owns the loop, the evidence and the decision. It never sends a create: a job whose attempt created nothing is queued again,
//! and its next claim sends it. All attempts of one account and model that are due are decided from one reading of the account's
//! whole list: what one of them made, another did not. Started by [`crate::run()`].

mod decide;
mod doubtful;
mod evidence;
mod explain;
mod orphans;
#[cfg(test)]
mod soundness_tests;
#[cfg(test)]
mod step_tests;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use job::{AccountName, Action, Event, JobState, Model};
use tracing::{Instrument as _, info, warn};

use self::decide::{Verdict, Weighing, by_policy, without_evidence};
pub(crate) use self::doubtful::doubt_of;
use self::evidence::{Asked, gather};
pub(crate) use self::orphans::run as count_orphans;
use crate::config::Ambiguous;
use crate::env::Env;
use crate::place::Place;
use crate::ports::{Claimed, CommitFault};

/// How often the settler looks for attempts that are due.
const EVERY: Duration = Duration::from_secs(1);

/// How many attempts one claim takes. Source: ours; a killed worker leaves as many as it had on the wire, and they are best decided
/// together.
const CLAIM_MAX: usize = 64;

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
        settle(env, claimed).await;
        if env.stop.is_cancelled() {
            return;
        }
        if idle {
            tokio::select! {
                biased;
                () = env.stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}

/// One look at each of these attempts.
pub(crate) async fn settle(env: &Env, claimed: Vec<Claimed>) {
    let mut groups: BTreeMap<Option<(AccountName, Model)>, Vec<Claimed>> = BTreeMap::new();
    for claimed in claimed {
        env.places.pass(Place::SettleClaimed).await;
        let group = claimed.job.state.attempt().map(|attempt| (attempt.account.clone(), claimed.job.model));
        groups.entry(group).or_default().push(claimed);
    }
    for (group, members) in groups {
        let span = tracing::info_span!(
            "settle",
            account = group.as_ref().map(|(account, _)| account.as_str()),
            attempts = members.len()
        );
        settle_group(env, group, members).instrument(span).await;
    }
}

async fn settle_group(env: &Env, group: Option<(AccountName, Model)>, members: Vec<Claimed>) {
    let events = tokio::select! {
        biased;
        () = env.stop.cancelled() => vec![Event::GivenBack; members.len()],
        events = look(env, group, &members) => events,
    };
    for (Claimed { job, lease }, event) in members.into_iter().zip(events) {
        env.places.pass(Place::SettleWeighed).await;
        // A verdict that took longer than the lease is somebody else's to give.
        let event = if lease.age_of_renewal().is_some() { event } else { Event::GivenBack };
        if let Event::TaskFound { .. } = &event {
            match env.jobs.commit(&job, event, None).await {
                Ok(written) => env.note(&job, &written.job),
                // Its owner's answer came between the look and the commit: what remains is weighed anew.
                Err(CommitFault::TaskOwned(_)) => {
                    env.commit(&job, again(env), None).await;
                }
                Err(fault) => {
                    warn!(job.id = %job.id, error = &fault as &dyn std::error::Error, "The task that was found for job {} is not written down", job.id)
                }
            }
        } else {
            env.commit(&job, event, None).await;
        }
        env.places.pass(Place::SettleSaved).await;
    }
}

fn again(env: &Env) -> Event {
    let wait = env.config.settle.looks.wait_with_jitter(0, env.chance.draw());
    Event::LookAgain { due: env.jobs.now() + wait }
}

/// An event for each member.
async fn look(env: &Env, group: Option<(AccountName, Model)>, members: &[Claimed]) -> Vec<Event> {
    let mut events = vec![Event::GivenBack; members.len()];
    let Some((account, model)) = group else { return events };
    // Which member each asked attempt is.
    let (mut places, mut asked) = (Vec::new(), Vec::new());
    for (place, Claimed { job, .. }) in members.iter().enumerate() {
        if job.next_action(env.jobs.now()) == Action::Settle
            && let JobState::Settling { attempt, looks, .. } = &job.state
        {
            places.push(place);
            asked.push(Asked { job: job.id, attempt: attempt.clone(), looks: *looks });
        }
    }
    if asked.is_empty() {
        return events;
    }
    for (place, (asked, verdict)) in
        places.into_iter().zip(asked.iter().zip(verdicts(env, &account, model, &asked).await))
    {
        log(asked, &verdict);
        events[place] = event(verdict, env);
    }
    events
}

async fn verdicts(env: &Env, account: &AccountName, model: Model, asked: &[Asked]) -> Vec<Verdict> {
    let config = &env.config.settle;
    if let Some(verdict) = by_policy(config.ambiguous) {
        if config.ambiguous == Ambiguous::ResubmitMayPayTwice {
            for Asked { job, .. } in asked {
                warn!(job.id = %job, "Job {job} is sent again without knowing what became of its create: it may be paid twice");
            }
        }
        return vec![verdict; asked.len()];
    }
    let rules = &env.config.rules;
    match gather(env, account, model, asked).await {
        Ok((round, cases)) => {
            let weighing = Weighing::new(&round, config, rules);
            cases.into_iter().map(|case| weighing.judge(case, env.chance.draw())).collect()
        }
        Err(fault) => {
            warn!(account = %account, error = &fault as &dyn std::error::Error, "Creates of account {account} cannot be settled yet");
            let now = env.jobs.now();
            asked
                .iter()
                .map(|Asked { attempt, looks, .. }| {
                    without_evidence(attempt, *looks, now, config, rules, env.chance.draw())
                })
                .collect()
        }
    }
}

fn log(Asked { job, .. }: &Asked, verdict: &Verdict) {
    match verdict {
        Verdict::Found(task) => {
            info!(job.id = %job, task.id = %task, "Job {job} is settled: it created task {task}")
        }
        Verdict::NotCreated => info!(job.id = %job, "Job {job} is settled: it created nothing"),
        Verdict::LookAgain(_) => {}
        Verdict::Undecidable { doubt, .. } => {
            let candidates: Vec<&str> =
                doubt.candidates.iter().map(|candidate| candidate.task.as_str()).collect();
            warn!(job.id = %job, ?candidates, "Job {job} cannot be settled: {}; tasks that may be its: {candidates:?}", doubt.why);
        }
    }
}

fn event(verdict: Verdict, env: &Env) -> Event {
    match verdict {
        Verdict::Found(task) => Event::TaskFound { task },
        Verdict::NotCreated => Event::NotCreated,
        Verdict::LookAgain(wait) => Event::LookAgain { due: env.jobs.now() + wait },
        Verdict::Undecidable { reason, slot_free, doubt } => Event::Undecidable { reason, slot_free, doubt },
    }
}
