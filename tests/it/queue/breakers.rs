use std::time::Duration;

use job::{Curve, Event, Job, Model};
use queue::{Became, Call, CreateTime, OpenBreaker, Permit, SubmitClaim, Turn, Wait, WhyWait};
use tests::eventually;

use super::{World, account, ask, fast};

const HOUR: Duration = Duration::from_secs(3600);

/// Waits that are over at once, or not within this test.
fn waits(first: Duration) -> Curve {
    Curve { first, factor: 2.0, cap: 4 * first }
}

fn open(code: &str) -> Turn {
    Turn::Open { code: code.into(), why: "said why".into(), wait_min: Duration::ZERO }
}

fn token(job: &Job) -> String {
    format!("{}:{}", job.id, job.attempts)
}

impl World {
    async fn turn(&self, probe: Option<&str>, turn: &Turn, wait: Duration) -> Became {
        self.queue.turn_breaker(&account(), Call::Create(None), probe, turn, &waits(wait)).await.unwrap()
    }

    async fn breakers(&self) -> Vec<OpenBreaker> {
        self.queue.account_status(&account()).await.unwrap().breakers
    }

    /// A claim, and whether it is a probe.
    async fn probe(&self) -> Option<(Job, bool)> {
        match self.queue.claim_submit(&ask(fast()), &self.queue.nonce()).await.unwrap() {
            SubmitClaim::Claimed { job, probe, .. } => Some((*job, probe)),
            SubmitClaim::Wait { .. } => None,
        }
    }
}

#[tokio::test]
async fn an_open_breaker_lets_nothing_through_and_says_why() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    assert_eq!(world.turn(None, &open("Arrearage"), HOUR).await, Became::Opened);
    let (why, wait) = world.claim_as(&ask(fast())).await.unwrap_err();
    assert_eq!(why, WhyWait::Paused);
    assert!(matches!(wait, Wait::For(wait) if wait > HOUR - Duration::from_secs(60)), "{wait:?}");
    // What was under way when it opened is the same trouble: it makes the wait no longer, and does not end it.
    for turn in [open("InvalidApiKey"), Turn::Close, Turn::Release] {
        assert_eq!(world.turn(None, &turn, HOUR).await, Became::Unchanged);
        assert_eq!(world.turn(Some("01ARZ3NDEKTSV4RRFFQ69G5FAV:1"), &turn, HOUR).await, Became::Unchanged);
    }
    let [breaker] = &world.breakers().await[..] else { panic!("not one breaker") };
    assert_eq!((breaker.call.as_str(), breaker.code.as_str()), ("create", "Arrearage"));
    assert_eq!((breaker.why.as_str(), breaker.probing), ("said why", false));
    assert!(breaker.next_probe > breaker.since);
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!(status.openings["create"], 1);
    world.check().await;
}

