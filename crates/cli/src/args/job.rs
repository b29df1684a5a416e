//! `imagemill job`.

use clap::{Args, Subcommand};
use job::{BatchName, StateName, TaskId};

use super::RetryJobs;

/// List, show, cancel, retry and resolve jobs.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct JobArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: JobCommand,
}

/// What can be done with jobs. The help of each stands at its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    Ls(ListJobs),
    Show(ShowJob),
    Cancel(CancelJobs),
    Retry(RetryJobs),
    Resolve(ResolveJob),
}

/// List jobs, in the order of enqueueing within a batch
#[derive(Debug, Args)]
#[command(after_help = "\
States: queued, submitting, settling, polling, archiving, succeeded, failed, canceled, expired, held

Examples:
  imagemill job ls --batch spring --state failed,expired
  imagemill job ls --held --json")]
pub(crate) struct ListJobs {
    /// Only jobs of this batch
    #[arg(long, short, value_name = "NAME")]
    pub(crate) batch: Option<BatchName>,

    /// Only jobs without a batch
    #[arg(long, conflicts_with = "batch")]
    pub(crate) single: bool,

    /// Only jobs in this state; may be repeated, or a list with commas
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<StateName>,

    /// Only jobs that wait for a person
    #[arg(long, conflicts_with = "state")]
    pub(crate) held: bool,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,

    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
}

/// Names a job: by its id, or by its batch and `custom_id`.
#[derive(Debug, Clone, Args)]
pub(crate) struct JobName {
    /// The job id; with --batch the job's custom_id
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// The batch in which ID is a custom_id
    #[arg(long, short, value_name = "NAME")]
    pub(crate) batch: Option<BatchName>,
}

/// Show a job: state, next step, history, images, cost
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imagemill job show 01KBXW0Z7T3Q9V5C2M8N4R6P1D
  imagemill job show --batch spring sku-1042")]
pub(crate) struct ShowJob {
    /// Which job.
    #[command(flatten)]
    pub(crate) name: JobName,

    /// Print the prompt as well
    #[arg(long)]
    pub(crate) prompt: bool,
}

/// Cancel jobs that are not being made yet
#[derive(Debug, Args)]
#[command(after_help = "\
A queued job is canceled at once; one that waits at the provider is canceled there. What is being made already is finished
and stored, since it is paid for. When the command returns, nothing of these jobs is created any more: it waits for creates
that are on their way.

Examples:
  imagemill job cancel 01KBXW0Z7T3Q9V5C2M8N4R6P1D
  imagemill job cancel --batch spring sku-1042 sku-1043
  imagemill job cancel --batch spring --all")]
pub(crate) struct CancelJobs {
    /// Job ids; with --batch, custom_ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,

    /// The batch in which the IDs are custom_ids, or all of whose jobs are meant with --all
    #[arg(long, short, value_name = "NAME")]
    pub(crate) batch: Option<BatchName>,

    /// Every job of the batch that is not over
    #[arg(long, requires = "batch")]
    pub(crate) all: bool,
}

/// Decide what becomes of a job that is held
#[derive(Debug, Args)]
#[command(after_help = "\
A job is held when nothing shows for certain what became of its create call, when the task that was found for it does not look
like its own, or when every worker that took it vanished. `imagemill job show ID` says why, and which tasks may be its own.

--adopt with the task that a job already has takes its images as they are. --resubmit says what it may cost, and asks; scripts
say --yes.

Examples:
  imagemill job resolve 01KBXW0Z7T3Q9V5C2M8N4R6P1D --adopt 127ec645-118f-4884-955d-0eba8d2c1f3a
  imagemill job resolve --batch spring sku-1042 --resubmit --yes
  imagemill job resolve --batch spring sku-1043 --fail")]
#[group(id = "verdict", required = true, multiple = false, args = ["adopt", "resubmit", "fail"])]
pub(crate) struct ResolveJob {
    /// Which job.
    #[command(flatten)]
    pub(crate) name: JobName,

    /// This task is the job's: follow it, and store its images
    #[arg(long, value_name = "TASK")]
    pub(crate) adopt: Option<TaskId>,

    /// Nothing was created: send it again. If something was, it is paid for twice
    #[arg(long)]
    pub(crate) resubmit: bool,

    /// Give it up
    #[arg(long)]
    pub(crate) fail: bool,

    /// With --resubmit: do not ask
    #[arg(long, requires = "resubmit")]
    pub(crate) yes: bool,
}
