//! What is reserved of the budgets, over random lives of batches, against a small model.

use std::collections::BTreeMap;
use std::time::Duration;

use job::{Attempt, Doubt, Event, HeldReason, Job, JobState, Micros, Prices, Refusal, StateName};
use proptest::prelude::*;
use queue::{Budgets, PauseOf, Spent};

use super::budgets::{asking, images, moderated};
use super::{PRICE, World, name};

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
    /// Nobody can tell what became of its create; it keeps its place at the provider, or not.
    Held(usize, bool),
    ResolvedResubmit(usize),
    ResolvedFail(usize),
    /// The create of an earlier attempt is answered after all, perhaps one of another account.
    Late(usize),
    /// It asks for so many images from now on.
    Replaced(usize, u8),
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
        1 => which.clone().prop_map(Happens::Canceled),
        1 => (which.clone(), any::<bool>()).prop_map(|(at, free)| Happens::Held(at, free)),
        1 => which.clone().prop_map(Happens::ResolvedResubmit),
        1 => which.clone().prop_map(Happens::ResolvedFail),
        2 => which.clone().prop_map(Happens::Late),
        1 => (which, 1u8..5).prop_map(|(at, n)| Happens::Replaced(at, n)),
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
    reserved: BTreeMap<job::JobId, Cost>,
    /// Every attempt so far.
    attempts: BTreeMap<job::JobId, Vec<(Attempt, Cost)>>,
    late: u32,
}

/// What an attempt may cost, and what an image of it does.
#[derive(Clone, Copy)]
struct Cost {
    most: i64,
    image: i64,
}

impl Books {
    fn spent(&self) -> i64 {
        self.booked + self.reserved()
    }

    fn reserved(&self) -> i64 {
        self.reserved.values().map(|cost| cost.most).sum()
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
    let (mut granted, mut waited, mut late) = (0, 0, 0);
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
            let (booked, reserved) = (Micros(books.booked), Micros(books.reserved()));
            assert_eq!(spent, Spent { booked, reserved }, "{told}");
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
        late += books.late;
    }
    assert!(granted > 100 && waited > 20, "{granted} granted, {waited} waited: the stories say too little");
    assert!(late > 5, "{late} tasks came late: the stories say too little");
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
        JobState::Held { .. } => Event::ResolvedFail,
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
                    let cost = Cost { most: asked.price.0 * i64::from(job.images_max), image: asked.price.0 };
                    let attempt = job.state.attempt().unwrap().clone();
                    books.reserved.insert(job.id, cost);
                    books.attempts.entry(job.id).or_default().push((attempt, cost));
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
            let price = books.reserved.remove(&job.id).unwrap().image;
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
        Happens::Held(at, slot_free) => {
            let Some(job) = of_states(*at, &[StateName::Settling]).await else { return };
            let (reason, doubt) = (HeldReason::CannotTell, Doubt::default());
            commit(&job, Event::Undecidable { reason, slot_free: *slot_free, doubt }).await;
        }
        Happens::ResolvedResubmit(at) | Happens::ResolvedFail(at) => {
            let Some(job) = of_states(*at, &[StateName::Held]).await else { return };
            let fails = matches!(event, Happens::ResolvedFail(_));
            commit(&job, if fails { Event::ResolvedFail } else { Event::ResolvedResubmit }).await;
            books.reserved.remove(&job.id);
        }
        Happens::Late(at) => {
            let states = [StateName::Queued, StateName::Submitting, StateName::Held, StateName::Failed];
            let Some(job) = of_states(*at, &states).await else { return };
            let Some((attempt, cost)) = books.attempts.get(&job.id).and_then(|all| all.first()).cloned()
            else {
                return;
            };
            let task = format!("late-{}-{}", job.id, books.late).parse().unwrap();
            let after =
                commit(&job, Event::TaskCreated { attempt: attempt.clone(), task, request_id: None }).await;
            books.late += 1;
            // Else it is an extra task, of which nothing is reserved.
            if matches!(&after.state, JobState::Polling { attempt: taken, .. } if taken.number == attempt.number)
            {
                books.reserved.insert(job.id, cost);
            }
        }
        Happens::Replaced(at, n) => {
            let states = [StateName::Queued, StateName::Failed, StateName::Succeeded];
            let Some(job) = of_states(*at, &states).await else { return };
            let mut spec = world.queue.spec(job.id).await.unwrap().unwrap();
            spec.request.n = *n;
            world.queue.replace(job.id, &spec, &world.rules).await.unwrap();
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
