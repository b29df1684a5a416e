//! A clock that was set back: what was written before then lies far ahead, and holds nobody up for as long.

use std::time::Duration;

use dashscope::Model;
use job::Event;
use queue::{AccountLimits, CreateTime, Pausable, WhyWait};
use redis::AsyncCommands as _;

use super::{World, account, ask, fast};

const TWO_HOURS_MS: i64 = 7_200_000;

#[tokio::test]
async fn permits_and_pauses_from_before_a_clock_was_set_back_count_for_nothing() {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    let job = world.claim().await.unwrap();
    let job = world.created(&job, "t").await;
    let (keys, model) = (world.queue.keys(), Model::Wan27Image);
    let mut redis = world.redis.connection().await.unwrap();
    let _: u64 = redis.zadd(keys.due_poll(&account()), job.id.to_string(), 1).await.unwrap();
    // As they stand when the clock goes back by two hours.
    let then_ms = world.queue.now().as_millisecond() + TWO_HOURS_MS;
    for call in ["create".to_owned(), format!("create:{model}"), "query".to_owned()] {
        let _: () = redis.hset(keys.account(&account()), format!("pause:{call}"), then_ms).await.unwrap();
        let _: () = redis.set(keys.permits(&account(), &call), then_ms * 1_000).await.unwrap();
    }
    assert_eq!(world.queue.account_status(&account()).await.unwrap().pauses, []);
    let limits = AccountLimits { create_per_second: 1.0, ..fast() };
    let job = world.claim_as(&ask(limits)).await.unwrap();
    assert_eq!(
        world.claim_as(&ask(limits)).await.unwrap_err().0,
        WhyWait::Permit,
        "the rate holds from here on"
    );
    let time = world
        .queue
        .take_create_time(&account(), model, &limits, Duration::ZERO, Duration::from_secs(5))
        .await;
    assert!(matches!(time.unwrap(), CreateTime::In(wait) if wait <= Duration::from_millis(1_053)));
    let _: () =
        redis.set(keys.permits(&account(), &format!("create:{model}")), then_ms * 1_000).await.unwrap();
    let time = world.queue.take_create_time(&account(), model, &limits, Duration::ZERO, Duration::ZERO).await;
    assert!(matches!(time.unwrap(), CreateTime::In(wait) if wait.is_zero()));
    world.queue.commit(&job, Event::NotSent, &world.rules, None).await.unwrap();
    let polls = world.queue.claim_polls(&account(), &fast(), 10, &world.queue.nonce()).await.unwrap();
    assert_eq!(polls.jobs.len(), 1);

    // The next pause is one again, and none is for more than an hour.
    world
        .queue
        .pause_account(&account(), Pausable::Queries, Duration::from_secs(30), "slow down")
        .await
        .unwrap();
    let pauses = world.queue.account_status(&account()).await.unwrap().pauses;
    assert_eq!(pauses.len(), 1);
    let left = pauses[0].until.duration_since(world.queue.now());
    assert!(left <= jiff::SignedDuration::from_secs(31), "{left:?}");
    world
        .queue
        .pause_account(&account(), Pausable::Queries, Duration::from_secs(9_000), "slow down")
        .await
        .unwrap();
    let pauses = world.queue.account_status(&account()).await.unwrap().pauses;
    let left = pauses[0].until.duration_since(world.queue.now());
    assert!(left > jiff::SignedDuration::from_secs(3_500) && left <= jiff::SignedDuration::from_secs(3_601));
}
