//! Budgets: what is reserved at a claim and what takes its place; who waits, and who comes back.

use std::time::Duration;

use dashscope::Model;
use job::{Event, Failure, FailureClass, Job, JobState, Micros, Prices, StateName};
use queue::{AccountLimits, BatchBudget, Budgets, PauseChange, PauseOf, Spent, SubmitAsk, WhyWait};

use redis::AsyncCommands as _;

use super::{PRICE, World, account, ask, fast, name, spec};

/// Images of a budget.
pub(super) fn images(number: i64) -> Micros {
    Micros(PRICE.0 * number)
}

pub(super) fn asking(budgets: Budgets) -> SubmitAsk {
    SubmitAsk { budgets, ..ask(fast()) }
}

pub(super) fn moderated() -> Failure {
    let (code, message) = ("DataInspectionFailed".to_owned(), "no".to_owned());
    Failure { class: FailureClass::Moderation, code, message, request_id: None }
}

fn per_day(number: i64) -> Budgets {
    Budgets { per_day: Some(images(number)), ..Budgets::default() }
}

impl World {
    pub(super) async fn own_budget(&self, batch: &str, number: i64) {
        let set = self.queue.set_budget(&name(batch), BatchBudget::Own(images(number)), true).await.unwrap();
        assert!(set, "there is no batch {batch}");
    }

    pub(super) async fn bring_back(&self) -> u64 {
        let back = self.queue.bring_back(&Prices::default(), None).await.unwrap();
        self.check().await;
        back
    }

    /// The claimed job's task brought so many images, each billed.
    async fn succeeded(&self, job: &Job, billed: u8) -> Job {
        let job = match job.state {
            JobState::Submitting { .. } => {
                self.created(job, &format!("task-{}-{}", job.id, job.attempts)).await
            }
            _ => job.clone(),
        };
        let deadline = self.queue.now() + Duration::from_secs(86_400);
        let cost = images(billed.into());
        let event = Event::TaskSucceeded { images: billed, billed, cost, deadline };
        self.queue.commit_unfenced(job.id, event, &self.rules).await.unwrap().job
    }

    async fn not_sent(&self, job: &Job) {
        self.queue.commit(job, Event::NotSent, &self.rules, None).await.unwrap();
    }

    pub(super) async fn spent_of(&self, batch: &str) -> Spent {
        self.queue.batch(Some(&name(batch))).await.unwrap().unwrap().spent()
    }

    pub(super) async fn waiting_names(&self) -> Vec<String> {
        let waiting = self.queue.waiting_batches().await.unwrap();
        waiting.into_iter().map(|batch| batch.name.to_string()).collect()
    }

