//! Which account takes a job that several may take. The rule stands here a second time, as a model in Rust: the script is held against it.

use std::time::Duration;

use dashscope::Model;
use job::{AccountName, PinnedTo, RegionName};
use proptest::prelude::*;
use queue::{AccountLimits, OtherAccount, PauseOf, SubmitAsk, WhyWait};
use redis::AsyncCommands as _;

use super::{World, ask, fast, name, spec};

const MODEL: Model = Model::Wan27Image;

/// What keeps an account from creating tasks, if anything does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    No,
    Paused,
    BreakerOpen,
    ByHand,
}

/// One account at one moment.
#[derive(Debug, Clone)]
struct Account {
    at_once: u32,
    ahead: u32,
    used: u32,
    weight: u32,
    region: u8,
    permit: bool,
    /// Whether a worker asked for its jobs lately.
    asks: bool,
    stopped: Stopped,
}

/// What a claim is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Granted,
    Waits(WhyWait),
}

impl Account {
    fn fits(&self, region: Option<u8>) -> bool {
        region.is_none_or(|region| region == self.region)
    }

    /// Whether it could create a task for the job this moment, if only behind others.
    fn is_able(&self, region: Option<u8>) -> bool {
        self.fits(region)
            && self.asks
            && self.permit
            && self.stopped == Stopped::No
            && self.used < self.at_once + self.ahead
    }

    /// The part of its places processed at once that is taken, by weight. `None`: all are.
    fn share(&self) -> Option<f64> {
        (self.used < self.at_once).then(|| f64::from(self.used) / f64::from(self.at_once * self.weight))
    }
}

/// The rule.
fn answer(all: &[Account], me: usize, region: Option<u8>) -> Answer {
    let my = &all[me];
    if my.stopped != Stopped::No {
        let why = if my.stopped == Stopped::ByHand { WhyWait::ByHand } else { WhyWait::Paused };
        return Answer::Waits(why);
    }
    if !my.fits(region) {
        return Answer::Waits(WhyWait::Empty);
    }
    if my.used >= my.at_once + my.ahead {
        return Answer::Waits(WhyWait::Slots);
    }
    if !my.permit {
        return Answer::Waits(WhyWait::Permit);
    }
    let mine = my.share().unwrap_or(f64::INFINITY);
    let others = all.iter().enumerate().filter(|(at, other)| *at != me && other.is_able(region));
    let sooner = others.filter_map(|(_, other)| other.share()).any(|share| share < mine);
    if sooner { Answer::Waits(WhyWait::Elsewhere) } else { Answer::Granted }
}

fn an_account() -> impl Strategy<Value = Account> {
    let stopped = prop_oneof![
        6 => Just(Stopped::No),
        1 => Just(Stopped::Paused),
        1 => Just(Stopped::BreakerOpen),
        1 => Just(Stopped::ByHand),
    ];
    let often = prop::bool::weighted(0.8);
    // Few figures, so that equal shares are frequent.
    (1u32..4, 0u32..3, 0u32..5, 1u32..3, 0u8..2, often, prop::bool::weighted(0.8), stopped).prop_map(
        |(at_once, ahead, used, weight, region, permit, asks, stopped)| Account {
            at_once,
            ahead,
            used,
            weight,
            region,
            permit,
            asks,
            stopped,
        },
    )
}

fn accounts() -> impl Strategy<Value = (Vec<Account>, Option<u8>)> {
    (prop::collection::vec(an_account(), 1..6), prop::option::of(0u8..2))
}

proptest! {
    #[test]
    fn a_job_that_some_account_could_start_is_taken_at_once((all, region) in accounts()) {
        let granted: Vec<usize> = (0..all.len()).filter(|me| answer(&all, *me, region) == Answer::Granted).collect();
        if all.iter().any(|account| account.is_able(region)) {
            prop_assert!(granted.iter().any(|me| all[*me].asks), "idle: {all:?}");
        }
        let free = all.iter().any(|account| account.is_able(region) && account.share().is_some());
        for me in granted {
            prop_assert!(!free || all[me].share().is_some(), "{me} queues it behind others: {all:?}");
        }
    }
}

