use std::sync::Arc;
use std::time::{Duration, Instant};

use job::{Event, StateName};
use queue::{CommitError, Lease, Leases};
use tests::eventually;
use tokio_util::sync::CancellationToken;

use super::{World, attempt};

#[tokio::test]
async fn a_lease_that_is_renewed_is_not_rescued_and_one_that_is_not_is() {
    let world = World::with_lease(Duration::from_secs(2)).await;
    world.enqueue("b", 2).await;
    let (kept, lost) = (world.claim().await.unwrap(), world.claim().await.unwrap());
    let started = Instant::now();
    let boot = Arc::new(move || started.elapsed());
    let stop = CancellationToken::new();
    let leases = Leases::start(world.queue.clone(), Duration::from_millis(100), boot.clone(), stop.clone());
    let guard = leases.guard(&kept, boot());
    let rescued = eventually("a rescue", Duration::from_secs(20), async || {
        let rescued = world.queue.rescue(10, &world.queue.nonce()).await.unwrap();
        if rescued.jobs.is_empty() { Err("none") } else { Ok(rescued.jobs) }
    })
    .await;
    assert_eq!(rescued.len(), 1);
    assert_eq!(rescued[0].0.id, lost.id);
    assert!(guard.age_of_renewal().unwrap() < Duration::from_secs(2));
    drop(guard);
    assert!(leases.is_empty());
    // Nobody renews it any more: it is rescued as well.
    eventually("the second rescue", Duration::from_secs(20), async || {
        let rescued = world.queue.rescue(10, &world.queue.nonce()).await.unwrap();
        if rescued.jobs.iter().any(|(job, _)| job.id == kept.id) { Ok(()) } else { Err("not yet") }
    })
    .await;
    stop.cancel();
}

#[tokio::test]
async fn a_zombie_can_neither_renew_nor_write() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    world.enqueue("b", 1).await;
    let zombie = world.claim().await.unwrap();
    let rescued = eventually("a rescue", Duration::from_secs(5), async || {
        let rescued = world.queue.rescue(10, &world.queue.nonce()).await.unwrap();
        rescued.jobs.into_iter().next().ok_or("none")
    })
    .await
    .0;
    let lost = world.queue.renew(&[Lease::of(&zombie), Lease::of(&rescued)]).await.unwrap();
    assert_eq!(lost, [Lease::of(&zombie)]);
    let late = world.queue.commit(&zombie, Event::NotSent, &world.rules, None).await;
    assert!(
        matches!(late, Err(CommitError::Fenced { ours, now, .. }) if ours == zombie.fence && now == rescued.fence),
        "{late:?}"
    );
    let settling = world.queue.commit(&rescued, Event::Rescued, &world.rules, None).await.unwrap().job;
    assert_eq!(settling.state_name(), StateName::Settling);
    let late = world.queue.commit(&zombie, Event::NotSent, &world.rules, None).await;
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    world.check().await;
}

#[tokio::test]
async fn a_rescue_whose_answer_was_lost_is_given_again() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    let nonce = world.queue.nonce();
    let first = eventually("a rescue", Duration::from_secs(5), async || {
        let rescued = world.queue.rescue(10, &nonce).await.unwrap();
        rescued.jobs.into_iter().next().ok_or("none")
    })
    .await;
    let again = world.queue.rescue(10, &nonce).await.unwrap();
    assert_eq!(again.jobs[0].0, first.0);
    assert!(first.0.fence > job.fence);
    assert_eq!(attempt(&first.0), attempt(&job));
}