    pub(super) async fn enqueue_sized(&self, batch: &str, n: u8, count: usize) {
        let jobs: Vec<_> = (0..count)
            .map(|at| {
                let mut spec = spec(batch, &format!("{batch}-{n}-{at}"));
                spec.request.n = n;
                self.queue.new_job(spec)
            })
            .collect();
        self.queue.enqueue(Some(&name(batch)), &jobs).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_spends_its_budget_and_not_an_image_more_while_others_go_on() {
    let world = World::new().await;
    world.enqueue("poor", 10).await;
    world.own_budget("poor", 3).await;
    for _ in 0..3 {
        assert_eq!(world.claim().await.unwrap().batch, Some(name("poor")));
    }
    assert!(world.claim().await.is_none(), "a fourth would be one too many");
    let spent = Spent { booked: Micros(0), reserved: images(3) };
    assert_eq!((world.spent_of("poor").await, world.waiting_names().await), (spent, vec!["poor".to_owned()]));
    world.check().await;

    world.enqueue("other", 2).await;
    for _ in 0..2 {
        assert_eq!(world.claim().await.unwrap().batch, Some(name("other")));
    }
    assert!(world.claim().await.is_none());
    let batch = world.queue.batch(Some(&name("poor"))).await.unwrap().unwrap();
    assert_eq!((batch.count(StateName::Queued), batch.waits_since.is_some()), (7, true));
    world.check().await;
}

#[tokio::test]
async fn what_was_reserved_and_not_billed_lets_the_next_jobs_go_on() {
    let world = World::new().await;
    world.enqueue("b", 10).await;
    world.own_budget("b", 2).await;
    let (first, second) = (world.claim().await.unwrap(), world.claim().await.unwrap());
    assert!(world.claim().await.is_none());
    assert_eq!(world.bring_back().await, 0, "nothing came back so far");
    world.succeeded(&first, 1).await;
    assert_eq!(world.bring_back().await, 0, "what is billed is spent");
    assert_eq!(world.spent_of("b").await, Spent { booked: images(1), reserved: images(1) });
    let failure = moderated();
    world.queue.commit(&second, Event::Rejected(failure), &world.rules, None).await.unwrap();
    assert_eq!(world.spent_of("b").await, Spent { booked: images(1), reserved: Micros(0) });
    assert_eq!(world.bring_back().await, 1);
    assert!(world.waiting_names().await.is_empty());
    assert!(world.claim().await.is_some() && world.claim().await.is_none());
    world.check().await;
}

#[tokio::test]
async fn a_budget_that_is_raised_or_taken_away_lets_the_batch_go_on() {
    let world = World::new().await;
    world.enqueue("b", 10).await;
    world.own_budget("b", 0).await;
    assert!(world.claim().await.is_none(), "0 is nothing");
    world.own_budget("b", 1).await;
    assert_eq!(world.bring_back().await, 1);
    assert!(world.claim().await.is_some() && world.claim().await.is_none());
    let batch = name("b");
    let default = Budgets { per_batch: Some(images(2)), ..Budgets::default() };
    // Its own goes before that of the settings, and without one the settings' holds.
    assert!(world.claim_as(&asking(default)).await.is_err());
    world.queue.set_budget(&batch, BatchBudget::OfSettings, true).await.unwrap();
    assert_eq!(world.queue.bring_back(&Prices::default(), default.per_batch).await.unwrap(), 1);
    assert!(world.claim_as(&asking(default)).await.is_ok());
    assert!(world.claim_as(&asking(default)).await.is_err());
    world.queue.set_budget(&batch, BatchBudget::Unlimited, true).await.unwrap();
    assert_eq!(world.queue.bring_back(&Prices::default(), default.per_batch).await.unwrap(), 1);
    for _ in 0..8 {
        assert!(world.claim_as(&asking(default)).await.is_ok());
    }
    assert!(!world.queue.set_budget(&name("none"), BatchBudget::Unlimited, true).await.unwrap());
    world.check().await;
}

#[tokio::test]
async fn a_claim_looks_at_a_batch_without_money_once_and_not_at_its_jobs() {
    let world = World::new().await;
    world.enqueue("large", 500).await;
    world.own_budget("large", 0).await;
    world.enqueue("small", 3).await;
    let turns = async || -> Vec<String> {
        let key = world.queue.keys().turns(Model::Wan27Image, None);
        redis::AsyncCommands::zrange(&mut world.redis.connection().await.unwrap(), key, 0, -1).await.unwrap()
    };
    assert_eq!(turns().await.len(), 2);
    assert_eq!(world.claim().await.unwrap().batch, Some(name("small")));
    assert_eq!(turns().await, ["5:small"]);
    world.check().await;
}

#[tokio::test]
async fn each_model_and_priority_of_a_batch_waits_by_itself_and_the_next_of_it_decides() {
    let world = World::new().await;
    world.enqueue_sized("b", 4, 2).await;
    let mut cheap = spec("b", "cheap");
    cheap.priority = 7.try_into().unwrap();
    world.queue.enqueue(Some(&name("b")), &[world.queue.new_job(cheap)]).await.unwrap();
    world.own_budget("b", 5).await;
    assert_eq!(world.claim().await.unwrap().images_max, 4);
    assert_eq!(world.claim().await.unwrap().images_max, 1, "the other four do not fit, this one does");
    assert!(world.claim().await.is_none());
    assert_eq!(world.waiting_names().await, ["b"]);
    world.check().await;
}

#[tokio::test]
async fn a_pause_and_a_budget_compose_in_either_order() {
    for (pause_first, resume_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new().await;
        let of = PauseOf::Batch(name("b"));
        let pause = async || assert_eq!(world.queue.pause(&of, "me", "").await.unwrap(), PauseChange::Done);
        world.enqueue("b", 3).await;
        world.own_budget("b", 1).await;
        let first = world.claim().await.unwrap();
        if pause_first {
            // The lane is out of its turns before a claim could find that it has no money.
            pause().await;
        }
        assert!(world.claim().await.is_none());
        if !pause_first {
            pause().await;
        }
        world.check().await;
        // Whoever comes back joins the lane, and takes its turn where the pause is not seen: no claim of it is granted.
        world.not_sent(&first).await;
        world.check().await;
        assert!(world.claim().await.is_none());
        assert_eq!(world.bring_back().await, 0, "it is paused");
        if resume_first {
            world.queue.resume(&of).await.unwrap();
            world.check().await;
            world.own_budget("b", 2).await;
        } else {
            world.own_budget("b", 2).await;
            world.queue.resume(&of).await.unwrap();
        }
        world.bring_back().await;
        assert!(world.claim().await.is_some() && world.claim().await.is_some());
        assert!(world.claim().await.is_none(), "pause first {pause_first}, resume first {resume_first}");
        world.check().await;
    }
}

#[tokio::test]
async fn more_jobs_of_a_batch_without_money_wait_with_the_others_also_where_it_is_paused_then() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    world.own_budget("b", 0).await;
    assert!(world.claim().await.is_none());
    // Whoever joins the lane gives it its turn; the next claim takes that away again.
    world.enqueue_sized("b", 1, 2).await;
    world.queue.pause(&PauseOf::Batch(name("b")), "me", "").await.unwrap();
    world.check().await;
    world.own_budget("b", 10).await;
    assert!(world.claim().await.is_none(), "it is paused, whatever it may spend");
    world.check().await;
    world.queue.resume(&PauseOf::Batch(name("b"))).await.unwrap();
    world.check().await;
    for _ in 0..4 {
        assert!(world.claim().await.is_some());
    }
}

#[tokio::test]
async fn the_budgets_of_a_day_hold_over_all_accounts_and_for_each() {
    let world = World::new().await;
    world.enqueue("b", 10).await;
    let mine = |number| asking(Budgets::default()).with_budget(images(number));
    let first = world.claim_as(&mine(2)).await.unwrap();
    world.claim_as(&mine(2)).await.unwrap();
    let (why, wait) = world.claim_as(&mine(2)).await.unwrap_err();
    assert_eq!(why, WhyWait::BudgetOfAccount);
    assert!(matches!(wait, queue::Wait::For(wait) if wait <= Duration::from_secs(86_460)), "{wait:?}");
    let other = SubmitAsk { account: "other".parse().unwrap(), ..mine(1) };
    world.claim_as(&other).await.unwrap();
    assert_eq!(world.claim_as(&other).await.unwrap_err().0, WhyWait::BudgetOfAccount);

    assert_eq!(world.claim_as(&asking(per_day(3))).await.unwrap_err().0, WhyWait::BudgetOfDay);
    world.succeeded(&first, 1).await;
    assert_eq!(world.claim_as(&asking(per_day(3))).await.unwrap_err().0, WhyWait::BudgetOfDay);
    assert_eq!(world.queue.spent_today().await.unwrap(), Spent { booked: images(1), reserved: images(2) });
    let on = world.queue.account_status(&account()).await.unwrap().spent_today;
    assert_eq!(on, Spent { booked: images(1), reserved: images(1) });
    world.claim_as(&asking(per_day(4))).await.unwrap();
    assert!(world.waiting_names().await.is_empty(), "a day is nothing that a batch waits for");
    world.check().await;
}

#[tokio::test]
async fn a_create_that_nobody_could_settle_keeps_its_money_until_a_person_decides() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    world.own_budget("b", 1).await;
    let job = world.claim().await.unwrap();
    let commit =
        async |event: Event| world.queue.commit_unfenced(job.id, event, &world.rules).await.unwrap().job;
    commit(Event::NoAnswer { cause: "timeout".to_owned() }).await;
    let doubt = job::Doubt { why: "it may be one of these".to_owned(), candidates: Vec::new() };
    let held =
        commit(Event::Undecidable { reason: job::HeldReason::CannotTell, slot_free: true, doubt }).await;
    assert_eq!(held.state_name(), StateName::Held);
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!(
        (status.reserved, status.spent_today.reserved),
        (0, PRICE),
        "its place is free, its bill is open"
    );
    assert!(world.claim().await.is_none());
    assert_eq!(world.bring_back().await, 0);
    commit(Event::ResolvedFail).await;
    assert_eq!(world.spent_of("b").await, Spent::default());
    assert_eq!(world.bring_back().await, 1);
    assert!(world.claim().await.is_some());
    world.check().await;
}

