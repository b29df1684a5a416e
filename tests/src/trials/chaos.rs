//! Workers die all the time, answers are lost, Redis and the store go away: nothing is lost, nothing is paid twice.

use std::time::{Duration, Instant};

use anyhow::Context;
use dashscope_sim::{Act, BySize, Config, Durations, Fault, Latency, Limits, On};
use jiff::Timestamp;
use job::StateName;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::feed::Feed;
use super::{keep_if_bad, nobody_paid_twice, nothing_amiss};
use crate::workload::{self, Sizes};
use crate::{
    Fleet, Haste, Kill, Moved, RedisServer, Report, SeaweedFs, World, moved, quantile, resolve_all, wall_now,
};

/// How long, how much, how hard.
#[derive(Debug, Clone)]
pub struct ChaosPlan {
    /// Chooses the jobs and the times of the kills.
    pub seed: u64,
    /// How long faults go on.
    pub run: Duration,
    /// Jobs, enqueued over that time.
    pub jobs: usize,
    /// Creates in a second, of all workers together.
    pub create_per_second: u32,
    /// Workers at once.
    pub workers: usize,
    /// The shortest time between two kills.
    pub kill_from: Duration,
    /// The longest.
    pub kill_to: Duration,
    /// How often Redis is killed.
    pub redis_kills: u32,
    /// How often the store is cut off.
    pub store_cuts: u32,
    /// For how long each time.
    pub store_away: Duration,
    /// The times of the workers.
    pub haste: Haste,
    /// How long the polls and copies of a killed worker may wait for another one, at the 99th percentile.
    pub moved_p99_max: Duration,
    /// How many jobs may be held, of each hundred.
    pub held_percent_max: f64,
}

impl ChaosPlan {
    /// Faults for so many minutes.
    pub fn minutes(minutes: u64) -> Self {
        let short = minutes < 5;
        Self {
            seed: 1,
            run: Duration::from_secs(60 * minutes),
            jobs: if short { 600 * minutes } else { 520 * minutes } as usize,
            // Four times what the API page grants an account, so that the jobs get through in that time. Without a limit all creates of
            // a batch would come within a moment, and no account lets them.
            create_per_second: 20,
            workers: 4,
            kill_from: Duration::from_millis(500),
            kill_to: Duration::from_secs(3),
            redis_kills: if short { 2 } else { 5 },
            store_cuts: 2,
            store_away: Duration::from_secs(if short { 5 } else { 30 }),
            haste: Haste::default(),
            moved_p99_max: Duration::from_secs(15),
            held_percent_max: 1.0,
        }
    }
}

/// Runs it.
pub async fn chaos(plan: &ChaosPlan) -> anyhow::Result<Report> {
    let delay = |on| Fault::new(on, Act::Delay { ms: 120 });
    let mut cut = Fault::new(On::Create, Act::AcceptThenCut);
    cut.when.rate = Some(0.01);
    let spread = BySize::all(Latency::LogNormal { p5_ms: 500, p95_ms: 3_000 });
    let config = Config {
        seed: plan.seed,
        limits: Limits { list_lag_ms: 500, ..Limits::unlimited(32) },
        durations: Durations { pro: spread.clone(), standard: spread, ..Durations::default() },
        create_latency: Latency::Fixed { ms: 40 },
        // Questions and downloads that take a while are what a kill finds under way.
        faults: vec![cut, delay(On::Query), delay(On::Result)],
        ..Config::default()
    };
    let mut world = World::with(config).await?;
    world.write("haste.toml", &plan.haste.toml())?;
    let lines = workload::mixed(plan.seed, plan.jobs, Sizes::Small);
    let feed = Feed::write(&world, "batch", &lines, 30)?;
    let imagemill = world.imagemill.with("IMAGEMILL_CONFIG", "haste.toml");
    let imagemill = imagemill.with("IMAGEMILL_CREATE_PER_SECOND", plan.create_per_second);
    imagemill.run(&["--version"]).await?; // builds it, where that is needed
    let mut fleet = Fleet::new(&world, &imagemill);
    let outcome = run(plan, &mut world, &mut fleet, feed, &imagemill).await;
    keep_if_bad(&mut world, &outcome);
    outcome
}