#[tokio::test]
async fn one_probe_at_a_time_goes_through_and_a_good_one_lets_everybody_go_on() {
    let world = World::new().await;
    world.enqueue("b", 5).await;
    world.turn(None, &open("Arrearage"), Duration::ZERO).await;
    let nonce = world.queue.nonce();
    let mut probes = Vec::new();
    for _ in 0..2 {
        // A lost answer: the same call gives the same probe.
        match world.queue.claim_submit(&ask(fast()), &nonce).await.unwrap() {
            SubmitClaim::Claimed { job, probe: true, .. } => probes.push(*job),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(probes[0].id, probes[1].id);
    assert!(world.probe().await.is_none(), "a second one while the first is under way");
    assert!(world.breakers().await[0].probing);

    assert_eq!(world.turn(Some(&token(&probes[0])), &Turn::Close, HOUR).await, Became::Closed);
    assert_eq!(world.turn(Some(&token(&probes[0])), &Turn::Close, HOUR).await, Became::Unchanged);
    assert!(world.breakers().await.is_empty());
    for _ in 0..4 {
        assert!(!world.probe().await.unwrap().1);
    }
    assert_eq!(world.queue.account_status(&account()).await.unwrap().openings["create"], 1);
    world.check().await;
}

#[tokio::test]
async fn each_bad_probe_makes_the_wait_longer_up_to_the_cap() {
    let world = World::new().await;
    world.enqueue("b", 8).await;
    world.turn(None, &open("Arrearage"), Duration::ZERO).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (job, probe) = world.probe().await.unwrap();
        assert!(probe);
        world.turn(Some(&token(&job)), &open("Arrearage"), HOUR).await;
        let breaker = world.breakers().await.remove(0);
        seen.push((breaker.next_probe.duration_since(world.queue.now()).as_secs() + 60) / 3600);
        // By hand, so that this test need not wait for hours.
        let mut connection = world.redis.connection().await.unwrap();
        let key = world.queue.keys().account(&account());
        redis::cmd("HSET")
            .arg(key)
            .arg("open:create")
            .arg(1)
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
    }
    assert_eq!(seen, [2, 4, 4, 4], "1 h was the wait of its opening");
}

#[tokio::test]
async fn a_probe_that_was_not_sent_or_never_comes_back_makes_room_for_the_next() {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    world.turn(None, &open("Arrearage"), Duration::ZERO).await;
    let (first, _) = world.probe().await.unwrap();
    assert_eq!(world.turn(Some(&token(&first)), &Turn::Release, HOUR).await, Became::Released);
    let mut short = ask(fast());
    short.probe_window = Duration::from_millis(200);
    let second = world.claim_as(&short).await.unwrap();
    let third = eventually("the second probe to count as lost", Duration::from_secs(5), async || {
        world.probe().await.ok_or("no probe yet")
    })
    .await;
    assert!(third.1);
    assert_eq!(world.turn(Some(&token(&second)), &Turn::Close, HOUR).await, Became::Unchanged, "too late");
    assert_eq!(world.turn(Some(&token(&third.0)), &Turn::Close, HOUR).await, Became::Closed);
}

#[tokio::test]
async fn a_models_breaker_leaves_the_accounts_other_model_alone() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let call = Call::Create(Some(Model::Wan27ImagePro));
    world.queue.turn_breaker(&account(), call, None, &open("ModelNotFound"), &waits(HOUR)).await.unwrap();
    assert!(!world.probe().await.unwrap().1);
    let mut other = ask(fast());
    other.model = Model::Wan27ImagePro;
    assert_eq!(world.claim_as(&other).await.unwrap_err().0, WhyWait::Paused);
}

#[tokio::test]
async fn queries_probe_with_one_poll_or_one_permit() {
    let mut world = World::new().await;
    world.rules.poll.first = Duration::ZERO;
    world.enqueue("b", 3).await;
    for n in 0..3 {
        let job = world.claim().await.unwrap();
        world.created(&job, &format!("t{n}")).await;
    }
    let turn = |turn: Turn, wait| {
        let queue = world.queue.clone();
        async move { queue.turn_breaker(&account(), Call::Query, Some("*"), &turn, &waits(wait)).await.unwrap() }
    };
    let polls = || {
        let queue = world.queue.clone();
        async move { queue.claim_polls(&account(), &fast(), 10, &queue.nonce()).await.unwrap() }
    };
    turn(open("InvalidApiKey"), HOUR).await;
    let none = polls().await;
    assert!(none.jobs.is_empty() && !none.probe, "{none:?}");
    assert!(matches!(world.queue.take_query_permit(&account(), &fast()).await.unwrap(), Permit::Wait(_)));
    // Creates without a claim are a person's, and may be tried.
    let none = Duration::ZERO;
    let create =
        world.queue.take_create_time(&account(), Model::Wan27Image, &fast(), none, none).await.unwrap();
    assert!(matches!(create, CreateTime::In(_)), "{create:?}");

    let mut connection = world.redis.connection().await.unwrap();
    let key = world.queue.keys().account(&account());
    let mut over = redis::cmd("HSET");
    over.arg(key).arg("open:query").arg(1);
    over.query_async::<()>(&mut connection).await.unwrap();
    let one = polls().await;
    assert!(one.jobs.len() == 1 && one.probe, "{one:?}");
    assert!(polls().await.jobs.is_empty(), "a second probe");
    assert_eq!(turn(open("InvalidApiKey"), HOUR).await, Became::Reopened);
    over.query_async::<()>(&mut connection).await.unwrap();
    let probe = world.queue.take_query_permit(&account(), &fast()).await.unwrap();
    assert!(matches!(probe, Permit::ProbeIn(_)), "{probe:?}");
    assert!(polls().await.jobs.is_empty(), "a second probe");
    assert_eq!(turn(Turn::Close, HOUR).await, Became::Closed);
    let rest = polls().await;
    assert!(rest.jobs.len() == 2 && !rest.probe, "{rest:?}");
    let job = &rest.jobs[0].job;
    world.queue.commit(job, Event::GivenBack, &world.rules, None).await.unwrap();
    world.check().await;
}
