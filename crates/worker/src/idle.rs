//! `--until-idle`: ends the worker once nothing is left that it could do.
//!
//! Jobs that are held wait for a person and do not keep it, nor do events that a receiver did not take and that wait for another try.
//! Started by [`crate::run()`].

use std::collections::BTreeMap;
use std::time::Duration;

use job::StateName;
use tracing::{debug, info};

use crate::env::Env;
use crate::outbox::Outbox;

/// How often the counts are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// How often in a row nothing must be left: a file may be in the middle of being enqueued in chunks.
const LOOKS: u32 = 2;

/// Whether no job is left but final and held ones.
pub(crate) fn nothing_left(counts: &BTreeMap<StateName, u64>) -> bool {
    counts.iter().all(|(state, count)| *count == 0 || state.is_final() || *state == StateName::Held)
}

/// Returns once nothing is left (`true`), or the worker stops for another reason (`false`).
pub(crate) async fn run(env: &Env, outbox: &dyn Outbox) -> bool {
    let mut in_a_row = 0;
    loop {
        tokio::select! {
            () = env.stop.cancelled() => return false,
            () = tokio::time::sleep(EVERY) => {}
        }
        let counts = tokio::select! {
            biased;
            // Redis may hang: nobody waits for it who is told to stop.
            () = env.stop.cancelled() => return false,
            counts = env.jobs.counts() => counts,
        };
        match counts {
            Ok(counts) if nothing_left(&counts) => match has_work(env, outbox).await {
                Some(false) => in_a_row += 1,
                Some(true) => in_a_row = 0,
                None => return false,
            },
            Ok(_) => in_a_row = 0,
            Err(fault) => {
                debug!(error = &fault as &dyn std::error::Error, "The jobs could not be counted");
                in_a_row = 0;
            }
        }
        if in_a_row >= LOOKS {
            info!("Nothing is left to do");
            return true;
        }
    }
}

/// Whether the end of a batch is still to be told; `None` once the worker is told to stop.
async fn has_work(env: &Env, outbox: &dyn Outbox) -> Option<bool> {
    tokio::select! {
        biased;
        () = env.stop.cancelled() => None,
        work = outbox.has_work() => Some(work.unwrap_or(true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::twin::FakeOutbox;
    use crate::testing::World;

    #[test]
    fn only_final_and_held_jobs_leave_a_worker_idle() {
        assert!(nothing_left(&BTreeMap::new()));
        for state in StateName::ALL {
            let mut counts: BTreeMap<_, _> = StateName::ALL.into_iter().map(|state| (state, 0)).collect();
            counts.insert(state, 1);
            let expected = state.is_final() || state == StateName::Held;
            assert_eq!(nothing_left(&counts), expected, "{state}");
        }
    }

    #[tokio::test]
    async fn a_queue_that_hangs_does_not_keep_a_worker_that_is_told_to_stop() {
        let world = World::new();
        *world.jobs.counts_hang.lock().unwrap() = true;
        let stop = async {
            // Only once it hangs.
            world.jobs.counting.notified().await;
            world.env.stop.cancel();
        };
        let outbox = FakeOutbox::default();
        let both = async { tokio::join!(run(&world.env, &outbox), stop).0 };
        let idle = tokio::time::timeout(Duration::from_secs(10), both)
            .await
            .expect("it goes on waiting for the counts");
        assert!(!idle);
    }
}
