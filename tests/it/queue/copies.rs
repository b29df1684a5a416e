use std::time::Duration;

use job::{CopyTrouble, Event, HORIZONS, Job, JobId, Micros, StateName, Timestamp};

use super::{World, account, fast};

const MINUTE: Duration = Duration::from_secs(60);

/// Jobs whose images wait to be copied, with links that die so many seconds from now, in this order.
async fn archiving(world: &World, dying: &[i64]) -> Vec<JobId> {
    world.enqueue("b", dying.len()).await;
    let mut ids = Vec::new();
    for (n, seconds) in dying.iter().enumerate() {
        let job = world.claim().await.unwrap();
        world.created(&job, &format!("task-{n}")).await;
        let job = claim_poll(world).await;
        let deadline = world.queue.now() + jiff::SignedDuration::from_secs(*seconds);
        let done = Event::TaskSucceeded { images: 2, billed: 2, cost: Micros(60_000), deadline };
        ids.push(world.queue.commit(&job, done, &world.rules, None).await.unwrap().job.id);
    }
    ids
}

async fn claim_poll(world: &World) -> Job {
    tests::eventually("a poll to be due", Duration::from_secs(10), async || {
        let claimed = world.queue.claim_polls(&account(), &fast(), 1, &world.queue.nonce()).await.unwrap();
        claimed.jobs.into_iter().next().map(|claimed| claimed.job).ok_or("nothing is due")
    })
    .await
}

async fn hurried() -> World {
    let mut world = World::new().await;
    world.rules.poll.first = Duration::from_millis(1);
    world
}

async fn claim(world: &World, max: usize, takes: Duration) -> Vec<Job> {
    let claimed = world.queue.claim_archives(max, takes, &world.queue.nonce()).await.unwrap();
    claimed.jobs.into_iter().map(|claimed| claimed.job).collect()
}

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn links_that_cannot_be_copied_in_time_are_passed_over_and_tried_last() {
    let world = hurried().await;
    let all = archiving(&world, &[900, 20, -30, 300, 40, 100]).await;
    let order = |places: &[usize]| places.iter().map(|place| all[*place]).collect::<Vec<_>>();
    // The earliest of those that live longer than a minute.
    assert_eq!(ids(&claim(&world, 2, MINUTE).await), order(&[5, 3]));
    // Only one is left of these; then the hopeless, the latest first.
    assert_eq!(ids(&claim(&world, 3, MINUTE).await), order(&[0, 4, 1]));
    let last = world.queue.claim_archives(3, MINUTE, &world.queue.nonce()).await.unwrap();
    assert_eq!(last.jobs[0].job.id, all[2], "even a dead one: its task may have another link");
    assert_eq!((last.jobs.len(), last.wait), (1, queue::Wait::Unknown));
    world.check().await;
}

#[tokio::test]
async fn as_long_as_no_time_is_known_the_first_to_die_goes_first() {
    let world = hurried().await;
    let all = archiving(&world, &[900, 20, 300]).await;
    let nonce = world.queue.nonce();
    let first = world.queue.claim_archives(2, Duration::ZERO, &nonce).await.unwrap();
    let first: Vec<_> = first.jobs.iter().map(|claimed| claimed.job.id).collect();
    assert_eq!(first, [all[1], all[2]]);
    // The same call again is the same answer, whatever a copy takes by then.
    let again = world.queue.claim_archives(2, 10 * MINUTE, &nonce).await.unwrap();
    assert_eq!(again.jobs.iter().map(|claimed| claimed.job.id).collect::<Vec<_>>(), first);
    world.check().await;
}

#[tokio::test]
async fn the_backlog_counts_every_job_that_is_not_copied_wherever_it_stands() {
    let world = hurried().await;
    archiving(&world, &[-5, 30, 600, 7_200]).await;
    let backlog = world.queue.copy_backlog().await.unwrap();
    assert_eq!((backlog.jobs, backlog.images), (4, 8));
    assert_eq!(backlog.dying, [1, 2, 2, 3, 3, 4, 4, 4, 4], "{HORIZONS:?}");
    assert!(backlog.first_link_dies_at.is_some_and(|dies| dies < backlog.now));
    assert_eq!(backlog.trouble(), Some(CopyTrouble::Standstill));

    // One is put off with an image stored, one is stored whole, one is lost, and one is only claimed: three still have links.
    let jobs = claim(&world, 4, Duration::ZERO).await;
    let commit = async |job: &Job, stored, lost| {
        let copied = Event::Copied { stored, lost, retry_after: Some(MINUTE) };
        world.queue.commit(job, copied, &world.rules, None).await.unwrap().job
    };
    commit(&jobs[1], 1, 0).await;
    assert_eq!(commit(&jobs[2], 2, 0).await.state_name(), StateName::Succeeded);
    let backlog = world.queue.copy_backlog().await.unwrap();
    assert_eq!((backlog.jobs, backlog.images), (3, 5));
    assert_eq!(backlog.copied.iter().map(|(_, jobs)| jobs).sum::<u64>(), 1);
    assert!(matches!(backlog.trouble(), Some(CopyTrouble::Late { jobs: 1, .. })), "{backlog:?}");

    let expired = commit(&jobs[0], 0, 2).await;
    assert_eq!(expired.state_name(), StateName::Expired);
    assert_eq!((expired.lost_images(), expired.lost_cost()), (2, Micros(60_000)));
    let backlog = world.queue.copy_backlog().await.unwrap();
    assert_eq!((backlog.jobs, backlog.images, backlog.copied.len()), (2, 3, 1));
    world.check().await;
}

#[tokio::test]
async fn what_is_lost_is_counted_and_no_more_so_while_the_job_is_tried_again() {
    let world = hurried().await;
    archiving(&world, &[60, 60]).await;
    let jobs = claim(&world, 2, Duration::ZERO).await;
    for (job, stored) in jobs.iter().zip([0, 1]) {
        let copied = Event::Copied { stored, lost: 2 - stored, retry_after: None };
        world.queue.commit(job, copied, &world.rules, None).await.unwrap();
    }
    let lost = async || {
        let batch = world.queue.batch(Some(&super::name("b"))).await.unwrap().unwrap();
        let losses = world.queue.losses().await.unwrap();
        assert_eq!((batch.lost, batch.lost_cost), (losses.images, losses.cost));
        (batch.lost, batch.lost_cost)
    };
    assert_eq!(lost().await, (3, Micros(90_000)));
    world.queue.commit_unfenced(jobs[0].id, Event::RetryRequested, &world.rules).await.unwrap();
    assert_eq!(lost().await, (1, Micros(30_000)));
    world.check().await;
}

#[tokio::test]
async fn old_counts_of_copies_are_dropped_and_young_ones_kept() {
    let world = hurried().await;
    let now: Timestamp = world.queue.now();
    let mut connection = world.redis.connection().await.unwrap();
    for (age, jobs) in [(3_600, 7), (660, 5), (30, 3)] {
        let mut count = redis::cmd("HSET");
        count.arg(world.queue.keys().copied()).arg(now.as_second() - age).arg(jobs);
        count.query_async::<()>(&mut connection).await.unwrap();
    }
    assert_eq!(world.queue.forget_old_copies().await.unwrap(), 2);
    let backlog = world.queue.copy_backlog().await.unwrap();
    assert_eq!(backlog.copied.iter().map(|(_, jobs)| *jobs).collect::<Vec<_>>(), [3]);
}
