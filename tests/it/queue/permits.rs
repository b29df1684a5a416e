use std::time::{Duration, Instant};

use job::{Event, Model};
use queue::{AccountLimits, Call, Permit, Wait, WhyWait};

use super::{World, account, ask, fast};

#[tokio::test]
async fn many_workers_together_keep_an_accounts_rate() {
    let world = World::new().await;
    let limits = AccountLimits { queries_per_second: 40.0, ..fast() };
    let started = Instant::now();
    let window = Duration::from_secs(2);
    let workers = (0..8).map(|_| {
        let queue = world.queue.clone();
        tokio::spawn(async move {
            let mut granted = 0_u32;
            while started.elapsed() < window {
                match queue.take_permit(&account(), Call::Query, &limits).await.unwrap() {
                    Permit::Granted => granted += 1,
                    Permit::Wait(wait) => tokio::time::sleep(wait).await,
                    Permit::Probe => panic!("no breaker is open"),
                }
            }
            granted
        })
    });
    let mut granted = 0;
    for worker in workers.collect::<Vec<_>>() {
        granted += worker.await.unwrap();
    }
    // 0.95 of 40/s, and one permit at the start. The last ones may have been granted after the window, on a busy machine.
    let most = 1.0 + started.elapsed().as_secs_f64() * 38.0;
    assert!(f64::from(granted) <= most, "{granted} permits in {:?}", started.elapsed());
    // Together they use what they may; far fewer would mean that they hold each other up.
    assert!(granted > 20, "{granted} permits in {window:?}");
}

#[tokio::test]
async fn a_claim_takes_a_place_at_the_provider_and_none_is_left_over() {
    let world = World::new().await;
    world.enqueue("b", 5).await;
    let limits = AccountLimits { in_flight: 2, queue_ahead: 1, ..fast() };
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.push(world.claim_as(&ask(limits)).await.unwrap());
    }
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err(), (WhyWait::Slots, Wait::Unknown));
    // A place comes back with the end of an attempt, not with the end of a claim.
    let polling = world.created(&claimed[0], "t").await;
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err().0, WhyWait::Slots);
    assert_eq!(polling.state.slot().unwrap().number, 1);
    world.queue.commit(&claimed[1], Event::NotSent, &world.rules, None).await.unwrap();
    assert!(world.claim_as(&ask(limits)).await.is_ok());
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!(status.slots[&Model::Wan27Image], 3);
    world.check().await;
}

#[tokio::test]
async fn the_create_rate_is_smoothed_below_its_figure() {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    let limits = AccountLimits { create_per_second: 5.0, ..fast() };
    world.claim_as(&ask(limits)).await.unwrap();
    let (why, wait) = world.claim_as(&ask(limits)).await.unwrap_err();
    assert_eq!(why, WhyWait::Permit);
    assert!(matches!(wait, Wait::For(wait) if wait <= Duration::from_millis(211)), "{wait:?}");
}

#[tokio::test]
async fn a_paused_account_gives_nothing_until_the_pause_is_over() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let pause = |call, ms| {
        let queue = world.queue.clone();
        async move { queue.pause_account(&account(), call, Duration::from_millis(ms), "Arrearage").await.unwrap() }
    };
    pause(Call::Create(Some(Model::Wan27ImagePro)), 60_000).await;
    pause(Call::Create(None), 60_000).await;
    pause(Call::Create(None), 10).await; // never shortened
    let (why, wait) = world.claim_as(&ask(fast())).await.unwrap_err();
    assert_eq!(why, WhyWait::Paused);
    assert!(matches!(wait, Wait::For(wait) if wait > Duration::from_secs(50)), "{wait:?}");
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!(status.pauses.len(), 2);
    assert_eq!(status.pauses[0].why, "Arrearage");
}

#[tokio::test]
async fn the_days_images_are_a_stop_that_counts_what_is_under_way() {
    let world = World::new().await;
    world.enqueue("b", 5).await;
    let limits = AccountLimits { images_per_day: Some(2), ..fast() };
    let first = world.claim_as(&ask(limits)).await.unwrap();
    world.claim_as(&ask(limits)).await.unwrap();
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err().0, WhyWait::Day);
    // An attempt that cost nothing gives its reservation back.
    world.queue.commit(&first, Event::NotSent, &world.rules, None).await.unwrap();
    assert!(world.claim_as(&ask(limits)).await.is_ok());
    world.check().await;
}
