//! A Redis that was restored from an older copy of itself.

use std::time::Duration;

use job::{Event, Job, StateName};
use queue::{CommitError, Rewritten, WhyWait};
use redis::aio::MultiplexedConnection;
use tests::eventually;

use super::{World, account, ask, fast};

/// Every key as it is now.
struct Backup(Vec<(String, Vec<u8>)>);

impl Backup {
    async fn take(connection: &mut MultiplexedConnection) -> Self {
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(connection).await.unwrap();
        let mut all = Vec::new();
        for key in keys {
            let dump: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(connection).await.unwrap();
            all.extend(dump.map(|dump| (key, dump)));
        }
        Self(all)
    }

    async fn restore(&self, connection: &mut MultiplexedConnection) {
        let () = redis::cmd("FLUSHALL").query_async(connection).await.unwrap();
        for (key, dump) in &self.0 {
            let () = redis::cmd("RESTORE").arg(key).arg(0).arg(dump).query_async(connection).await.unwrap();
        }
    }
}

async fn rescued(world: &World) -> Job {
    eventually("a rescue", Duration::from_secs(5), async || {
        let rescued = world.queue.rescue(10, &world.queue.nonce()).await.unwrap();
        rescued.jobs.into_iter().next().ok_or("none").map(|(job, _)| job)
    })
    .await
}

#[tokio::test]
async fn a_zombie_of_before_a_restore_never_commits_over_its_successor() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    let mut connection = world.redis.connection().await.unwrap();
    world.enqueue("b", 1).await;
    let submitting = world.claim().await.unwrap();
    world.created(&submitting, "t").await;
    let backup = Backup::take(&mut connection).await;
    let due = async || {
        eventually("a poll to be due", Duration::from_secs(10), async || {
            let nonce = world.queue.nonce();
            let claimed = world.queue.claim_polls(&account(), &fast(), 10, &nonce).await.unwrap();
            claimed.jobs.into_iter().next().ok_or("none").map(|claimed| claimed.job)
        })
        .await
    };
    let zombie = due().await;
    backup.restore(&mut connection).await;
    // The restored record knows nothing of the zombie's claim: one that only counts would give its fence and version again.
    let successor = due().await;
    assert!(successor.fence > zombie.fence && successor.version > zombie.version, "{successor:?}");
    let late = world.queue.commit(&zombie, Event::TaskUnknown, &world.rules, None).await;
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    let event = Event::StillGoing { phase: job::TaskPhase::Running, began_after: None };
    let after = world.queue.commit(&successor, event, &world.rules, None).await.unwrap().job;
    assert_eq!(after.state_name(), StateName::Polling);

    // The same for a rescue.
    let zombie = due().await;
    let backup = Backup::take(&mut connection).await;
    let first = rescued(&world).await;
    backup.restore(&mut connection).await;
    let second = rescued(&world).await;
    assert!(second.fence > first.fence && first.fence > zombie.fence);
    let late = world.queue.commit(&first, Event::Rescued, &world.rules, None).await;
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    world.check().await;
}

const HOLD: Duration = Duration::from_millis(600);

#[tokio::test]
async fn nothing_is_claimed_from_an_older_redis_until_every_worker_has_had_its_say() {
    let world = World::new().await;
    let other = world.redis.queue(2).await.unwrap();
    let mut connection = world.redis.connection().await.unwrap();
    world.enqueue("b", 3).await;
    let backup = Backup::take(&mut connection).await;
    let paid = world.claim().await.unwrap();
    world.created(&paid, "paid").await;
    assert!(!world.queue.went_back().await.unwrap());
    backup.restore(&mut connection).await;

    // The copy would give the paid job again.
    assert!(world.queue.went_back().await.unwrap());
    assert_eq!(world.claim_as(&ask(fast())).await.unwrap_err().0, WhyWait::Restored);
    let all = Rewritten { written: 1, taken: 1, extra: 0 };
    world.queue.commit_unfenced(paid.id, created_event(&paid, "paid"), &world.rules).await.unwrap();
    let first = world.queue.recover(all, HOLD).await.unwrap();
    assert!(first.first && !world.queue.went_back().await.unwrap());
    assert_eq!(world.claim_as(&ask(fast())).await.unwrap_err().0, WhyWait::Recovering);

    // Another worker that knew the older Redis as well is told of it, although the counter is right again.
    let note = world.queue.last_restore().await.unwrap().unwrap();
    assert_eq!(note.rewritten, all);
    assert!(!other.went_back().await.unwrap(), "it has seen nothing yet");
    let job = eventually("the hold to be over", Duration::from_secs(10), async || {
        world.claim_as(&ask(fast())).await
    })
    .await;
    assert_ne!(job.id, paid.id);
    assert!(world.queue.now() >= first.held_until);
    world.check().await;
}

fn created_event(job: &Job, task: &str) -> Event {
    Event::TaskCreated { attempt: super::attempt(job), task: task.parse().unwrap(), request_id: None }
}

#[tokio::test]
async fn a_second_worker_learns_of_it_by_the_incarnation_and_adds_what_it_wrote() {
    let world = World::new().await;
    let mut connection = world.redis.connection().await.unwrap();
    let other = world.redis.queue(2).await.unwrap();
    world.enqueue("b", 4).await;
    for queue in [&world.queue, &other] {
        assert!(matches!(
            queue.claim_submit(&ask(fast()), &queue.nonce()).await.unwrap(),
            queue::SubmitClaim::Claimed { .. }
        ));
    }
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    let written = |taken, extra| Rewritten { written: taken + extra, taken, extra };
    assert!(world.queue.recover(written(1, 0), HOLD).await.unwrap().first);
    assert!(other.went_back().await.unwrap());
    let second = other.recover(written(2, 1), HOLD).await.unwrap();
    assert!(!second.first && !other.went_back().await.unwrap());
    assert_eq!(world.queue.last_restore().await.unwrap().unwrap().rewritten, written(3, 1));
}

#[tokio::test]
async fn after_a_start_of_redis_nothing_is_claimed_until_a_worker_whose_connection_died_has_noticed() {
    let mut world = World::with_lease(Duration::from_millis(600)).await;
    world.enqueue("b", 2).await;
    // A fresh Redis is no reason to wait.
    world.claim().await.unwrap();
    world.redis.restart().await.unwrap();
    let why = eventually("Redis to answer", Duration::from_secs(10), async || {
        match world.queue.claim_submit(&ask(fast()), &world.queue.nonce()).await {
            Ok(queue::SubmitClaim::Wait { why, .. }) => Ok(why),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(why, WhyWait::Recovering);
    assert!(!world.queue.went_back().await.unwrap());
    eventually("the wait to be over", Duration::from_secs(10), async || world.claim_as(&ask(fast())).await)
        .await;
    assert!(world.queue.last_restore().await.unwrap().is_none());
    world.check().await;
}
