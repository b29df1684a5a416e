use std::collections::BTreeMap;
use std::time::Duration;

use dashscope::Model;
use job::{Event, StateName};
use queue::{PauseChange, PauseOf, WhyWait};
use redis::AsyncCommands as _;

use super::{World, account, ask, fast, name, spec};

fn batch(of: &str) -> PauseOf {
    PauseOf::Batch(name(of))
}

impl World {
    async fn pause(&self, of: &PauseOf) -> PauseChange {
        self.queue.pause(of, "kim", "too dear").await.unwrap()
    }

    async fn resume(&self, of: &PauseOf) -> PauseChange {
        self.queue.resume(of).await.unwrap()
    }

    /// The batches of the next claims, at most `most`.
    async fn batches_of_claims(&self, most: usize) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..most {
            let Some(job) = self.claim().await else { break };
            *counts.entry(job.batch.unwrap().to_string()).or_insert(0) += 1;
        }
        counts
    }

    async fn turns(&self) -> Vec<(String, f64)> {
        let key = self.queue.keys().turns(Model::Wan27Image, None);
        self.redis.connection().await.unwrap().zrange_withscores(key, 0, -1).await.unwrap()
    }
}

#[tokio::test]
async fn a_paused_batch_is_not_claimed_until_it_is_resumed() {
    let world = World::new().await;
    world.enqueue("a", 4).await;
    world.enqueue("b", 4).await;
    assert_eq!(world.pause(&batch("a")).await, PauseChange::Done);
    assert_eq!(world.pause(&batch("a")).await, PauseChange::Same);
    assert_eq!(world.pause(&batch("none")).await, PauseChange::NoBatch);
    world.check().await;
    let summary = world.queue.batch(Some(&name("a"))).await.unwrap().unwrap();
    assert!(summary.paused);
    let pauses = world.queue.hand_pauses().await.unwrap();
    assert_eq!((pauses.len(), &pauses[0].of), (1, &batch("a")));
    assert_eq!((pauses[0].by.as_str(), pauses[0].why.as_str()), ("kim", "too dear"));
    assert!(world.queue.now().duration_since(pauses[0].since).abs() < jiff::SignedDuration::from_secs(5));

    assert_eq!(world.batches_of_claims(10).await, BTreeMap::from([("b".to_owned(), 4)]));
    assert_eq!(world.resume(&batch("a")).await, PauseChange::Done);
    assert_eq!(world.resume(&batch("a")).await, PauseChange::Same);
    assert!(world.queue.hand_pauses().await.unwrap().is_empty());
    assert_eq!(world.batches_of_claims(10).await, BTreeMap::from([("a".to_owned(), 4)]));
    world.check().await;
}

#[tokio::test]
async fn what_comes_back_into_a_paused_batch_waits_with_it() {
    let world = World::new().await;
    world.enqueue("a", 2).await;
    let claimed = world.claim().await.unwrap();
    world.pause(&batch("a")).await;
    // A step that is given back, a line that is enqueued, a job whose time comes.
    world.queue.commit(&claimed, Event::NotSent, &world.rules, None).await.unwrap();
    world.enqueue("a", 4).await;
    let mut later = spec("a", "later");
    later.priority = job::Priority::try_from(7).unwrap();
    later.not_before = Some(world.queue.now() + Duration::from_millis(50));
    let later = world.queue.new_job(later);
    world.queue.enqueue(Some(&name("a")), &[later]).await.unwrap();
    tests::eventually("its time to come", Duration::from_secs(5), async || {
        world.queue.promote(100).await.unwrap();
        if world.queue.delayed().await.unwrap() == 0 { Ok(()) } else { Err("it is delayed") }
    })
    .await;
    assert!(world.claim().await.is_none());
    world.check().await;
    world.resume(&batch("a")).await;
    assert_eq!(world.batches_of_claims(10).await, BTreeMap::from([("a".to_owned(), 5)]));
    world.check().await;
}

#[tokio::test]
async fn tasks_of_a_paused_batch_are_followed_to_their_end() {
    let world = World::new().await;
    world.enqueue("a", 2).await;
    let job = world.claim().await.unwrap();
    world.pause(&batch("a")).await;
    world.pause(&PauseOf::All).await;
    let job = world.created(&job, "t").await;
    let due = world.queue.keys().due_poll(&account());
    let _: u64 = world.redis.connection().await.unwrap().zadd(due, job.id.to_string(), 1).await.unwrap();
    let polls = world.queue.claim_polls(&account(), &fast(), 10, &world.queue.nonce()).await.unwrap();
    assert_eq!(polls.jobs.len(), 1);
    assert_eq!(world.queue.counts().await.unwrap()[&StateName::Queued], 1);
}

#[tokio::test]
async fn a_pause_is_worth_no_turn() {
    let world = World::new().await;
    world.enqueue("rests", 200).await;
    world.enqueue("works", 400).await;
    world.pause(&batch("rests")).await;
    world.batches_of_claims(100).await;
    world.resume(&batch("rests")).await;
    // Not a hundred turns of credit: from here on they share.
    let rests = world.batches_of_claims(40).await["rests"];
    assert!((19..=21).contains(&rests), "{rests} of 40 claims");

    // Nor does it forget what it had ahead of the others.
    let before = world.turns().await;
    world.pause(&batch("works")).await;
    world.resume(&batch("works")).await;
    assert_eq!(world.turns().await, before);
    world.check().await;
}

