use std::time::Duration;

use job::StateName;
use tests::workload::{self, Sizes};
use tests::{Imagemill, World, eventually};

/// The binary with times that fit a test: what takes minutes by default takes seconds.
fn hasty(imagemill: &Imagemill) -> Imagemill {
    imagemill.with("IMAGEMILL_CONFIG", "hasty.toml")
}

/// Short leases and settling times. The properties do not depend on them.
pub(super) const HASTY: &str = r#"
[redis]
lease = "2s"

[worker]
renew_every = "500ms"
renewal_age_max = "1s"
rescue_every = "250ms"
send_within = "1s"
create_timeout = "2s"
held_request_timeout = "3s"

[settle]
lag = "500ms"
idle_control = "5s"
clock_margin = "500ms"
first = "1s"
cap = "2s"
give_up_after = "15s"
"#;

async fn world(jobs: usize) -> (World, Imagemill) {
    let world = World::quick().await.unwrap();
    world.write("hasty.toml", HASTY).unwrap();
    world.write("prompts.jsonl", &workload::mixed(23, jobs, Sizes::Small)).unwrap();
    let imagemill = hasty(&world.imagemill);
    imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    (world, imagemill)
}

async fn until_created(world: &World, tasks: u64) {
    eventually("tasks to be created", Duration::from_secs(60), async || {
        let totals = world.simulator.totals().totals;
        if totals.tasks_created >= tasks { Ok(()) } else { Err(totals) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_loses_nothing_and_pays_nothing_twice() {
    let (world, imagemill) = world(400).await;
    for round in 1..=3 {
        let mut worker = imagemill.start("killed", &["worker"]).unwrap();
        until_created(&world, round * 80).await;
        worker.kill();
    }
    let last = imagemill.run(&["worker", "--until-idle"]).await.unwrap();
    let checked = world.check_all_accounted_for().await.unwrap();
    // A kill catches a few creates on the wire. They are told apart by their times; at two thousand creates a second some lie
    // closer together than a create's own time differs, and these are held for a person, and not paid for again.
    let held = checked.jobs.get(&StateName::Held).copied().unwrap_or(0);
    assert_eq!(checked.jobs[&StateName::Succeeded] + held, 400);
    assert!(held <= 30, "{checked:?}");
    last.expect_code(if held > 0 { 4 } else { 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_loses_nothing_and_pays_nothing_twice() {
    let (mut world, imagemill) = world(400).await;
    let mut worker = imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    for round in 1..=2 {
        until_created(&world, round * 100).await;
        world.redis.kill();
        world.redis.restart().await.unwrap();
    }
    let status = worker.wait(Duration::from_secs(120)).unwrap();
    assert!(status.success(), "{status}\n{}", worker.log());
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!(checked.jobs[&StateName::Succeeded], 400);
}
