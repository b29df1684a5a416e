use std::time::{Duration, Instant};

use dashscope_sim::{Config, Durations, Latency, Limits};
use job::StateName;
use rustix_signal::TERM;
use tests::workload::{self, Sizes};
use tests::{World, eventually};

mod rustix_signal {
    pub(super) const TERM: rustix::process::Signal = rustix::process::Signal::TERM;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_leaves_at_once_and_another_one_carries_on() {
    // Tasks that last: a thousand of them are at the provider when the worker is told to go.
    let limits = Limits { tasks_at_once: 1_000, pending_max: 2_000, ..Limits::unlimited(1_000) };
    let config = Config {
        limits,
        durations: Durations::fixed_ms(20_000),
        create_latency: Latency::Fixed { ms: 50 },
        ..Config::default()
    };
    let world = World::with(config).await.unwrap();
    let imagemill = world.imagemill.with("IMAGEMILL_IN_FLIGHT", 1_000).with("IMAGEMILL_QUEUE_AHEAD", 0);
    world.write("prompts.jsonl", &workload::mixed(7, 1_000, Sizes::Small)).unwrap();
    imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);

    let mut first = imagemill.start("first", &["worker"]).unwrap();
    eventually("most tasks to be at the provider", Duration::from_secs(60), async || {
        let totals = world.simulator.totals().totals;
        if totals.tasks_created >= 800 { Ok(()) } else { Err(totals) }
    })
    .await;
    let told = Instant::now();
    first.signal(TERM);
    let status = first.wait(Duration::from_secs(40)).unwrap();
    // Creates are answered within 50 ms: a second is what is promised, the rest is for a busy machine.
    assert!(status.success(), "{status}\n{}", first.log());
    assert!(told.elapsed() < Duration::from_secs(5), "it took {:?}\n{}", told.elapsed(), first.log());

    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!(checked.jobs[&StateName::Succeeded], 1_000);
}
