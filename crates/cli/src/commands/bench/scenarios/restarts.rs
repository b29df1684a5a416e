//! Sixteen workers that come and go at random, and a checker that never stops looking whether the places at the provider are those
//! of the attempts under way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use job::{AccountName, StateName};
use queue::{Hint, Queue, SlotAudit};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::{Context, Scenario};
use crate::app::queue_failure;
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::director::{Director, Look};
use crate::commands::bench::figures::{Figures, Unit};
use crate::commands::bench::setup::{AccountSetup, Setup};
use crate::commands::bench::world::{World, batch};
use crate::commands::bench::{measure, run};
use crate::failure::Failure;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "restarts",
    about: "16 workers that stop, are killed and start at random, 20 tasks at once; places at the provider are checked throughout",
    scale: 5,
    workers: 16,
    jobs: 480,
    bounds: &[
        Bound::AtMost("slot_differences", 0.0),
        Bound::AtMost("repairs", 0.0),
        Bound::AtMost("places_taken_max", (IN_FLIGHT + QUEUE_AHEAD) as f64),
        // Source: ours; two in a hundred. A create of a killed worker that cannot be told from another's is held for a person.
        Bound::AtMost("held", 10.0),
    ],
    run: |context| Box::pin(restarts(context)),
};

/// Tasks processed at once, and kept PENDING behind them: more together than that is over-use.
const IN_FLIGHT: u32 = 20;
const QUEUE_AHEAD: u32 = 5;

/// The share of looks, four a second, at which one worker goes and another comes; and the share of these that are killed.
const GO: f64 = 0.25;
const KILLED: f64 = 0.4;

/// Between two checks that nothing has asked for. Source: ours; a check of 480 jobs takes Redis about a millisecond.
const PAUSE: Duration = Duration::from_millis(5);

/// Differences that are shown.
const SHOWN: usize = 20;

/// What takes minutes by default takes seconds: creates of killed workers have to be settled within the run.
const SETTINGS: [&str; 16] = [
    "redis.lease=2s",
    "redis.response_timeout=3s",
    "worker.renew_every=500ms",
    "worker.renewal_age_max=1s",
    "worker.rescue_every=250ms",
    "worker.send_within=1s",
    "worker.sweep_every=1s",
    "worker.create_timeout=3s",
    "worker.held_request_timeout=4s",
    "settle.lag=1s",
    "settle.idle_control=5s",
    "settle.clock_margin=500ms",
    "settle.first=1s",
    "settle.cap=2s",
    "settle.give_up_after=16s",
    "settle.orphans_every=1h",
];

async fn restarts(context: &Context<'_>) -> Result<Figures, Failure> {
    let account = AccountSetup {
        name: "restarts",
        creates_per_second: 10,
        in_flight: IN_FLIGHT,
        queue_ahead: Some(QUEUE_AHEAD),
        ..AccountSetup::documented()
    };
    let settings = SETTINGS.map(str::to_owned).into();
    let setup = Setup { settings, ..context.setup(vec![account]) };
    if setup.jobs > 500 {
        return Err(Failure::message("`restarts` looks at 500 jobs at most"));
    }
    let mut turmoil = Turmoil::new(context.seed, "restarts");
    let seen = run::driven(context.app, &setup, &context.title, &mut turmoil).await?;
    let mut figures = measure::figures(&setup, &seen);
    let held = seen.jobs.iter().filter(|job| job.state == StateName::Held).count() as u64;
    // A job that is held for a person is not lost, and its task may be billed.
    let billed: u64 = seen.ledgers.iter().map(|ledger| ledger.totals.images_billed).sum();
    if billed.saturating_sub(seen.images_stored) <= held {
        figures
            .problems
            .retain(|problem| !problem.contains("are held") && !problem.contains("images were billed"));
        figures.problems.retain(|problem| !problem.contains("prompts have a task") || held == 0);
    }
    figures.add("held", "jobs held for a person", Unit::Count, held as f64);
    turmoil.figures(&mut figures);
    Ok(figures)
}

/// What the checker has seen.
#[derive(Debug, Default)]
struct Checked {
    checks: u64,
    commits: u64,
    taken_max: u64,
    differences: u64,
    problems: Vec<String>,
}

impl Checked {
    fn note(&mut self, audit: SlotAudit) {
        self.checks += 1;
        self.differences += audit.differences.len() as u64;
        let mut problems = audit.differences;
        for (account, model, taken) in audit.taken {
            self.taken_max = self.taken_max.max(taken);
            if taken > u64::from(IN_FLIGHT + QUEUE_AHEAD) {
                problems.push(format!("{taken} places of {account} are taken for {model}"));
            }
        }
        problems.retain(|problem| !self.problems.contains(problem));
        let room = SHOWN.saturating_sub(self.problems.len());
        self.problems.extend(problems.into_iter().take(room));
    }
}