fn named(case: u32, at: usize) -> AccountName {
    AccountName::parse(&format!("case{case}-{at}")).unwrap()
}

fn region_named(region: u8) -> RegionName {
    RegionName::parse(&format!("r{region}")).unwrap()
}

fn ask_of(all: &[Account], case: u32, me: usize) -> SubmitAsk {
    let others = all.iter().enumerate().filter(|(at, _)| *at != me).map(|(at, other)| OtherAccount {
        account: named(case, at),
        region: Some(region_named(other.region)),
        weight: other.weight,
        limits: AccountLimits { in_flight: other.at_once, ..fast() },
    });
    let my = &all[me];
    SubmitAsk {
        account: named(case, me),
        region: Some(region_named(my.region)),
        weight: my.weight,
        others: others.collect(),
        limits: AccountLimits {
            in_flight: my.at_once,
            queue_ahead: my.ahead,
            create_per_second: 5.0,
            ..fast()
        },
        ..ask(fast())
    }
}

impl World {
    /// Brings an account into a state, behind the queue's back.
    async fn be(&self, case: u32, at: usize, state: &Account) {
        let (keys, account) = (self.queue.keys(), named(case, at));
        let mut redis = self.redis.connection().await.unwrap();
        let now_ms = self.queue.now().as_millisecond();
        for taken in 0..state.used {
            let _: () =
                redis.zadd(keys.slots(&account, MODEL), format!("taken:{taken}"), now_ms).await.unwrap();
        }
        if !state.permit {
            let key = keys.permits(&account, &format!("create:{MODEL}"));
            let _: () = redis.set(key, (now_ms + 30_000) * 1_000).await.unwrap();
        }
        let seen = now_ms - if state.asks { 0 } else { 5_000 };
        let _: () = redis.hset(keys.account(&account), format!("seen:{MODEL}"), seen).await.unwrap();
        let field = match state.stopped {
            Stopped::No => return,
            Stopped::ByHand => {
                self.queue.pause(&PauseOf::ModelOnAccount(MODEL, account), "", "").await.unwrap();
                return;
            }
            Stopped::Paused => &format!("pause:create:{MODEL}"),
            Stopped::BreakerOpen => "open:create",
        };
        let _: () = redis.hset(keys.account(&account), field, now_ms + 60_000).await.unwrap();
    }

    async fn answer(&self, all: &[Account], case: u32, me: usize) -> Answer {
        match self.claim_as(&ask_of(all, case, me)).await {
            Ok(_) => Answer::Granted,
            Err((why, _)) => Answer::Waits(why),
        }
    }
}

/// Some hundred moments by chance: the script says what the model says, up to the account that takes the job.
#[tokio::test]
async fn the_script_follows_the_rule() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let world = World::new().await;
    let chance = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), chance);
    for case in 0..300 {
        let (all, region) = accounts().new_tree(&mut runner).unwrap().current();
        let mut wanted = spec("b", &format!("job-{case}"));
        wanted.region = region.map(region_named);
        let wanted = world.queue.new_job(wanted);
        world.queue.enqueue(Some(&name("b")), std::slice::from_ref(&wanted)).await.unwrap();
        for (at, state) in all.iter().enumerate() {
            world.be(case, at, state).await;
        }
        let mut taken = false;
        for me in (0..all.len()).filter(|me| all[*me].asks) {
            let (should, is) = (answer(&all, me, region), world.answer(&all, case, me).await);
            assert_eq!(is, should, "case {case}, account {me}, region {region:?}: {all:#?}");
            taken = is == Answer::Granted;
            if taken {
                break;
            }
        }
        assert_eq!(taken, all.iter().any(|account| account.is_able(region)), "{all:#?}");
        if !taken {
            let pinned_to = wanted.spec.pinned_to();
            let lane = format!("{}:b", wanted.spec.priority);
            let key = world.queue.keys().ready(MODEL, pinned_to.as_ref(), &lane);
            let _: () = world.redis.connection().await.unwrap().del(key).await.unwrap();
        }
    }
}