#[tokio::test]
async fn the_sweep_does_not_end_a_pause() {
    let world = World::new().await;
    world.enqueue("a", 3).await;
    world.pause(&batch("a")).await;
    let lanes = world.queue.keys().lanes(Some(&name("a")));
    let _: u64 = world.redis.connection().await.unwrap().del(lanes).await.unwrap();
    let repaired = world.sweep().await;
    assert_eq!(repaired.iter().map(|repair| repair.kind.as_str()).collect::<Vec<_>>(), ["lane"]);
    assert_eq!(world.sweep().await, []);
    world.check().await;
    assert!(world.claim().await.is_none());
    world.resume(&batch("a")).await;
    assert_eq!(world.batches_of_claims(10).await["a"], 3);
}

#[tokio::test]
async fn the_sweep_takes_a_paused_batch_out_of_a_turn_that_the_pause_did_not_know() {
    let world = World::new().await;
    world.enqueue("a", 30).await;
    world.enqueue("b", 30).await;
    world.batches_of_claims(20).await;
    let before = world.turns().await;
    let lanes = world.queue.keys().lanes(Some(&name("a")));
    let _: u64 = world.redis.connection().await.unwrap().del(lanes).await.unwrap();
    world.pause(&batch("a")).await;
    assert_eq!(world.turns().await, before, "the pause knows of no lane");
    let repaired = world.sweep().await;
    let kinds: Vec<_> = repaired.iter().map(|repair| repair.kind.as_str()).collect();
    assert_eq!(kinds, ["lane", "extra_turn"]);
    assert_eq!(world.sweep().await, []);
    world.check().await;
    assert_eq!(world.batches_of_claims(1).await["b"], 1);
    // It comes back at the time that it had come to, or where the others are.
    world.resume(&batch("a")).await;
    let a = world.batches_of_claims(20).await["a"];
    assert!((9..=11).contains(&a), "{a} of 20");
}

#[tokio::test]
async fn an_account_a_model_or_everything_can_be_paused_apart() {
    let world = World::new().await;
    world.enqueue("a", 9).await;
    let (here, there) = (account(), job::AccountName::parse("other").unwrap());
    let other = queue::SubmitAsk { account: there.clone(), ..ask(fast()) };
    let claims = async || {
        let free = async |ask| match world.claim_as(ask).await {
            Ok(_) => true,
            Err((why, _)) => {
                assert_eq!(why, WhyWait::ByHand);
                false
            }
        };
        (free(&ask(fast())).await, free(&other).await)
    };
    let pro = Model::Wan27ImagePro;
    for (of, expected) in [
        (PauseOf::All, (false, false)),
        (PauseOf::Model(Model::Wan27Image), (false, false)),
        (PauseOf::Model(pro), (true, true)),
        (PauseOf::Account(here.clone()), (false, true)),
        (PauseOf::ModelOnAccount(Model::Wan27Image, there.clone()), (true, false)),
        (PauseOf::ModelOnAccount(pro, there), (true, true)),
    ] {
        assert_eq!(world.pause(&of).await, PauseChange::Done, "{of:?}");
        assert_eq!(world.pause(&of).await, PauseChange::Same, "{of:?}");
        assert_eq!(claims().await, expected, "{of:?}");
        assert_eq!(world.resume(&of).await, PauseChange::Done, "{of:?}");
        assert_eq!(world.resume(&of).await, PauseChange::Same, "{of:?}");
    }
    assert_eq!(claims().await, (true, true));
}

/// Jobs that rest are never looked at: the claims of others run as many commands in Redis as without them.
#[tokio::test]
async fn paused_jobs_cost_the_claims_of_others_nothing() {
    let world = World::new().await;
    world.enqueue("works", 40).await;
    let calls = async || {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut world.redis.connection().await.unwrap())
            .await
            .unwrap();
        let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
        info.lines().filter(|line| !line.contains("cmdstat_info")).filter_map(calls).sum::<u64>()
    };
    let ten_claims = async || {
        let before = calls().await;
        assert_eq!(world.batches_of_claims(10).await["works"], 10);
        calls().await - before
    };
    // The first claim of a Redis writes down more than the others.
    ten_claims().await;
    let alone = ten_claims().await;
    for n in 0..20 {
        world.enqueue(&format!("rests-{n}"), 100).await;
        world.pause(&batch(&format!("rests-{n}"))).await;
    }
    assert_eq!(ten_claims().await, alone);
}

#[tokio::test]
async fn a_persons_pause_takes_the_place_of_a_commands_hold_and_outlives_it() {
    let world = World::new().await;
    world.enqueue("a", 4).await;
    let (queue, a) = (&world.queue, name("a"));
    assert_eq!(queue.hold_batch(&name("none"), "kim", "busy").await.unwrap(), PauseChange::NoBatch);
    assert_eq!(queue.hold_batch(&a, "kim", "busy").await.unwrap(), PauseChange::Done);
    assert_eq!(queue.hold_batch(&a, "kim", "busy").await.unwrap(), PauseChange::Same);
    assert!(world.batches_of_claims(10).await.is_empty());
    assert_eq!(world.pause(&batch("a")).await, PauseChange::Done);
    assert_eq!(queue.let_go_batch(&a).await.unwrap(), PauseChange::Same);
    assert_eq!(queue.hand_pause(batch("a")).await.unwrap().unwrap().why, "too dear");
    assert!(world.batches_of_claims(10).await.is_empty(), "the person has not resumed it");
    // The other way round: a hold is none where a person has paused.
    assert_eq!(queue.hold_batch(&a, "kim", "busy").await.unwrap(), PauseChange::Same);
    assert_eq!(queue.let_go_batch(&a).await.unwrap(), PauseChange::Same);
    assert_eq!(world.resume(&batch("a")).await, PauseChange::Done);
    queue.hold_batch(&a, "kim", "busy").await.unwrap();
    assert_eq!(queue.let_go_batch(&a).await.unwrap(), PauseChange::Done);
    assert_eq!(world.batches_of_claims(10).await, BTreeMap::from([("a".to_owned(), 4)]));
    world.check().await;
}