/// Stops, kills and starts workers, and has the places checked meanwhile.
struct Turmoil {
    rng: StdRng,
    accounts: Vec<AccountName>,
    checked: Arc<Mutex<Checked>>,
    checking: JoinSet<()>,
    stopped: u64,
    killed: u64,
    repairs: u64,
}

impl Turmoil {
    fn new(seed: u64, account: &str) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            accounts: vec![AccountName::parse(account).expect("the name is a plain word")],
            checked: Arc::default(),
            checking: JoinSet::new(),
            stopped: 0,
            killed: 0,
            repairs: 0,
        }
    }

    fn figures(&self, figures: &mut Figures) {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = [
            ("workers_stopped", "workers told to stop", self.stopped),
            ("workers_killed", "workers killed", self.killed),
            ("commits", "changes of a job's state", checked.commits),
            ("checks", "checks of the places", checked.checks),
            ("slot_differences", "places that differ from the records", checked.differences),
            ("places_taken_max", "most places taken at once", checked.taken_max),
            ("repairs", "repairs by the sweep", self.repairs),
        ];
        for (name, label, count) in counts {
            figures.add(name, label, Unit::Count, count as f64);
        }
        figures.problems.extend(checked.problems.iter().cloned());
        if self.repairs > 0 {
            figures.problems.push(format!("the sweep put {} entries right", self.repairs));
        }
    }

    async fn go_on(&mut self, look: Look<'_>) -> Result<(), Failure> {
        if self.checking.is_empty() {
            let queue = &look.world.queue;
            self.checking.spawn(check_always(
                queue.clone(),
                self.accounts.clone(),
                Arc::clone(&self.checked),
            ));
            self.checking.spawn(check_commits(
                queue.clone(),
                self.accounts.clone(),
                Arc::clone(&self.checked),
            ));
        }
        if look.crew.len() > 0 && self.rng.random_bool(GO) {
            let at = self.rng.random_range(0..look.crew.len());
            if self.rng.random_bool(KILLED) {
                look.crew.kill(at).await?;
                self.killed += 1;
            } else {
                look.crew.stop(at).await?;
                self.stopped += 1;
            }
            look.crew.start()?;
        }
        Ok(())
    }

    /// The last checks, and a whole pass of the sweep.
    async fn end(&mut self, world: &World) -> Result<(), Failure> {
        self.checking.shutdown().await;
        let read = |error| queue_failure(error, "hold the records against the indexes");
        let audit = world.queue.audit_slots(Some(&batch()), &self.accounts).await.map_err(read)?;
        let jobs = audit.jobs;
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).note(audit);
        // Twice as many jobs as there are: wherever the sweep stood, it has seen each.
        let mut looked_at = 0;
        while looked_at < 2 * jobs {
            let sweep = world.queue.sweep(&self.accounts, Duration::from_millis(1)).await.map_err(read)?;
            looked_at += sweep.looked_at as u64;
            tokio::time::sleep(sweep.pause).await;
        }
        self.repairs = world.queue.repairs().await.map_err(read)?.values().sum();
        Ok(())
    }
}

impl Director for Turmoil {
    fn look<'a>(&'a mut self, look: Look<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.go_on(look))
    }

    fn over<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.end(world))
    }
}

async fn check(queue: &Queue, accounts: &[AccountName], checked: &Mutex<Checked>) {
    let audit = queue.audit_slots(Some(&batch()), accounts).await;
    let mut checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
    match audit {
        Ok(audit) => checked.note(audit),
        Err(error) => checked.problems.push(format!("the places could not be checked: {error}")),
    }
}

async fn check_always(queue: Queue, accounts: Vec<AccountName>, checked: Arc<Mutex<Checked>>) {
    loop {
        check(&queue, &accounts, &checked).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// A check after each hint that a job came into another state.
async fn check_commits(queue: Queue, accounts: Vec<AccountName>, checked: Arc<Mutex<Checked>>) {
    let mut events = queue.watch_events();
    loop {
        let Ok(hints) = events.next().await else { continue };
        let commits = hints.iter().filter(|hint| matches!(hint, Hint::Job { .. })).count();
        if commits > 0 {
            checked.lock().unwrap_or_else(PoisonError::into_inner).commits += commits as u64;
            check(&queue, &accounts, &checked).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(taken: u64, differences: &[&str]) -> SlotAudit {
        let account = AccountName::parse("restarts").unwrap();
        let differences = differences.iter().map(|&line| line.to_owned()).collect();
        SlotAudit { jobs: 1, taken: vec![(account, job::Model::Wan27Image, taken)], differences }
    }

    #[test]
    fn a_difference_and_a_place_too_many_are_problems_and_each_is_shown_once() {
        let mut checked = Checked::default();
        checked.note(audit(25, &[]));
        assert_eq!((checked.problems.len(), checked.taken_max), (0, 25));
        checked.note(audit(26, &["lacks a"]));
        checked.note(audit(26, &["lacks a"]));
        assert_eq!((checked.checks, checked.differences), (3, 2));
        assert_eq!(checked.problems, ["lacks a", "26 places of restarts are taken for wan2.7-image"]);
    }
}
