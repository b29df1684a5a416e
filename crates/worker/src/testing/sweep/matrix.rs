//! The matrix of row × outcome, over many seeds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use job::StateName;

use super::coverage::legal_pairs;
use super::rows::Row;
use super::run::run;
use super::verdict::Verdict;

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Matrix {
    lines: Vec<Line>,
    /// How often each pair of state and event was taken.
    pub pairs: BTreeMap<(StateName, &'static str), u64>,
}

/// What came of one row.
#[derive(Debug, Default)]
struct Line {
    name: String,
    beyond: bool,
    seeds: u64,
    hit: u64,
    ends: BTreeMap<StateName, u32>,
    extra: u32,
    billed_twice: u32,
    lost: u32,
    faults: Vec<String>,
}

impl Line {
    fn add(&mut self, row: &Row, seed: u64, verdict: &Verdict) {
        self.seeds += 1;
        self.hit += u64::from(verdict.fired);
        for (state, count) in &verdict.ends {
            *self.ends.entry(*state).or_default() += count;
        }
        self.extra += verdict.extra;
        self.billed_twice += verdict.billed_twice;
        self.lost += u32::from(!verdict.lost.is_empty());
        let faults = verdict.faults(row.allow);
        if !faults.is_empty() && self.faults.len() < FAULTS_MAX {
            self.faults.push(format!("{}, seed {seed}: {}", row.name, faults.join("; ")));
        }
    }
}

/// How many faults of a row are kept.
const FAULTS_MAX: usize = 3;

impl Matrix {
    /// Runs every row with these seeds, on so many threads. What comes of it does not depend on their number.
    pub fn of(rows: &[Row], seeds: Range<u64>, threads: usize) -> Self {
        let next = AtomicUsize::new(0);
        let parts = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(row) = rows.get(number) else { break };
                        let part = Self::of_row(row, seeds.clone());
                        parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, part);
                    }
                });
            }
        });
        let mut all = Self::default();
        for part in parts.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
            all.lines.extend(part.lines);
            for (pair, count) in part.pairs {
                *all.pairs.entry(pair).or_default() += count;
            }
        }
        all
    }

    fn of_row(row: &Row, seeds: Range<u64>) -> Self {
        let mut pairs = BTreeMap::new();
        let mut line = Line { name: row.name.clone(), beyond: row.beyond, ..Line::default() };
        for seed in seeds {
            let run = run(row, seed);
            for pair in run.pairs() {
                *pairs.entry(pair).or_default() += 1;
            }
            line.add(row, seed, &run.verdict);
        }
        if line.hit == 0 {
            line.faults.push(format!("{}: it never happened", row.name));
        }
        Self { lines: vec![line], pairs }
    }

    /// Legal pairs of state and event that were never taken.
    pub fn never_taken(&self) -> Vec<(StateName, &'static str)> {
        legal_pairs().into_iter().filter(|pair| !self.pairs.contains_key(pair)).collect()
    }

    /// What is wrong, with row and seed.
    pub fn faults(&self) -> Vec<String> {
        self.lines.iter().flat_map(|line| line.faults.clone()).collect()
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            StateName::Succeeded,
            StateName::Failed,
            StateName::Canceled,
            StateName::Expired,
            StateName::Held,
        ];
        let title = "what goes wrong (* beyond the settings)";
        let width =
            self.lines.iter().map(|line| line.name.len() + 2).max().unwrap_or_default().max(title.len());
        write!(f, "{title:width$} {:>6} {:>6}", "seeds", "hit")?;
        for column in columns {
            write!(f, " {:>9}", column.as_str())?;
        }
        writeln!(f, " {:>11} {:>12} {:>5}", "extra tasks", "billed twice", "lost")?;
        for line in &self.lines {
            let name = if line.beyond { format!("* {}", line.name) } else { line.name.clone() };
            write!(f, "{name:width$} {:>6} {:>6}", line.seeds, line.hit)?;
            for column in columns {
                write!(f, " {:>9}", line.ends.get(&column).copied().unwrap_or_default())?;
            }
            writeln!(f, " {:>11} {:>12} {:>5}", line.extra, line.billed_twice, line.lost)?;
        }
        Ok(())
    }
}
