//! Budgets: what is reserved at a claim and what takes its place, against a small model; who waits, and who comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use dashscope::Model;
use job::{Event, Failure, FailureClass, Job, JobState, Micros, Prices, Refusal, StateName};
use proptest::prelude::*;
use queue::{AccountLimits, BatchBudget, Budgets, PauseChange, PauseOf, Spent, SubmitAsk, WhyWait};

use super::{PRICE, World, account, ask, fast, name, spec};

/// Images of a budget.
fn images(number: i64) -> Micros {
    Micros(PRICE.0 * number)
}

fn asking(budgets: Budgets) -> SubmitAsk {
    SubmitAsk { budgets, ..ask(fast()) }
}

fn moderated() -> Failure {
    let (code, message) = ("DataInspectionFailed".to_owned(), "no".to_owned());
    Failure { class: FailureClass::Moderation, code, message, request_id: None }
}

fn per_day(number: i64) -> Budgets {
    Budgets { per_day: Some(images(number)), ..Budgets::default() }
}

impl World {
    async fn own_budget(&self, batch: &str, number: i64) {
        let set = self.queue.set_budget(&name(batch), BatchBudget::Own(images(number)), true).await.unwrap();
        assert!(set, "there is no batch {batch}");
    }

    async fn bring_back(&self) -> u64 {
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

    async fn spent_of(&self, batch: &str) -> Spent {
        self.queue.batch(Some(&name(batch))).await.unwrap().unwrap().spent()
    }

    async fn waiting_names(&self) -> Vec<String> {
        let waiting = self.queue.waiting_batches().await.unwrap();
        waiting.into_iter().map(|batch| batch.name.to_string()).collect()
    }

    async fn enqueue_sized(&self, batch: &str, n: u8, count: usize) {
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

/// What may happen to one of the jobs that are under way, or to all.
#[derive(Debug, Clone)]
enum Happens {
    Claim {
        account: bool,
        price: i64,
    },
    Refused(usize),
    NotSent(usize),
    Created(usize),
    NoAnswer(usize),
    /// With so many of its images.
    Succeeded(usize, u8),
    Failed(usize),
    Retried(usize),
    Canceled(usize),
    Budget(i64),
    Pause,
    Resume,
    BringBack,
    Enqueue(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    let which = 0usize..64;
    prop_oneof![
        8 => (any::<bool>(), 1i64..4).prop_map(|(account, price)| Happens::Claim { account, price }),
        1 => which.clone().prop_map(Happens::Refused),
        1 => which.clone().prop_map(Happens::NotSent),
        3 => which.clone().prop_map(Happens::Created),
        1 => which.clone().prop_map(Happens::NoAnswer),
        3 => (which.clone(), 0u8..5).prop_map(|(at, images)| Happens::Succeeded(at, images)),
        2 => which.clone().prop_map(Happens::Failed),
        1 => which.clone().prop_map(Happens::Retried),
        1 => which.prop_map(Happens::Canceled),
        1 => (0i64..60).prop_map(Happens::Budget),
        1 => Just(Happens::Pause),
        1 => Just(Happens::Resume),
        2 => Just(Happens::BringBack),
        1 => (1u8..5).prop_map(Happens::Enqueue),
    ]
}

/// A batch as it is in the model: what is reserved by whom, and what was booked.
#[derive(Default)]
struct Books {
    budget: i64,
    day: i64,
    paused: bool,
    booked: i64,
    reserved: BTreeMap<job::JobId, i64>,
}

impl Books {
    fn spent(&self) -> i64 {
        self.booked + self.reserved.values().sum::<i64>()
    }
}

/// Some twenty lives of batches by chance, each with refusals, lost answers, failures, retries, pauses and budgets that change: at every
/// moment Redis has reserved what the model has, a claim is granted only where it fits, and in the end nothing is reserved.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_follows_the_model_is_never_negative_and_is_nothing_in_the_end() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let mut world = World::new().await;
    world.rules.poll.first = Duration::from_millis(1);
    world.rules.retry.curve.first = Duration::from_millis(1);
    let chance = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), chance);
    let (mut granted, mut waited) = (0, 0);
    let mut day_before = 0;
    for case in 0..20 {
        let story = prop::collection::vec(happens(), 60).new_tree(&mut runner).unwrap().current();
        let batch = format!("case{case}");
        world.enqueue_sized(&batch, 2, 6).await;
        world.own_budget(&batch, 20).await;
        // Its own budget of the day is what the cases before have left, and so much.
        let mut books = Books { budget: images(20).0, day: day_before + images(60).0, ..Books::default() };
        for (at, event) in story.iter().enumerate() {
            let told = format!("case {case}, {at}: {event:?}");
            let fitted = books.spent() <= books.budget && day_before + books.spent() <= books.day;
            tell(&world, &batch, &mut books, event, &mut granted, &mut waited).await;
            let spent = world.spent_of(&batch).await;
            let reserved: i64 = books.reserved.values().sum();
            assert_eq!(spent, Spent { booked: Micros(books.booked), reserved: Micros(reserved) }, "{told}");
            let today = world.queue.spent_today().await.unwrap();
            assert_eq!(today.reserved, spent.reserved, "{told}");
            assert_eq!(today.booked.0, day_before + books.booked, "{told}");
            if matches!(event, Happens::Claim { .. }) {
                assert!(!fitted || books.spent() <= books.budget, "{told}: above the budget");
                assert!(!fitted || day_before + books.spent() <= books.day, "{told}: above the day's budget");
            }
            if at % 10 == 9 {
                world.check().await;
            }
        }
        // Whatever is under way comes to its end.
        for id in books.reserved.keys().copied().collect::<Vec<_>>() {
            let job = world.queue.job(id).await.unwrap().unwrap();
            finish(&world, &job).await;
        }
        assert_eq!(world.spent_of(&batch).await.reserved, Micros(0), "case {case}");
        let ids: Vec<_> = world.queued_of(&batch).await;
        for id in ids {
            world.queue.commit_unfenced(id, Event::CancelRequested, &world.rules).await.unwrap();
        }
        world.queue.resume(&PauseOf::Batch(name(&batch))).await.unwrap();
        world.bring_back().await;
        assert!(world.waiting_names().await.is_empty(), "case {case}: nothing is left that could wait");
        day_before += books.booked;
    }
    assert!(granted > 100 && waited > 20, "{granted} granted, {waited} waited: the stories say too little");
}

impl World {
    async fn queued_of(&self, batch: &str) -> Vec<job::JobId> {
        self.jobs_of(batch, &[StateName::Queued]).await
    }

