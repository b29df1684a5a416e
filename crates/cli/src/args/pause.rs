//! `imagemill pause`, `imagemill resume`, and both for a batch.

use clap::{ArgGroup, Args};
use dashscope::Model;
use job::{AccountName, BatchName};

const AFTER: &str = "\
Only new tasks are held back: what is at DashScope already is followed to its end and copied. A pause lasts until it is resumed, also
when workers start anew; `imagemill status` shows it. `worker --until-idle` does not end while jobs are held back by a pause, and
`imagemill generate` does not ask the queue.

Examples:
  imagemill pause --all --why \"the bill is being looked at\"
  imagemill pause --account singapore --model wan2.7-image-pro
  imagemill batch pause spring             # one batch";

/// Hold new tasks back: of an account, of a model, or of everything.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct PauseArgs {
    /// What is paused.
    #[command(flatten)]
    pub(crate) of: Widely,

    /// Why, for those who see it in `status`
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) why: String,
}

/// Let go on what was paused.
///
/// Name it as it was paused: an account that was paused for one model goes on with the same two flags.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// What goes on.
    #[command(flatten)]
    pub(crate) of: Widely,
}

/// An account, a model, both, or everything.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("of").required(true).multiple(true).args(["model", "account", "all"])))]
pub(crate) struct Widely {
    /// This model only
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<Model>,

    /// This account only
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountName>,

    /// Everything
    #[arg(long, conflicts_with_all = ["model", "account"])]
    pub(crate) all: bool,
}

/// Hold a batch's jobs back that were not created yet
#[derive(Debug, Args)]
pub(crate) struct PauseBatch {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,

    /// Why, for those who see it in `status`
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) why: String,
}

/// Let a batch go on that was paused
#[derive(Debug, Args)]
pub(crate) struct ResumeBatch {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,
}
