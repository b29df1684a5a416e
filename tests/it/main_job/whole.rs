use std::time::Duration;

use dashscope_sim::{Config, Durations, Limits, Pictures};
use job::StateName;
use rustix::process::Signal;
use tests::workload::{self, Sizes};
use tests::{Fleet, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_mixed_jobs_end_with_every_image_in_the_bucket_paid_for_once() {
    let world = World::quick().await.unwrap();
    world.write("prompts.jsonl", &workload::mixed(11, 1_000, Sizes::Small)).unwrap();
    let enqueued =
        world.imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "mixed", "--json"]).await.unwrap();
    let enqueued = enqueued.expect_code(0).json();
    assert_eq!(enqueued["enqueued"], 1_000, "{enqueued}");
    // With the sweep at its fastest, which must find nothing to put right: what is checked below counts it.
    world.write("sweeping.toml", "[worker]\nsweep_every = \"100ms\"\n").unwrap();
    let sweeping = world.imagemill.with("IMAGEMILL_CONFIG", "sweeping.toml");
    sweeping.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);

    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!((checked.jobs[&StateName::Succeeded], checked.tasks), (1_000, 1_000));
    let shown =
        world.imagemill.run(&["batch", "show", "mixed", "--json"]).await.unwrap().expect_code(0).json();
    assert_eq!(shown["state"], "done", "{shown}");
    assert_eq!(
        (&shown["jobs"]["total"], &shown["jobs"]["succeeded"]),
        (&1_000.into(), &1_000.into()),
        "{shown}"
    );
    assert_eq!(
        (&shown["images"]["billed"], &shown["images"]["stored"]),
        (&checked.images.into(), &checked.images.into())
    );

    // The same file again is the same jobs: nothing is enqueued, and nothing paid.
    let again =
        world.imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "mixed", "--json"]).await.unwrap();
    let again = again.expect_code(0).json();
    assert_eq!((&again["enqueued"], &again["duplicates"]), (&0.into(), &1_000.into()), "{again}");
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.check_all_succeeded().await.unwrap(), checked);
}

#[tokio::test(flavor = "multi_thread")]
async fn heavy_pictures_are_stored_whole() {
    let config = Config {
        limits: Limits::unlimited(16),
        durations: Durations::fixed_ms(100),
        pictures: Pictures::REAL_WEIGHT,
        ..Config::default()
    };
    let world = World::with(config).await.unwrap();
    world.write("prompts.jsonl", &workload::mixed(3, 6, Sizes::Large)).unwrap();
    world.imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "heavy"]).await.unwrap().expect_code(0);
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let checked = world.check_all_succeeded().await.unwrap();
    assert!(checked.bytes > 6 * 5_000_000, "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_limits_are_kept() {
    // The default limits of both sides: 5 creations a second, 5 at once, 20 queries a second.
    let world =
        World::with(Config { durations: Durations::fixed_ms(500), ..Config::default() }).await.unwrap();
    let imagemill = ["CREATE_PER_SECOND", "QUERIES_PER_SECOND", "IN_FLIGHT", "QUEUE_AHEAD"]
        .into_iter()
        .zip(["5", "20", "5", "5"])
        .fold(world.imagemill.clone(), |imagemill, (name, value)| {
            imagemill.with(&format!("IMAGEMILL_{name}"), value)
        });
    world.write("prompts.jsonl", &workload::mixed(5, 40, Sizes::Small)).unwrap();
    imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "slow"]).await.unwrap().expect_code(0);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    world.check_all_succeeded().await.unwrap();
    let totals = world.simulator.totals();
    assert_eq!(totals.throttled, Default::default(), "{totals:#?}");
    assert_eq!(totals.violations, Default::default(), "{totals:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_keep_the_create_rate_together_though_some_stand_still() {
    let world =
        World::with(Config { durations: Durations::fixed_ms(300), ..Config::default() }).await.unwrap();
    let imagemill = world.imagemill.with("IMAGEMILL_CREATE_PER_SECOND", "5");
    world.write("prompts.jsonl", &workload::mixed(6, 60, Sizes::Small)).unwrap();
    imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "many"]).await.unwrap().expect_code(0);
    let mut fleet = Fleet::new(&world, &imagemill);
    for _ in 0..4 {
        fleet.start().unwrap();
    }
    fleet.all_begun(Duration::from_secs(30)).await.unwrap();
    // One after the other stands still for a moment, between a claim and its create or anywhere else.
    for turn in 0..20 {
        let member = &fleet.members()[turn % 4].running;
        member.signal(Signal::STOP);
        tokio::time::sleep(Duration::from_millis(300)).await;
        member.signal(Signal::CONT);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fleet.finish(Duration::from_secs(60)).await.unwrap();
    world.check_all_succeeded().await.unwrap();
    // Queries that a stop bunches may be refused now and then: they are asked again, and cost nothing.
    let totals = world.simulator.totals();
    assert_eq!(totals.throttled.create_rate, 0, "{totals:#?}");
}