/// The claim script itself, as a worker sends it that takes these for the days of a minute ago and in a minute.
async fn claim_between(world: &World, before: &str, after: &str, per_day: Micros) -> String {
    let (keys, model, nonce) = (world.queue.keys(), Model::Wan27Image, world.queue.nonce());
    let now_ms = world.queue.now().as_millisecond();
    let script = redis::Script::new(include_str!("../../../crates/queue/lua/claim_submit.lua"));
    let mut call = script.prepare_invoke();
    for key in [
        keys.permits(&account(), &format!("create:{model}")),
        keys.slots(&account(), model),
        keys.account(&account()),
        keys.turns(model, Some(&job::PinnedTo::Account(account()))),
        keys.turns(model, None),
        keys.leases(),
        keys.counts(),
        keys.reply(&nonce),
        keys.ledger(before),
        keys.virtual_time(model),
        keys.claims(),
        keys.incarnation(),
        keys.paused(),
        keys.turns(model, None),
        keys.ledger(before),
        keys.ledger(after),
        keys.waiting_batches(),
    ] {
        call.key(key);
    }
    call.arg(keys.prefix())
        .arg(account().as_str())
        .arg(model.as_str())
        .arg(1)
        .arg(0)
        .arg(100)
        .arg(10_000)
        .arg(5_000);
    call.arg(0)
        .arg(nonce)
        .arg(1_000)
        .arg(0)
        .arg("")
        .arg(1)
        .arg(r#"{"region":"","at_once":100,"weight":1,"others":[]}"#);
    call.arg(120_000).arg(60_000).arg(600_000).arg(PRICE.0).arg(per_day.0).arg(-1).arg(-1);
    let mut redis = world.redis.connection().await.unwrap();
    let reply: Vec<redis::Value> = call.invoke_async(&mut redis).await.unwrap();
    let text = |at: usize| redis::from_redis_value::<String>(reply[at].clone()).unwrap();
    if text(0) != "wait" {
        return text(0);
    }
    let wait_ms: i64 = redis::from_redis_value(reply[5].clone()).unwrap();
    // Until a minute after the next midnight.
    let left_ms = 86_400_000 - (now_ms - 60_000).rem_euclid(86_400_000);
    assert!((left_ms - 10_000..=left_ms).contains(&wait_ms), "{wait_ms} of {left_ms}");
    text(4)
}

#[tokio::test]
async fn around_midnight_the_budgets_of_both_days_hold() {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    let mut redis = world.redis.connection().await.unwrap();
    let full = world.queue.keys().ledger("2026-11-26");
    let _: i64 = redis::AsyncCommands::hincr(&mut redis, full, "cost", images(5).0).await.unwrap();
    // The worker's clock is just behind midnight, or just before it: another one's books on the full day all the same.
    assert_eq!(claim_between(&world, "2026-11-26", "2026-11-27", images(5)).await, "budget_day");
    assert_eq!(claim_between(&world, "2026-11-25", "2026-11-26", images(5)).await, "budget_day");
    assert_eq!(claim_between(&world, "2026-11-26", "2026-11-26", images(5)).await, "budget_day");
    assert_eq!(claim_between(&world, "2026-11-27", "2026-11-27", images(5)).await, "claimed");
}

#[tokio::test]
async fn a_price_that_changes_between_claim_and_end_leaves_nothing_reserved() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    let cheap = world.claim_as(&SubmitAsk { price: Micros(1_000), ..ask(fast()) }).await.unwrap();
    let dear = world.claim_as(&SubmitAsk { price: Micros(9_000_000), ..ask(fast()) }).await.unwrap();
    assert_eq!(world.spent_of("b").await.reserved, Micros(9_001_000));
    world.succeeded(&cheap, 1).await;
    world.succeeded(&dear, 1).await;
    assert_eq!(world.spent_of("b").await, Spent { booked: images(2), reserved: Micros(0) });
    world.check().await;
}

