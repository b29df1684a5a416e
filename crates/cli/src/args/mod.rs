//! The command line: what can be asked for, in words that a newcomer understands. Nothing here acts.
//!
//! A new command is a struct in a file of its own, a variant of [`Command`], and a module of [`crate::commands`].

mod batch;
#[cfg(feature = "demo")]
mod bench;
mod budget;
mod config;
mod cost;
mod enqueue;
mod generate;
mod job;
mod pause;
mod results;
mod retry;
mod schedule;
mod sheet;
mod watch;
mod webhook;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use batch::{BatchArgs, BatchCommand, CancelBatch, RemoveBatch};
#[cfg(feature = "demo")]
pub(crate) use bench::BenchArgs;
pub(crate) use budget::BudgetBatch;
pub(crate) use config::{ConfigArgs, ConfigCommand, ShowConfig};
pub(crate) use cost::{CostArgs, CostBy, CostFormat};
pub(crate) use enqueue::{BatchArg, EnqueueArgs, RequestFlags};
pub(crate) use generate::GenerateArgs;
pub(crate) use job::{CancelJobs, JobArgs, JobCommand, ListJobs, ResolveJob, ShowJob};
pub(crate) use pause::{PauseArgs, PauseBatch, ResumeArgs, ResumeBatch, Widely};
pub(crate) use results::BatchResults;
pub(crate) use retry::{RetryBatch, RetryJobs, Where};
pub(crate) use schedule::{ScheduleArgs, ScheduleCommand, SchedulerArgs};
pub(crate) use sheet::BatchSheet;
pub(crate) use watch::WatchArgs;
pub(crate) use webhook::{WebhookArgs, WebhookCommand};
pub(crate) use worker::WorkerArgs;

use crate::exit_code;

/// Make images with DashScope's Wan2.7 models, reliably, by the thousand.
///
/// Prompts go into a durable queue in Redis; workers create the tasks, follow them, and copy the PNGs into your S3 bucket
/// before the provider's links die. Nothing is lost, and nothing is paid twice.
#[derive(Debug, Parser)]
#[command(
    name = "imagemill",
    version,
    after_help = HELP_END.as_str(),
    infer_long_args = false,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
}

static HELP_END: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        "\
The shortest set-up is the environment alone:
  DASHSCOPE_API_KEY       the key (DASHSCOPE_HTTP_BASE_URL: its region; default Singapore)
  IMAGEMILL_REDIS_URL     the queue, such as redis://127.0.0.1:6379
  IMAGEMILL_S3_BUCKET     the bucket (IMAGEMILL_S3_ENDPOINT: its store, if not AWS; AWS's own variables: the key)
All settings: `imagemill config show --example`

{}",
        exit_code::HELP
    )
});

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Read settings from FILE [default: imagemill.toml, if it is there] [env: IMAGEMILL_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Set one setting for this run, such as `worker.poll_concurrency=8`; may be repeated
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,

    /// Print JSON for programs, on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Write logs, on stderr, as text or as JSON
    #[arg(long, global = true, value_name = "FORMAT", value_parser = ["text", "json"])]
    pub(crate) log: Option<String>,
}

impl Cli {
    /// What flags say of settings, by "section.name". A flag of its own wins over `--set`.
    pub(crate) fn settings_flags(&self) -> BTreeMap<String, String> {
        let mut flags: BTreeMap<String, String> = self.global.set.iter().cloned().collect();
        if let Some(format) = &self.global.log {
            flags.insert("log.format".to_owned(), format.clone());
        }
        if let Command::Worker(worker) = &self.command {
            if let Some(number) = worker.concurrency {
                for stage in ["submit", "poll", "archive"] {
                    flags.insert(format!("worker.{stage}_concurrency"), number.to_string());
                }
            }
            if worker.unsafe_redis {
                flags.insert("worker.unsafe_redis".to_owned(), "true".to_owned());
            }
        }
        flags
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write it as `section.name=value`".to_owned()),
    }
}

/// What can be done. A command that has arguments has its help there: a text here would hide it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Enqueue(Box<EnqueueArgs>),
    Worker(WorkerArgs),
    /// Show what is going on: jobs by state, accounts, pauses
    Status,
    Watch(WatchArgs),
    Batch(BatchArgs),
    Job(JobArgs),
    Cost(CostArgs),
    Schedule(ScheduleArgs),
    Scheduler(SchedulerArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Generate(Box<GenerateArgs>),
    Webhook(WebhookArgs),
    Config(ConfigArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// See the whole thing work on this machine, without a key and without cost
    #[cfg(feature = "demo")]
    Demo(crate::commands::demo::DemoArgs),
    #[cfg(feature = "demo")]
    Bench(BenchArgs),
}