async fn run(
    plan: &ChaosPlan,
    world: &mut World,
    fleet: &mut Fleet,
    feed: Feed,
    imagemill: &crate::Imagemill,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let until = Instant::now() + plan.run;
    // Enqueueing ends a little earlier, so that the last batch is under fire as well.
    let feeding = feed.run(imagemill, plan.run * 9 / 10);
    let (killing, redis, store, fed) = tokio::join!(
        kill_workers(plan, fleet, until),
        kill_redis(plan, &mut world.redis),
        cut_store(plan, &mut world.store),
        feeding,
    );
    let (kills, restarted) = killing?;
    let outages = redis.context("Redis did not come back")?;
    let cuts = store.context("the store did not come back")?;
    fed?;
    fleet.kill_all();
    let started = Instant::now();
    fleet.finish(Duration::from_secs(300)).await?;
    report.say("workers started", fleet.started());
    report.say("workers killed with -9", kills.len());
    report.say("workers that found Redis or the store away", restarted);
    report.say("Redis killed with -9", outages.len());
    report.say("the store cut off", format_args!("{} × {:?}", plan.store_cuts, plan.store_away));
    report.say("the last worker was done after", format_args!("{:.1} s", started.elapsed().as_secs_f64()));

    nobody_paid_twice(world, &mut report);
    let checked = world.check_all_accounted_for().await?;
    let held = checked.jobs.get(&StateName::Held).copied().unwrap_or(0);
    let all: u64 = checked.jobs.values().sum();
    report.say("jobs", format_args!("{:?}", checked.jobs));
    report.bound(all == plan.jobs as u64, format!("{all} jobs of {} are there", plan.jobs));
    report.bound(
        held as f64 <= plan.jobs as f64 * plan.held_percent_max / 100.0,
        format!("{held} of {} jobs are held", plan.jobs),
    );
    let rare = world.simulator.faults().report().into_iter().find(|fault| fault.act == "accept_then_cut");
    report.say("creates whose answer was lost", rare.map_or(0, |fault| fault.struck));
    movement(plan, fleet, &kills, &[outages, cuts].concat(), &mut report)?;
    nothing_amiss(world, fleet, &mut report).await?;

    let resolved = resolve_all(world, fleet).await?;
    report.say(
        "held jobs resolved",
        format_args!("{} adopted, {} sent again", resolved.adopted, resolved.resubmitted),
    );
    let checked = world.check_all_accounted_for().await?;
    let done = checked.jobs.get(&StateName::Succeeded).copied().unwrap_or(0);
    report.bound(done == all, format!("after all was resolved: {:?}", checked.jobs));
    report.bound(checked.tasks == done, format!("{} tasks for {done} jobs", checked.tasks));
    report.say("images billed, stored", format_args!("{}, {}", checked.billed, checked.images));
    report.bound(
        checked.billed == checked.images,
        format!("{} billed, {} stored", checked.billed, checked.images),
    );
    nobody_paid_twice(world, &mut report);
    nothing_amiss(world, fleet, &mut report).await?;
    Ok(report)
}

/// Kills one worker after the other, and puts a new one in its place. Also how many ended by themselves, since Redis or the store
/// was away when they began.
async fn kill_workers(
    plan: &ChaosPlan,
    fleet: &mut Fleet,
    until: Instant,
) -> anyhow::Result<(Vec<Kill>, usize)> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let (mut kills, mut restarted) = (Vec::new(), 0);
    for _ in 0..plan.workers {
        fleet.start()?;
    }
    loop {
        let wait = rng.random_range(plan.kill_from.as_millis() as u64..=plan.kill_to.as_millis() as u64);
        let next = Instant::now() + Duration::from_millis(wait);
        while Instant::now() < next {
            restarted += fleet.replace_ended()?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if Instant::now() >= until {
            return Ok((kills, restarted));
        }
        kills.push(fleet.kill(rng.random_range(0..plan.workers)));
        fleet.start()?;
    }
}

/// Kills Redis now and then. When it was away: from each kill until workers may act on lost leases again.
async fn kill_redis(
    plan: &ChaosPlan,
    redis: &mut RedisServer,
) -> anyhow::Result<Vec<(Timestamp, Timestamp)>> {
    let mut outages = Vec::new();
    for _ in 0..plan.redis_kills {
        tokio::time::sleep(plan.run / (plan.redis_kills + 1)).await;
        let from = wall_now();
        redis.kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        redis.restart().await?;
        outages.push((from, wall_now() + plan.haste.lease + Duration::from_secs(3)));
    }
    Ok(outages)
}

/// Cuts off the store now and then. When no worker could begin: it refuses to without its bucket.
async fn cut_store(plan: &ChaosPlan, store: &mut SeaweedFs) -> anyhow::Result<Vec<(Timestamp, Timestamp)>> {
    let mut outages = Vec::new();
    for _ in 0..plan.store_cuts {
        tokio::time::sleep(plan.run / (plan.store_cuts + 2)).await;
        let from = wall_now();
        store.kill();
        tokio::time::sleep(plan.store_away).await;
        store.restart().await?;
        outages.push((from, wall_now() + plan.haste.lease + Duration::from_secs(3)));
    }
    Ok(outages)
}

fn movement(
    plan: &ChaosPlan,
    fleet: &Fleet,
    kills: &[Kill],
    outages: &[(Timestamp, Timestamp)],
    report: &mut Report,
) -> anyhow::Result<()> {
    let logs = fleet.logs()?;
    let rescues = logs.iter().flat_map(|log| &log.lines).filter(|line| line.is_rescue()).count();
    report.say("rescues", rescues);
    // With Redis away nobody claims, and with the store away no worker begins: the bound leaves both out.
    let calm = moved(&logs, kills, outages);
    let (first, again): (Vec<_>, Vec<_>) = calm.into_iter().partition(|moved| !moved.again);
    for (step, what) in [("poll", "polls"), ("archive", "copies")] {
        let mut usual = waits(&first, step);
        let p99 = quantile(&mut usual, 0.99);
        report.say(format!("{what} of killed workers: kill to next claim"), spread(usual));
        report.bound(
            p99.is_none_or(|p99| p99 <= plan.moved_p99_max.as_secs_f64()),
            format!("{what} of killed workers move on after {:.1} s at p99", p99.unwrap_or(0.0)),
        );
        report.say("  in a job that keeps losing its workers", spread(waits(&again, step)));
        report.say("  with all outages", spread(waits(&moved(&logs, kills, &[]), step)));
    }
    Ok(())
}

fn waits(moved: &[Moved], step: &str) -> Vec<f64> {
    moved
        .iter()
        .filter(|moved| moved.step == step)
        .filter_map(|moved| moved.after)
        .map(|after| after.as_secs_f64())
        .collect()
}

fn spread(mut waits: Vec<f64>) -> String {
    let (p50, p99) = (quantile(&mut waits, 0.5), quantile(&mut waits, 0.99));
    match (p50, p99, waits.last()) {
        (Some(p50), Some(p99), Some(max)) => {
            format!("p50 {p50:.1} s, p99 {p99:.1} s, max {max:.1} s of {}", waits.len())
        }
        _ => "none".to_owned(),
    }
}
