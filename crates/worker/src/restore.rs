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
use job::AccountName;
use tracing::{debug, error, warn};

use crate::created::KnownTask;
use crate::env::Env;
use crate::ports::Rewritten;
use crate::submit::keep_again;

/// How many tasks are written down at once. Source: ours; enough to hide a round trip, few enough for a Redis that just began.
const AT_ONCE: usize = 16;

/// How long nothing is claimed for submit once a worker has taken note: every worker that lives has written its own down by
/// then, and whatever was on the wire is answered.
fn hold(env: &Env, lease: Duration) -> Duration {
    (lease + lease / 2).max(env.config.rules.create_timeout + env.config.send_within)
}

/// Looks until the worker stops.
pub(crate) async fn run(env: &Env, lease: Duration) {
    loop {
        tokio::select! {
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
    let rewritten = rewrite(env, known).await;
    match env.jobs.recover(rewritten, hold(env, lease)).await {
        Ok(recovery) => warn!(
            written = rewritten.written,
            taken = rewritten.taken,
            extra = rewritten.extra,
            "{} tasks that Redis had forgotten were written down again; creates go on at {}",
            rewritten.written,
            recovery.held_until
        ),
        Err(fault) => {
            error!(error = &fault as &dyn std::error::Error, "Redis cannot be told that it went back in time")
        }
    }
}

async fn rewrite(env: &Env, known: Vec<KnownTask>) -> Rewritten {
    let lost = forgotten(env, known).await;
    let written = lost.len() as u64;
    let taken = futures::stream::iter(lost)
        .map(async |known| keep_again(env, &known).await)
        .buffer_unordered(AT_ONCE)
        .filter(|taken| std::future::ready(*taken))
        .count()
        .await;
    Rewritten { written, taken: taken as u64, extra: written - taken as u64 }
}

/// Those that Redis does not know to be ours. What it knows came back with the copy, and is where it belongs.
async fn forgotten(env: &Env, known: Vec<KnownTask>) -> Vec<KnownTask> {
    let mut by_account: BTreeMap<AccountName, Vec<KnownTask>> = BTreeMap::new();
    for known in known {
        by_account.entry(known.attempt.account.clone()).or_default().push(known);
    }
    let mut lost = Vec::new();
    for (account, known) in by_account {
        let tasks: Vec<_> = known.iter().map(|known| known.task.clone()).collect();
        match env.jobs.owners(&account, &tasks).await {
            Ok(owners) => lost.extend(
                known.into_iter().zip(owners).filter(|(_, owner)| owner.is_none()).map(|(known, _)| known),
            ),
            // Then all of them: what is known already is not written twice.
            Err(_) => lost.extend(known),
        }
    }
    lost
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
        assert_eq!(world.api.log(), ["cancel t1"]);
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
