//! Whose turn it is among batches that wait for different accounts, after pauses, and after retries.

use std::collections::BTreeMap;
use std::time::Duration;

use job::{AccountName, Event, Refusal};
use queue::{PauseOf, SubmitAsk};

use super::{World, ask, fast, name, spec};

fn named(account: &str) -> AccountName {
    AccountName::parse(account).unwrap()
}

/// A claim for an account of a region, under limits that never hold anything back.
fn ask_of(account: &str, region: Option<&str>) -> SubmitAsk {
    SubmitAsk { account: named(account), region: region.map(|name| name.parse().unwrap()), ..ask(fast()) }
}

impl World {
    /// Enqueues jobs of one image for an account (`slow`), a region (`@eu`) or any.
    async fn enqueue_for(&self, batch: &str, place: &str, count: usize) {
        let jobs: Vec<_> = (0..count)
            .map(|n| {
                let mut spec = spec(batch, &format!("{batch}-{n}"));
                match place.strip_prefix('@') {
                    Some(region) => spec.region = Some(region.parse().unwrap()),
                    None if place != "any" => spec.account = Some(named(place)),
                    None => {}
                }
                self.queue.new_job(spec)
            })
            .collect();
        for chunk in jobs.chunks(queue::CHUNK_MAX) {
            self.queue.enqueue(Some(&name(batch)), chunk).await.unwrap();
        }
    }

    /// How many of the next `claims` of an account each batch gets.
    async fn shares(&self, ask: &SubmitAsk, claims: usize) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for _ in 0..claims {
            let Ok(job) = self.claim_as(ask).await else { break };
            *shares.entry(job.batch.unwrap().to_string()).or_insert(0) += 1;
        }
        shares
    }
}

fn about(shares: &BTreeMap<String, usize>, batch: &str, should: usize) {
    let is = shares.get(batch).copied().unwrap_or(0);
    assert!(is.abs_diff(should) <= 2, "{batch} has {is}, not about {should}: {shares:?}");
}

#[tokio::test]
async fn batches_that_wait_for_a_slow_account_share_it_however_far_a_fast_one_has_come() {
    let world = World::new().await;
    let (slow, quick) = (ask_of("slow", None), ask_of("quick", None));
    world.enqueue_for("old", "slow", 100).await;
    world.enqueue_for("bulk", "any", 600).await;
    world.enqueue_for("quick", "quick", 600).await;
    for _ in 0..10 {
        world.shares(&quick, 50).await;
        assert_eq!(world.shares(&slow, 1).await["old"], 1, "others can go elsewhere");
    }
    world.enqueue_for("new", "slow", 100).await;
    let shares = world.shares(&slow, 60).await;
    about(&shares, "old", shares["new"]);
    assert!(shares["old"] + shares["new"] >= 50, "{shares:?}");
    world.check().await;
}

#[tokio::test]
async fn an_accounts_pause_is_no_credit_for_those_that_wait_for_it() {
    let world = World::new().await;
    let (rests, works) = (ask_of("rests", Some("eu")), ask_of("works", Some("eu")));
    world.enqueue_for("pinned", "rests", 400).await;
    world.enqueue_for("region", "@eu", 900).await;
    world.enqueue_for("bulk", "any", 900).await;
    let of = PauseOf::Account(named("rests"));
    world.queue.pause(&of, "", "").await.unwrap();
    world.shares(&works, 800).await;
    world.queue.resume(&of).await.unwrap();
    // A little at first, then a third each. Without a bound it would be all of the next 400.
    let first = world.shares(&rests, 100).await;
    assert!(first["pinned"] <= 90, "{first:?}");
    let shares = world.shares(&rests, 90).await;
    for batch in ["pinned", "region", "bulk"] {
        about(&shares, batch, 30);
    }
    world.check().await;
}

#[tokio::test]
async fn who_comes_into_an_empty_set_begins_where_its_account_has_come_to() {
    let world = World::new().await;
    let ask = ask_of("main", None);
    world.enqueue_for("bulk", "any", 400).await;
    world.shares(&ask, 200).await;
    world.enqueue_for("pinned", "main", 100).await;
    about(&world.shares(&ask, 40).await, "pinned", 20);
    // Ten at a time, the next when the last ten were taken and missed: never more than its half.
    world.queue.pause(&PauseOf::Batch(name("pinned")), "", "").await.unwrap();
    let (mut enqueued, mut taken, mut missed) = (0, 0, false);
    for _ in 0..100 {
        if enqueued == taken && (missed || taken == 0) {
            enqueued += 10;
            world.enqueue_for("bursts", "main", enqueued).await;
            missed = false;
        }
        let of = world.shares(&ask, 1).await.into_keys().next().unwrap();
        if of == "bursts" {
            taken += 1;
        } else {
            missed = enqueued == taken;
        }
    }
    assert!((40..=55).contains(&taken), "{taken} of 100");
}

#[tokio::test]
async fn a_batch_that_was_paused_comes_back_without_the_turns_that_it_missed() {
    let world = World::new().await;
    let (slow, quick) = (ask_of("slow", None), ask_of("quick", None));
    world.enqueue_for("rests", "slow", 200).await;
    world.enqueue_for("works", "slow", 400).await;
    world.enqueue_for("bulk", "any", 400).await;
    let of = PauseOf::Batch(name("rests"));
    world.queue.pause(&of, "", "").await.unwrap();
    world.shares(&slow, 300).await;
    world.shares(&quick, 100).await;
    world.queue.resume(&of).await.unwrap();
    let shares = world.shares(&slow, 60).await;
    about(&shares, "rests", shares["works"]);
    world.check().await;
}

#[tokio::test]
async fn jobs_that_come_back_from_retries_do_not_go_before_the_others() {
    let world = World::new().await;
    let (slow, quick) = (ask_of("slow", None), ask_of("quick", None));
    world.enqueue_for("bulk", "slow", 200).await;
    world.enqueue_for("refused", "slow", 20).await;
    world.enqueue_for("unsent", "slow", 20).await;
    world.enqueue_for("elsewhere", "any", 400).await;
    // All of two batches are taken, and come back; the account does others meanwhile.
    let mut away = Vec::new();
    while away.len() < 40 {
        let job = world.claim_as(&slow).await.unwrap();
        if job.batch.as_ref() == Some(&name("refused")) || job.batch.as_ref() == Some(&name("unsent")) {
            away.push(job);
        }
    }
    world.shares(&slow, 80).await;
    world.shares(&quick, 100).await;
    for job in &away {
        let retry_after = Some(Duration::from_millis(1));
        let event = match job.batch.as_ref() == Some(&name("unsent")) {
            true => Event::NotSent,
            false => Event::Refused(Refusal { retry_after, ..Refusal::ours("Throttling", "slow down") }),
        };
        world.queue.commit(job, event, &world.rules, None).await.unwrap();
    }
    tests::eventually("their time to come", Duration::from_secs(5), async || {
        world.queue.promote(100).await.unwrap();
        if world.queue.delayed().await.unwrap() == 0 { Ok(()) } else { Err("they are delayed") }
    })
    .await;
    let shares = world.shares(&slow, 30).await;
    about(&shares, "refused", shares["bulk"]);
    about(&shares, "unsent", shares["bulk"]);
    world.check().await;
}
