//! What each command does, a file each. A command gets its arguments and the [`App`], and answers with an exit code.

mod agree;
mod batch;
#[cfg(feature = "demo")]
pub(crate) mod bench;
mod budget;
mod cancel;
mod config;
mod cost;
#[cfg(feature = "demo")]
pub(crate) mod demo;
pub(crate) mod enqueue;
mod generate;
mod in_vain;
mod job;
mod outlook;
mod pause;
mod reload;
mod remove;
mod resolve;
mod results;
mod retry;
mod schedule;
mod sheet;
#[cfg(feature = "demo")]
mod stand_ins;
mod status;
mod wait;
mod watch;
mod webhook;
mod worker;

use clap::CommandFactory as _;

use crate::app::App;
use crate::args::{BatchCommand, Cli, Command, ConfigCommand, JobCommand, WebhookCommand};
use crate::exit_code;
use crate::failure::Failure;

/// Does what was asked for.
///
/// # Errors
///
/// Why it could not be done, with the exit code.
pub(crate) async fn run(app: &App, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Enqueue(args) => enqueue::run(app, *args).await,
        Command::Worker(args) => worker::run(app, args).await,
        Command::Status => status::run(app).await,
        Command::Watch(args) => watch::run(app, args).await,
        Command::Webhook(args) => match args.command {
            WebhookCommand::Ls => webhook::list(app).await,
            WebhookCommand::Test { name } => webhook::test(app, name).await,
        },
        Command::Batch(args) => match args.command {
            BatchCommand::Ls { limit, cursor } => batch::list(app, limit, cursor).await,
            BatchCommand::Show { name } => batch::show(app, name).await,
            BatchCommand::Results(args) => results::run(app, *args).await,
            BatchCommand::Sheet(args) => sheet::run(app, args).await,
            BatchCommand::Pause(args) => pause::pause_batch(app, args).await,
            BatchCommand::Resume(args) => pause::resume_batch(app, args).await,
            BatchCommand::Retry(args) => retry::batch(app, args).await,
            BatchCommand::Budget(args) => budget::batch(app, args).await,
            BatchCommand::Cancel(args) => cancel::batch(app, args).await,
            BatchCommand::Rm(args) => remove::batch(app, args).await,
        },
        Command::Job(args) => match args.command {
            JobCommand::Ls(args) => job::list(app, args).await,
            JobCommand::Show(args) => job::show(app, args).await,
            JobCommand::Cancel(args) => cancel::jobs(app, args).await,
            JobCommand::Retry(args) => retry::jobs(app, args).await,
            JobCommand::Resolve(args) => resolve::resolve(app, args).await,
        },
        Command::Cost(args) => cost::run(app, args).await,
        Command::Schedule(args) => schedule::run(app, args).await,
        Command::Scheduler(_) => schedule::scheduler(app).await,
        Command::Pause(args) => pause::pause(app, args).await,
        Command::Resume(args) => pause::resume(app, args).await,
        Command::Generate(args) => generate::run(app, *args).await,
        Command::Config(args) => match args.command {
            ConfigCommand::Show(args) => config::show(app, &args),
            ConfigCommand::Check => config::check(app),
        },
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "imagemill", &mut script);
            app.out.print(&String::from_utf8_lossy(&script))?;
            Ok(exit_code::DONE)
        }
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(app, args).await,
        #[cfg(feature = "demo")]
        Command::Bench(args) => bench::run(app, args).await,
    }
}
