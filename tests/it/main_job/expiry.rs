use std::time::Duration;

use dashscope_sim::{Config, Durations, Limits};
use job::StateName;
use tests::dying::Dying;
use tests::workload::{self, Sizes};
use tests::{World, eventually};

/// Copies go one after another, so that their order counts, and tasks are asked as soon as they are done.
const ONE_AT_A_TIME: &str = "[worker]\narchive_concurrency = 1\n\n[poll]\nfirst = \"1s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn links_that_die_at_mixed_times_are_all_copied_where_time_suffices() {
    // 60 copies of some 120 ms: first come, first served would reach the last short-lived link after 7 s.
    let lives = [6, 10, 14, 18, 22].map(Duration::from_secs).to_vec();
    let dying = Dying { jobs: 60, lives };
    let config = Config {
        limits: Limits::unlimited(64),
        durations: Durations::fixed_ms(300),
        faults: dying.faults(Duration::from_millis(80)),
        ..Config::default()
    };
    let world = World::with(config).await.unwrap();
    world.write("one.toml", ONE_AT_A_TIME).unwrap();
    world.write("prompts.jsonl", &dying.lines()).unwrap();
    let imagemill = world.imagemill.with("IMAGEMILL_CONFIG", "one.toml");
    imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!(checked.jobs[&StateName::Succeeded], 60);
    let shown = imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().expect_code(0).json();
    assert_eq!(shown["lost"]["images"], 0, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_before_it_can_be_copied_is_said_with_its_cost() {
    // Dead before anybody can look; the other is well.
    let dying = Dying { jobs: 2, lives: [0, 3_600].map(Duration::from_secs).to_vec() };
    let config = Config {
        limits: Limits::unlimited(64),
        durations: Durations::fixed_ms(100),
        faults: dying.faults(Duration::ZERO),
        ..Config::default()
    };
    let world = World::with(config).await.unwrap();
    world.write("prompts.jsonl", &dying.lines()).unwrap();
    world.imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let worker = world.imagemill.run(&["worker", "--until-idle"]).await.unwrap();
    assert!(
        worker.stderr.contains("expired: 1 billed image can no longer be had, 0.03 USD are lost"),
        "{}",
        worker.stderr
    );
    let checked = world.check_all_over().await.unwrap();
    assert_eq!((checked.jobs[&StateName::Succeeded], checked.jobs[&StateName::Expired]), (1, 1));
    let shown = world.imagemill.run(&["batch", "show", "b"]).await.unwrap().stdout;
    assert!(shown.contains("1 image billed and not in the bucket, 0.03 USD"), "{shown}");
    let job = world.imagemill.run(&["job", "show", "job-000000", "--batch", "b"]).await.unwrap().stdout;
    assert!(
        job.contains("expired") && job.contains("1 image billed and not in the bucket, 0.03 USD"),
        "{job}"
    );
    let status = world.imagemill.run(&["status", "--json"]).await.unwrap().expect_code(0).json();
    assert_eq!((&status["lost"]["images"], &status["lost"]["cost"]["micros"]), (&1.into(), &30_000.into()));
}

/// How long the store is away.
const OUTAGE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_half_a_minute_under_load_loses_no_image() {
    let mut world = World::quick().await.unwrap();
    world.write("prompts.jsonl", &workload::mixed(41, 400, Sizes::Small)).unwrap();
    world.imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let mut worker = world.imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    eventually("images to be copied", Duration::from_secs(60), async || {
        let shown = world.imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().json();
        if shown["images"]["stored"].as_u64() >= Some(20) { Ok(()) } else { Err(shown) }
    })
    .await;
    world.store.kill();
    tokio::time::sleep(OUTAGE).await;
    let shown = world.imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().json();
    assert_eq!((&shown["jobs"]["failed"], &shown["jobs"]["expired"]), (&0.into(), &0.into()), "{shown}");
    world.store.restart().await.unwrap();
    let status = worker.wait(Duration::from_secs(240)).unwrap();
    assert!(status.success(), "{status}\n{}", worker.log());
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!(checked.jobs[&StateName::Succeeded], 400);
}
