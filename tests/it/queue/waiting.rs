use std::time::Duration;

use dashscope::Model;
use job::{AccountName, Event, Opens, PinnedTo, RegionName, StateName};
use queue::{AccountLimits, Call, Pausable, PauseOf, Turn, Waiting, WaitingJobs};
use redis::AsyncCommands as _;

use super::{World, account, ask, fast, name, spec};

fn east() -> RegionName {
    RegionName::parse("east").unwrap()
}

impl World {
    /// Enqueues one job of `batch` for the model and place, alone in its lane or behind others.
    async fn wait_for(&self, batch: &str, custom_id: &str, model: Model, pinned_to: Option<PinnedTo>) {
        let mut spec = spec(batch, custom_id);
        spec.request.model = model;
        match pinned_to {
            None => {}
            Some(PinnedTo::Account(account)) => spec.account = Some(account),
            Some(PinnedTo::Region(region)) => spec.region = Some(region),
        }
        self.queue.enqueue(Some(&name(batch)), &[self.queue.new_job(spec)]).await.unwrap();
    }

    async fn waiting(&self) -> Waiting {
        let places = [PinnedTo::Region(east()), PinnedTo::Account(account())];
        self.queue.waiting(&places).await.unwrap()
    }

    /// Writes into a job's record that it was enqueued then.
    async fn enqueued_at(&self, batch: &str, nth: isize, ms: i64) {
        let mut connection = self.redis.connection().await.unwrap();
        let keys = self.queue.keys();
        let members = keys.members(Some(&name(batch)));
        let ids: Vec<String> = connection.zrange(members, nth, nth).await.unwrap();
        let id = ids[0].parse().unwrap();
        let _: () = connection.hset(keys.job(id), "e", ms).await.unwrap();
    }
}

fn of<'a>(waiting: &'a Waiting, model: Model, pinned_to: Option<&PinnedTo>) -> &'a WaitingJobs {
    let found = waiting.jobs.iter().find(|of| of.model == model && of.pinned_to.as_ref() == pinned_to);
    found.unwrap()
}

#[tokio::test]
async fn what_waits_is_counted_by_model_and_place_with_its_oldest_job() {
    use Model::{Wan27Image as Plain, Wan27ImagePro as Pro};
    let world = World::new().await;
    let (here, region) = (PinnedTo::Account(account()), PinnedTo::Region(east()));
    for n in 0..3 {
        world.wait_for("a", &format!("a-{n}"), Plain, None).await;
        world.wait_for("b", &format!("b-{n}"), Plain, None).await;
    }
    world.wait_for("a", "pinned", Pro, Some(here.clone())).await;
    world.wait_for("c", "c-0", Plain, Some(region.clone())).await;
    // The first of each lane says how old the oldest is; `b` waits longer than `a`.
    world.enqueued_at("a", 0, 5_000).await;
    world.enqueued_at("b", 0, 4_000).await;

    let waiting = world.waiting().await;
    assert_eq!(waiting.jobs.len(), 2 * 3);
    let any = of(&waiting, Plain, None);
    let oldest = any.oldest.map(|at| at.as_millisecond());
    assert_eq!((any.jobs, any.at_least, oldest), (6, false, Some(4_000)));
    let counts = [(Pro, Some(&here)), (Plain, Some(&region)), (Pro, None), (Plain, Some(&here))]
        .map(|(model, place)| of(&waiting, model, place))
        .map(|of| (of.jobs, of.oldest.is_some()));
    assert_eq!(counts, [(1, true), (1, true), (0, false), (0, false)]);
    assert_eq!(waiting.no_turn, Some(0));
    let lanes = world.queue.lanes_of_batch(Some(&name("a"))).await.unwrap();
    assert_eq!((lanes.ready[&(Plain, None)], lanes.ready[&(Pro, Some(here))], lanes.delayed), (3, 1, 0));

    // One is claimed, another waits for its time, a batch is paused, one waits for an account that nobody asked for.
    world.claim().await.unwrap();
    let mut later = spec("b", "later");
    later.not_before = Some(world.queue.now() + Duration::from_secs(60));
    world.queue.enqueue(Some(&name("b")), &[world.queue.new_job(later)]).await.unwrap();
    world.queue.pause(&PauseOf::Batch(name("b")), "kim", "").await.unwrap();
    let gone = PinnedTo::Account(AccountName::parse("gone").unwrap());
    world.wait_for("d", "d-0", Plain, Some(gone)).await;
    let lanes = world.queue.lanes_of_batch(Some(&name("b"))).await.unwrap();
    assert_eq!((lanes.ready.len(), lanes.delayed), (1, 1));
    let waiting = world.waiting().await;
    let claimed_from_a = of(&waiting, Plain, None).jobs == 2;
    let paused = if claimed_from_a { 3 } else { 2 };
    assert_eq!(waiting.jobs.iter().map(|of| of.jobs).sum::<u64>(), 9 - 1 - 1 - paused);
    assert_eq!(waiting.no_turn, Some(paused + 1));
    assert_eq!(of(&waiting, Plain, None).oldest.map(|at| at.as_millisecond() > 5_000), Some(claimed_from_a));
}

