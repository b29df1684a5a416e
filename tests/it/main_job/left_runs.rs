//! Runs by hand that are left: broken off, killed, or asleep for longer than their lease.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use serde_json::Value;
use tests::{Running, World, eventually};

use super::refresh::{NEVER, SOON, catalogue, history, json, missed, schedule};

const ITEMS: usize = 5_000;

/// A catalogue, and a look at how many of its items have a job.
struct Catalogue {
    world: World,
    redis: MultiplexedConnection,
}

impl Catalogue {
    async fn new(cron: &str, more: &str) -> Self {
        let world = World::quick().await.unwrap();
        schedule(&world, cron, more);
        world.write("shoes.jsonl", &catalogue(ITEMS, |_| "a shoe")).unwrap();
        let redis = world.redis.connection().await.unwrap();
        Self { world, redis }
    }

    async fn there(&mut self) -> usize {
        redis::cmd("HLEN").arg("{imagemill}:items:shoes").query_async(&mut self.redis).await.unwrap()
    }

    /// A process that is in the middle: it has enqueued something that was not there before.
    async fn in_the_middle(&mut self, name: &str, arguments: &[&str]) -> Running {
        let before = self.there().await;
        let running = self.world.imagemill.start(name, arguments).unwrap();
        let started = Instant::now();
        while self.there().await <= before {
            assert!(started.elapsed() < SOON, "{}", running.log());
        }
        running
    }

    /// How many there are, and not all, once nothing more comes: what a process had sent when it was killed is still read.
    async fn settled(&mut self) -> usize {
        let (mut before, started) = (usize::MAX, Instant::now());
        loop {
            let now = self.there().await;
            if now == before {
                assert!(now < ITEMS, "{now} were there");
                return now;
            }
            assert!(started.elapsed() < SOON, "more and more comes: {now}");
            before = now;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// What is written down of runs by a scheduler that works until there are so many lines of the history.
    async fn seen_to(&self, number: usize) -> Vec<Value> {
        let mut scheduler = self.world.imagemill.start("scheduler", &["scheduler"]).unwrap();
        let runs = eventually("the end of the run that was left", SOON, || async {
            let runs = history(&self.world).await;
            if runs.len() == number { Ok(runs) } else { Err(scheduler.log()) }
        })
        .await;
        scheduler.signal(Signal::TERM);
        assert!(scheduler.wait(Duration::from_secs(20)).unwrap().success(), "{}", scheduler.log());
        runs
    }

    /// All batches, of which there are so many, get no more jobs; and no tick is begun.
    async fn all_ended(&self, number: usize) {
        let listed = json(&self.world, &["batch", "ls", "--json"]).await;
        let batches = listed["batches"].as_array().unwrap();
        assert!(batches.len() == number && batches.iter().all(|batch| batch["sealed"] == true), "{listed}");
        let state = json(&self.world, &["schedule", "ls", "--json"]).await;
        assert!(state[0]["begun"].is_null(), "{state}");
    }
}

const RUN: [&str; 3] = ["schedule", "run", "shoes"];

const ALWAYS: &str = "refresh = \"always\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_that_is_broken_off_is_finished_by_nobody_and_its_batch_ends_also_while_a_pause_holds()
{
    let mut shoes = Catalogue::new(NEVER, ALWAYS).await;
    shoes.world.imagemill.run(&["schedule", "pause", "shoes"]).await.unwrap().expect_code(0);
    let mut interrupted = shoes.in_the_middle("interrupted", &RUN).await;
    interrupted.signal(Signal::INT);
    let status = interrupted.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(130), "{}", interrupted.log());
    assert_eq!(history(&shoes.world).await.len(), 1);
    shoes.in_the_middle("killed", &RUN).await.kill();
    let before = shoes.settled().await;
    // Nobody asked for the rest: a scheduler only ends it.
    for run in &shoes.seen_to(2).await {
        assert_eq!(run["by_hand"], true, "{run}");
        assert!(run["error"].as_str().unwrap().contains("was broken off"), "{run}");
    }
    assert_eq!(shoes.there().await, before);
    shoes.all_ended(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_ends_one_that_was_killed_and_has_a_batch_of_its_own() {
    let mut shoes = Catalogue::new(NEVER, &format!("{ALWAYS}\nenabled = false")).await;
    shoes.in_the_middle("killed", &RUN).await.kill();
    let before = shoes.settled().await as u64;
    let done = eventually("another run", SOON, || async {
        // Until the killed one's lease has run out.
        let run = shoes.world.imagemill.run(&[&RUN[..], &["--json"]].concat()).await.unwrap();
        if run.code == 0 { Ok(run.json()) } else { Err(run.stderr) }
    })
    .await;
    assert_eq!((done["busy"].as_u64(), done["new"].as_u64()), (Some(before), Some(ITEMS as u64 - before)));
    let runs = history(&shoes.world).await;
    assert_eq!(runs.len(), 2, "{runs:#?}");
    assert!(runs[0]["error"].is_null() && runs[1]["error"].as_str().unwrap().contains("was broken off"));
    shoes.all_ended(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_that_wakes_after_its_end_was_written_adds_nothing_to_its_batch() {
    let mut shoes = Catalogue::new(NEVER, ALWAYS).await;
    let mut asleep = shoes.in_the_middle("asleep", &RUN).await;
    asleep.signal(Signal::STOP);
    let before = shoes.settled().await;
    shoes.seen_to(1).await;
    asleep.signal(Signal::CONT);
    assert_eq!(asleep.wait(Duration::from_secs(20)).unwrap().code(), Some(1), "{}", asleep.log());
    assert!(asleep.log().contains("taken this tick over"), "{}", asleep.log());
    assert_eq!(shoes.there().await, before);
    shoes.all_ended(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_was_left_is_ended_and_not_done_once_its_schedule_is_switched_off() {
    let cron = "0 * * * *";
    let mut shoes = Catalogue::new(cron, "").await;
    missed(&shoes.world, cron, Duration::from_secs(3_700)).await;
    shoes.in_the_middle("killed", &["scheduler"]).await.kill();
    let before = shoes.settled().await;
    let other = format!(
        "enabled = false\n[[schedules]]\nname = \"other\"\ncron = \"{NEVER}\"\nsource = \"other.jsonl\""
    );
    schedule(&shoes.world, cron, &other);
    // As if the lease had ended so long ago: till then another scheduler might have the schedule on.
    let lease = shoes.world.redis.queue(5).await.unwrap().now().as_millisecond() - 601_000;
    let mut set = redis::cmd("HSET");
    set.arg("{imagemill}:schedule:shoes").arg("lease").arg(lease);
    let _: () = set.query_async(&mut shoes.redis).await.unwrap();
    let runs = shoes.seen_to(1).await;
    assert!(runs[0]["error"].as_str().unwrap().contains("was switched off"), "{runs:#?}");
    assert!(runs[0]["batch"].is_string() && runs[0]["new"] == before, "{runs:#?}");
    assert_eq!(shoes.there().await, before);
    shoes.all_ended(1).await;
}
