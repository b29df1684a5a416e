//! `imagemill bench`: the whole system on this machine, measured.
//!
//! Each run has a private Redis (a child process), a store and the simulator (inside this process), and workers: child processes
//! of this binary, as a user would start them. Nothing is left out and nothing is patched: figures come from the simulator's
//! ledger, from the records in Redis, from Redis's own counters, from the workers' logs and from the operating system. What is
//! computed of them is pure, and tested by itself: [`ideal`], [`slot_use`], [`spread`], [`measure`].
//!
//! A time scale K makes the service K times as fast: rates of simulator and settings are multiplied, durations, latencies and the
//! steps of `[poll]` divided. Leases and timeouts stay, and so do the windows of one second over which the simulator counts its
//! rates.

mod bounds;
mod crew;
mod director;
mod figures;
mod ideal;
mod lateness;
mod machine;
mod measure;
mod report;
mod run;
mod scenarios;
mod setup;
mod slot_use;
mod spread;
mod steps;
mod world;

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::args::BenchArgs;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::table::{Column, table};
use report::{Report, ReportView};
use scenarios::{ALL, Context, Scenario};

pub(crate) use report::RUNS_MAX;

/// What runs where no scenario is named.
const DEFAULT: &str = "documented";

/// The names of all scenarios.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|scenario| scenario.name).collect()
}

/// Runs scenarios, or lists them.
pub(super) async fn run(app: &App, args: BenchArgs) -> Result<u8, Failure> {
    if args.list {
        app.out.print(&list())?;
        return Ok(exit_code::DONE);
    }
    if args.scenarios.is_empty() && !app.out.json {
        app.out.note(&format!("{}\nNone is named, so that `{DEFAULT}` runs.\n", list()));
    }
    // Either way the servers and workers of a run end with it.
    let interrupted = || Err(Failure::message("interrupted").exit(exit_code::INTERRUPTED));
    let mut terminate = signal(SignalKind::terminate()).or_fail("failed to listen for signals")?;
    tokio::select! {
        done = all(app, &args) => done,
        _ = tokio::signal::ctrl_c() => interrupted(),
        _ = terminate.recv() => interrupted(),
    }
}

fn list() -> String {
    let rows = ALL.iter().map(|scenario| {
        vec![
            scenario.name.to_owned(),
            scenario.jobs.to_string(),
            scenario.workers.to_string(),
            scenario.scale.to_string(),
            scenario.about.to_owned(),
        ]
    });
    let columns = [
        Column::Left("SCENARIO"),
        Column::Right("JOBS"),
        Column::Right("WORKERS"),
        Column::Right("SCALE"),
        Column::Left("WHAT"),
    ];
    table(&columns, rows.collect())
}

async fn all(app: &App, args: &BenchArgs) -> Result<u8, Failure> {
    let named: Vec<&str> = match args.scenarios.as_slice() {
        [] => vec![DEFAULT],
        named => named.iter().map(String::as_str).collect(),
    };
    let mut reports = Vec::new();
    for scenario in ALL.iter().filter(|scenario| named.contains(&scenario.name)) {
        let report = runs(app, args, scenario).await?;
        if !app.out.json {
            app.out.print(&report.table())?;
        }
        reports.push(report);
        // After each: what took an hour must not be lost with the next one.
        if let Some(file) = &args.out {
            write(file, &reports)?;
        }
    }
    if app.out.json {
        app.out.print_json(&views(&reports))?;
    }
    Ok(if reports.iter().all(Report::ok) { exit_code::DONE } else { exit_code::FAILED })
}

async fn runs(app: &App, args: &BenchArgs, scenario: &Scenario) -> Result<Report, Failure> {
    let scale = args.time_scale.unwrap_or(scenario.scale);
    let workers = args.workers.unwrap_or(scenario.workers);
    let mut runs = Vec::new();
    for number in 0..args.runs {
        let context = Context {
            app,
            scale,
            workers,
            jobs: args.jobs.unwrap_or(scenario.jobs),
            seed: args.seed.wrapping_add(number.into()),
            title: format!("{}, run {} of {}", scenario.name, number + 1, args.runs),
        };
        let figures = (scenario.run)(&context).await;
        runs.push(
            figures.map_err(|failure| failure.context(format!("{} could not be measured", context.title)))?,
        );
    }
    let Scenario { name, about, .. } = *scenario;
    // They are meant for the scenario's own jobs: with fewer, beginning and end weigh more.
    let bounds = if args.jobs.is_none_or(|jobs| jobs == scenario.jobs) { scenario.bounds } else { &[] };
    Ok(Report { scenario: name, about, scale, workers, seed: args.seed, bounds, runs })
}

fn views(reports: &[Report]) -> Vec<ReportView> {
    reports.iter().map(Report::view).collect()
}

fn write(file: &Path, reports: &[Report]) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&views(reports)).or_fail("failed to write JSON")?;
    std::fs::write(file, text + "\n").or_fail(format!("failed to write {}", file.display()))
}
