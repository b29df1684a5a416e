//! A small batch behind a large one: it must not wait for it.

use std::time::{Duration, Instant};

use job::{BatchName, StateName};

use super::{Context, Scenario};
use crate::app::queue_failure;
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::crew::Crew;
use crate::commands::bench::figures::{Figures, Unit};
use crate::commands::bench::run::ended;
use crate::commands::bench::setup::{AccountSetup, BATCH, Setup, lines};
use crate::commands::bench::world::World;
use crate::failure::Failure;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fairness",
    about: "a batch of 20 behind one of 50,000 (JOBS) that is under way, against 20 alone on half of the account; 6 creates/s, 6 at once",
    scale: 20,
    workers: 1,
    jobs: 50_000,
    bounds: &[Bound::AtMost("fairness_ratio", 1.5)],
    run: |context| Box::pin(fairness(context)),
};

/// Jobs of the small batch. Source: the issue.
const FEW: usize = 20;

/// Jobs before the small batch where it is alone: when this one is done, the workers are up.
const WARM_UP: usize = 1;

/// The small batch.
const SMALL: &str = "small";

/// An account with an even number of slots, so that there is a half of it.
fn account(share: u32) -> AccountSetup {
    AccountSetup {
        name: "fairness",
        creates_per_second: 6 / share,
        in_flight: 6 / share,
        ..AccountSetup::documented()
    }
}

async fn fairness(context: &Context<'_>) -> Result<Figures, Failure> {
    let behind = context.setup(vec![account(1)]);
    let (with, problems) = small_batch(context, &behind, behind.jobs).await?;
    let alone = context.setup(vec![account(2)]);
    let (without, more) = small_batch(context, &alone, WARM_UP).await?;
    let mut figures = Figures { problems, ..Figures::default() };
    figures.problems.extend(more.into_iter().map(|problem| format!("alone: {problem}")));
    figures.add("jobs", "jobs before the small batch", Unit::Count, behind.jobs as f64);
    figures.add("small_batch_s", "20 jobs behind them", Unit::ServiceSeconds, behind.service_s(with));
    figures.add("alone_s", "20 jobs alone on half", Unit::ServiceSeconds, alone.service_s(without));
    figures.add("fairness_ratio", "behind / alone on half", Unit::Ratio, with / without.max(1.0));
    Ok(figures)
}

/// How many real ms the small batch takes, from before its enqueueing until its last copy, with `before` jobs in front of it that
/// are under way.
async fn small_batch(
    context: &Context<'_>,
    setup: &Setup,
    before: usize,
) -> Result<(f64, Vec<String>), Failure> {
    let world = World::start(context.app, setup).await?;
    world.enqueue(BATCH, &lines(setup.seed, "p", before)).await?;
    let mut crew = Crew::new(world.binary()?, world.folder().to_owned(), &world.worker_settings);
    for _ in 0..setup.workers {
        crew.start()?;
    }
    // Until the first of those before have ended: as many as there are slots, so that the large batch is in full swing.
    let begun = u64::from(setup.accounts[0].in_flight).min(before as u64);
    let simulator = &world.simulators[0];
    wait(setup.patience, "the workers have not begun", async || {
        Ok(simulator.totals().totals.succeeded >= begun)
    })
    .await?;
    crew.look()?;

    let from_ms = simulator.now().as_millisecond();
    world.enqueue(SMALL, &lines(setup.seed, "s", FEW)).await?;
    let name = BatchName::parse(SMALL).expect("the name is a plain word");
    wait(setup.patience * 5, "the small batch does not end", async || {
        let summary =
            world.queue.batch(Some(&name)).await.map_err(|error| queue_failure(error, "read the batch"))?;
        Ok(summary.is_some_and(|batch| batch.left == batch.count(StateName::Held)))
    })
    .await?;
    crew.stop_all().await?;

    let jobs = ended(&world, &name).await?;
    let mut problems = Vec::new();
    let failed = jobs.iter().filter(|job| job.state != StateName::Succeeded).count();
    if failed > 0 || jobs.len() != FEW {
        problems.push(format!("{failed} of {} jobs did not succeed", jobs.len()));
    }
    if simulator.totals().totals.tasks_of_one_prompt_max > 1 {
        problems.push("a prompt has more than one task".to_owned());
    }
    let last_ms = jobs.iter().filter_map(|job| job.stored).map(|at| at.as_millisecond()).max();
    let took = last_ms.map_or(f64::NAN, |last_ms| (last_ms - from_ms) as f64);
    world.end().await;
    Ok((took, problems))
}

async fn wait(
    patience: Duration,
    what: &'static str,
    mut is: impl AsyncFnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let began = Instant::now();
    while !is().await? {
        if began.elapsed() > patience {
            return Err(Failure::message(what));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
