//! Warns, once a minute, while images that wait cannot be copied before their links die.
//!
//! It says so and does nothing: the order of copies is the queue's, and capacity is a person's business. Every worker warns, since
//! none knows of the others. Started by [`crate::run()`].

use std::time::Duration;

use job::{CopyBacklog, CopyTrouble};
use tracing::{debug, warn};

use crate::env::Env;

/// How often it looks. Source: ours; a warning repeats for as long as it is true, and no faster than one can read.
const EVERY: Duration = Duration::from_secs(60);

/// Looks until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match env.jobs.copy_backlog().await {
            Ok(backlog) => {
                if let Some(trouble) = backlog.trouble() {
                    say(&backlog, trouble);
                }
            }
            Err(fault) => {
                debug!(error = &fault as &dyn std::error::Error, "What waits to be copied is not known")
            }
        }
    }
}

fn say(backlog: &CopyBacklog, trouble: CopyTrouble) {
    let waiting = backlog.jobs;
    match trouble {
        CopyTrouble::Late { jobs, per_minute } => warn!(
            copies.waiting = waiting,
            copies.late = jobs,
            copies.per_minute = per_minute,
            "At the pace of late ({per_minute:.1} jobs a minute) at least {jobs} of {waiting} jobs cannot be copied before their \
             links die: start more workers, raise `worker.archive_concurrency`, or look at the store"
        ),
        CopyTrouble::Standstill => warn!(
            copies.waiting = waiting,
            "Nothing was copied in the last minutes, {waiting} jobs wait, and the first link dies within the hour: look at the store"
        ),
    }
}
