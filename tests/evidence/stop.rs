//! A worker that is told to stop while a thousand tasks are at the provider.

use std::time::{Duration, Instant};

use anyhow::ensure;
use dashscope_sim::{Config, Durations, Latency, Limits};
use rustix::process::Signal;
use tests::World;
use tests::workload::{self, Sizes};

pub(crate) async fn run(tasks: usize, create_ms: u64) -> anyhow::Result<()> {
    let config = Config {
        limits: Limits::unlimited(u32::try_from(tasks)?),
        durations: Durations::fixed_ms(30_000),
        create_latency: Latency::Fixed { ms: create_ms },
        ..Config::default()
    };
    let world = World::with(config).await?;
    // More jobs than places: creates are always under way.
    let imagemill = world.imagemill.with("IMAGEMILL_IN_FLIGHT", tasks + 500).with("IMAGEMILL_QUEUE_AHEAD", 0);
    imagemill.run(&["--version"]).await?;
    world.write("prompts.jsonl", &workload::mixed(1, tasks + 500, Sizes::Small))?;
    ensure!(imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await?.code == 0, "enqueue failed");
    println!("== SIGTERM with {tasks} tasks at the provider, creates answered after {create_ms} ms");
    let mut worker = imagemill.start("worker", &["worker"])?;
    let started = Instant::now();
    while world.simulator.totals().totals.tasks_created < tasks as u64 {
        ensure!(started.elapsed() < Duration::from_secs(120), "the tasks are not created in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let told = Instant::now();
    worker.signal(Signal::TERM);
    let status = tokio::task::block_in_place(|| worker.wait(Duration::from_secs(60)))?;
    let took = told.elapsed();
    ensure!(status.success(), "{status}\n{}", worker.log());
    let created = world.simulator.totals().totals.tasks_created;
    println!("exit after               {:.0} ms, {created} tasks created by then", took.as_secs_f64() * 1e3);
    let started = Instant::now();
    let rest = imagemill.run(&["worker", "--until-idle"]).await?;
    ensure!(rest.code == 0, "{}", rest.stderr);
    let checked = world.check_all_succeeded().await?;
    println!(
        "another worker           carried on and was done after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    println!("jobs, tasks, images      {:?}, {}, {}", checked.jobs, checked.tasks, checked.images);
    println!();
    Ok(())
}
