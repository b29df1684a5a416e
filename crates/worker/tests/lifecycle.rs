//! Whole lives of jobs in virtual time, with faults at every place: the sweep that `scripts/evidence faults` runs with more seeds.

use worker::testing::sweep::{Matrix, Row, rows, run};

/// Seeds for each row. The evidence runs 200 and more; here each row is to be seen at work, within a minute.
const SEEDS: u64 = 2;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn named(name: &str) -> Row {
    rows().into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row is called `{name}`"))
}

#[test]
fn no_fault_loses_a_job_or_pays_twice_and_every_legal_pair_is_taken() {
    let matrix = Matrix::of(&rows(), 0..SEEDS, threads());
    println!("{matrix}");
    for ((state, event), count) in &matrix.pairs {
        println!("{count:>9}  {state} {event}");
    }
    let faults = matrix.faults();
    assert!(faults.is_empty(), "{faults:#?}");
    let never = matrix.never_taken();
    assert!(never.is_empty(), "no run took {never:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    // Two that cross the most loops: a settled attempt, and a stop.
    for row in
        ["crash while a create is on the wire, acted upon", "a worker is told to stop", "queue away for 60 s"]
    {
        let (row, seed) = (named(row), 7);
        let (first, again) = (run(&row, seed), run(&row, seed));
        assert_eq!(first.timeline(), again.timeline(), "{}", row.name);
        assert_eq!(first.verdict, again.verdict, "{}", row.name);
        assert_ne!(first.timeline(), run(&row, seed + 1).timeline(), "{}", row.name);
    }
}

#[test]
fn the_sweep_does_not_depend_on_the_number_of_its_threads() {
    let few: Vec<Row> = rows().into_iter().take(4).collect();
    let (one, three) = (Matrix::of(&few, 0..2, 1), Matrix::of(&few, 0..2, 3));
    assert_eq!(one.to_string(), three.to_string());
    assert_eq!(one.pairs, three.pairs);
}

#[test]
fn what_is_wrong_is_told_with_row_and_seed() {
    // A row that allows less than what comes of it: the sweep must say so.
    let mut row = named("adopt = never, create acted upon, no answer");
    row.allow.held = false;
    let faults = Matrix::of(&[row], 0..3, threads()).faults();
    assert!(faults.iter().any(|fault| fault.contains("are held") && fault.contains("seed")), "{faults:?}");
    // Beyond the settings a prompt may be paid for twice; where that is not allowed, it is told.
    let mut row = named("answer after hours, job meanwhile sent again and succeeded");
    row.allow.twice = false;
    let faults = Matrix::of(&[row], 0..3, threads()).faults();
    assert!(faults.iter().any(|fault| fault.contains("billed twice")), "{faults:?}");
}
