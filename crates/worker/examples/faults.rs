//! Prints the matrix of the fault sweep, and how often each legal pair of state and event was taken.
//!
//! `cargo run --release -p worker --example faults -- --seeds 200 [--row WORDS] [--from SEED] [--timeline]`

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::process::ExitCode;

use worker::testing::sweep::{Matrix, Row, rows, run};

const USAGE: &str = "\
Every fault over whole lives of jobs, in virtual time: what came of it, by row.

  --seeds N     runs of each row, 200 by default
  --from SEED   the first seed, 0 by default
  --row WORDS   only rows whose names hold these words
  --timeline    every commit of one run of each row, instead of the matrix

The same row and seed are the same run. It fails when a job is lost or a prompt is paid twice where the row does not allow it.";

/// What is asked for.
#[derive(Default)]
struct Asked {
    seeds: Option<u64>,
    from: u64,
    words: String,
    timeline: bool,
}

/// Reads the arguments; `None` if they cannot be read, or help is wanted.
fn asked() -> Option<Asked> {
    let mut asked = Asked::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => asked.seeds = Some(arguments.next()?.parse().ok()?),
            "--from" => asked.from = arguments.next()?.parse().ok()?,
            "--row" => asked.words = arguments.next()?,
            "--timeline" => asked.timeline = true,
            _ => return None,
        }
    }
    Some(asked)
}

fn main() -> ExitCode {
    let Some(Asked { seeds, from, words, timeline }) = asked() else {
        println!("{USAGE}");
        let wanted = std::env::args().any(|argument| argument == "--help" || argument == "-h");
        return if wanted { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    let seeds = seeds.unwrap_or(200);
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.name.contains(&words)).collect();
    if rows.is_empty() {
        println!("No row's name holds `{words}`.");
        return ExitCode::from(2);
    }
    if timeline {
        for row in &rows {
            let run = run(row, from);
            println!("{}, seed {from}\n{}\n{:#?}", row.name, run.timeline(), run.verdict);
        }
        return ExitCode::SUCCESS;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let matrix = Matrix::of(&rows, from..from + seeds, threads);
    println!("{matrix}");
    println!("pairs of state and event that were taken:");
    for ((state, event), count) in &matrix.pairs {
        println!("{count:>9}  {state} {event}");
    }
    // A part of the rows need not take all pairs.
    let never = if words.is_empty() { matrix.never_taken() } else { Vec::new() };
    for (state, event) in &never {
        println!("never taken: {state} {event}");
    }
    let faults = matrix.faults();
    for fault in &faults {
        println!("WRONG: {fault}");
    }
    if faults.is_empty() && never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
