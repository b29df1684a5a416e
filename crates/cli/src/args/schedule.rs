//! `imagemill scheduler` and `imagemill schedule`.

use clap::{Args, Subcommand};
use job::ScheduleName;

/// Follow the schedules of the settings: at each tick, enqueue the items of a catalogue that need new images.
///
/// Start as many as you like: a tick is done once, and one that a scheduler leaves behind is finished by the next. Workers follow the
/// schedules as well with `imagemill worker --with-scheduler`. Ends at SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
A schedule in the settings file:
  [[schedules]]
  name = \"catalogue\"
  cron = \"0 3 * * *\"
  time_zone = \"Europe/Berlin\"
  source = \"catalogue.jsonl\"
  refresh = \"if_changed\"

`imagemill schedule ls` shows when each ticks next, and what came of the last time.")]
pub(crate) struct SchedulerArgs {}

/// List, run and pause schedules, and see what came of them.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct ScheduleArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ScheduleCommand,
}

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// List the schedules: when each ticks next, and what came of the last time
    Ls,
    /// Do what a schedule does now, without waiting for its time
    #[command(after_help = "\
The batch is named by this moment. A tick that a scheduler began and did not end, or that failed and waits for another try, is done
instead. A run by hand that was killed is ended first, and not finished.
Items that an earlier job is at work on are left to that job. Those whose manifest in the bucket cannot be read are named and left out.

Example:
  imagemill schedule run catalogue --json | jq .new")]
    Run {
        /// The schedule
        #[arg(value_name = "NAME")]
        name: ScheduleName,
    },
    /// Let no tick of a schedule begin until it is resumed; `schedule run` does one all the same
    Pause {
        /// The schedule
        #[arg(value_name = "NAME")]
        name: ScheduleName,

        /// Why, for those who see it in `schedule ls`
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
    },
    /// Let a schedule go on; ticks that came meanwhile were missed, and `missed` in the settings says what becomes of them
    Resume {
        /// The schedule
        #[arg(value_name = "NAME")]
        name: ScheduleName,
    },
    /// Show what came of a schedule's ticks, newest first
    History {
        /// The schedule
        #[arg(value_name = "NAME")]
        name: ScheduleName,

        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
        limit: u16,
    },
}
