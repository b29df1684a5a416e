use std::time::Duration;

use job::{Event, Model, TaskId, TaskPhase, Timestamp};
use queue::{Heeded, Listed};
use redis::streams::StreamRangeReply;

use super::{World, account, fast};

fn task(name: &str) -> TaskId {
    name.parse().unwrap()
}

fn over(name: &str) -> Listed {
    Listed { task: task(name), going_for: None }
}

fn going(name: &str, seconds: u64) -> Listed {
    Listed { task: task(name), going_for: Some(Duration::from_secs(seconds)) }
}

async fn claim_polls(world: &World) -> Vec<job::Job> {
    let nonce = world.queue.nonce();
    let claimed = world.queue.claim_polls(&account(), &fast(), 10, &nonce).await.unwrap();
    claimed.jobs.into_iter().map(|claimed| claimed.job).collect()
}

/// How often every worker was told that tasks are due before their time.
async fn hints_of_polls(world: &World) -> usize {
    let mut connection = world.redis.connection().await.unwrap();
    let mut range = redis::cmd("XRANGE");
    range.arg(world.queue.keys().events()).arg("-").arg("+");
    let events: StreamRangeReply = range.query_async(&mut connection).await.unwrap();
    events.ids.iter().filter(|event| event.contains_key("polls")).count()
}

async fn first_due(world: &World) -> Timestamp {
    world.queue.account_status(&account()).await.unwrap().first_poll_due.unwrap()
}

#[tokio::test]
async fn a_task_that_the_list_shows_as_over_is_due_at_once_and_says_so_itself() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    for name in ["t1", "t2"] {
        let job = world.claim().await.unwrap();
        world.created(&job, name).await;
    }
    assert!(claim_polls(&world).await.is_empty());
    let before = hints_of_polls(&world).await;
    let heeded = world.queue.heed_list(&account(), &[over("t1"), over("a-stranger")]).await.unwrap();
    assert_eq!(heeded, Heeded { waiting: 1, brought: 1 });
    // The list says so again and again: nothing is new in that.
    let again = world.queue.heed_list(&account(), &[over("t1")]).await.unwrap();
    assert_eq!(again, Heeded { waiting: 1, brought: 0 });
    assert_eq!((before, hints_of_polls(&world).await), (0, 1), "every worker is woken, once");
    let claimed = claim_polls(&world).await;
    assert_eq!(claimed.len(), 1);
    let due = claimed[0].state.due().unwrap();
    assert!(due <= world.queue.now(), "the record is due with its entry");
    assert_eq!(world.queue.heed_list(&account(), &[over("t1")]).await.unwrap(), Heeded::default());
    world.check().await;
    // The answer counts, not the list.
    let still = Event::StillGoing { phase: TaskPhase::Running, began_after: None };
    world.queue.commit(&claimed[0], still, &world.rules, None).await.unwrap();
    assert!(claim_polls(&world).await.is_empty());
    world.check().await;
}

#[tokio::test]
async fn a_task_that_goes_on_is_put_off_and_never_brought_forward() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    world.created(&job, "t1").await;
    let before = first_due(&world).await;
    world.queue.heed_list(&account(), &[going("t1", 1)]).await.unwrap();
    assert_eq!(first_due(&world).await, before);
    world.queue.heed_list(&account(), &[going("t1", 50)]).await.unwrap();
    let after = first_due(&world).await;
    assert!(after >= before + Duration::from_secs(40), "{before} {after}");
}

