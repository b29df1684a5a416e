use std::time::Duration;

use job::{Event, Job, StateName, TaskPhase};
use tests::eventually;

use super::{World, account, fast};

const HOLD: Duration = Duration::from_secs(60);

/// A job with a task that lost three workers while they asked about it, due again. The world's leases are short.
pub(super) async fn quarantined(world: &World) -> Job {
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    let mut rules = world.rules.clone();
    (rules.poll.first, rules.archive.first, rules.archive.cap) =
        (Duration::from_millis(1), Duration::from_millis(1), Duration::from_millis(1));
    let event =
        Event::TaskCreated { attempt: super::attempt(&job), task: "t".parse().unwrap(), request_id: None };
    let mut job = world.queue.commit(&job, event, &rules, None).await.unwrap().job;
    for rescues in 1..=3 {
        assert_eq!((job.alone, job.rescues), (false, rescues - 1));
        eventually("a poll to be due", Duration::from_secs(10), async || {
            let nonce = world.queue.nonce();
            let polls = world.queue.claim_polls(&account(), &fast(), 1, &nonce).await.unwrap();
            polls.jobs.into_iter().next().ok_or("nothing is due")
        })
        .await;
        job = rescue(world, &rules).await;
    }
    assert!(job.alone);
    job
}

/// Its worker vanishes, and somebody takes it over.
async fn rescue(world: &World, rules: &job::Rules) -> Job {
    let rescued = eventually("a rescue", Duration::from_secs(10), async || {
        let rescued = world.queue.rescue(1, &world.queue.nonce()).await.unwrap();
        rescued.jobs.into_iter().next().map(|(job, _)| job).ok_or("nobody")
    })
    .await;
    world.queue.commit(&rescued, Event::Rescued, rules, None).await.unwrap().job
}

async fn claim_alone(world: &World) -> Job {
    eventually("a job of the quarantine to be due", Duration::from_secs(10), async || {
        world.queue.claim_alone().await.unwrap().map(|claimed| claimed.job).ok_or("nothing is due")
    })
    .await
}

#[tokio::test]
async fn a_job_that_lost_three_workers_is_claimed_only_by_who_runs_it_alone() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    let job = quarantined(&world).await;
    world.check().await;
    assert_eq!(world.queue.quarantined().await.unwrap(), 1);
    eventually("the turn", Duration::from_secs(10), async || {
        if world.queue.take_quarantine_turn(HOLD).await.unwrap() { Ok(()) } else { Err("not due") }
    })
    .await;
    let other = world.redis.queue(8).await.unwrap();
    assert!(!other.take_quarantine_turn(HOLD).await.unwrap(), "it is one worker's turn");
    let polls = world.queue.claim_polls(&account(), &fast(), 10, &world.queue.nonce()).await.unwrap();
    assert!(polls.jobs.is_empty());

    let claimed = claim_alone(&world).await;
    assert_eq!((claimed.id, claimed.rescues), (job.id, 3));
    assert!(world.queue.claim_alone().await.unwrap().is_none());
    let going = Event::StillGoing { phase: TaskPhase::Running, began_after: None };
    let job = world.queue.commit(&claimed, going, &world.rules, None).await.unwrap().job;
    assert_eq!((job.alone, job.rescues), (false, 0));
    assert_eq!(world.queue.quarantined().await.unwrap(), 0);
    world.check().await;
}

#[tokio::test]
async fn a_job_whose_last_worker_vanished_as_well_is_held() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    quarantined(&world).await;
    claim_alone(&world).await;
    let job = rescue(&world, &world.rules).await;
    assert_eq!(job.state_name(), StateName::Held);
    assert_eq!(world.queue.quarantined().await.unwrap(), 0);
    world.check().await;
}
