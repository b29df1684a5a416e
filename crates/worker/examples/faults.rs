//! Prints the matrix of the fault sweep, and how often each legal pair of state and event was taken.
//!
//! `cargo run --release -p worker --example faults -- --seeds 200 [--row WORDS] [--from SEED] [--timeline]`

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::process::ExitCode;

use worker::testing::sweep::{Matrix, Row, rows, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seeds, from) = (number("--seeds", 200), number("--from", 0));
    let words = value("--row").unwrap_or_default();
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.name.contains(&words)).collect();
    if arguments.iter().any(|argument| argument == "--timeline") {
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
