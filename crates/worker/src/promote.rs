//! Moves what has become due to where claims look: jobs that wait for a retry, copies that wait for the store.
//!
//! Every worker does so; repeating it is harmless. It sleeps until the next job is due, until this process puts one off, or for
//! a second, since other processes put jobs off as well. Started by [`crate::run()`].

use std::time::Duration;

use tracing::debug;

use crate::env::Env;

/// How much one call moves, of each kind.
const CHUNK: usize = 500;

/// The longest sleep: what another worker puts off may be due before anything that we know of.
const IDLE: Duration = Duration::from_secs(1);

/// The shortest sleep, after a chunk that was not full.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Promotes until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        let wait = match env.jobs.promote(CHUNK).await {
            Ok(Some(Duration::ZERO)) => Duration::ZERO,
            Ok(due) => due.unwrap_or(IDLE).clamp(PAUSE_MIN, IDLE),
            Err(fault) => {
                debug!(error = &fault as &dyn std::error::Error, "Nothing could be promoted");
                IDLE
            }
        };
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            // A burst of put-off jobs is one reason to look.
            () = async { env.put_off.notified().await; tokio::time::sleep(PAUSE_MIN).await } => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