    async fn jobs_of(&self, batch: &str, states: &[StateName]) -> Vec<job::JobId> {
        let filter = queue::JobFilter { batch: Some(Some(name(batch))), states: states.to_vec() };
        let page = self.queue.jobs(&filter, None, 500).await.unwrap();
        page.items.iter().map(|job| job.id).collect()
    }
}

/// Ends the attempt of a job that has one, without an image.
async fn finish(world: &World, job: &Job) {
    let event = match &job.state {
        JobState::Submitting { .. } => Event::NotSent,
        JobState::Settling { .. } => Event::NotCreated,
        JobState::Polling { .. } => Event::TaskCanceled,
        other => panic!("nothing is reserved for {other:?}"),
    };
    world.queue.commit_unfenced(job.id, event, &world.rules).await.unwrap();
}

async fn tell(
    world: &World,
    batch: &str,
    books: &mut Books,
    event: &Happens,
    granted: &mut u32,
    waited: &mut u32,
) {
    let of_states = async |at: usize, states: &[StateName]| {
        let ids = world.jobs_of(batch, states).await;
        let id = ids.get(at % ids.len().max(1)).copied()?;
        world.queue.job(id).await.unwrap()
    };
    let commit = async |job: &Job, event: Event| {
        world.queue.commit_unfenced(job.id, event, &world.rules).await.unwrap().job
    };
    let submitting = [StateName::Submitting];
    match event {
        Happens::Claim { account: other, price } => {
            let mut asked = asking(Budgets { per_day: Some(Micros(books.day)), ..Budgets::default() });
            asked.price = Micros(PRICE.0 * price);
            if *other {
                asked.account = "other".parse().unwrap();
            }
            match world.claim_as(&asked).await {
                Ok(job) => {
                    assert!(!books.paused, "a job of a paused batch was claimed");
                    *granted += 1;
                    books.reserved.insert(job.id, asked.price.0 * i64::from(job.images_max));
                    assert!(books.spent() <= books.budget, "a claim went above the budget");
                }
                Err(_) => *waited += 1,
            }
        }
        Happens::Refused(at) => {
            let Some(job) = of_states(*at, &submitting).await else { return };
            let refusal = Refusal { account_waits: true, ..Refusal::ours("Throttling", "slow down") };
            commit(&job, Event::Refused(refusal)).await;
            books.reserved.remove(&job.id);
        }
        Happens::NotSent(at) => {
            let Some(job) = of_states(*at, &submitting).await else { return };
            commit(&job, Event::NotSent).await;
            books.reserved.remove(&job.id);
        }
        Happens::Created(at) => {
            let Some(job) = of_states(*at, &submitting).await else { return };
            world.created(&job, &format!("task-{}-{}", job.id, job.attempts)).await;
        }
        Happens::NoAnswer(at) => {
            let Some(job) = of_states(*at, &submitting).await else { return };
            commit(&job, Event::NoAnswer { cause: "timeout".to_owned() }).await;
        }
        Happens::Succeeded(at, brought) => {
            let Some(job) = of_states(*at, &[StateName::Polling]).await else { return };
            let price = books.reserved.remove(&job.id).unwrap() / i64::from(job.images_max);
            let billed = (*brought).min(job.images_max);
            let deadline = world.queue.now() + Duration::from_secs(86_400);
            let cost = Micros(price * i64::from(billed));
            commit(&job, Event::TaskSucceeded { images: billed, billed, cost, deadline }).await;
            books.booked += cost.0;
        }
        Happens::Failed(at) => {
            let Some(job) = of_states(*at, &[StateName::Polling]).await else { return };
            let failure = moderated();
            commit(&job, Event::TaskFailed(failure)).await;
            books.reserved.remove(&job.id);
        }
        Happens::Retried(at) => {
            let Some(job) = of_states(*at, &[StateName::Failed, StateName::Canceled]).await else { return };
            commit(&job, Event::RetryRequested).await;
        }
        Happens::Canceled(at) => {
            let Some(job) = of_states(*at, &[StateName::Queued, StateName::Polling]).await else { return };
            commit(&job, Event::CancelRequested).await;
        }
        Happens::Budget(number) => {
            world.own_budget(batch, *number).await;
            books.budget = images(*number).0;
        }
        Happens::Pause => {
            world.queue.pause(&PauseOf::Batch(name(batch)), "me", "").await.unwrap();
            books.paused = true;
        }
        Happens::Resume => {
            world.queue.resume(&PauseOf::Batch(name(batch))).await.unwrap();
            books.paused = false;
        }
        Happens::BringBack => {
            world.queue.bring_back(&Prices::default(), None).await.unwrap();
        }
        Happens::Enqueue(n) => world.enqueue_sized(batch, *n, 2).await,
    }
}
