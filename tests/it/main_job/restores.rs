use std::time::Duration;

use dashscope_sim::{Config, Durations, Limits};
use job::StateName;
use tests::workload::{self, Sizes};
use tests::{Imagemill, World, eventually};

use super::crashes::{HASTY, hasty};

/// Tasks that last, and a rate at which a restore meets jobs in every state.
async fn world(jobs: usize) -> (World, Imagemill) {
    let limits = Limits { tasks_at_once: 400, pending_max: 400, ..Limits::unlimited(400) };
    let config = Config { limits, durations: Durations::fixed_ms(1_500), ..Config::default() };
    let world = World::with(config).await.unwrap();
    world.write("hasty.toml", HASTY).unwrap();
    world.write("prompts.jsonl", &workload::mixed(29, jobs, Sizes::Small)).unwrap();
    let imagemill =
        hasty(&world.imagemill).with("IMAGEMILL_CREATE_PER_SECOND", 40).with("IMAGEMILL_IN_FLIGHT", 200);
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
async fn a_redis_restored_from_an_older_copy_pays_nothing_twice() {
    let (mut world, imagemill) = world(200).await;
    let mut workers =
        [1, 2].map(|n| imagemill.start(&format!("worker-{n}"), &["worker", "--until-idle"]).unwrap());
    until_created(&world, 40).await;
    let copy = world.redis.copy_data().unwrap();
    until_created(&world, 110).await;
    world.redis.kill();
    world.redis.put_back(&copy).unwrap();
    world.redis.restart().await.unwrap();
    for worker in &mut workers {
        let status = worker.wait(Duration::from_secs(120)).unwrap();
        assert!(status.code().is_some_and(|code| code == 0 || code == 4), "{status}\n{}", worker.log());
        assert!(worker.log().contains("Redis went back in time"), "{}", worker.log());
    }
    // Creates that were unanswered when Redis died may have to be held; none is paid twice.
    let checked = world.check_all_accounted_for().await.unwrap();
    let held = checked.jobs.get(&StateName::Held).copied().unwrap_or(0);
    assert_eq!(checked.jobs[&StateName::Succeeded] + held, 200);
    assert!(held <= 5, "{checked:?}");
    let queue = world.redis.queue(98).await.unwrap();
    let note = queue.last_restore().await.unwrap().expect("a note of the restore");
    assert!(note.rewritten.taken >= 50 && note.rewritten.extra == 0, "{note:?}");
}
