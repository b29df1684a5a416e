//! Every hour: counts tasks of ours that nobody owns, and gives up places that held attempts keep without need.
//!
//! Both need what a settler's look needs, the account's whole list, so they share one. It settles nothing and takes no task: what
//! it counts is for people (`imagemill status`). One worker does it for each account at a time. Started by [`crate::run()`].

use job::{AccountName, Event, Job, JobState, Model};
use queue::Orphans;
use tracing::{debug, info, warn};

use super::decide::{Owner, Weighing};
use super::evidence::{Asked, NoEvidence, gather};
use crate::config::AccountConfig;
use crate::env::Env;
use crate::ports::JobsFault;

/// The most orphans that are named.
const NAMED_MAX: usize = 20;

/// Counts until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = async {
                for account in &env.accounts.now().current {
                    look_at_account(env, account).await;
                }
                // Whoever is free when the last one's turn is over goes next.
                tokio::time::sleep(env.config.settle.orphans_every / 4).await;
            } => {}
        }
    }
}

async fn look_at_account(env: &Env, account: &AccountConfig) {
    let name = &account.name;
    match env.jobs.take_orphans_turn(name, env.config.settle.orphans_every).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(fault) => {
            debug!(account = %name, error = &fault as &dyn std::error::Error, "Orphans of account {name} are not counted");
            return;
        }
    }
    if let Err(fault) = count(env, account).await {
        warn!(account = %name, error = &fault as &dyn std::error::Error, "Tasks of account {name} that nobody owns could not be counted");
    }
}

/// One look at an account: all of its models, then the count is stored.
pub(crate) async fn count(env: &Env, account: &AccountConfig) -> Result<(), NoEvidence> {
    let mut orphans = Orphans { at: env.jobs.now(), count: 0, oldest: None, tasks: Vec::new() };
    let mut found = Vec::new();
    for model in account.limits.keys() {
        found.extend(look_at_model(env, &account.name, *model).await?);
    }
    found.sort_unstable();
    orphans.count = found.len() as u64;
    orphans.oldest = found.iter().find_map(|(created, _)| *created);
    orphans.tasks = found.into_iter().take(NAMED_MAX).map(|(_, task)| task).collect();
    if orphans.count > 0 {
        warn!(account = %account.name, count = orphans.count, tasks = ?orphans.tasks, "Account {} shows {} tasks of our key that no job owns", account.name, orphans.count);
    }
    env.jobs.store_orphans(&account.name, &orphans).await?;
    Ok(())
}

type Orphan = (Option<job::Timestamp>, job::TaskId);

async fn look_at_model(env: &Env, account: &AccountName, model: Model) -> Result<Vec<Orphan>, NoEvidence> {
    let (config, rules) = (&env.config.settle, &env.config.rules);
    let held = holders(env, account, model).await?;
    let asked: Vec<Asked> = held
        .iter()
        .filter_map(|job| Some(Asked { job: job.id, attempt: job.state.attempt()?.clone(), looks: 0 }))
        .collect();
    let (round, cases) = gather(env, account, model, &asked).await?;
    let weighing = Weighing::new(&round, config, rules);
    for (job, case) in held.iter().zip(&cases).filter(|(_, case)| weighing.slot_is_free(case.open)) {
        debug_assert_eq!(asked[case.open].job, job.id);
        // Without a fence: nobody has claimed it. If a person was faster, the event does not fit, and that is well.
        match env.jobs.commit_unfenced(job.id, Event::SlotReleased).await {
            Ok(_) => {
                info!(job.id = %job.id, account = %account, "Held job {} gives up its place: the list shows nothing at work that nobody owns", job.id)
            }
            Err(fault) => {
                debug!(job.id = %job.id, error = &fault as &dyn std::error::Error, "Job {} keeps its place", job.id)
            }
        }
    }
    // What an open attempt may have made is not lost, but not told apart yet. What was created a moment ago may be written down in the
    // next.
    let settled_by = round.now - (rules.held_request_timeout + config.settle_lag + config.clock_margin);
    let orphan = |place: usize, task: &super::decide::Listed| {
        task.owner == Owner::Nobody
            && task.created_at.is_none_or(|created| created < settled_by)
            && !weighing.may_be_of_an_open_attempt(place)
    };
    Ok(round
        .listing
        .tasks
        .iter()
        .filter(|task| task.owner == Owner::Nobody)
        .enumerate()
        .filter(|(place, task)| orphan(*place, task))
        .map(|(_, task)| (task.created_at, task.task.clone()))
        .collect())
}

/// Held jobs whose attempts keep a place.
async fn holders(env: &Env, account: &AccountName, model: Model) -> Result<Vec<Job>, JobsFault> {
    let placed = env.jobs.placed(account, model).await?;
    let held = |job: &Job| matches!(job.state, JobState::Held { .. }) && job.state.slot().is_some();
    Ok(placed.into_iter().filter(held).collect())
}
