use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use job::{AccountName, JobState, Priority, StateName};
use queue::{SubmitClaim, Wait, WhyWait};
use redis::AsyncCommands as _;
use tests::eventually;

use super::{World, account, ask, fast, name, spec};

#[tokio::test]
async fn a_claim_leaves_what_begin_attempt_says() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let before = world.queue.jobs(&Default::default(), None, 10).await.unwrap().items.remove(0);
    let job = world.claim().await.unwrap();
    let JobState::Submitting { attempt } = &job.state else { panic!("{job:?}") };
    assert_eq!(attempt.send_by.duration_since(attempt.claimed_at), jiff::SignedDuration::from_secs(5));
    assert_eq!(job, before.begin_attempt(account(), attempt.claimed_at, attempt.send_by, super::PRICE));
    assert_eq!(world.queue.job(job.id).await.unwrap().unwrap(), job);
    world.check().await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_again() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    let nonce = world.queue.nonce();
    let claim = async || match world.queue.claim_submit(&ask(fast()), &nonce).await.unwrap() {
        SubmitClaim::Claimed { job, .. } => Some(*job),
        SubmitClaim::Wait { .. } => None,
    };
    let (first, again) = (claim().await.unwrap(), claim().await.unwrap());
    assert_eq!(first, again);
    // Once the job has moved on, the same call gives nothing: neither it nor another one.
    world.created(&first, "t").await;
    assert!(claim().await.is_none());
    assert_eq!(world.queue.counts().await.unwrap()[&StateName::Queued], 1);
    world.check().await;
}

#[tokio::test]
async fn an_idle_queue_says_so() {
    let world = World::new().await;
    assert_eq!(world.claim_as(&ask(fast())).await.unwrap_err(), (WhyWait::Empty, Wait::Unknown));
    let due = world.queue.claim_polls(&account(), &fast(), 10, &world.queue.nonce()).await.unwrap();
    assert!(due.jobs.is_empty());
    assert_eq!(due.wait, Wait::Unknown);
}

#[tokio::test]
async fn batches_take_turns_and_urgent_jobs_go_first() {
    let world = World::new().await;
    world.enqueue("large", 400).await;
    world.enqueue("small", 10).await;
    let mut urgent = spec("urgent", "u");
    urgent.priority = Priority::try_from(0).unwrap();
    let urgent = world.queue.new_job(urgent);
    world.queue.enqueue(Some(&name("urgent")), &[urgent]).await.unwrap();

    let mut order = Vec::new();
    for _ in 0..21 {
        order.push(world.claim().await.unwrap().batch.unwrap().to_string());
    }
    assert_eq!(order[0], "urgent");
    let mut counts = BTreeMap::new();
    for batch in &order {
        *counts.entry(batch.as_str()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("large", 10), ("small", 10), ("urgent", 1)]), "{order:?}");
    world.check().await;
}

#[tokio::test]
async fn within_a_batch_the_oldest_job_goes_first() {
    let world = World::new().await;
    world.enqueue("b", 50).await;
    let mut seqs = Vec::new();
    for _ in 0..50 {
        seqs.push(world.claim().await.unwrap().seq);
    }
    assert!(seqs.is_sorted(), "{seqs:?}");
}

#[tokio::test]
async fn a_job_that_names_an_account_waits_for_it() {
    let world = World::new().await;
    let mut wanted = spec("b", "one");
    wanted.account = Some(AccountName::parse("other").unwrap());
    let wanted = world.queue.new_job(wanted);
    world.queue.enqueue(Some(&name("b")), &[wanted]).await.unwrap();
    assert_eq!(world.claim_as(&ask(fast())).await.unwrap_err().0, WhyWait::Empty);
    let mut other = ask(fast());
    other.account = AccountName::parse("other").unwrap();
    assert!(world.claim_as(&other).await.is_ok());
    world.check().await;
}

#[tokio::test]
async fn a_job_that_names_a_region_waits_for_an_account_there() {
    let world = World::new().await;
    let mut wanted = spec("b", "one");
    wanted.region = Some("eu".parse().unwrap());
    wanted.not_before = Some(world.queue.now() + Duration::from_millis(50));
    let wanted = world.queue.new_job(wanted);
    world.queue.enqueue(Some(&name("b")), std::slice::from_ref(&wanted)).await.unwrap();
    eventually("its time to come", Duration::from_secs(5), async || {
        match world.queue.promote(10).await.unwrap().moved {
            1 => Ok(()),
            moved => Err(moved),
        }
    })
    .await;
    let here = |region: &str| queue::SubmitAsk { region: Some(region.parse().unwrap()), ..ask(fast()) };
    assert_eq!(world.claim_as(&ask(fast())).await.unwrap_err().0, WhyWait::Empty);
    assert_eq!(world.claim_as(&here("asia")).await.unwrap_err().0, WhyWait::Empty);
    world.check().await;
    let claimed = world.claim_as(&here("eu")).await.unwrap();
    assert_eq!((claimed.id, &claimed.pinned_to), (wanted.id, &wanted.spec.pinned_to()));
    // Given back it stands there again.
    world.queue.commit(&claimed, job::Event::NotSent, &world.rules, None).await.unwrap();
    world.check().await;
    assert_eq!(world.claim_as(&ask(fast())).await.unwrap_err().0, WhyWait::Empty);
    assert_eq!(world.claim_as(&here("eu")).await.unwrap().id, wanted.id);
    world.check().await;
}