#[tokio::test]
async fn more_lanes_than_are_looked_at_make_a_count_the_least() {
    let world = World::new().await;
    for n in 0..201 {
        world.wait_for(&format!("batch-{n}"), "one", Model::Wan27Image, None).await;
    }
    let waiting = world.waiting().await;
    let any = of(&waiting, Model::Wan27Image, None);
    assert_eq!((any.jobs, any.at_least, waiting.no_turn), (200, true, None));
    world.claim().await.unwrap();
    // The lane that ran empty keeps its turn for a while.
    world
        .redis
        .connection()
        .await
        .unwrap()
        .zremrangebyrank::<_, ()>(world.queue.keys().turns(Model::Wan27Image, None), 0, 0)
        .await
        .unwrap();
    let waiting = world.waiting().await;
    assert!(!of(&waiting, Model::Wan27Image, None).at_least);
}

#[tokio::test]
async fn an_account_says_since_when_it_may_create_and_how_many_it_created_lately() {
    let world = World::new().await;
    let model = Model::Wan27Image;
    let limits = AccountLimits { images_per_day: Some(2), ..fast() };
    let opens = async |model| {
        let status = world.queue.account_status(&account()).await.unwrap();
        let by_hand = world.queue.hand_pauses().await.unwrap();
        status.opens(&account(), model, &limits, &by_hand, &queue::Purse::default(), world.queue.now())
    };
    assert_eq!(opens(model).await, Opens::Now);

    world
        .queue
        .pause_account(&account(), Pausable::Creates(model), Duration::from_secs(30), "slow down")
        .await
        .unwrap();
    let Opens::At(at) = opens(model).await else { panic!("not paused") };
    let left = at.duration_since(world.queue.now()).as_secs_f64();
    assert!((25.0..=30.0).contains(&left), "{left}");
    // Queries are no creates, and another model's breaker says nothing of this one.
    let waits = world.rules.breaker;
    let open = Turn::Open { code: "c".into(), why: "w".into(), wait_min: Duration::ZERO };
    let other = Call::Create(Some(Model::Wan27ImagePro));
    for call in [Call::Query, other] {
        world.queue.turn_breaker(&account(), call, None, &open, &waits).await.unwrap();
    }
    assert!(matches!(opens(model).await, Opens::At(_)));
    assert_eq!(opens(Model::Wan27ImagePro).await, Opens::Unknown);
    let of = PauseOf::ModelOnAccount(model, account());
    world.queue.pause(&of, "kim", "").await.unwrap();
    assert_eq!(opens(model).await, Opens::Unknown);
    world.queue.resume(&of).await.unwrap();
    assert!(matches!(opens(model).await, Opens::At(_)));

    let mut connection = world.redis.connection().await.unwrap();
    let _: () = connection.del(world.queue.keys().account(&account())).await.unwrap();
    world.enqueue("a", 2).await;
    for n in 0..2 {
        let job = world.claim_as(&ask(fast())).await.unwrap();
        world.created(&job, &format!("task-{n}")).await;
    }
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!(status.created_lately, 2);
    // Both may bring an image, and two are what the day allows: from midnight on.
    let Opens::At(at) = opens(model).await else { panic!("the day is not used up") };
    assert_eq!(at.as_second() % 86_400, 0);
    assert!(at.duration_since(world.queue.now()).as_secs() <= 86_400);
}

#[tokio::test]
async fn the_ends_of_a_batch_are_found_among_those_of_others() {
    let world = World::new().await;
    world.enqueue("a", 3).await;
    world.enqueue("b", 2).await;
    let mut ended = (0, 0);
    while let Some(job) = world.claim().await {
        let of_a = job.batch == Some(name("a"));
        // One of `a` is not over.
        if of_a && ended.0 == 2 {
            continue;
        }
        let job = world.queue.commit(&job, Event::NotSent, &world.rules, None).await.unwrap().job;
        let job = world.queue.commit(&job, Event::CancelRequested, &world.rules, None).await.unwrap().job;
        assert_eq!(job.state_name(), StateName::Canceled);
        if of_a { ended.0 += 1 } else { ended.1 += 1 }
    }
    assert_eq!(ended, (2, 2));
    let ends = world.queue.ended_lately(&name("a")).await.unwrap();
    assert_eq!(ends.len(), 2);
    let now = world.queue.now();
    assert!(ends.iter().all(|at| now.duration_since(*at).as_secs() < 60), "{ends:?} before {now}");
    assert!(world.queue.ended_lately(&name("none")).await.unwrap().is_empty());
}
