//! `imagemill bench`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::commands::bench;

/// Measure the whole system on this machine, against the simulator, without a key and without cost.
///
/// Each run has servers of its own: a private Redis, a store, the simulator; the workers are processes of this binary. A table on
/// stdout has makespan and ideal, use of the slots, requests, lags, and what it cost in time and memory.
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 1 if a run lost a job or paid for one twice, or if the medians broke a bound of the scenario. With another
number of jobs than the scenario's there are no bounds. `--set poll.*` is in service time, as without a time scale.

Examples:
  imagemill bench --list
  imagemill bench documented --workers 4
  imagemill bench --time-scale 5 --workers 16 --out bench.json")]
pub(crate) struct BenchArgs {
    /// What to run [default: documented]
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(bench::names()), hide_possible_values = true)]
    pub(crate) scenarios: Vec<String>,

    /// List the scenarios
    #[arg(long)]
    pub(crate) list: bool,

    /// Worker processes [default: the scenario's]
    #[arg(long, value_name = "N", value_parser = workers)]
    pub(crate) workers: Option<usize>,

    /// Make the service K times as fast: rates are multiplied, latencies and poll steps divided; leases and timeouts stay
    /// [default: the scenario's]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) time_scale: Option<u32>,

    /// Jobs [default: the scenario's]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<usize>,

    /// Runs of each scenario; their medians are printed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(bench::RUNS_MAX)))]
    pub(crate) runs: u32,

    /// Chooses durations and faults; each further run has the next one
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub(crate) seed: u64,

    /// Write the figures as JSON into FILE as well, after each scenario
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

fn workers(text: &str) -> Result<usize, String> {
    within(text, 64)
}

fn jobs(text: &str) -> Result<usize, String> {
    within(text, 1_000_000)
}

fn within(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("it must be a number from 1 to {most}")),
    }
}
