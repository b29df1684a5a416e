//! Runs by hand that are left: broken off, killed, or asleep for longer than their lease.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{Running, World, eventually};

use super::refresh::{NEVER, SOON, catalogue, history, json, missed, schedule};

const ITEMS: usize = 5_000;

/// How many items have a job.
async fn there(world: &World) -> usize {
    let mut redis = world.redis.connection().await.unwrap();
    redis::cmd("HLEN").arg("{imagemill}:items:shoes").query_async(&mut redis).await.unwrap()
}

/// A run that is in the middle: it has enqueued something that was not there `before`.
async fn in_the_middle(world: &World, name: &str, before: usize) -> Running {
    let run = world.imagemill.start(name, &["schedule", "run", "shoes"]).unwrap();
    until_more_than(world, &run, before).await;
    run
}

async fn until_more_than(world: &World, running: &Running, before: usize) {
    let started = Instant::now();
    while there(world).await <= before {
        assert!(started.elapsed() < SOON, "{}", running.log());
        // Each look is a connection of its own, and without a pause they use up all ports of a busy machine.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same, once nothing more comes: what a process had sent when it was killed is still read.
async fn settled(world: &World) -> usize {
    let (mut before, started) = (usize::MAX, Instant::now());
    loop {
        let now = there(world).await;
        if now == before {
            return now;
        }
        assert!(started.elapsed() < SOON, "more and more comes: {now}");
        before = now;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// So many lines of the history, once there are as many.
async fn runs(world: &World, scheduler: &Running, number: usize) -> Vec<Value> {
    eventually("the end of the run that was left", SOON, || async {
        let runs = history(world).await;
        if runs.len() == number { Ok(runs) } else { Err(scheduler.log()) }
    })
    .await
}

async fn stop(mut scheduler: Running) {
    scheduler.signal(Signal::TERM);
    assert!(scheduler.wait(Duration::from_secs(20)).unwrap().success(), "{}", scheduler.log());
}

/// All batches, of which there are so many, get no more jobs; and no tick is begun.
async fn all_ended(world: &World, number: usize) {
    let listed = json(world, &["batch", "ls", "--json"]).await;
    let batches = listed["batches"].as_array().unwrap();
    assert!(batches.len() == number && batches.iter().all(|batch| batch["sealed"] == true), "{listed}");
    let state = json(world, &["schedule", "ls", "--json"]).await;
    assert!(state[0]["begun"].is_null(), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_that_is_broken_off_is_finished_by_nobody_and_its_batch_ends_also_while_a_pause_holds()
{
    let world = World::quick().await.unwrap();
    schedule(&world, NEVER, "refresh = \"always\"");
    world.write("shoes.jsonl", &catalogue(ITEMS, |_| "a shoe")).unwrap();
    world.imagemill.run(&["schedule", "pause", "shoes"]).await.unwrap().expect_code(0);
    let mut interrupted = in_the_middle(&world, "interrupted", 0).await;
    interrupted.signal(Signal::INT);
    let status = interrupted.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(130), "{}", interrupted.log());
    assert_eq!(history(&world).await.len(), 1);
    let before = there(&world).await;
    in_the_middle(&world, "killed", before).await.kill();
    let before = settled(&world).await;
    assert!(before < ITEMS, "{before} were there");
    // Nobody asked for the rest: a scheduler only ends it.
    let scheduler = world.imagemill.start("scheduler", &["scheduler"]).unwrap();
    let runs = runs(&world, &scheduler, 2).await;
    stop(scheduler).await;
    for run in &runs {
        assert_eq!(run["by_hand"], true, "{run}");
        assert!(run["error"].as_str().unwrap().contains("was broken off"), "{run}");
    }
    assert_eq!(there(&world).await, before);
    all_ended(&world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_ends_one_that_was_killed_and_has_a_batch_of_its_own() {
    let world = World::quick().await.unwrap();
    schedule(&world, NEVER, "refresh = \"always\"\nenabled = false");
    world.write("shoes.jsonl", &catalogue(ITEMS, |_| "a shoe")).unwrap();
    in_the_middle(&world, "killed", 0).await.kill();
    let before = settled(&world).await as u64;
    let done = eventually("another run", SOON, || async {
        // Until the killed one's lease has run out.
        let run = world.imagemill.run(&["schedule", "run", "shoes", "--json"]).await.unwrap();
        if run.code == 0 { Ok(run.json()) } else { Err(run.stderr) }
    })
    .await;
    assert_eq!((done["busy"].as_u64(), done["new"].as_u64()), (Some(before), Some(ITEMS as u64 - before)));
    let runs = history(&world).await;
    assert_eq!(runs.len(), 2, "{runs:#?}");
    assert!(runs[0]["error"].is_null() && runs[1]["error"].as_str().unwrap().contains("was broken off"));
    all_ended(&world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_that_wakes_after_its_end_was_written_adds_nothing_to_its_batch() {
    let world = World::quick().await.unwrap();
    schedule(&world, NEVER, "refresh = \"always\"");
    world.write("shoes.jsonl", &catalogue(ITEMS, |_| "a shoe")).unwrap();
    let mut asleep = in_the_middle(&world, "asleep", 0).await;
    asleep.signal(Signal::STOP);
    let before = settled(&world).await;
    assert!(before < ITEMS, "{before} were there");
    let scheduler = world.imagemill.start("scheduler", &["scheduler"]).unwrap();
    runs(&world, &scheduler, 1).await;
    stop(scheduler).await;
    asleep.signal(Signal::CONT);
    assert_eq!(asleep.wait(Duration::from_secs(20)).unwrap().code(), Some(1), "{}", asleep.log());
    assert!(asleep.log().contains("taken this tick over"), "{}", asleep.log());
    assert_eq!(there(&world).await, before);
    all_ended(&world, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_was_left_is_ended_and_not_done_once_its_schedule_is_switched_off() {
    let world = World::quick().await.unwrap();
    let cron = "0 * * * *";
    schedule(&world, cron, "");
    world.write("shoes.jsonl", &catalogue(ITEMS, |_| "a shoe")).unwrap();
    missed(&world, cron, Duration::from_secs(3_700)).await;
    let mut killed = world.imagemill.start("killed", &["scheduler"]).unwrap();
    until_more_than(&world, &killed, 0).await;
    killed.kill();
    let before = settled(&world).await;
    assert!(before < ITEMS, "{before} were there");
    let other = format!(
        "enabled = false\n[[schedules]]\nname = \"other\"\ncron = \"{NEVER}\"\nsource = \"other.jsonl\""
    );
    schedule(&world, cron, &other);
    // Another scheduler might have it on, and go on with it.
    let mut redis = world.redis.connection().await.unwrap();
    let lease = world.redis.queue(5).await.unwrap().now().as_millisecond() - 601_000;
    let _: () = redis::cmd("HSET")
        .arg("{imagemill}:schedule:shoes")
        .arg("lease")
        .arg(lease)
        .query_async(&mut redis)
        .await
        .unwrap();
    let scheduler = world.imagemill.start("scheduler", &["scheduler"]).unwrap();
    let runs = runs(&world, &scheduler, 1).await;
    stop(scheduler).await;
    assert!(runs[0]["error"].as_str().unwrap().contains("was switched off"), "{runs:#?}");
    assert!(runs[0]["batch"].is_string() && runs[0]["new"] == before, "{runs:#?}");
    assert_eq!(there(&world).await, before);
    all_ended(&world, 1).await;
}
