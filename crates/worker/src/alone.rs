//! Runs jobs that lost their workers again and again, each while this worker has nothing else in hand.
//!
//! Whether such a job brings its workers down, or was beside one that does, only a step by itself shows. So the gate of the stages is
//! closed first: no other lease is held then, and nobody else's job is lost with the worker. If it dies, the job is held, or,
//! with paid images, tried alone again (`job::Event::Rescued`). A worker runs one such step at a time; the workers take turns, each
//! for some leases, and a step that takes longer keeps its turn, so that a long copy has no second one beside it. Started by
//! [`crate::run()`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use job::{Event, Job, JobState, Outcome};
use queue::claims::{Closed, Gate};
use tracing::{debug, error, info, warn};

use crate::archive_step::ArchiveClaim;
use crate::env::Env;
use crate::permit::query_permit;
use crate::poll::PollClaim;
use crate::ports::Claimed;
use crate::{settle, stages};

/// How often the quarantine is looked at, and the rest between two steps. Source: ours; it is empty in normal runs.
const EVERY: Duration = Duration::from_secs(1);

/// How many leases long the gate may be waited for, and then be closed.
///
/// Source: ours; with leases of 10 s that is as long as a create may take, the longest step that is not a large copy. Meanwhile
/// the worker begins nothing else; a copy that takes longer is waited for again.
pub(crate) const PATIENCE_LEASES: u32 = 3;

/// How long a permit to ask about the job is waited for. Source: ours; the permits of a busy account come many times in that time, those
/// of one that rests do not.
const PERMIT_WITHIN: Duration = Duration::from_secs(3);

/// Runs what is due in the quarantine until the worker stops.
pub(crate) async fn run(env: &Arc<Env>, gate: &Gate, patience: Duration) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => look(env, gate, patience).await,
        }
    }
}

/// One look; if there is something and it is our turn, what is due is run, one after the other.
async fn look(env: &Arc<Env>, gate: &Gate, patience: Duration) {
    let hold = 2 * patience;
    match env.jobs.take_quarantine_turn(hold).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(fault) => {
            debug!(error = &fault as &dyn std::error::Error, "The quarantine could not be looked at");
            return;
        }
    }
    // Closed before the claim: should another step bring the worker down meanwhile, the job is not to blame for it.
    let Some(_closed) = close(env, gate, patience).await else { return };
    // In a task of its own, so that a panic stays in its step. Waited for also when the worker stops: it gives back what it holds.
    let steps = tokio::spawn(run_due(env.clone(), patience));
    tokio::select! {
        ended = steps => if let Err(fault) = ended {
            error!("A step that ran alone panicked: {fault}");
        },
        never = keep_turn(env, hold) => match never {},
    }
}

/// Keeps the turn for as long as this is awaited.
async fn keep_turn(env: &Env, hold: Duration) -> Infallible {
    loop {
        tokio::time::sleep(hold / 4).await;
        if let Err(fault) = env.jobs.keep_quarantine_turn(hold).await {
            debug!(error = &fault as &dyn std::error::Error, "The turn to run jobs alone could not be kept");
        }
    }
}

async fn run_due(env: Arc<Env>, patience: Duration) {
    let began = env.clock.elapsed();
    while !env.stop.is_cancelled() && env.clock.elapsed().saturating_sub(began) < patience {
        let (claimed, outcome) = match env.jobs.claim_alone().await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return,
            Err(fault) => {
                warn!(error = &fault as &dyn std::error::Error, "No job could be claimed to be run alone");
                return;
            }
        };
        // The gate opens again at once: nobody else's work waits for an account whose queries rest.
        if !may_ask(&env, &claimed.job).await {
            env.commit(&claimed.job, Event::GivenBack, None).await;
            return;
        }
        step(&env, claimed, outcome).await;
    }
}

async fn close(env: &Env, gate: &Gate, patience: Duration) -> Option<Closed> {
    tokio::select! {
        biased;
        () = env.stop.cancelled() => None,
        closed = tokio::time::timeout(patience, gate.close()) => {
            if closed.is_err() {
                info!("A job that is to be run alone waits on: other steps took longer than {patience:?}");
            }
            closed.ok()
        }
    }
}

/// Whether the provider may be asked about the job now, if the step is one that asks. Takes the permit of a poll; what settling asks
/// for takes its own, and here only shows that the account's queries do not rest.
async fn may_ask(env: &Env, job: &Job) -> bool {
    let (JobState::Polling { attempt, .. } | JobState::Settling { attempt, .. }) = &job.state else {
        return true;
    };
    if env.accounts.now().any(&attempt.account).is_none() {
        return false;
    }
    tokio::select! {
        biased;
        () = env.stop.cancelled() => false,
        permit = tokio::time::timeout(PERMIT_WITHIN, query_permit(env, &attempt.account)) => matches!(permit, Ok(Ok(()))),
    }
}

