//! Holds the records against the indexes, slowly, over and over.
//!
//! One worker at a time has the turn, for one step. In normal runs it finds nothing; what it finds was put right by then, and is
//! told, since it is a fault of ours or of whoever edits Redis. Started by [`crate::run()`].

use std::time::Duration;

use tracing::{debug, warn};

use crate::env::Env;
use crate::ports::JobsFault;

/// How long a worker whose turn it is not waits at least, and at most, before it asks again.
///
/// Source: ours; a fleet of a hundred asks twenty times a second at most, and a worker that vanished with the turn holds the sweep up
/// for one pause, which is nothing against its hour.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Sweeps until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = async { let wait = step(env).await; tokio::time::sleep(wait).await } => {}
        }
    }
}

/// One step, if it is this worker's turn; how long until the next.
async fn step(env: &Env) -> Duration {
    let sweep = match env.jobs.sweep(env.config.sweep_every).await {
        Ok(sweep) => sweep,
        Err(fault) => {
            // Redis that is away says so elsewhere; anything else stays until a person has seen it.
            match &fault {
                JobsFault::Away(_) => {
                    debug!(
                        error = &fault as &dyn std::error::Error,
                        "The records were not held against the indexes"
                    );
                }
                _ => warn!(
                    error = &fault as &dyn std::error::Error,
                    "The records cannot be held against the indexes"
                ),
            }
            return ASK_AGAIN.0;
        }
    };
    for repair in &sweep.repaired {
        warn!(
            job.id = %repair.job, repair.kind = repair.kind,
            "Job {} did not stand in Redis where its record says ({}); that is put right", repair.job, repair.kind
        );
    }
    if sweep.ours { sweep.pause } else { sweep.pause.clamp(ASK_AGAIN.0, ASK_AGAIN.1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn whose_turn_it_was_goes_on_after_the_pause() {
        let world = World::new();
        assert_eq!(step(&world.env).await, world.env.config.sweep_every);
    }
}
