//! `imagemill`: the command line of Imagemill.
//!
//! `main` makes the clock, the random source and the environment that everything below gets as arguments, installs the
//! cryptography, begins the log, runs the command, and turns a failure into a message and an exit code. Nothing else.

// They panic where the reader has gone, as of `| head`: answers go through `Output`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod app;
mod args;
mod commands;
mod exit_code;
mod failure;
mod input;
mod logging;
mod output;
mod refresh;
mod report;
mod scheduler;
mod settings;
mod whole_file;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};

use app::App;
use args::{Cli, Command};
use failure::{Failure, OrFail as _};
use output::Output;
use settings::{Settings, Sources};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = run(cli);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // Nobody can be told that stderr is gone.
            let _ = write!(std::io::stderr(), "{}", report::render(&failure));
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    // Fails only if a provider is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let sources = Sources {
        file: cli.global.config.clone(),
        flags: cli.settings_flags(),
        environment: environment.collect(),
    };
    let out = Output::of_process(cli.global.json);
    begin_log(&sources, &cli.command, out);
    let app = App {
        sources,
        out,
        clock: Arc::new(worker::BootClock),
        rng: Mutex::new(
            StdRng::try_from_rng(&mut SysRng).or_fail("the operating system gives no random numbers")?,
        ),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.or_fail("failed to start the runtime")?;
    let result = runtime.block_on(commands::run(&app, cli.command));
    // A blocking read of stdin, say, must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Settings that cannot be used are reported by the command, which reads them again.
fn begin_log(sources: &Sources, command: &Command, out: Output) {
    let default = if matches!(command, Command::Worker(_) | Command::Scheduler(_)) { "info" } else { "warn" };
    let settings = Settings::load(sources).ok();
    let format = settings.as_ref().map_or(settings::LogFormat::Auto, Settings::log_format);
    let filter = settings.as_ref().and_then(Settings::log_filter).unwrap_or(default);
    logging::begin(format, filter, out.stderr_is_terminal);
}
