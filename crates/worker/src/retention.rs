//! Removes what need not be kept any longer, in chunks, every minute.
//!
//! Every worker does so; the queue takes care that two of them remove nothing twice. Started by [`crate::run()`].

use tracing::{debug, info};

use crate::env::Env;

/// Sweeps until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = tokio::time::sleep(env.config.retain_every) => {}
        }
        let mut removed = 0;
        while !env.stop.is_cancelled() {
            match env.jobs.retain().await {
                Ok(0) => break,
                Ok(chunk) => removed += chunk,
                Err(fault) => {
                    debug!(error = &fault as &dyn std::error::Error, "Nothing could be removed");
                    break;
                }
            }
        }
        if removed > 0 {
            info!(removed, "Removed {removed} jobs that need not be kept any longer");
        }
    }
}
