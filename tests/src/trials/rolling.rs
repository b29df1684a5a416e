//! Workers are replaced one after the other under load, as a deploy does: nobody notices.

use std::time::Duration;

use anyhow::ensure;
use dashscope_sim::{Config, Durations, Latency, Limits};
use job::StateName;

use super::feed::Feed;
use super::{keep_if_bad, nothing_amiss};
use crate::workload::{self, Sizes};
use crate::{Fleet, Report, World, quantile};

/// How long, how much, how strict.
#[derive(Debug, Clone)]
pub struct RollingPlan {
    /// Chooses the jobs.
    pub seed: u64,
    /// How often all workers are replaced, the first ones counted.
    pub generations: u32,
    /// Workers at once.
    pub workers: u32,
    /// The time between two replacements.
    pub every: Duration,
    /// Jobs, enqueued over the whole time.
    pub jobs: usize,
    /// How long a create takes to be answered.
    pub create: Duration,
    /// How late a step may begin, at the 99th percentile.
    pub late_p99_max: Duration,
    /// How late any step may begin.
    pub late_max: Duration,
    /// How long a worker may take to end.
    pub exit_max: Duration,
}

impl RollingPlan {
    /// Three generations of four.
    pub fn new(every: Duration, jobs: usize) -> Self {
        Self {
            seed: 1,
            generations: 3,
            workers: 4,
            every,
            jobs,
            create: Duration::from_millis(100),
            late_p99_max: Duration::from_secs(2),
            late_max: Duration::from_secs(2),
            exit_max: Duration::from_secs(1),
        }
    }
}

/// Runs it. Permits and places are free at all times, so that every step can begin when it is due.
pub async fn rolling(plan: &RollingPlan) -> anyhow::Result<Report> {
    let config = Config {
        seed: plan.seed,
        limits: Limits::unlimited(1_000),
        durations: Durations::fixed_ms(1_500),
        create_latency: Latency::Fixed { ms: plan.create.as_millis() as u64 },
        ..Config::default()
    };
    let mut world = World::with(config).await?;
    let imagemill = world.imagemill.with("IMAGEMILL_IN_FLIGHT", 1_000);
    imagemill.run(&["--version"]).await?;
    let mut fleet = Fleet::new(&world, &imagemill);
    let outcome = run(plan, &world, &mut fleet, &imagemill).await;
    keep_if_bad(&mut world, &outcome);
    outcome
}

async fn run(
    plan: &RollingPlan,
    world: &World,
    fleet: &mut Fleet,
    imagemill: &crate::Imagemill,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let replacements = (plan.generations - 1) * plan.workers;
    let time = plan.every * (replacements + 1);
    let lines = workload::mixed(plan.seed, plan.jobs, Sizes::Small);
    let feed = Feed::write(world, "batch", &lines, (time.as_secs() as usize).max(1))?;
    for _ in 0..plan.workers {
        fleet.start()?;
    }
    fleet.all_begun(Duration::from_secs(30)).await?;
    let (exits, fed) = tokio::join!(replace(plan, fleet, replacements), feed.run(imagemill, time));
    let mut exits = exits?;
    fed?;
    // The last generation drains the queue, and is told to go when nothing is left.
    fleet.finish(Duration::from_secs(120)).await?;
    while !fleet.members().is_empty() {
        exits.push(fleet.retire(0, Duration::from_secs(40)).await?);
    }

    let checked = world.check_all_accounted_for().await?;
    let totals = world.simulator.totals();
    let held = checked.jobs.get(&StateName::Held).copied().unwrap_or(0);
    report.say("workers started", fleet.started());
    report.say("jobs", format_args!("{:?}", checked.jobs));
    report.say("creates sent, tasks created", format_args!("{}, {}", totals.requests.creates, checked.tasks));
    report.bound(held == 0, format!("{held} jobs are held"));
    report.bound(
        totals.requests.creates == plan.jobs as u64,
        format!("{} creates for {} jobs", totals.requests.creates, plan.jobs),
    );
    exits.sort();
    let slowest = exits.last().copied().unwrap_or_default();
    report.say(
        "SIGTERM to exit",
        format_args!(
            "median {} ms, slowest {} ms of {}, with creates of {:?}",
            exits[exits.len() / 2].as_millis(),
            slowest.as_millis(),
            exits.len(),
            plan.create
        ),
    );
    report.bound(slowest <= plan.exit_max, format!("a worker took {slowest:?} to end"));
    lateness(plan, fleet, &mut report)?;
    nothing_amiss(world, fleet, &mut report).await?;
    Ok(report)
}

/// Each replacement begins before its predecessor is told to go: the load stays on the same number of workers.
async fn replace(plan: &RollingPlan, fleet: &mut Fleet, replacements: u32) -> anyhow::Result<Vec<Duration>> {
    let mut exits = Vec::new();
    for _ in 0..replacements {
        tokio::time::sleep(plan.every).await;
        fleet.start()?;
        fleet.all_begun(Duration::from_secs(30)).await?;
        exits.push(fleet.retire(0, Duration::from_secs(40)).await?);
    }
    Ok(exits)
}

fn lateness(plan: &RollingPlan, fleet: &Fleet, report: &mut Report) -> anyhow::Result<()> {
    let logs = fleet.logs()?;
    let rescues = logs.iter().flat_map(|log| &log.lines).filter(|line| line.is_rescue()).count();
    report.say("rescues", rescues);
    report.bound(rescues == 0, format!("{rescues} jobs were taken over"));
    let steps: Vec<_> = logs.iter().flat_map(crate::WorkerLog::steps).collect();
    ensure!(!steps.is_empty(), "the logs tell of no step");
    for name in ["submit", "poll", "archive"] {
        let of_step = steps.iter().filter(|step| step.step == name);
        let mut late: Vec<f64> = of_step.filter_map(|step| step.late_ms).map(|ms| ms as f64).collect();
        let (p50, p99) = (quantile(&mut late, 0.5), quantile(&mut late, 0.99));
        let (Some(p50), Some(p99), Some(&max)) = (p50, p99, late.last()) else {
            anyhow::bail!("the logs tell of no {name}");
        };
        report.say(
            format!("{name}: due to begin"),
            format_args!("p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms of {}", late.len()),
        );
        report.bound(
            p99 <= plan.late_p99_max.as_millis() as f64 && max <= plan.late_max.as_millis() as f64,
            format!("{name} begins late: p99 {p99:.0} ms, max {max:.0} ms"),
        );
    }
    Ok(())
}
