//! Mixed jobs from file to bucket, everything checked.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dashscope_sim::{Config, Durations, Limits, Pictures};
use tests::World;
use tests::workload::{self, Sizes};

use crate::resident;

pub(crate) async fn run(jobs: usize, heavy: usize, seed: u64) -> anyhow::Result<()> {
    let light = Config {
        limits: Limits::unlimited(256),
        durations: Durations::fixed_ms(500),
        seed,
        ..Config::default()
    };
    one(&format!("{jobs} mixed jobs"), light, &workload::mixed(seed, jobs, Sizes::Small)).await?;
    let config = Config {
        limits: Limits::unlimited(64),
        durations: Durations::fixed_ms(500),
        pictures: Pictures::REAL_WEIGHT,
        seed,
        ..Config::default()
    };
    one(
        &format!("{heavy} jobs of real weight (2K and 4K)"),
        config,
        &workload::mixed(seed, heavy, Sizes::Large),
    )
    .await
}

async fn one(what: &str, config: Config, lines: &str) -> anyhow::Result<()> {
    let world = World::with(config).await?;
    let imagemill = world.imagemill.with("IMAGEMILL_IN_FLIGHT", 256);
    world.write("prompts.jsonl", lines)?;
    println!("== {what}");
    imagemill.run(&["--version"]).await?; // builds it, where that is needed: not to be measured
    let started = Instant::now();
    let enqueued = imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b", "--json"]).await?;
    ensure!(enqueued.code == 0, "{}", enqueued.stderr);
    println!("enqueued in              {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let mut worker = imagemill.start("worker", &["worker", "--until-idle"])?;
    let memory = resident::watch(worker.id());
    let status = tokio::task::block_in_place(|| worker.wait(Duration::from_secs(3_600)))?;
    let took = started.elapsed();
    ensure!(status.success(), "{status}\n{}", worker.log());
    let checked = world.check_all_succeeded().await.context("the check of jobs, objects and bills")?;
    println!("worker ran               {:.1} s", took.as_secs_f64());
    println!("worker's memory, at most {} MiB", memory.await?);
    println!("jobs                     {:?}", checked.jobs);
    println!("tasks created            {}", checked.tasks);
    println!("images billed, stored    {}, {}", checked.billed, checked.images);
    println!("bytes stored             {} ({:.1} MB)", checked.bytes, checked.bytes as f64 / 1e6);
    println!("every object is byte-equal to what the simulator served, and no other object is in the bucket");
    println!();
    Ok(())
}
