use std::time::Duration;

use job::{Event, JobState, Micros, Outcome, StateName, TaskPhase};
use queue::{CommitError, Wait};
use tests::eventually;

use super::{World, account, attempt, fast, name, spec};

/// Claims a task that is due to be asked, as soon as it is.
async fn claim_poll(world: &World) -> job::Job {
    eventually("a poll to be due", Duration::from_secs(10), async || {
        let claimed = world.queue.claim_polls(&account(), &fast(), 1, &world.queue.nonce()).await.unwrap();
        claimed.jobs.into_iter().next().map(|claimed| claimed.job).ok_or(claimed.wait)
    })
    .await
}

async fn hurried() -> World {
    let mut world = World::new().await;
    world.rules.poll.first = Duration::from_millis(1);
    world
}

#[tokio::test]
async fn a_job_goes_its_whole_way_and_its_batch_ends() {
    let world = hurried().await;
    world.enqueue("b", 1).await;
    world.queue.seal(&name("b")).await.unwrap();
    let job = world.claim().await.unwrap();
    let job = world.created(&job, "task-1").await;
    assert_eq!(job.state_name(), StateName::Polling);
    world.check().await;

    let job = claim_poll(&world).await;
    let deadline = world.queue.now() + Duration::from_secs(86_400);
    let done = Event::TaskSucceeded { images: 1, billed: 1, cost: Micros(30_000), deadline };
    let outcome = outcome();
    let job = world.queue.commit(&job, done, &world.rules, Some(&outcome)).await.unwrap().job;
    assert_eq!(job.state_name(), StateName::Archiving);
    world.check().await;

    let claimed = world.queue.claim_archives(10, Duration::ZERO, &world.queue.nonce()).await.unwrap();
    assert_eq!(claimed.wait, Wait::Unknown);
    let claimed = claimed.jobs.into_iter().next().unwrap();
    assert_eq!(claimed.outcome.as_ref(), Some(&outcome));
    let copied = Event::Copied { stored: 1, lost: 0, retry_after: None };
    let job = world.queue.commit(&claimed.job, copied, &world.rules, None).await.unwrap().job;
    assert_eq!(job.state_name(), StateName::Succeeded);

    let batch = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((batch.left, batch.billed, batch.stored, batch.cost), (0, 1, 1, Micros(30_000)));
    assert!(batch.ended_at.is_some());
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!((status.images_today, status.reserved), (1, 0));
    let owners = world
        .queue
        .task_owners(&account(), &["task-1".parse().unwrap(), "x".parse().unwrap()])
        .await
        .unwrap();
    let owner = owners[0].as_ref().unwrap();
    assert_eq!((owner.job, owner.attempt), (job.id, 1));
    assert!(owner.claimed_at.is_some() && owners[1].is_none());
    world.check().await;
}

fn outcome() -> Outcome {
    serde_json::from_value(serde_json::json!({
        "v": 1, "task": "task-1", "noticed_at": "2026-11-23T00:00:00Z", "billed": 1, "images": [],
    }))
    .unwrap()
}

#[tokio::test]
async fn one_document_that_cannot_be_read_does_not_hold_up_its_neighbours() {
    let world = hurried().await;
    world.enqueue("b", 2).await;
    for n in 0..2 {
        let job = world.claim().await.unwrap();
        world.created(&job, &format!("task-{n}")).await;
        let job = claim_poll(&world).await;
        let deadline = world.queue.now() + Duration::from_secs(86_400);
        let done = Event::TaskSucceeded { images: 1, billed: 1, cost: Micros(30_000), deadline };
        world.queue.commit(&job, done, &world.rules, Some(&outcome())).await.unwrap();
        if n == 0 {
            let mut connection = world.redis.connection().await.unwrap();
            let mut damage = redis::cmd("SET");
            damage.arg(world.queue.keys().outcome(job.id)).arg("{");
            damage.query_async::<()>(&mut connection).await.unwrap();
        }
    }
    let claimed = world.queue.claim_archives(10, Duration::ZERO, &world.queue.nonce()).await.unwrap();
    let with_outcome = claimed.jobs.iter().filter(|job| job.outcome.is_some()).count();
    assert_eq!((claimed.jobs.len(), with_outcome), (2, 1));
    world.check().await;
}