#[tokio::test]
async fn a_turn_that_is_lost_comes_back_and_one_that_waits_for_money_does_not() {
    let world = World::new().await;
    for batch in ["waits", "lost"] {
        world.enqueue(batch, 2).await;
        world.own_budget(batch, 0).await;
    }
    assert!(world.claim().await.is_none());
    // As if somebody had edited Redis: nobody looks at this one any more.
    let mut redis = world.redis.connection().await.unwrap();
    let keys = world.queue.keys();
    let _: () = redis::AsyncCommands::zrem(&mut redis, keys.waiting_batches(), "lost").await.unwrap();
    let batch = keys.batch(Some(&name("lost")));
    let _: () = redis::AsyncCommands::hdel(&mut redis, batch, "waits_since").await.unwrap();
    let repaired = world.sweep().await;
    assert_eq!(repaired.len(), 1, "{repaired:?}");
    assert_eq!(repaired[0].kind, "turn");
    world.own_budget("lost", 9).await;
    assert_eq!(world.claim().await.unwrap().batch, Some(name("lost")));
    world.check().await;
}

trait WithBudget {
    fn with_budget(self, cost: Micros) -> Self;
}

impl WithBudget for SubmitAsk {
    fn with_budget(self, cost: Micros) -> Self {
        let limits = AccountLimits { cost_per_day: Some(cost), ..self.limits };
        Self { limits, ..self }
    }
}

