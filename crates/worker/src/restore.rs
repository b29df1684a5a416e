//! Writes down again what a Redis forgot that went back in time.
//!
//! Restored from an older copy, flushed, or started without its last writes: then jobs are queued again whose tasks were paid
//! for. Redis itself claims nothing for submit once a worker contradicts it, and for a while after each start
//! (`claim_submit.lua`). This looks every `rescue_every`; it writes down again every task that this process created lately and
//! that Redis does not know, and gives up all leases, which are another Redis's. It never creates anything. Attempts of which
//! nobody knew a task are lost with the copy. Started by [`crate::run()`].

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use job::{AccountName, JobId, Timestamp};
use tracing::{debug, error, warn};

use crate::created::KnownTask;
use crate::env::Env;
use crate::ports::{JobsFault, Rewritten};
use crate::submit::keep_again;

/// How many tasks are written down at once. Source: ours; enough to hide a round trip, few enough for a Redis that just began.
const AT_ONCE: usize = 16;

/// How long nothing is claimed for submit once a worker has taken note: every worker that lives has taken note as well and
/// written its own down by then, and whatever was on the wire is answered.
fn hold(env: &Env, lease: Duration) -> Duration {
    (lease + lease / 2).max(env.config.rules.create_timeout + env.config.send_within)
}

/// Looks until the worker stops.
pub(crate) async fn run(env: &Env, lease: Duration) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = tokio::time::sleep(env.config.rescue_every) => {}
        }
        match env.jobs.went_back().await {
            Ok(false) => {}
            Ok(true) => recover(env, lease).await,
            Err(fault) => {
                debug!(
                    error = &fault as &dyn std::error::Error,
                    "Redis could not be compared with what is known of it"
                )
            }
        }
    }
}

/// Brings Redis up to what this process knows.
pub(crate) async fn recover(env: &Env, lease: Duration) {
    let known = env.created.lately(env.clock.elapsed());
    error!(
        known = known.len(),
        "Redis went back in time: what it accepted lately is lost. Nothing is created until every worker has written down again what it knows"
    );
    env.jobs.lose_leases();
    // What is written down is money: a worker that is told to stop waits for it.
    let _guard = env.on_the_wire.goes_out();
    let lost = match forgotten(env, known).await {
        Ok(lost) => lost,
        Err(fault) => {
            // Nothing was told to Redis, so that the next look finds it as old as it is.
            warn!(error = &fault as &dyn std::error::Error, "What Redis has forgotten cannot be read yet");
            return;
        }
    };
    // Before anything is written down as well, and again and again while that goes on, so that nobody claims meanwhile.
    if tell(env, Rewritten::default(), lease).await.is_none() {
        return;
    }
    let rewriting = rewrite(env, lost);
    tokio::pin!(rewriting);
    let rewritten = loop {
        tokio::select! {
            biased;
            rewritten = &mut rewriting => break rewritten,
            () = tokio::time::sleep(hold(env, lease) / 4) => {
                tell(env, Rewritten::default(), lease).await;
            }
        }
    };
    if let Some(held_until) = tell(env, rewritten, lease).await {
        warn!(
            written = rewritten.written,
            taken = rewritten.taken,
            extra = rewritten.extra,
            "{} tasks that Redis had forgotten were written down again; creates go on at {held_until}",
            rewritten.written
        );
    }
}

/// Tells Redis that it went back in time. Until when nothing is claimed.
async fn tell(env: &Env, rewritten: Rewritten, lease: Duration) -> Option<Timestamp> {
    match env.jobs.recover(rewritten, hold(env, lease)).await {
        Ok(recovery) => Some(recovery.held_until),
        Err(fault) => {
            error!(
                error = &fault as &dyn std::error::Error,
                "Redis cannot be told that it went back in time"
            );
            None
        }
    }
}

/// Writes them down again: many jobs at once, of each job the latest first. An earlier task of it had come to nothing by then.
async fn rewrite(env: &Env, lost: Vec<KnownTask>) -> Rewritten {
    let written = lost.len() as u64;
    let mut by_job: BTreeMap<JobId, Vec<KnownTask>> = BTreeMap::new();
    for known in lost {
        by_job.entry(known.job).or_default().push(known);
    }
    let taken: u64 = futures::stream::iter(by_job.into_values())
        .map(async |mut tasks| {
            tasks.sort_by_key(|known| std::cmp::Reverse(known.attempt.number));
            let mut taken = 0;
            for known in tasks {
                taken += u64::from(keep_again(env, &known).await);
            }
            taken
        })
        .buffer_unordered(AT_ONCE)
        .fold(0, async |sum, taken| sum + taken)
        .await;
    Rewritten { written, taken, extra: written - taken }
}