#[tokio::test]
async fn a_cancel_that_meets_a_claimed_job_is_not_lost() {
    let world = hurried().await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    world.created(&job, "task-1").await;
    let claimed = claim_poll(&world).await;
    let cancelled =
        world.queue.commit_unfenced(job.id, Event::CancelRequested, &world.rules).await.unwrap().job;
    assert!(cancelled.cancel_requested && cancelled.claimed);
    world.check().await;
    // The worker knows nothing of it and commits what it saw: both stand.
    let still = Event::StillGoing { phase: TaskPhase::Pending, began_after: None };
    let job = world.queue.commit(&claimed, still, &world.rules, None).await.unwrap().job;
    assert!(job.cancel_requested && !job.claimed);
    assert!(matches!(job.state, JobState::Polling { polls: 1, .. }), "{job:?}");
    world.check().await;
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_leaves_its_lane() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    let jobs = world.queue.jobs(&Default::default(), None, 10).await.unwrap().items;
    for job in &jobs {
        world.queue.commit_unfenced(job.id, Event::CancelRequested, &world.rules).await.unwrap();
        world.check().await;
    }
    assert!(world.claim().await.is_none());
    let again = world.queue.commit_unfenced(jobs[0].id, Event::CancelRequested, &world.rules).await;
    assert!(matches!(again, Err(CommitError::Illegal(_))), "{again:?}");
}

#[tokio::test]
async fn a_refused_job_keeps_its_place_in_the_order() {
    let mut world = World::new().await;
    world.rules.retry.curve.first = Duration::from_millis(1);
    world.enqueue("b", 3).await;
    let first = world.claim().await.unwrap();
    let refusal = job::Refusal::ours("Throttling.RateQuota", "slow down");
    world.queue.commit(&first, Event::Refused(refusal), &world.rules, None).await.unwrap();
    world.check().await;
    eventually("its promotion", Duration::from_secs(5), async || {
        world.queue.promote(10).await.unwrap();
        if world.queue.delayed().await.unwrap() == 0 { Ok(()) } else { Err("still delayed") }
    })
    .await;
    let again = world.claim().await.unwrap();
    assert_eq!((again.id, again.attempts), (first.id, 2));
    world.check().await;
}

#[tokio::test]
async fn a_refusal_that_comes_back_is_counted_and_leaves_the_history_its_room() {
    let mut world = World::new().await;
    world.rules.retry.curve.first = Duration::ZERO;
    world.rules.retry.curve.cap = Duration::ZERO;
    world.enqueue("b", 1).await;
    let refuse = async |code: &str, message: &str| {
        world.queue.promote(10).await.unwrap();
        let job = world.claim().await.unwrap();
        let refusal = job::Refusal { request_id: Some(message.into()), ..job::Refusal::ours(code, message) };
        world.queue.commit(&job, Event::Refused(refusal), &world.rules, None).await.unwrap().job.id
    };
    for n in 0..120 {
        refuse("Arrearage", &format!("r-{n}")).await;
    }
    let id = refuse("Throttling", "slow down \"now\"").await;
    let tries = world.queue.tries(id).await.unwrap();
    assert_eq!(tries.iter().map(|line| line.times).collect::<Vec<_>>(), [120, 1], "{tries:#?}");
    assert_eq!((tries[0].attempt, tries[0].request_id.as_deref()), (120, Some("r-119")));
    assert!(tries[0].since.is_some_and(|since| since <= tries[0].at));
    assert_eq!(tries[1].message.as_deref(), Some("slow down \"now\""));
}

#[tokio::test]
async fn a_task_id_is_taken_even_when_the_claim_is_over() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    // The worker is paused past its lease, and a rescuer settles its attempt.
    let rescued = eventually("the lease to end", Duration::from_secs(5), async || {
        let rescued = world.queue.rescue(10, &world.queue.nonce()).await.unwrap();
        rescued.jobs.into_iter().next().ok_or("no lease has ended")
    })
    .await
    .0;
    assert!(rescued.fence > job.fence);
    world.queue.commit(&rescued, Event::Rescued, &world.rules, None).await.unwrap();
    world.check().await;
    // Then its answer arrives. Fenced, it would be lost; it is written all the same.
    let created =
        Event::TaskCreated { attempt: attempt(&job), task: "late".parse().unwrap(), request_id: None };
    let fenced = world.queue.commit(&job, created.clone(), &world.rules, None).await;
    assert!(matches!(fenced, Err(CommitError::Fenced { .. })), "{fenced:?}");
    let committed = world.queue.commit_unfenced(job.id, created.clone(), &world.rules).await.unwrap();
    assert_eq!(committed.job.state_name(), StateName::Polling);
    assert_eq!(committed.extra_task, None);
    world.check().await;
    // The same answer again changes nothing; another task of the job is an extra one, and is ours all the same.
    let same = world.queue.commit_unfenced(job.id, created, &world.rules).await.unwrap();
    assert_eq!(same.job.version, committed.job.version);
    let second =
        Event::TaskCreated { attempt: attempt(&job), task: "second".parse().unwrap(), request_id: None };
    let extra = world.queue.commit_unfenced(job.id, second, &world.rules).await.unwrap();
    assert_eq!(extra.extra_task, Some("second".parse().unwrap()));
    let owners = world.queue.task_owners(&account(), &["second".parse().unwrap()]).await.unwrap();
    assert_eq!(owners[0].as_ref().map(|owner| (owner.job, owner.attempt)), Some((job.id, 1)));
    world.check().await;
}

