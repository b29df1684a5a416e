//! What a claim costs while a large batch waits, and while it is paused. Nobody works: this process claims, one job at a time.

use std::time::{Duration, Instant};

use job::{AccountName, Micros, Model};
use queue::{AccountLimits, Budgets, PauseOf, ServerFigures, SubmitAsk, SubmitClaim};

use super::{Context, Scenario};
use crate::app::queue_failure;
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::figures::{Figures, Unit};
use crate::commands::bench::setup::{AccountSetup, BATCH, lines};
use crate::commands::bench::spread::Spread;
use crate::commands::bench::world::{World, batch};
use crate::failure::Failure;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pause-cost",
    about: "2,000 claims with a batch of 50,000 (JOBS) waiting, and 2,000 with it paused, in turns of 10; no workers",
    scale: 1,
    workers: 1,
    jobs: 50_000,
    bounds: &[Bound::AtMost("claim_cost_change", 0.1)],
    run: |context| Box::pin(pause_cost(context)),
};

/// Turns of each kind, and claims in a turn: so short that whatever else the machine does meets both kinds alike.
const TURNS: usize = 200;
const CLAIMS: usize = 10;

/// Jobs of another batch, which are claimed in any case: more than all claims together.
const OTHERS: usize = 2 * TURNS * CLAIMS + CLAIMS;

/// One kind of turn.
#[derive(Default)]
struct Side {
    claims_us: Vec<f64>,
    redis: Duration,
}

impl Side {
    fn median_us(&self) -> Option<f64> {
        self.claims_us.iter().copied().collect::<Spread>().median()
    }
}

async fn pause_cost(context: &Context<'_>) -> Result<Figures, Failure> {
    let setup = context.setup(vec![AccountSetup { name: "pauses", ..AccountSetup::documented() }]);
    let world = World::start(context.app, &setup).await?;
    world.enqueue(BATCH, &setup.input()).await?;
    world.enqueue("others", &lines(setup.seed, "o", OTHERS)).await?;
    let ask = SubmitAsk {
        account: AccountName::parse("pauses").expect("the name is a plain word"),
        region: None,
        model: Model::Wan27Image,
        limits: AccountLimits { create_per_second: 1e6, in_flight: 1_000_000, ..AccountLimits::default() },
        weight: 1,
        others: Vec::new(),
        send_within: Duration::from_secs(5),
        lead: Duration::ZERO,
        price: Micros(0),
        budgets: Budgets::default(),
        probe_window: Duration::from_secs(60),
    };
    let large = PauseOf::Batch(batch());
    let (mut waiting, mut paused, mut pauses_us) = (Side::default(), Side::default(), Vec::new());
    // The first turn loads the script and fills caches.
    turn(&world, &ask, &mut Side::default()).await?;
    for number in 0..TURNS {
        // Either kind comes first as often, so that a queue which changes meanwhile changes for both.
        let waits_first = number % 2 == 0;
        if waits_first {
            turn(&world, &ask, &mut waiting).await?;
        }
        let began = Instant::now();
        let pause = world.queue.pause(&large, "bench", "to see what that costs").await;
        pause.map_err(|error| queue_failure(error, "pause the batch"))?;
        pauses_us.push(began.elapsed().as_secs_f64() * 1e6);
        turn(&world, &ask, &mut paused).await?;
        world.queue.resume(&large).await.map_err(|error| queue_failure(error, "resume the batch"))?;
        if !waits_first {
            turn(&world, &ask, &mut waiting).await?;
        }
    }
    world.end().await;

    let mut figures = Figures::default();
    figures.add("jobs", "jobs of the large batch", Unit::Count, setup.jobs as f64);
    for (name, label, side) in [("waiting", "it waits", &waiting), ("paused", "it is paused", &paused)] {
        let label = format!("a claim while {label}");
        figures.add_known(format!("claim_{name}_us"), label.clone(), Unit::Micros, side.median_us());
        let redis_us = side.redis.as_secs_f64() * 1e6 / side.claims_us.len().max(1) as f64;
        figures.add(format!("claim_{name}_redis_us"), format!("{label}, in Redis"), Unit::Micros, redis_us);
    }
    let change = waiting.median_us().zip(paused.median_us()).map(|(waiting, paused)| paused / waiting - 1.0);
    figures.add_known("claim_cost_change", "a claim costs more while it is paused by", Unit::Share, change);
    let pause = pauses_us.into_iter().collect::<Spread>().median();
    figures.add_known("pause_us", "the pause itself", Unit::Micros, pause);
    Ok(figures)
}

async fn turn(world: &World, ask: &SubmitAsk, side: &mut Side) -> Result<(), Failure> {
    let before = world.redis_figures().await?;
    for _ in 0..CLAIMS {
        let nonce = world.queue.nonce();
        let began = Instant::now();
        let claim = world.queue.claim_submit(ask, &nonce).await;
        let took = began.elapsed();
        match claim.map_err(|error| queue_failure(error, "claim a job"))? {
            SubmitClaim::Claimed { .. } => side.claims_us.push(took.as_secs_f64() * 1e6),
            SubmitClaim::Wait { why, .. } => {
                return Err(Failure::message(format!("no job was claimed: {why:?}")));
            }
        }
    }
    side.redis += scripts_time(&world.redis_figures().await?.since(&before));
    Ok(())
}

fn scripts_time(done: &ServerFigures) -> Duration {
    ["eval", "evalsha"].iter().filter_map(|name| done.by_command.get(*name)).map(|command| command.time).sum()
}