#[tokio::test]
async fn another_attempts_task_says_nothing_about_the_one_that_is_waited_for() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let first = world.claim().await.unwrap();
    let first = world.created(&first, "t1").await;
    let failure = job::Failure {
        class: job::FailureClass::Service,
        code: "InternalError".into(),
        message: "again".into(),
        request_id: None,
    };
    world.queue.heed_list(&account(), &[over("t1")]).await.unwrap();
    let claimed = claim_polls(&world).await;
    let rules = job::Rules {
        retry: job::RetryPolicy {
            curve: job::Curve { first: Duration::from_millis(1), factor: 1.0, cap: Duration::from_millis(1) },
            ..Default::default()
        },
        ..Default::default()
    };
    world.queue.commit(&claimed[0], Event::TaskFailed(failure), &rules, None).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let second = loop {
        world.queue.promote(10).await.unwrap();
        if let Some(job) = world.claim().await {
            break job;
        }
        assert!(std::time::Instant::now() < deadline, "the job does not come back");
        tokio::task::yield_now().await;
    };
    assert_eq!(first.id, second.id);
    world.created(&second, "t2").await;
    assert_eq!(world.queue.heed_list(&account(), &[over("t1")]).await.unwrap(), Heeded::default());
    assert_eq!(world.queue.heed_list(&account(), &[over("t2")]).await.unwrap().waiting, 1);
}

#[tokio::test]
async fn one_worker_at_a_time_reads_the_list_and_the_next_one_after_so_long() {
    let world = World::new().await;
    let model = Model::Wan27Image;
    let main = account();
    let turn = || world.queue.take_list_turn(&main, model, Duration::from_secs(30), Duration::ZERO);
    let first = turn().await.unwrap();
    assert!(first.taken);
    let second = turn().await.unwrap();
    assert!(!second.taken && second.over_in > Duration::from_secs(20), "{second:?}");
    world.queue.end_list_turn(&account(), model, Duration::from_millis(1)).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !turn().await.unwrap().taken {
        assert!(std::time::Instant::now() < deadline, "nobody gets the turn");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn how_long_tasks_run_is_learned_by_their_commits_and_old_ends_count_less() {
    let world = World::new().await;
    let mut connection = world.redis.connection().await.unwrap();
    world.enqueue("b", 12).await;
    for n in 0..12 {
        let job = world.claim().await.unwrap();
        world.created(&job, &format!("t{n}")).await;
    }
    let all: Vec<Listed> = (0..12).map(|n| over(&format!("t{n}"))).collect();
    world.queue.heed_list(&account(), &all).await.unwrap();
    let kind = job::TaskKind { model: Model::Wan27Image, shape: None };
    let mut claimed = claim_polls(&world).await;
    claimed.extend(claim_polls(&world).await);
    assert_eq!(claimed.len(), 12);
    for job in &claimed {
        let now = world.queue.now();
        let outcome = job::Outcome {
            format: job::OUTCOME_FORMAT,
            task: job.state.task().unwrap().clone(),
            request_id: None,
            submitted_at: Some(now - Duration::from_secs(30)),
            started_at: Some(now - Duration::from_secs(20)),
            ended_at: Some(now),
            noticed_at: now,
            billed: 1,
            size: None,
            texts: Vec::new(),
            unpublished: false,
            images: Vec::new(),
        };
        let event = Event::TaskSucceeded {
            images: 1,
            billed: 1,
            cost: job::Micros(1),
            deadline: now + Duration::from_secs(3_600),
        };
        assert!(world.queue.durations().await.unwrap().likely(kind).is_none());
        world.queue.commit(job, event, &world.rules, Some(&outcome)).await.unwrap();
    }
    let likely = world.queue.durations().await.unwrap().likely(kind).unwrap();
    assert!(
        likely.earliest > Duration::from_secs(18) && likely.latest < Duration::from_secs(22),
        "{likely:?}"
    );
    assert_eq!(world.queue.halve_durations().await.unwrap(), 0);
    let field = job::Durations::field(Model::Wan27Image, "2k".parse().unwrap(), Duration::from_secs(60));
    let _: u64 = redis::cmd("HINCRBY")
        .arg("{imagemill}:durations")
        .arg(&field)
        .arg(3_000)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(world.queue.halve_durations().await.unwrap(), 1);
    let left: u64 = redis::cmd("HGET")
        .arg("{imagemill}:durations")
        .arg(&field)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 1_500);
    assert_eq!(world.queue.halve_durations().await.unwrap(), 0);
}