/// The next step of one job, whichever it is.
async fn step(env: &Env, claimed: Claimed, outcome: Option<Outcome>) {
    let job = &claimed.job;
    warn!(
        job.id = %job.id, job.state = %job.state_name(), rescues = job.rescues,
        "Job {} lost {} workers while it was {}; it is run alone", job.id, job.rescues, job.state_name()
    );
    let claimed_at = env.clock.elapsed();
    match &job.state {
        JobState::Settling { .. } => settle::settle(env, vec![claimed]).await,
        JobState::Polling { .. } => {
            let Claimed { job, lease } = claimed;
            stages::poll(env, PollClaim { job, lease, probe: false }).await;
        }
        JobState::Archiving { .. } => {
            let Claimed { job, lease } = claimed;
            stages::archive(env, ArchiveClaim { job, outcome, lease: lease.into(), claimed_at }).await;
        }
        _ => {
            env.commit(job, Event::GivenBack, None).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use job::{StateName, TaskPhase};

    use super::*;
    use crate::rests::Resting;
    use crate::testing::{World, report};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A world in which a poll is to be run alone.
    fn quarantined() -> (Arc<Env>, Arc<crate::testing::FakeJobs>, Job) {
        let world = World::new();
        let job = world.polling(1, TaskPhase::Running);
        world.api.on_fetch(Ok(report(dashscope::TaskStatus::Running)));
        world.jobs.meddle(job.id, |job| {
            job.claimed = false;
            job.alone = true;
            job.rescues = 3;
        });
        (Arc::new(world.env), world.jobs, job)
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_run_alone_only_when_every_other_step_is_over() {
        let (env, jobs, job) = quarantined();
        let gate = Gate::default();
        let other_step = gate.enter().await;
        let looking = look(&env, &gate, PATIENCE);
        tokio::pin!(looking);
        let early = tokio::time::timeout(PATIENCE / 2, &mut looking).await;
        assert!(early.is_err(), "it did not wait");
        assert_eq!((jobs.events().len(), jobs.permits()), (0, 0));
        // Nobody else begins meanwhile.
        assert!(tokio::time::timeout(Duration::from_secs(1), gate.enter()).await.is_err());
        drop(other_step);
        looking.await;
        assert_eq!((jobs.events().len(), jobs.permits()), (1, 1));
        assert!(!jobs.job(job.id).alone, "a step that was written down ends the quarantine");
        let _open = gate.enter().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_kept_for_as_long_as_its_steps_take_and_no_longer() {
        let (env, jobs, job) = quarantined();
        // Its account's queries rest for two seconds: the step waits that long for its permit.
        env.rests.prolong(&job.state.attempt().unwrap().account, Resting::Queries, Duration::from_secs(2));
        look(&env, &Gate::default(), Duration::from_secs(2)).await;
        assert!(jobs.turns_kept() >= 1);
        let kept = jobs.turns_kept();
        tokio::time::sleep(10 * PATIENCE).await;
        assert_eq!(jobs.turns_kept(), kept);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_takes_too_long_is_not_waited_for_and_the_gate_opens_again() {
        let (env, jobs, job) = quarantined();
        let gate = Gate::default();
        let _long_step = gate.enter().await;
        look(&env, &gate, PATIENCE).await;
        assert!(jobs.events().is_empty() && jobs.job(job.id).alone);
        let _open = gate.enter().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_told_to_stop_does_not_wait_for_the_gate() {
        let (env, jobs, _) = quarantined();
        let gate = Gate::default();
        let _long_step = gate.enter().await;
        let stop = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            env.stop.cancel();
        };
        let before = tokio::time::Instant::now();
        tokio::join!(run(&env, &gate, PATIENCE), stop);
        assert!(before.elapsed() < Duration::from_secs(3));
        assert!(jobs.events().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_given_back_stays_in_quarantine() {
        let (env, jobs, job) = quarantined();
        env.stop.cancel();
        let (claimed, outcome) = env.jobs.claim_alone().await.unwrap().unwrap();
        step(&env, claimed, outcome).await;
        let job = jobs.job(job.id);
        assert_eq!((job.state_name(), job.alone, job.rescues), (StateName::Polling, true, 3));
        assert_eq!(jobs.events(), ["GivenBack"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_of_an_account_that_this_worker_does_not_know_keeps_the_gate_closed_for_no_time() {
        let (env, jobs, job) = quarantined();
        jobs.meddle(job.id, |job| {
            if let JobState::Polling { attempt, .. } = &mut job.state {
                attempt.account = "unknown".parse().unwrap();
            }
        });
        let before = tokio::time::Instant::now();
        look(&env, &Gate::default(), PATIENCE).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(jobs.events(), ["GivenBack"]);
        assert!(jobs.job(job.id).alone);
    }
}
