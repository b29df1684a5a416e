//! Ticks among any number of schedulers, and items that have one job at a time.

use std::time::Duration;

use job::{BatchName, Event, JobId, Refresh, ScheduleName, StateName, Timestamp};
use queue::{
    ClaimedTick, CommitError, EnqueueError, Enqueued, NewJob, Origin, RunNote, TickAsk, TickClaim, TickEnd,
};
use tests::eventually;

use super::{World, name, spec};

fn nightly() -> ScheduleName {
    "nightly".parse().unwrap()
}

fn tick(hour: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + hour * 3_600).unwrap()
}

async fn claim(world: &World, hour: i64, saw: Option<i64>, by: &str) -> TickClaim {
    let nonce = world.queue.nonce();
    let schedule = nightly();
    world.queue.claim_tick(ask(&schedule, hour, saw, by), &nonce).await.unwrap()
}

fn ask<'a>(schedule: &'a ScheduleName, hour: i64, saw: Option<i64>, by: &'a str) -> TickAsk<'a> {
    TickAsk {
        schedule,
        tick: tick(hour),
        saw: saw.map(tick),
        by,
        by_hand: false,
        is_begun: false,
        batch: None,
    }
}

async fn claim_by_hand(world: &World, hour: i64) -> TickClaim {
    let schedule = nightly();
    let ask = TickAsk { by_hand: true, ..ask(&schedule, hour, None, "me") };
    world.queue.claim_tick(ask, &world.queue.nonce()).await.unwrap()
}

fn claimed(claim: TickClaim) -> ClaimedTick {
    match claim {
        TickClaim::Claimed(tick) => tick,
        other => panic!("{other:?}"),
    }
}

/// Takes the tick that another one holds, once its lease has run out.
async fn take_over(world: &World, hour: i64, by: &str) -> ClaimedTick {
    eventually("the lease of the dead one to run out", Duration::from_secs(10), async || {
        match claim(world, hour, None, by).await {
            TickClaim::Claimed(tick) => Ok(tick),
            other => Err(other),
        }
    })
    .await
}

async fn end(world: &World, tick: &ClaimedTick, again_in: Option<Duration>) -> bool {
    let note = RunNote { tick: tick.tick, new: 3, tries: tick.tries, ..RunNote::default() };
    let end = again_in.map_or(TickEnd::Over(None), TickEnd::Again);
    world.queue.end_tick(tick, &note, end, &world.queue.nonce()).await.unwrap()
}