fn two() -> [Account; 2] {
    let one = Account {
        at_once: 1,
        ahead: 2,
        used: 1,
        weight: 1,
        region: 0,
        permit: true,
        asks: true,
        stopped: Stopped::No,
    };
    [one.clone(), Account { used: 0, ..one }]
}

#[tokio::test]
async fn an_account_that_no_worker_serves_any_more_is_waited_for_three_seconds_at_most() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let all = two();
    for (at, state) in all.iter().enumerate() {
        world.be(0, at, state).await;
    }
    assert_eq!(world.answer(&all, 0, 0).await, Answer::Waits(WhyWait::Elsewhere));
    let begin = world.queue.now();
    tests::eventually("the other account to be given up", Duration::from_secs(10), async || {
        match world.answer(&all, 0, 0).await {
            Answer::Granted => Ok(()),
            Answer::Waits(why) => Err(why),
        }
    })
    .await;
    assert!(world.queue.now().duration_since(begin) >= jiff::SignedDuration::from_millis(1_900));
}

#[tokio::test]
async fn what_is_pinned_to_an_account_does_not_wait_for_another() {
    let world = World::new().await;
    let all = two();
    for (at, state) in all.iter().enumerate() {
        world.be(0, at, state).await;
    }
    // Behind one that is left to the other account.
    world.enqueue("b", 1).await;
    let mut pinned = spec("pinned", "p");
    pinned.account = Some(named(0, 0));
    let pinned = world.queue.new_job(pinned);
    world.queue.enqueue(Some(&name("pinned")), std::slice::from_ref(&pinned)).await.unwrap();
    let job = world.claim_as(&ask_of(&all, 0, 0)).await.unwrap();
    assert_eq!(job.pinned_to, Some(PinnedTo::Account(named(0, 0))));
    assert_eq!(world.answer(&all, 0, 1).await, Answer::Granted);
}

#[tokio::test]
async fn an_account_whose_day_is_used_up_is_not_waited_for() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let mut all = two();
    all[0].used = 0;
    all[0].ahead = 0;
    all[0].at_once = 2;
    all[1].at_once = 9;
    all[0].used = 1;
    for (at, state) in all.iter().enumerate() {
        world.be(0, at, state).await;
    }
    assert_eq!(world.answer(&all, 0, 0).await, Answer::Waits(WhyWait::Elsewhere));
    let mut ask = ask_of(&all, 0, 1);
    ask.limits.images_per_day = Some(1);
    let ledger = world.queue.keys().ledger(&world.queue.now().strftime("%Y-%m-%d").to_string());
    let field = format!("images:{}", named(0, 1));
    let _: () = world.redis.connection().await.unwrap().hset(ledger, field, 1).await.unwrap();
    assert_eq!(world.claim_as(&ask).await.unwrap_err().0, WhyWait::Day);
    assert_eq!(world.answer(&all, 0, 0).await, Answer::Granted);
}

#[tokio::test]
async fn an_account_without_a_permit_is_not_waited_for_because_the_asking_worker_needs_long() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let all = two();
    for (at, state) in all.iter().enumerate() {
        world.be(0, at, state).await;
    }
    // The other account's next create is due in 20 s; its own workers would claim that a tenth of a second before.
    let permits = world.queue.keys().permits(&named(0, 1), &format!("create:{MODEL}"));
    let due_us = (world.queue.now().as_millisecond() + 20_000) * 1_000;
    let _: () = world.redis.connection().await.unwrap().set(permits, due_us).await.unwrap();
    let ask = SubmitAsk { lead: Duration::from_secs(30), ..ask_of(&all, 0, 0) };
    assert!(world.claim_as(&ask).await.is_ok());
}
