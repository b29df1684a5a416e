use std::time::{Duration, Instant};

use job::{Event, Job, Model};
use queue::{
    AccountLimits, Allowed, CreateTime, Listed, Pausable, Permit, SubmitAsk, SubmitClaim, Wait, WhyWait,
};
use redis::AsyncCommands as _;

use super::{World, account, ask, attempt, fast};

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
                match queue.take_query_permit(&account(), &limits).await.unwrap() {
                    Permit::In(wait) => {
                        tokio::time::sleep(wait).await;
                        granted += 1;
                    }
                    Permit::Wait(wait) => tokio::time::sleep(wait).await,
                    Permit::ProbeIn(_) => panic!("no breaker is open"),
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
async fn lists_and_settling_have_their_part_beside_polls_that_are_due_and_the_figure_holds() {
    const JOBS: usize = 120;
    let world = World::new().await;
    world.enqueue("b", JOBS).await;
    let limits = AccountLimits { queries_per_second: 20.0, in_flight: 200, ..fast() };
    for n in 0..JOBS {
        let job = world.claim().await.unwrap();
        world.created(&job, &format!("t{n}")).await;
    }
    // All are due for as long as this lasts: more than may be asked.
    let task = |n: usize| Listed { task: format!("t{n}").parse().unwrap(), going_for: None };
    world.queue.heed_list(&account(), &(0..JOBS).map(task).collect::<Vec<_>>()).await.unwrap();
    let (started, window) = (Instant::now(), Duration::from_secs(3));
    let polls = async {
        let mut sent = Vec::new();
        while started.elapsed() < window {
            let asked = started.elapsed();
            let claimed =
                world.queue.claim_polls(&account(), &limits, 10, &world.queue.nonce()).await.unwrap();
            // When exactly is not known: at the earliest when it was asked.
            sent.extend(claimed.jobs.iter().map(|_| asked));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        sent
    };
    // Three that ask again as soon as they may.
    let other = async || {
        let mut sent = Vec::new();
        while started.elapsed() < window {
            match world.queue.take_query_permit(&account(), &limits).await.unwrap() {
                Permit::In(wait) => {
                    sent.push(started.elapsed() + wait);
                    tokio::time::sleep(wait).await;
                }
                Permit::Wait(wait) => tokio::time::sleep(wait).await,
                Permit::ProbeIn(_) => panic!("no breaker is open"),
            }
        }
        sent
    };
    let (polls, one, two, three) = tokio::join!(polls, other(), other(), other());
    let others = one.len() + two.len() + three.len();
    assert!(others >= 9, "{others} beside {} polls: less than a sixth", polls.len());
    assert!(polls.len() * 2 >= others * 3, "{} polls beside {others}", polls.len());
    let mut all = [polls, one, two, three].concat();
    all.sort();
    // 0.95 of 20/s are 19, and one more by how roughly the times are known.
    for (first, from) in all.iter().enumerate() {
        let within = all[first..].iter().take_while(|at| **at < *from + Duration::from_secs(1)).count();
        assert!(within <= 20, "{within} in the second from {from:?}");
    }
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
    let limits = AccountLimits { create_per_second: 1.0, ..fast() };
    world.claim_as(&ask(limits)).await.unwrap();
    let (why, wait) = world.claim_as(&ask(limits)).await.unwrap_err();
    assert_eq!(why, WhyWait::Permit);
    assert!(matches!(wait, Wait::For(wait) if wait <= Duration::from_millis(1_053)), "{wait:?}");
}

#[tokio::test]
async fn creates_have_times_a_step_apart_whoever_claims_them_and_whoever_missed_one() {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    let limits = AccountLimits { create_per_second: 5.0, ..fast() };
    let lead = Duration::from_millis(500);
    let ask = SubmitAsk { lead, ..ask(limits) };
    let claim = async |nonce: &str| match world.queue.claim_submit(&ask, nonce).await.unwrap() {
        SubmitClaim::Claimed { job, send_at, .. } => Ok((job.id, send_at)),
        SubmitClaim::Wait { why, wait } => Err((why, wait)),
    };
    let before = world.queue.now();
    let first = claim("n1").await.unwrap();
    assert!(first.1.duration_since(before).as_millis() >= 490, "what is prepared first takes its time");
    assert_eq!(claim("n1").await.unwrap(), first, "a repeated claim has its first time");
    // The next time is too far away, and this is told.
    let second = loop {
        match claim("n2").await {
            Ok(second) => break second,
            Err((WhyWait::Permit, Wait::For(wait))) => {
                assert!(wait <= Duration::from_millis(111), "{wait:?}");
                tokio::time::sleep(wait).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    let apart = second.1.duration_since(first.1);
    assert!(apart.as_micros() >= 210_526, "{apart:?}");
    let time = async |within| {
        let (queue, model) = (&world.queue, Model::Wan27Image);
        queue.take_create_time(&account(), model, &limits, Duration::ZERO, within).await.unwrap()
    };
    assert!(matches!(time(Duration::from_millis(100)).await, CreateTime::Wait(_)));
    let CreateTime::In(wait) = time(Duration::from_secs(5)).await else { panic!("there is time") };
    let after = (world.queue.now() + wait).duration_since(second.1);
    assert!((after.as_millis() - 210).abs() <= 5, "a step after the second claim: {after:?}");
}

#[tokio::test]
async fn a_paused_account_gives_nothing_until_the_pause_is_over() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let pause = |call, ms| {
        let queue = world.queue.clone();
        async move { queue.pause_account(&account(), call, Duration::from_millis(ms), "Arrearage").await.unwrap() }
    };
    pause(Pausable::Creates(Model::Wan27ImagePro), 60_000).await;
    pause(Pausable::Creates(Model::Wan27Image), 60_000).await;
    pause(Pausable::Creates(Model::Wan27Image), 10).await; // never shortened
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

#[tokio::test]
async fn places_that_the_provider_refuses_are_given_up_by_every_worker_and_tried_again_after_a_quiet_time() {
    let world = World::new().await;
    world.enqueue("b", 12).await;
    let limits = AccountLimits { in_flight: 3, queue_ahead: 4, ..fast() };
    let mut rule = Allowed::default();
    let mut claimed = Vec::new();
    for _ in 0..6 {
        claimed.push(world.claim_as(&ask(limits)).await.unwrap());
    }
    let lower = async |job: &Job| {
        let at = attempt(job).claimed_at;
        world.queue.lower_places(&account(), Model::Wan27Image, &limits, at).await.unwrap().places
    };
    // Six are taken, the last is refused: as many may be as the rule says.
    rule.lower(&limits, 6, world.queue.now(), world.queue.now());
    assert_eq!((lower(&claimed[5]).await, rule.places(&limits)), (5, 5));
    assert_eq!(lower(&claimed[4]).await, 5, "a create that was under way by then says nothing");
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!(status.places[&Model::Wan27Image], 5);
    world.queue.commit(&claimed[5], Event::NotSent, &world.rules, None).await.unwrap();
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err().0, WhyWait::Slots);

    // A minute without a refusal: one more is tried, and refused.
    let mut connection = world.redis.connection().await.unwrap();
    let mut make_quiet = async |by_ms: i64| {
        let key = world.queue.keys().account(&account());
        let field = format!("places_at:{}", Model::Wan27Image);
        let _: i64 =
            redis::cmd("HINCRBY").arg(key).arg(field).arg(-by_ms).query_async(&mut connection).await.unwrap();
    };
    make_quiet(60_000).await;
    let tried = world.claim_as(&ask(limits)).await.unwrap();
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err().0, WhyWait::Slots, "one, not two");
    assert_eq!(lower(&tried).await, 5, "back to where it was");
    world.queue.commit(&tried, Event::NotSent, &world.rules, None).await.unwrap();
    make_quiet(60_000).await;
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err().0, WhyWait::Slots, "the next wait is longer");
    make_quiet(60_000).await;
    assert!(world.claim_as(&ask(limits)).await.is_ok());
    make_quiet(120_000).await;
    assert!(world.claim_as(&ask(limits)).await.is_ok(), "up to the figure of the settings");
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err().0, WhyWait::Slots);
    world.check().await;
}

#[tokio::test]
async fn a_storm_of_refusals_leaves_half_of_many_places_and_an_eighth_more_is_tried_each_quiet_minute() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    let limits = AccountLimits { in_flight: 200, queue_ahead: 200, ..fast() };
    let (slots, mut redis) =
        (world.queue.keys().slots(&account(), Model::Wan27Image), world.redis.connection().await.unwrap());
    let mut rule = Allowed::default();
    let mut held = 0;
    for used in (100..=390).rev().step_by(10) {
        let _: () = redis.del(&slots).await.unwrap();
        let taken: Vec<(i64, String)> = (0..used).map(|n| (1, format!("taken:{n}"))).collect();
        let _: () = redis.zadd_multiple(&slots, &taken).await.unwrap();
        // A millisecond at least, so that this claim is later than the change before.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = world.queue.now();
        let left = world.queue.lower_places(&account(), Model::Wan27Image, &limits, now).await.unwrap();
        let used = u64::try_from(used).unwrap();
        assert_eq!(left, rule.lower(&limits, used, now, now), "{used} taken");
        held += u32::from(left.held);
    }
    assert_eq!(rule.places(&limits), 200);
    assert!(held > 0);
    let taken: Vec<(i64, String)> = (0..200).map(|n| (1, format!("taken:{n}"))).collect();
    let _: () = redis.zadd_multiple(&slots, &taken).await.unwrap();
    assert_eq!(world.claim_as(&ask(limits)).await.unwrap_err().0, WhyWait::Slots);
    let field = format!("places_at:{}", Model::Wan27Image);
    let _: () = redis.hincr(world.queue.keys().account(&account()), field, -60_000).await.unwrap();
    assert!(world.claim_as(&ask(limits)).await.is_ok());
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!(status.places[&Model::Wan27Image], 225);
    assert!(world.claim_as(&ask(limits)).await.is_ok(), "all of them are there to be taken");
}