#[tokio::test]
async fn a_tick_goes_to_one_scheduler_and_once_it_has_ended_to_none() {
    let world = World::new().await;
    let (a, b) = tokio::join!(claim(&world, 3, None, "a"), claim(&world, 3, None, "b"));
    let (won, lost) = if matches!(a, TickClaim::Claimed(_)) { (a, b) } else { (b, a) };
    assert_eq!(lost, TickClaim::Taken);
    let won = claimed(won);
    assert!(world.queue.renew_tick(&won).await.unwrap());
    assert!(end(&world, &won, None).await);
    // A scheduler that looked before the end still thinks that it is due.
    assert_eq!(claim(&world, 3, None, "b").await, TickClaim::Stale);
    let state = world.queue.schedule(&nightly(), None).await.unwrap();
    assert_eq!((state.last, state.begun), (Some(tick(3)), None));
    assert!(!world.queue.renew_tick(&won).await.unwrap());
    assert!(!end(&world, &won, None).await);
    assert_eq!(world.queue.schedule_runs(&nightly(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_and_an_end_that_is_repeated_change_nothing() {
    let world = World::new().await;
    let nonce = world.queue.nonce();
    let schedule = nightly();
    let claim = || world.queue.claim_tick(ask(&schedule, 3, None, "a"), &nonce);
    let (first, again) = (claim().await.unwrap(), claim().await.unwrap());
    assert_eq!(first, again);
    let ours = claimed(first);
    let note = RunNote { tick: tick(3), ..RunNote::default() };
    let nonce = world.queue.nonce();
    for _ in 0..2 {
        assert!(world.queue.end_tick(&ours, &note, TickEnd::Over(None), &nonce).await.unwrap());
    }
    assert_eq!(world.queue.schedule_runs(&nightly(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_tick_of_a_scheduler_that_died_is_done_by_the_next_under_its_own_name() {
    let world = World::with_lease(Duration::from_secs(1)).await;
    let dead = claimed(claim(&world, 3, None, "a").await);
    assert_eq!(claim(&world, 4, None, "b").await, TickClaim::Taken);
    let next = take_over(&world, 4, "b").await;
    assert_eq!(next.tick, tick(3), "and not the one that came meanwhile");
    assert_ne!(next.fence, dead.fence);
    assert!(!world.queue.renew_tick(&dead).await.unwrap(), "it only slept");
    assert!(!end(&world, &dead, None).await);
    assert!(end(&world, &next, None).await);
    assert_eq!(claimed(claim(&world, 4, Some(3), "b").await).tick, tick(4));
}

#[tokio::test]
async fn a_tick_that_failed_waits_for_its_next_try_and_has_one_line_in_the_history() {
    let world = World::new().await;
    let first = claimed(claim(&world, 3, None, "a").await);
    assert!(end(&world, &first, Some(Duration::from_secs(600))).await);
    assert_eq!(claim(&world, 4, None, "b").await, TickClaim::Waits);
    let again = claimed(claim_by_hand(&world, 5).await);
    assert_eq!((again.tick, again.tries), (tick(3), 1), "a person need not wait");
    assert!(end(&world, &again, None).await);
    let runs = world.queue.schedule_runs(&nightly(), 10).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.tries).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_tick_keeps_its_batch_and_one_that_brings_schedulers_down_waits_for_the_third() {
    let world = World::with_lease(Duration::from_millis(100)).await;
    let (schedule, first, second) = (nightly(), name("a-batch"), name("another"));
    let ask = |batch| TickAsk { batch: Some(batch), ..ask(&schedule, 3, None, "a") };
    let take = async |batch| world.queue.claim_tick(ask(batch), &world.queue.nonce()).await.unwrap();
    assert_eq!(claimed(take(&first).await).batch.as_ref(), Some(&first));
    let again = eventually("the lease of the dead one to run out", Duration::from_secs(10), async || {
        match take(&second).await {
            TickClaim::Claimed(tick) => Ok(tick),
            other => Err(other),
        }
    })
    .await;
    assert_eq!((again.batch.as_ref(), again.tries, again.by_hand), (Some(&first), 1, false));
    // The second one is gone as well.
    eventually("the third to wait", Duration::from_secs(10), async || match take(&second).await {
        TickClaim::Waits => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(claimed(claim_by_hand(&world, 5).await).tries, 2, "a person need not wait");
}

#[tokio::test]
async fn a_run_by_hand_that_fails_settles_no_tick_that_was_missed() {
    let world = World::new().await;
    let failed = RunNote { error: Some("the list is away".into()), ..RunNote::default() };
    let last = async || world.queue.schedule(&nightly(), None).await.unwrap().last;
    let by_hand = claimed(claim_by_hand(&world, 5).await);
    assert!(by_hand.by_hand);
    assert!(
        world.queue.end_tick(&by_hand, &failed, TickEnd::Over(None), &world.queue.nonce()).await.unwrap()
    );
    assert_eq!(last().await, None);
    let missed = claimed(claim(&world, 3, None, "a").await);
    assert_eq!((missed.tick, missed.by_hand), (tick(3), false));
    assert!(world.queue.end_tick(&missed, &failed, TickEnd::Over(None), &world.queue.nonce()).await.unwrap());
    assert_eq!(last().await, Some(tick(3)), "a tick that failed for good is over");
    let schedule = nightly();
    let by_hand = TickAsk { by_hand: true, ..ask(&schedule, 5, Some(3), "me") };
    let by_hand = claimed(world.queue.claim_tick(by_hand, &world.queue.nonce()).await.unwrap());
    assert!(end(&world, &by_hand, None).await);
    assert_eq!(last().await, Some(tick(5)));
}

#[tokio::test]
async fn a_paused_schedule_begins_no_tick_but_that_of_a_person() {
    let world = World::new().await;
    assert!(world.queue.pause_schedule(&nightly(), "me", "the shop is closed").await.unwrap());
    assert!(!world.queue.pause_schedule(&nightly(), "you", "").await.unwrap());
    assert_eq!(claim(&world, 3, None, "a").await, TickClaim::Paused);
    let paused = world.queue.schedule(&nightly(), None).await.unwrap().paused.unwrap();
    assert_eq!((paused.by.as_str(), paused.why.as_str()), ("me", "the shop is closed"));
    assert!(end(&world, &claimed(claim_by_hand(&world, 2).await), None).await);
    assert!(world.queue.resume_schedule(&nightly()).await.unwrap());
    assert!(!world.queue.resume_schedule(&nightly()).await.unwrap());
    assert_eq!(claimed(claim(&world, 3, Some(2), "a").await).tick, tick(3));
}

#[tokio::test]
async fn a_pause_holds_no_tick_back_that_a_person_began_and_left() {
    let world = World::with_lease(Duration::from_secs(1)).await;
    let left = claimed(claim_by_hand(&world, 2).await);
    assert!(world.queue.schedule(&nightly(), None).await.unwrap().begun.unwrap().by_hand);
    world.queue.pause_schedule(&nightly(), "me", "").await.unwrap();
    assert_eq!(claim(&world, 3, None, "a").await, TickClaim::Taken);
    let taken = take_over(&world, 3, "a").await;
    assert_eq!((taken.tick, taken.by_hand), (left.tick, true));
    assert!(end(&world, &taken, None).await);
    assert_eq!(claim(&world, 3, None, "a").await, TickClaim::Paused);
}

#[tokio::test]
async fn who_saw_a_tick_begun_that_has_ended_since_takes_no_new_one_in_its_place() {
    let world = World::new().await;
    let schedule = nightly();
    let by_hand = claimed(claim_by_hand(&world, 2).await);
    let saw = world.queue.schedule(&schedule, None).await.unwrap();
    let begun = saw.begun.unwrap().tick;
    // It is broken off, which leaves the last tick what it was.
    let note = RunNote { tick: by_hand.tick, error: Some("broken off".to_owned()), ..RunNote::default() };
    assert!(world.queue.end_tick(&by_hand, &note, TickEnd::Over(None), &world.queue.nonce()).await.unwrap());
    let ask = TickAsk { tick: begun, saw: saw.last, is_begun: true, ..ask(&schedule, 2, None, "b") };
    assert_eq!(world.queue.claim_tick(ask, &world.queue.nonce()).await.unwrap(), TickClaim::Stale);
    let due = TickAsk { is_begun: false, ..ask };
    assert_eq!(claimed(world.queue.claim_tick(due, &world.queue.nonce()).await.unwrap()).tick, tick(2));
}

#[tokio::test]
async fn jobs_of_a_tick_are_enqueued_only_by_whoever_does_it_and_only_until_it_ends() {
    let world = World::with_lease(Duration::from_secs(1)).await;
    let batch = name("b");
    let send = async |tick: &ClaimedTick, id: &str| {
        let job = world.queue.new_job(spec("b", id));
        let origin = Origin { source: None, tick: Some(tick) };
        world.queue.enqueue_from(Some(&batch), origin, &[job]).await
    };
    let slept = claimed(claim(&world, 3, None, "a").await);
    assert_eq!(send(&slept, "one").await.unwrap(), [Enqueued::New]);
    let taken = take_over(&world, 3, "b").await;
    assert!(matches!(send(&slept, "two").await, Err(EnqueueError::TickLost)));
    assert_eq!(send(&taken, "one").await.unwrap(), [Enqueued::Same]);
    let sealed = async || world.queue.batch(Some(&batch)).await.unwrap().unwrap().sealed;
    let over = async |tick: &ClaimedTick| {
        let note = RunNote { tick: tick.tick, ..RunNote::default() };
        world.queue.end_tick(tick, &note, TickEnd::Over(Some(&batch)), &world.queue.nonce()).await.unwrap()
    };
    assert!(!over(&slept).await && !sealed().await, "who lost the tick seals nothing");
    assert!(over(&taken).await && sealed().await);
    assert!(matches!(send(&taken, "two").await, Err(EnqueueError::TickLost)));
    assert_eq!(world.queue.batch(Some(&batch)).await.unwrap().unwrap().total, 1);
    // Of no tick, such as a file's.
    let job = world.queue.new_job(spec("b", "two"));
    assert_eq!(world.queue.enqueue(Some(&batch), &[job]).await.unwrap(), [Enqueued::New]);
    world.check().await;
}

#[tokio::test]
async fn an_expression_is_known_from_when_a_scheduler_first_saw_it() {
    let world = World::new().await;
    assert_eq!(world.queue.schedule(&nightly(), None).await.unwrap().known_since, None);
    let first = world.queue.schedule(&nightly(), Some("0 3 * * * UTC")).await.unwrap().known_since.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let again = world.queue.schedule(&nightly(), Some("0 3 * * * UTC")).await.unwrap().known_since;
    assert_eq!(again, Some(first));
    let other = world.queue.schedule(&nightly(), Some("0 4 * * * UTC")).await.unwrap().known_since;
    assert!(other > again);
}

#[tokio::test]
async fn an_expression_that_was_given_up_and_comes_back_has_missed_nothing_meanwhile() {
    let world = World::new().await;
    let since = async |expression: &str| {
        let state = world.queue.schedule(&nightly(), Some(expression)).await.unwrap();
        state.known_since.unwrap()
    };
    let (old, new) = ("0 3 * * * UTC", "0 4 * * * UTC");
    // As if nobody had looked by this one for so long.
    let unseen = async |expression: &str, minutes: i64| {
        let mut redis = world.redis.connection().await.unwrap();
        let then = world.queue.now().as_millisecond() - minutes * 60_000;
        let mut command = redis::cmd("HSET");
        command.arg(world.queue.keys().schedule(&nightly())).arg(format!("seen:{expression}")).arg(then);
        let _: () = command.query_async(&mut redis).await.unwrap();
    };
    let first = since(old).await;
    tokio::time::sleep(Duration::from_millis(5)).await;

    // All schedulers were away: what they missed, they missed.
    unseen(old, 600).await;
    assert_eq!(since(old).await, first);
    // Some look by the one and some by the other, as in an update.
    let other = since(new).await;
    unseen(old, 5).await;
    assert_eq!((since(new).await, since(old).await, since(new).await), (other, first, other));
    // The old one was given up, and comes back.
    unseen(old, 11).await;
    since(new).await;
    let back = since(old).await;
    assert!(back > other, "{back} {other}");
    assert_eq!(since(new).await, other);
}

fn refresh(world: &World, batch: &str, item: &str, follows: Option<JobId>) -> NewJob {
    let mut spec = spec(batch, item);
    let content = format!("of {batch}");
    spec.refresh = Some(Refresh { collection: name("shoes"), keep: 3, content });
    NewJob { follows, ..world.queue.new_job(spec) }
}

async fn enqueue(world: &World, batch: &str, jobs: &[NewJob]) -> Vec<Enqueued> {
    world.queue.enqueue(Some(&name(batch)), jobs).await.unwrap()
}

async fn last(world: &World, item: &str) -> Option<(JobId, Option<StateName>)> {
    let items = [item.parse().unwrap()];
    let found = world.queue.item_jobs(&name("shoes"), &items).await.unwrap();
    found[0].map(|job| (job.id, job.state))
}

#[tokio::test]
async fn an_item_has_one_job_at_a_time() {
    let world = World::new().await;
    let monday = refresh(&world, "monday", "sku-1", None);
    assert_eq!(enqueue(&world, "monday", std::slice::from_ref(&monday)).await, [Enqueued::New]);
    assert_eq!(last(&world, "sku-1").await, Some((monday.id, Some(StateName::Queued))));
    assert_eq!(last(&world, "sku-2").await, None);

    // Planned by one that saw it, and by one that planned before it was there.
    for follows in [Some(monday.id), None] {
        let tuesday = refresh(&world, "tuesday", "sku-1", follows);
        let other = refresh(&world, "tuesday", &format!("other-{}", follows.is_some()), None);
        assert_eq!(enqueue(&world, "tuesday", &[tuesday, other]).await, [Enqueued::Busy, Enqueued::New]);
    }
    assert_eq!(enqueue(&world, "monday", std::slice::from_ref(&monday)).await, [Enqueued::Same]);
    assert_eq!(last(&world, "sku-1").await, Some((monday.id, Some(StateName::Queued))));
    world.check().await;
}

#[tokio::test]
async fn an_item_whose_job_is_over_or_gone_takes_the_next_one_once() {
    let world = World::new().await;
    let monday = refresh(&world, "monday", "sku-1", None);
    enqueue(&world, "monday", std::slice::from_ref(&monday)).await;
    world.queue.commit_unfenced(monday.id, Event::CancelRequested, &world.rules).await.unwrap();
    assert_eq!(last(&world, "sku-1").await, Some((monday.id, Some(StateName::Canceled))));

    let (tuesday, wednesday) = (
        refresh(&world, "tuesday", "sku-1", Some(monday.id)),
        refresh(&world, "wednesday", "sku-1", Some(monday.id)),
    );
    assert_eq!(enqueue(&world, "tuesday", std::slice::from_ref(&tuesday)).await, [Enqueued::New]);
    assert_eq!(enqueue(&world, "wednesday", &[wednesday]).await, [Enqueued::Busy], "an old plan");

    // As retention leaves it.
    let mut connection = world.redis.connection().await.unwrap();
    let key = world.queue.keys().job(tuesday.id);
    let _: () = redis::cmd("DEL").arg(key).query_async(&mut connection).await.unwrap();
    assert_eq!(last(&world, "sku-1").await, Some((tuesday.id, None)));
    let thursday = refresh(&world, "thursday", "sku-1", Some(tuesday.id));
    assert_eq!(enqueue(&world, "thursday", &[thursday]).await, [Enqueued::New]);
}

#[tokio::test]
async fn an_older_job_of_an_item_does_not_run_again_beside_the_later_one() {
    let world = World::new().await;
    let again = async |id: JobId| world.queue.commit_unfenced(id, Event::RetryRequested, &world.rules).await;
    let cancel = async |id: JobId| {
        world.queue.commit_unfenced(id, Event::CancelRequested, &world.rules).await.unwrap()
    };
    let monday = refresh(&world, "monday", "sku-1", None);
    enqueue(&world, "monday", std::slice::from_ref(&monday)).await;
    cancel(monday.id).await;
    again(monday.id).await.expect("the item's last job runs again");
    cancel(monday.id).await;

    // A person has read the job while it was the item's last one, and asks for it when it is no more.
    let read = world.queue.job(monday.id).await.unwrap().unwrap();
    let tuesday = refresh(&world, "tuesday", "sku-1", Some(monday.id));
    assert_eq!(enqueue(&world, "tuesday", std::slice::from_ref(&tuesday)).await, [Enqueued::New]);
    let late = world.queue.commit_unfenced_of(read, Event::RetryRequested, &world.rules).await;
    let by_tuesday =
        |refused: &CommitError| matches!(refused, CommitError::Superseded { by, .. } if *by == tuesday.id);
    assert!(late.as_ref().is_err_and(by_tuesday), "{late:?}");
    let mut other = monday.spec.clone();
    other.request.prompt = "another picture of sku-1".into();
    let late = world.queue.replace(monday.id, &other, &world.rules).await;
    let is_late = matches!(&late, Err(refused) if by_tuesday(refused));
    assert!(is_late, "{late:?}");
    assert_eq!(world.queue.job(monday.id).await.unwrap().unwrap().state_name(), StateName::Canceled);

    // Also when the later one is over: it is the one that may run again.
    cancel(tuesday.id).await;
    assert!(again(monday.id).await.as_ref().is_err_and(by_tuesday));
    again(tuesday.id).await.unwrap();
    world.check().await;
}

#[tokio::test]
async fn one_call_refreshes_items_of_one_collection() {
    let world = World::new().await;
    let mut other = refresh(&world, "monday", "sku-2", None);
    if let Some(refresh) = &mut other.spec.refresh {
        refresh.collection = BatchName::parse("boots").unwrap();
    }
    let jobs = [refresh(&world, "monday", "sku-1", None), other];
    let refused = world.queue.enqueue(Some(&name("monday")), &jobs).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Collections), "{refused}");
}
