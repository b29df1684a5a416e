//! `imagemill batch`.

use clap::{Args, Subcommand};
use job::BatchName;

use super::{BatchResults, BatchSheet, BudgetBatch, PauseBatch, ResumeBatch, RetryBatch};

/// List, show, pause, cancel, retry and remove batches, set their budgets, and get their results.
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
    Results(Box<BatchResults>),
    Sheet(BatchSheet),
    Pause(PauseBatch),
    Resume(ResumeBatch),
    Cancel(CancelBatch),
    Retry(RetryBatch),
    Budget(BudgetBatch),
    Rm(RemoveBatch),
}

/// Cancel what of a batch is not being made yet
#[derive(Debug, Args)]
#[command(after_help = "\
Queued jobs are canceled at once, those that wait at DashScope are canceled there. What is being made already is finished and
stored, since it is paid for; held jobs stay as they are (`imagemill job resolve`). When the command returns, nothing of the batch
is sent to DashScope any more. It may be repeated. `imagemill batch retry NAME --where state=canceled` takes it back.

Example:
  imagemill batch cancel spring && imagemill watch spring")]
pub(crate) struct CancelBatch {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,
}

/// Remove a batch that has ended from the queue; its images stay in the bucket
#[derive(Debug, Args)]
#[command(after_help = "\
Batches that have ended are removed by themselves after a while (setting `retention.age`). What is removed is known no more, but for
the ids of its jobs: the same file enqueued again adds nothing and costs nothing. With --forget these go as well, and the same file
makes, and pays for, everything anew.

Examples:
  imagemill batch rm spring --yes
  imagemill batch rm trial --forget")]
pub(crate) struct RemoveBatch {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,

    /// Forget the ids of its jobs too, so that they can be enqueued again
    #[arg(long)]
    pub(crate) forget: bool,

    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}
