//! Jobs whose spec is replaced, in every state.

use std::time::Duration;

use job::{
    Event, ImageState, JobId, Micros, Model, OUTCOME_FORMAT, Outcome, OutcomeImage, StateName, StoredImage,
};
use queue::{CommitError, Enqueued, Queue, Standing};
use rustix::process::Signal;
use tests::eventually;

use super::{World, account, fast, name, spec};

/// `sku` of batch `b` with another prompt, model, number and priority.
fn other(sku: &str) -> job::JobSpec {
    let mut other = spec("b", sku);
    other.request.prompt = "quite another picture".into();
    other.request.model = Model::Wan27ImagePro;
    other.request.n = 3;
    other.priority = 1.try_into().unwrap();
    other
}

async fn enqueued(world: &World, sku: &str) -> JobId {
    let new = world.queue.new_job(spec("b", sku));
    world.queue.enqueue(Some(&name("b")), std::slice::from_ref(&new)).await.unwrap();
    new.id
}

async fn standing(world: &World, id: JobId, spec: &job::JobSpec) -> Standing {
    world.queue.standing(&[(id, spec.digest())]).await.unwrap()[0]
}

/// A world whose tasks are asked at once.
async fn hurried() -> World {
    let mut world = World::new().await;
    world.rules.poll.first = Duration::from_millis(1);
    world
}

/// Takes the next job to its end: one image, billed and in the bucket.
async fn succeed(world: &World, task: &str) {
    let nonce = || world.queue.nonce();
    let job = world.claim().await.unwrap();
    world.created(&job, task).await;
    let job = eventually("a poll to be due", Duration::from_secs(10), async || {
        let claimed = world.queue.claim_polls(&account(), &fast(), 1, &nonce()).await.unwrap();
        claimed.jobs.into_iter().next().map(|claimed| claimed.job).ok_or("nothing is due")
    })
    .await;
    let deadline = world.queue.now() + Duration::from_secs(86_400);
    let brought = Event::TaskSucceeded { images: 1, billed: 1, cost: Micros(30_000), deadline };
    let outcome = outcome(&world.queue, task);
    world.queue.commit(&job, brought, &world.rules, Some(&outcome)).await.unwrap();
    let claimed = world.queue.claim_archives(1, Duration::ZERO, &nonce()).await.unwrap();
    let copied = Event::Copied { stored: 1, lost: 0, retry_after: None };
    world.queue.commit(&claimed.jobs[0].job, copied, &world.rules, None).await.unwrap();
}

fn outcome(queue: &Queue, task: &str) -> Outcome {
    let key = job::ObjectKey::parse("b/a/0.png").unwrap();
    let stored = StoredImage { key, bytes: 9, sha256: "0".repeat(64), width: 3, height: 3 };
    Outcome {
        format: OUTCOME_FORMAT,
        task: task.parse().unwrap(),
        request_id: None,
        submitted_at: None,
        started_at: None,
        ended_at: None,
        noticed_at: queue.now(),
        billed: 1,
        size: None,
        texts: Vec::new(),
        unpublished: false,
        images: vec![OutcomeImage { index: 0, choice: 0, item: 0, state: ImageState::Stored(stored) }],
    }
}

#[tokio::test]
async fn a_waiting_job_is_another_one_in_the_same_place() {
    let world = World::new().await;
    let (first, second) = (enqueued(&world, "a").await, enqueued(&world, "b").await);
    let before = world.queue.job(first).await.unwrap().unwrap();
    assert_eq!(standing(&world, first, &other("a")).await, Standing::Changed(StateName::Queued));
    let was = world.queue.replace(first, &other("a"), &world.rules).await.unwrap().unwrap();
    assert_eq!(was, before);
    assert_eq!(world.queue.replace(first, &other("a"), &world.rules).await.unwrap(), None);
    assert_eq!(standing(&world, first, &other("a")).await, Standing::Same);

    let after = world.queue.job(first).await.unwrap().unwrap();
    assert_eq!((after.model, after.images_max, after.seq), (Model::Wan27ImagePro, 3, before.seq));
    assert_eq!(world.queue.spec(first).await.unwrap().unwrap(), other("a"));
    let summary = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((summary.total, summary.left, summary.expected), (2, 2, 4));
    world.check().await;
    // Only the other one is left for a worker of its old model.
    assert_eq!(world.claim().await.unwrap().id, second);
    assert!(world.claim().await.is_none());
    let answers = world.queue.enqueue(Some(&name("b")), &[world.queue.new_job(other("a"))]).await.unwrap();
    assert_eq!(answers, [Enqueued::Same]);
}

