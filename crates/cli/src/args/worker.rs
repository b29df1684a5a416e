//! `imagemill worker`.

use clap::Args;

/// Do the work: create tasks, follow them, copy images into the bucket.
///
/// Start as many as you like, on as many machines: all of them together keep the account's limits. SIGTERM or Ctrl-C gives
/// everything back and ends within a second, unless create calls are unanswered; a second signal ends at once. SIGHUP reads the
/// accounts and webhooks again, with their keys and limits, and interrupts nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imagemill worker
  imagemill worker --until-idle            # for cron: ends when nothing is left to do
  imagemill worker --log json

With --until-idle the exit code says how the jobs ended: 0 well, 1 some failed, 3 some images are missing, 4 held jobs remain.")]
pub(crate) struct WorkerArgs {
    /// End when nothing is left to do; held jobs do not count
    #[arg(long)]
    pub(crate) until_idle: bool,

    /// Follow the schedules of the settings as well, as `imagemill scheduler` does; not with --until-idle, which would end amid a tick
    #[arg(long, conflicts_with = "until_idle")]
    pub(crate) with_scheduler: bool,

    /// Handle at most N jobs at once in each stage [default: worker.*_concurrency]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u32>,

    /// Work even with a Redis that can lose jobs (no append-only file, or an eviction policy)
    #[arg(long)]
    pub(crate) unsafe_redis: bool,
}
