//! The scenarios: each a file with its limits, durations and jobs in data, under a name.

mod documented;

use std::time::Duration;

use futures::future::BoxFuture;

use super::figures::Figures;
use super::setup::{AccountSetup, Setup};
use crate::app::App;
use crate::commands::stand_ins::Pace;
use crate::failure::Failure;

/// How long nothing may move before a run is given up. Source: ours; longer than a lease, a start of a worker, and a breaker's
/// longest wait in any scenario.
const PATIENCE: Duration = Duration::from_secs(120);

/// A scenario.
pub(super) struct Scenario {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it is, in one sentence.
    pub(super) about: &'static str,
    /// The time scale where none is asked for.
    pub(super) scale: u32,
    /// Worker processes where no number is asked for.
    pub(super) workers: usize,
    /// Jobs where no number is asked for.
    pub(super) jobs: usize,
    /// Does one run of it.
    pub(super) run: for<'a> fn(&'a Context<'a>) -> BoxFuture<'a, Result<Figures, Failure>>,
}

/// All of them, in the order of `--list`.
pub(super) const ALL: &[Scenario] = &[documented::SCENARIO];

/// What a run is asked to be.
pub(super) struct Context<'a> {
    /// What every command is given.
    pub(super) app: &'a App,
    /// The time scale.
    pub(super) scale: u32,
    /// Worker processes.
    pub(super) workers: usize,
    /// Jobs.
    pub(super) jobs: usize,
    /// The seed of this run.
    pub(super) seed: u64,
    /// What progress is called.
    pub(super) title: String,
}

impl Context<'_> {
    /// A run of these accounts, as it is asked for.
    pub(super) fn setup(&self, accounts: Vec<AccountSetup>) -> Setup {
        Setup {
            scale: self.scale,
            seed: self.seed,
            jobs: self.jobs,
            workers: self.workers,
            accounts,
            store: Pace::default(),
            settings: Vec::new(),
            patience: PATIENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_words_and_each_scenario_is_one_sentence() {
        let names: std::collections::BTreeSet<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), ALL.len());
        for scenario in ALL {
            assert!(scenario.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", scenario.name);
            assert!(!scenario.about.ends_with('.') && !scenario.about.contains(". "), "{}", scenario.about);
        }
    }
}
