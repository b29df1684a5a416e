//! `imagemill batch`.

use clap::{Args, Subcommand};
use job::BatchName;

use super::{PauseBatch, ResumeBatch, RetryBatch};

/// List, show, pause and retry batches: jobs that were enqueued together.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct BatchArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: BatchCommand,
}

/// What can be done with batches.
#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// List batches, newest first
    Ls {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,

        /// Go on where an earlier list ended
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Show how far a batch is: jobs by state, images, cost
    #[command(after_help = "Example:\n  imagemill batch show spring --json | jq .jobs.failed")]
    Show {
        /// The batch
        #[arg(value_name = "BATCH")]
        name: BatchName,
    },
    Pause(PauseBatch),
    Resume(ResumeBatch),
    Retry(RetryBatch),
}