/// Those that Redis does not know to be ours. What it knows came back with the copy, and is where it belongs.
async fn forgotten(env: &Env, known: Vec<KnownTask>) -> Result<Vec<KnownTask>, JobsFault> {
    let mut by_account: BTreeMap<AccountName, Vec<KnownTask>> = BTreeMap::new();
    for known in known {
        by_account.entry(known.attempt.account.clone()).or_default().push(known);
    }
    let mut lost = Vec::new();
    for (account, known) in by_account {
        let tasks: Vec<_> = known.iter().map(|known| known.task.clone()).collect();
        let owners = env.jobs.owners(&account, &tasks).await?;
        lost.extend(
            known.into_iter().zip(owners).filter(|(_, owner)| owner.is_none()).map(|(known, _)| known),
        );
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use job::{JobState, StateName};

    use super::*;
    use crate::testing::{World, start};

    const LEASE: Duration = Duration::from_secs(10);

    /// A world in which task `t1` was written down, and the job as it was before that.
    async fn created() -> (World, job::Job, std::sync::Arc<job::JobSpec>) {
        let world = World::new();
        let (job, spec) = world.submitting(1);
        let attempt = job.state.attempt().unwrap().clone();
        let event = job::Event::TaskCreated { attempt, task: "t1".parse().unwrap(), request_id: None };
        world.env.commit(&job, event, None).await.unwrap();
        (world, job, spec)
    }

    fn queued(job: &job::Job) -> job::Job {
        let state = JobState::Queued { due: start(), cause: None };
        job::Job { state, claimed: false, attempts: 0, ..job.clone() }
    }

    #[tokio::test]
    async fn a_task_that_redis_forgot_is_written_down_again_and_taken() {
        let (world, job, spec) = created().await;
        world.jobs.put(queued(&job), (*spec).clone());
        world.jobs.disown("t1");
        recover(&world.env, LEASE).await;
        assert_eq!(world.jobs.job(job.id).state.task().unwrap().as_str(), "t1");
        let all = Rewritten { written: 1, taken: 1, extra: 0 };
        assert_eq!(world.jobs.recovered(), (true, Some(all)));
    }

    #[tokio::test]
    async fn a_task_that_redis_still_knows_is_left_alone() {
        let (world, job, spec) = created().await;
        // It failed meanwhile, and the job waits to be tried again.
        world.jobs.put(job::Job { attempts: 1, ..queued(&job) }, (*spec).clone());
        recover(&world.env, LEASE).await;
        assert_eq!(world.jobs.job(job.id).state_name(), StateName::Queued);
        assert_eq!(world.jobs.recovered(), (true, Some(Rewritten::default())));
    }

    #[tokio::test]
    async fn a_task_whose_job_is_gone_is_one_too_many_and_cancelled() {
        let (world, job, _) = created().await;
        world.jobs.forget(job.id);
        world.jobs.disown("t1");
        recover(&world.env, LEASE).await;
        let all = Rewritten { written: 1, taken: 0, extra: 1 };
        assert_eq!(world.jobs.recovered().1, Some(all));
        // It is cancelled with the other extra tasks: while Redis is brought up to date nothing waits for the provider.
        assert!(world.api.log().is_empty());
    }

    #[tokio::test]
    async fn of_two_tasks_of_a_job_the_later_one_is_taken_whoever_remembers_which() {
        let (world, job, spec) = created().await;
        let first = world.jobs.job(job.id);
        let second = job::Attempt { number: 2, ..job.state.attempt().unwrap().clone() };
        let event =
            job::Event::TaskCreated { attempt: second, task: "t2".parse().unwrap(), request_id: None };
        // The first task failed, the second was created. Then Redis goes back to before both, or to between them.
        for before in [queued(&job), first] {
            let again = job::Job { attempts: 2, ..queued(&job) };
            world.jobs.put(again.clone(), (*spec).clone());
            world.env.commit(&again, event.clone(), None).await.unwrap();
            world.jobs.put(before, (*spec).clone());
            world.jobs.disown("t1");
            world.jobs.disown("t2");
            recover(&world.env, LEASE).await;
            assert_eq!(world.jobs.job(job.id).state.task().unwrap().as_str(), "t2");
        }
    }

    #[tokio::test]
    async fn a_job_takes_the_task_of_a_later_attempt_than_redis_knows_of() {
        let (world, job, spec) = created().await;
        let earlier = job::Attempt { number: 0, ..job.state.attempt().unwrap().clone() };
        let settling =
            JobState::Settling { attempt: earlier, due: start(), looks: 0, cause: "worker_vanished".into() };
        world.jobs.put(job::Job { state: settling, claimed: false, ..job.clone() }, (*spec).clone());
        world.jobs.disown("t1");
        recover(&world.env, LEASE).await;
        assert_eq!(world.jobs.job(job.id).state_name(), StateName::Polling);
    }
}