#[tokio::test]
async fn a_job_that_is_too_dear_for_what_is_left_of_a_day_lets_others_go_before_it() {
    let world = World::new().await;
    world.enqueue_sized("dear", 4, 1).await;
    world.enqueue_sized("cheap", 1, 3).await;
    let of_account = asking(Budgets::default()).with_budget(images(3));
    for (ask, cheap, short) in
        [(asking(per_day(2)), 2, WhyWait::BudgetOfDay), (of_account, 1, WhyWait::BudgetOfAccount)]
    {
        for _ in 0..cheap {
            assert_eq!(world.claim_as(&ask).await.unwrap().batch, Some(name("cheap")));
        }
        assert_eq!(world.claim_as(&ask).await.unwrap_err().0, short);
    }
    // Its turn has not passed: with room for it, it is next.
    world.enqueue_sized("more", 1, 9).await;
    assert_eq!(world.claim_as(&asking(per_day(7))).await.unwrap().batch, Some(name("dear")));
    world.check().await;
}

#[tokio::test]
async fn a_job_is_left_to_another_account_only_if_that_one_can_pay_for_it_today() {
    let world = World::new().await;
    let poor: job::AccountName = "poor".parse().unwrap();
    for (at, limits) in [
        AccountLimits { cost_per_day: Some(images(1)), ..fast() },
        AccountLimits { images_per_day: Some(1), ..fast() },
    ]
    .into_iter()
    .enumerate()
    {
        let budgets = Budgets::default();
        let [first, cheap, dear] = ["first", "cheap", "dear"].map(|batch| format!("{batch}-{at}"));
        let other = queue::OtherAccount { account: poor.clone(), region: None, weight: 1, limits };
        let rich = SubmitAsk { others: vec![other], ..asking(budgets) };
        let me = queue::OtherAccount { account: account(), region: None, weight: 1, limits: fast() };
        let of_poor = SubmitAsk { account: poor.clone(), others: vec![me], limits, ..asking(budgets) };
        // It asks, so that it counts, and has a smaller share of its places taken.
        assert_eq!(world.claim_as(&of_poor).await.unwrap_err().0, WhyWait::Empty);
        let spec = job::JobSpec { account: Some(account()), ..spec(&first, "first") };
        world.queue.enqueue(Some(&name(&first)), &[world.queue.new_job(spec)]).await.unwrap();
        world.claim_as(&rich).await.unwrap();

        world.enqueue_sized(&cheap, 1, 1).await;
        assert_eq!(world.claim_as(&rich).await.unwrap_err().0, WhyWait::Elsewhere);
        let claimed = world.claim_as(&of_poor).await.unwrap();
        world.not_sent(&claimed).await;
        world.queue.commit_unfenced(claimed.id, Event::CancelRequested, &world.rules).await.unwrap();
        world.enqueue_sized(&dear, 2, 1).await;
        assert_eq!(world.claim_as(&rich).await.unwrap().batch, Some(name(&dear)), "{:?}", rich.others);
    }
    world.check().await;
}

#[tokio::test]
async fn what_stays_reserved_for_nobody_goes_once_nothing_is_under_way_and_not_before() {
    let world = World::new().await;
    world.enqueue("b", 4).await;
    world.own_budget("b", 4).await;
    let keys = world.queue.keys();
    let job = world.claim().await.unwrap();
    // As a worker leaves it that knows nothing of reservations.
    let mut connection = world.redis.connection().await.unwrap();
    let sums = [keys.batch(Some(&name("b"))), keys.counts(), keys.account(&account())];
    for key in &sums {
        let _: i64 = connection.hincr(key, "reserved_cost", images(3).0).await.unwrap();
    }
    let reserved = async |key: &String| -> i64 {
        world.redis.connection().await.unwrap().hget(key, "reserved_cost").await.unwrap()
    };
    assert!(world.claim().await.is_none(), "there seems to be no room");
    world.sweep().await;
    for key in &sums {
        assert_eq!(reserved(key).await, images(4).0, "{key}: one attempt is under way");
    }
    world.not_sent(&job).await;
    world.sweep().await;
    for key in &sums {
        assert_eq!(reserved(key).await, 0, "{key}");
    }
    assert_eq!(world.queue.repairs().await.unwrap()["reserved"], 3);
    assert_eq!(world.bring_back().await, 1);
    assert!(world.claim().await.is_some());
    world.check().await;
}
