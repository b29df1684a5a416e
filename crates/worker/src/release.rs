//! Gives up places at the provider that held attempts keep without need.
//!
//! A create that nobody can settle may have made a task, and that task may be at work: until it has ended by the provider's own
//! rule, its place counts as taken. Then it must not keep the account from working: a person may come back to a held job only in
//! the morning. Every worker does so, every minute; repeating it is harmless. It settles nothing. Started by [`crate::run()`].

use std::time::Duration;

use dashscope::limits::SERVICE_STOP;
use job::{Attempt, Event, Job, JobState, Timestamp};
use tracing::{debug, info};

use crate::env::Env;

/// How often held attempts are looked at. Source: ours; against the 3 h of [`SERVICE_STOP`] a minute is nothing.
const EVERY: Duration = Duration::from_secs(60);

/// Whether whatever the attempt created has ended by now: the provider itself stops a task after [`SERVICE_STOP`].
pub(crate) fn has_ended(attempt: &Attempt, now: Timestamp) -> bool {
    now >= attempt.send_by + SERVICE_STOP
}

/// Whether the job keeps a place that nothing can be in any more.
fn keeps_without_need(job: &Job, now: Timestamp) -> bool {
    matches!(&job.state, JobState::Held { .. })
        && job.state.slot().is_some_and(|attempt| has_ended(attempt, now))
}

/// Releases until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = async { release(env).await; tokio::time::sleep(EVERY).await } => {}
        }
    }
}

/// One look at every account's places.
pub(crate) async fn release(env: &Env) {
    for account in env.accounts.now().all() {
        for model in account.limits.keys() {
            let placed = match env.jobs.placed(&account.name, *model).await {
                Ok(placed) => placed,
                Err(fault) => {
                    debug!(account = %account.name, error = &fault as &dyn std::error::Error, "The places of account {} cannot be read", account.name);
                    continue;
                }
            };
            let now = env.jobs.now();
            for job in placed.iter().filter(|job| keeps_without_need(job, now)) {
                // Without a fence: nobody has claimed it. If a person was faster, the event does not fit, and that is well.
                match env.jobs.commit_unfenced(job.id, Event::SlotReleased).await {
                    Ok(_) => {
                        info!(job.id = %job.id, account = %account.name, "Held job {} gives up its place at the provider", job.id)
                    }
                    Err(fault) => {
                        debug!(job.id = %job.id, error = &fault as &dyn std::error::Error, "Job {} keeps its place", job.id)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use job::{HeldReason, StateName};

    use super::*;
    use crate::testing::{World, start};

    fn held(world: &World) -> Job {
        let job = world.in_state(1, |attempt| JobState::Held {
            since: start(),
            reason: HeldReason::CannotTell,
            attempt,
            unsettled: true,
            slot_free: false,
            task: None,
        });
        world.jobs.place(job.id);
        job
    }

    #[tokio::test]
    async fn a_held_attempt_keeps_its_place_until_the_provider_has_stopped_whatever_it_created() {
        let world = World::new();
        let job = held(&world);
        // The attempt may be sent until five seconds after the start.
        world.jobs.advance(SERVICE_STOP + Duration::from_secs(4));
        release(&world.env).await;
        assert!(world.jobs.job(job.id).state.slot().is_some());
        assert!(world.jobs.events().is_empty());

        world.jobs.advance(Duration::from_secs(1));
        release(&world.env).await;
        let after = world.jobs.job(job.id);
        assert!(after.state.slot().is_none());
        assert!(
            matches!(after.state, JobState::Held { unsettled: true, .. }),
            "a person still has to decide"
        );

        release(&world.env).await;
        assert_eq!(world.jobs.events(), ["SlotReleased"]);
    }

    #[tokio::test]
    async fn a_job_that_is_not_held_keeps_its_place_however_old_it_is() {
        let world = World::new();
        let job = world.polling(1, job::TaskPhase::Running);
        world.jobs.place(job.id);
        world.jobs.advance(4 * SERVICE_STOP);
        assert!(!keeps_without_need(&job, world.env.jobs.now()));
        release(&world.env).await;
        assert_eq!(world.jobs.job(job.id).state_name(), StateName::Polling);
    }
}