#[tokio::test]
async fn a_job_under_way_is_not_replaced() {
    let world = World::new().await;
    let id = enqueued(&world, "a").await;
    let refused = async || {
        let refused = world.queue.replace(id, &other("a"), &world.rules).await;
        assert!(matches!(refused, Err(CommitError::Illegal(_))), "{refused:?}");
        assert_eq!(world.queue.spec(id).await.unwrap().unwrap(), spec("b", "a"));
    };
    let job = world.claim().await.unwrap();
    refused().await;
    world.created(&job, "task-1").await;
    refused().await;
    world.check().await;
}

#[tokio::test]
async fn an_ended_job_runs_again_for_its_new_spec_and_opens_its_batch_again() {
    let world = hurried().await;
    let id = enqueued(&world, "a").await;
    world.queue.seal(&name("b")).await.unwrap();
    succeed(&world, "task-1").await;
    let summary = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((summary.left, summary.stored), (0, 1));
    assert!(world.queue.outcome(id).await.unwrap().is_some());

    let mut cheap = other("a");
    cheap.request.model = Model::Wan27Image;
    world.queue.replace(id, &cheap, &world.rules).await.unwrap().unwrap();
    let summary = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((summary.left, summary.expected, summary.stored, summary.billed), (1, 3, 0, 1));
    assert!(world.queue.outcome(id).await.unwrap().is_none());
    // The image stands in the bucket, and is told until the new one does, and after.
    let told = world.queue.tries(id).await.unwrap().pop().unwrap();
    assert_eq!((told.what.as_str(), told.task.unwrap().as_str()), ("replaced", "task-1"));
    assert_eq!(told.message.as_deref(), Some("1 image billed, 1 stored: b/a/0.png"));
    world.check().await;
    succeed(&world, "task-2").await;
    let job = world.queue.job(id).await.unwrap().unwrap();
    assert_eq!((job.state_name(), job.tasks, job.billed, job.lost_images()), (StateName::Succeeded, 2, 2, 0));
    let summary = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((summary.left, summary.stored, summary.billed), (0, 1, 2));
    world.check().await;
}

#[tokio::test]
async fn replacing_waits_for_a_redis_that_is_away_as_long_as_a_producer_does_and_not_for_ever() {
    let world = World::new().await;
    let id = enqueued(&world, "a").await;
    // It hangs, and the minute that is waited for it is over at once.
    world.redis.signal(Signal::STOP);
    tokio::time::pause();
    let asked = other("a");
    let replaced = world.queue.replace(id, &asked, &world.rules);
    let replaced = tokio::time::timeout(Duration::from_secs(600), replaced).await.expect("an end");
    let away = |error: &CommitError| matches!(error, CommitError::Queue(error) if error.is_retryable());
    assert!(replaced.as_ref().is_err_and(away), "{replaced:?}");
    tokio::time::resume();
    world.redis.signal(Signal::CONT);
    world.queue.replace(id, &other("a"), &world.rules).await.unwrap();
    assert_eq!(standing(&world, id, &other("a")).await, Standing::Same);
    world.check().await;
}

#[tokio::test]
async fn what_is_there_is_told_without_touching_it() {
    let world = World::new().await;
    let id = enqueued(&world, "a").await;
    let new = world.queue.new_job(spec("b", "new"));
    let asked = [(id, spec("b", "a").digest()), (id, other("a").digest()), (new.id, new.spec.digest())];
    let told = world.queue.standing(&asked).await.unwrap();
    assert_eq!(told, [Standing::Same, Standing::Changed(StateName::Queued), Standing::New]);
}
