//! The binary: settings in, address out, ledger at the end.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use dashscope_sim::{Config, Simulator, faults_from_json, faults_from_toml};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// DashScope's Wan2.7 image API on this machine: seeded, with scripted faults and a billing ledger.
///
/// Prints `listening on http://…/api/v1` as its first line. SIGTERM and SIGINT end it; it then prints its ledger.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 picks a free one [default: the settings, else 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The source of all chance [default: the settings, else 7]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// More faults, in TOML or (`.json`) JSON
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Where to write the whole ledger as JSON at the end; without it the totals go to stdout
    #[arg(long, value_name = "FILE")]
    ledger_file: Option<PathBuf>,
    /// A file that receives the base URL once calls are answered
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();

    // Before the address is printed, so that a signal sent after it is never missed.
    let mut terminated = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let simulator = Simulator::start(settings(&arguments)?).await.context("failed to start the simulator")?;

    let base_url = simulator.base_url();
    print(&format!("listening on {base_url}\n"))?;
    if let Some(path) = &arguments.ready_file {
        write(path, base_url.as_bytes())?;
    }
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }

    let ledger = if arguments.ledger_file.is_some() { simulator.ledger() } else { simulator.totals() };
    simulator.shutdown().await;
    let json = serde_json::to_string_pretty(&ledger).context("failed to write the ledger as JSON")? + "\n";
    match &arguments.ledger_file {
        Some(path) => write(path, json.as_bytes()),
        None => print(&json),
    }
}

fn settings(arguments: &Arguments) -> anyhow::Result<Config> {
    let mut config = match &arguments.config {
        Some(path) => Config::from_toml(&read(path)?)
            .with_context(|| format!("invalid settings in `{}`", path.display()))?,
        None => Config::default(),
    };
    if let Some(path) = &arguments.faults {
        let script = read(path)?;
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let faults = if is_json { faults_from_json(&script) } else { faults_from_toml(&script) };
        config.faults.extend(faults.with_context(|| format!("invalid faults in `{}`", path.display()))?);
    }
    config.listen = arguments.listen.unwrap_or(config.listen);
    config.seed = arguments.seed.unwrap_or(config.seed);
    Ok(config)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
}

/// Writes beside the target and renames, so that a reader never sees half a file.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    std::fs::write(&beside, content)
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("failed to write `{}`", path.display()))
}

/// Prints at once; a reader that waits for the first line gets it.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Nobody reads any more: not this program's trouble.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("failed to write to stdout"),
    }
}
