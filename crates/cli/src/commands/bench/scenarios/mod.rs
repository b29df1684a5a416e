//! The scenarios: each a file with its limits, durations and jobs in data, under a name.

mod accounts;
mod create_rate;
mod documented;
mod fairness;
mod large;
mod pause_cost;
mod restarts;
mod storm;

use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::bounds::Bound;
use super::director::Nothing;
use super::figures::Figures;
use super::setup::{AccountSetup, Setup};
use super::{measure, run};
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
    /// What the medians of its runs have to keep. Source: the issue that asked for them.
    pub(super) bounds: &'static [Bound],
    /// Does one run of it.
    pub(super) run: for<'a> fn(&'a Context<'a>) -> LocalBoxFuture<'a, Result<Figures, Failure>>,
}

/// All of them, in the order of `--list`.
pub(super) const ALL: &[Scenario] = &[
    documented::DOCUMENTED,
    create_rate::SCENARIO,
    accounts::TWO,
    accounts::BREAKS,
    large::LARGE,
    large::SMALL_PAGES,
    storm::STORM,
    storm::RETRY_AFTER,
    restarts::SCENARIO,
    fairness::SCENARIO,
    pause_cost::SCENARIO,
    documented::SLOW_STORE,
];

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

/// A run of these accounts in which nothing happens beside the work.
fn steady<'a>(
    context: &'a Context<'a>,
    accounts: Vec<AccountSetup>,
) -> LocalBoxFuture<'a, Result<Figures, Failure>> {
    steady_on(context, accounts, Pace::default())
}

/// The same with another store.
fn steady_on<'a>(
    context: &'a Context<'a>,
    accounts: Vec<AccountSetup>,
    store: Pace,
) -> LocalBoxFuture<'a, Result<Figures, Failure>> {
    Box::pin(async move {
        let setup = Setup { store, ..context.setup(accounts) };
        let seen = run::driven(context.app, &setup, &context.title, &mut Nothing).await?;
        Ok(measure::figures(&setup, &seen))
    })
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