#[tokio::test]
async fn a_failed_job_ends_without_a_batch_too_and_can_be_retried() {
    let world = World::new().await;
    let mut alone = spec("b", "x");
    (alone.batch, alone.custom_id) = (None, None);
    let new = world.queue.new_job(alone);
    world.queue.enqueue(None, std::slice::from_ref(&new)).await.unwrap();
    let job = world.claim().await.unwrap();
    let failure = job::Failure {
        class: job::FailureClass::Moderation,
        code: "DataInspectionFailed".into(),
        message: "no".into(),
        request_id: Some("r-1".into()),
    };
    let job = world.queue.commit(&job, Event::Rejected(failure), &world.rules, None).await.unwrap().job;
    assert_eq!(job.state_name(), StateName::Failed);
    let tries = world.queue.tries(job.id).await.unwrap();
    assert_eq!(tries.len(), 1);
    assert_eq!(tries[0].request_id.as_deref(), Some("r-1"));
    world.check().await;
    let ended = redis::cmd("ZCARD").arg(world.queue.keys().ended()).to_owned();
    let mut connection = world.redis.connection().await.unwrap();
    assert_eq!(ended.query_async::<u64>(&mut connection).await.unwrap(), 1);
    world.queue.commit_unfenced(job.id, Event::RetryRequested, &world.rules).await.unwrap();
    world.check().await;
    // Retention must not take a job that runs again.
    assert_eq!(ended.query_async::<u64>(&mut connection).await.unwrap(), 0);
    assert_eq!(world.claim().await.unwrap().id, job.id);
}

#[tokio::test]
async fn a_job_that_somebody_holds_is_not_handed_out_again() {
    let world = hurried().await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    world.created(&job, "task-1").await;
    let claimed = claim_poll(&world).await;
    // An index entry that should not be there, as a crash of Redis between two writes of old could leave it.
    let mut connection = world.redis.connection().await.unwrap();
    let mut stray = redis::cmd("ZADD");
    stray.arg(world.queue.keys().due_poll(&account())).arg(1).arg(job.id.to_string());
    stray.query_async::<()>(&mut connection).await.unwrap();
    let again = world.queue.claim_polls(&account(), &fast(), 10, &world.queue.nonce()).await.unwrap();
    assert!(again.jobs.is_empty(), "{again:?}");
    assert_eq!(world.queue.job(job.id).await.unwrap().unwrap().fence, claimed.fence);
    world.check().await;
}

#[tokio::test]
async fn a_batch_that_had_ended_is_open_again_until_its_retried_job_ends() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    world.queue.seal(&name("b")).await.unwrap();
    let mut connection = world.redis.connection().await.unwrap();
    let ended = redis::cmd("ZCARD").arg(world.queue.keys().ended()).to_owned();
    let mut expected_retries = 0;
    let id = loop {
        let job = world.claim().await.unwrap();
        let failure = job::Failure {
            class: job::FailureClass::Moderation,
            code: "DataInspectionFailed".into(),
            message: "no".into(),
            request_id: None,
        };
        world.queue.commit(&job, Event::Rejected(failure), &world.rules, None).await.unwrap();
        let summary = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
        assert!(summary.ended_at.is_some() && summary.sealed);
        assert_eq!((summary.left, summary.count(StateName::Failed)), (0, 1));
        assert_eq!(ended.query_async::<u64>(&mut connection).await.unwrap(), 1);
        if expected_retries == 2 {
            break job.id;
        }
        expected_retries += 1;
        world.queue.commit_unfenced(job.id, Event::RetryRequested, &world.rules).await.unwrap();
        let summary = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
        assert_eq!((summary.ended_at, summary.left, summary.count(StateName::Failed)), (None, 1, 0));
        assert_eq!(ended.query_async::<u64>(&mut connection).await.unwrap(), 0, "retention would take it");
        world.check().await;
    };
    let tries = world.queue.tries(id).await.unwrap();
    let what: Vec<&str> = tries.iter().map(|line| line.what.as_str()).collect();
    assert_eq!(what, ["moderation", "retry_requested", "moderation", "retry_requested", "moderation"]);
}