#[tokio::test]
async fn a_job_with_a_time_is_promoted_when_it_has_come() {
    let world = World::new().await;
    let mut later = spec("b", "later");
    later.not_before = Some(world.queue.now() + Duration::from_millis(300));
    let later = world.queue.new_job(later);
    world.queue.enqueue(Some(&name("b")), std::slice::from_ref(&later)).await.unwrap();
    world.check().await;
    let promoted = world.queue.promote(100).await.unwrap();
    assert_eq!(promoted.moved, 0);
    assert!(matches!(promoted.wait, Wait::For(wait) if wait <= Duration::from_millis(300)), "{promoted:?}");
    assert!(world.claim().await.is_none());
    let job = eventually("the job's time to come", Duration::from_secs(5), async || {
        world.queue.promote(100).await.unwrap();
        world.claim().await.ok_or("nothing to claim")
    })
    .await;
    assert_eq!(job.id, later.id);
    world.check().await;
}

#[tokio::test]
async fn more_jobs_due_at_once_than_lua_can_unpack_do_not_wedge_the_queue() {
    let world = World::new().await;
    let batch = name("many");
    let due = world.queue.now() + Duration::from_millis(1);
    for chunk in 0..48 {
        let jobs: Vec<_> = (0..queue::CHUNK_MAX)
            .map(|n| {
                let mut spec = spec("many", &format!("{chunk}-{n}"));
                spec.not_before = Some(due + Duration::from_secs(2));
                world.queue.new_job(spec)
            })
            .collect();
        world.queue.enqueue(Some(&batch), &jobs).await.unwrap();
    }
    // 12,000 here, 100,000 in `scripts/evidence scale`: more than the 8,000 that wedge a script with `unpack`.
    eventually("all of them to be promoted", Duration::from_secs(60), async || {
        world.queue.promote(500).await.unwrap();
        let left = world.queue.delayed().await.unwrap();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    for _ in 0..20 {
        world.claim().await.expect("a job can be claimed");
    }
    world.check().await;
}

#[tokio::test]
async fn the_jobs_that_hold_a_place_at_the_provider_are_known() {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    let (first, second) = (world.claim().await.unwrap(), world.claim().await.unwrap());
    world.created(&first, "t").await;
    let holders = world.queue.jobs_with_slots(&account(), job::Model::Wan27Image).await.unwrap();
    let holders: BTreeSet<_> = holders.iter().map(|job| job.id).collect();
    assert_eq!(holders, BTreeSet::from([first.id, second.id]));
    assert!(world.queue.jobs_with_slots(&account(), job::Model::Wan27ImagePro).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_for_one_account_does_not_starve_those_that_came_before_it() {
    let world = World::new().await;
    world.enqueue("old", 400).await;
    for _ in 0..200 {
        world.claim().await.unwrap();
    }
    let pinned = (0..200).map(|n| {
        let mut spec = spec("pinned", &format!("p{n}"));
        spec.account = Some(account());
        world.queue.new_job(spec)
    });
    world.queue.enqueue(Some(&name("pinned")), &pinned.collect::<Vec<_>>()).await.unwrap();
    let mut old = 0;
    for _ in 0..100 {
        old += usize::from(world.claim().await.unwrap().batch == Some(name("old")));
    }
    assert!((45..=55).contains(&old), "{old} of 100 claims went to the older batch");
    world.check().await;
}

#[tokio::test]
async fn a_trickle_of_single_jobs_does_not_starve_a_batch() {
    let world = World::new().await;
    world.enqueue("large", 200).await;
    let mut large = 0;
    for n in 0..100 {
        let single = world.queue.new_job(spec("trickle", &format!("t{n}")));
        world.queue.enqueue(Some(&name("trickle")), &[single]).await.unwrap();
        large += usize::from(world.claim().await.unwrap().batch == Some(name("large")));
    }
    assert!((45..=55).contains(&large), "{large} of 100 claims went to the batch");
    world.check().await;
}

#[tokio::test]
async fn a_claim_that_cannot_read_what_it_needs_changes_nothing() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let member = world.queue.keys().members(Some(&name("b")));
    let mut redis = world.redis.connection().await.unwrap();
    let ids: Vec<String> = redis.zrange(member, 0, -1).await.unwrap();
    let spec = world.queue.keys().spec(ids[0].parse().unwrap());
    let text: String = redis.get(&spec).await.unwrap();
    let _: () = redis.del(&spec).await.unwrap();
    let _: () = redis.rpush(&spec, "no string").await.unwrap();
    assert!(world.queue.claim_submit(&ask(fast()), &world.queue.nonce()).await.is_err());
    world.check().await;
    let _: () = redis.del(&spec).await.unwrap();
    let _: () = redis.set(&spec, text).await.unwrap();
    assert_eq!(world.claim().await.unwrap().id.to_string(), ids[0]);
    world.check().await;
}
