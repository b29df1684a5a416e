//! What settling leaves behind, in Redis: owners, extra tasks, tasks adopted for the wrong job, orphans.

use std::time::Duration;

use dashscope::Model;
use job::{Event, HeldReason, Job, JobState, Micros, StateName, TaskId};
use queue::{CommitError, ExtraState, ExtraTask, Orphans};

use super::{World, account, attempt, name};

fn task(name: &str) -> TaskId {
    name.parse().unwrap()
}

/// A job whose create got no answer, and its claimed settling step.
async fn settling(world: &World) -> Job {
    let job = world.claim().await.unwrap();
    let event = Event::NoAnswer { cause: "reset".into() };
    world.queue.commit(&job, event, &world.rules, None).await.unwrap().job
}

async fn world() -> World {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    world
}

#[tokio::test]
async fn a_task_that_another_job_owns_is_never_adopted() {
    let world = world().await;
    let owner = world.claim().await.unwrap();
    world.created(&owner, "t").await;
    let job = settling(&world).await;

    let found = world.queue.commit_unfenced(job.id, Event::TaskFound { task: task("t") }, &world.rules).await;
    assert!(matches!(&found, Err(CommitError::TaskOwned { owner: by, .. }) if *by == owner.id), "{found:?}");
    assert_eq!(world.queue.job(job.id).await.unwrap().unwrap(), job, "nothing was written");
    world.check().await;

    let found = Event::TaskFound { task: task("own") };
    let found = world.queue.commit_unfenced(job.id, found, &world.rules).await.unwrap().job;
    assert!(found.adopted && world.queue.job(job.id).await.unwrap().unwrap().adopted);
    world.check().await;
}

#[tokio::test]
async fn owners_know_when_their_attempt_was_claimed_and_old_entries_are_still_read() {
    let world = world().await;
    let owner = world.claim().await.unwrap();
    world.created(&owner, "t").await;
    let mut connection = world.redis.connection().await.unwrap();
    let old = format!("{}:7", owner.id);
    let () = redis::cmd("HSET")
        .arg(world.queue.keys().tasks(&account()))
        .arg("old")
        .arg(&old)
        .query_async(&mut connection)
        .await
        .unwrap();
    let owners = world.queue.task_owners(&account(), &[task("t"), task("old")]).await.unwrap();
    let claimed_at = owners[0].as_ref().unwrap().claimed_at;
    assert_eq!(claimed_at, Some(attempt(&owner).claimed_at));
    let old = owners[1].as_ref().unwrap();
    assert_eq!((old.job, old.attempt, old.claimed_at), (owner.id, 7, None));
}

#[tokio::test]
async fn the_job_whose_create_is_answered_takes_its_task_from_the_one_that_adopted_it() {
    let world = world().await;
    let (owner, adopter) = (world.claim().await.unwrap(), settling(&world).await);
    let found = Event::TaskFound { task: task("t") };
    world.queue.commit_unfenced(adopter.id, found, &world.rules).await.unwrap();
    let by_its_time = world.queue.task_owners(&account(), &[task("t")]).await.unwrap().remove(0).unwrap();
    assert_eq!((by_its_time.job, by_its_time.found, by_its_time.claimed_at), (adopter.id, true, None));

    let answered = world.created(&owner, "t").await;
    assert_eq!(answered.state_name(), StateName::Polling);
    let owners = world.queue.task_owners(&account(), &[task("t")]).await.unwrap();
    assert_eq!(owners[0].as_ref().map(|owner| (owner.job, owner.found)), Some((owner.id, false)));
    assert_eq!(world.queue.taken_tasks(&account()).await.unwrap(), [(task("t"), adopter.id)]);

    let back = Event::TaskTakenBack { task: task("t") };
    let back = world.queue.commit_unfenced(adopter.id, back, &world.rules).await.unwrap().job;
    assert!(matches!(back.state, JobState::Held { reason: HeldReason::DoubtfulAdoption, .. }));
    world.check().await;
    world.queue.told_of_taken(&account(), &task("t")).await.unwrap();
    assert!(world.queue.taken_tasks(&account()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_extra_task_is_written_down_with_the_commit_and_booked_once() {
    let world = world().await;
    let job = world.claim().await.unwrap();
    let first = attempt(&job);
    world.created(&job, "t").await;
    let late = Event::TaskCreated { attempt: first, task: task("second"), request_id: None };
    world.queue.commit_unfenced(job.id, late, &world.rules).await.unwrap();
    let extras = world.queue.extras(&account()).await.unwrap();
    let [extra] = &extras[..] else { panic!("{extras:?}") };
    assert_eq!((&extra.task, extra.job, extra.state), (&task("second"), job.id, ExtraState::Open));

    let paid = ExtraTask { state: ExtraState::Paid, images: 2, cost: Micros(60_000), ..extra.clone() };
    assert!(world.queue.close_extra(&account(), extra, &paid).await.unwrap());
    assert!(!world.queue.close_extra(&account(), extra, &paid).await.unwrap(), "another worker's same news");
    assert_eq!(world.queue.extras(&account()).await.unwrap(), [paid]);
    let status = world.queue.account_status(&account()).await.unwrap();
    assert_eq!((status.images_today, status.spent_today.booked), (2, Micros(60_000)));
    assert_eq!(
        world.queue.spent_today().await.unwrap().booked,
        Micros(60_000),
        "the budget of the day knows"
    );
    let today = world.queue.now().strftime("%Y-%m-%d").to_string().parse().unwrap();
    let lines = world.queue.ledger(today, today).await.unwrap();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.images, line.extra_images, line.extra_cost), (2, 2, Micros(60_000)));
    // The batch of its job paid for it.
    assert_eq!(line.batch, job.batch);
    let batch = world.queue.batch(job.batch.as_ref()).await.unwrap().unwrap();
    assert_eq!((batch.extra_images, batch.extra_cost, batch.cost), (2, Micros(60_000), Micros(0)));
    assert_eq!(batch.spent().booked, Micros(60_000));
    world.check().await;

    world.queue.forget_extras(&account(), &[task("second")]).await.unwrap();
    assert!(world.queue.extras(&account()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_extra_task_leaves_less_of_its_batchs_budget_and_one_of_a_job_that_is_gone_is_of_no_batch() {
    let world = World::new().await;
    world.enqueue("b", 3).await;
    world.own_budget("b", 2).await;
    let job = world.claim().await.unwrap();
    let extra = |name: &str, job| ExtraTask::new(task(name), job, 1, Model::Wan27Image, world.queue.now());
    for (name, of) in [("t", job.id), ("u", job::JobId::fresh(7, 7))] {
        let open = extra(name, of);
        world.queue.record_extra(&account(), &open).await.unwrap();
        let paid = ExtraTask { state: ExtraState::Paid, images: 1, cost: super::PRICE, ..open.clone() };
        assert!(world.queue.close_extra(&account(), &open, &paid).await.unwrap());
    }
    // One image is reserved, and another was paid for without need.
    assert!(world.claim().await.is_none());
    assert_eq!(world.bring_back().await, 0);
    let batch = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((batch.extra_images, batch.waits_since.is_some()), (1, true));
    world.own_budget("b", 3).await;
    assert_eq!(world.bring_back().await, 1);
    assert!(world.claim().await.is_some() && world.claim().await.is_none());
    let today = world.queue.now().strftime("%Y-%m-%d").to_string().parse().unwrap();
    let mut batches: Vec<_> = world
        .queue
        .ledger(today, today)
        .await
        .unwrap()
        .into_iter()
        .map(|line| (line.batch, line.extra_images))
        .collect();
    batches.sort();
    assert_eq!(batches, [(None, 1), (Some(name("b")), 1)]);
    world.check().await;
}

#[tokio::test]
async fn a_task_of_a_job_that_is_gone_is_written_down_and_owned() {
    let world = world().await;
    let job = world.claim().await.unwrap();
    let extra = ExtraTask::new(task("t"), job.id, 1, Model::Wan27Image, world.queue.now());
    for _ in 0..2 {
        world.queue.record_extra(&account(), &extra).await.unwrap();
    }
    assert_eq!(world.queue.extras(&account()).await.unwrap().len(), 1);
    assert!(world.queue.task_owners(&account(), &[task("t")]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn one_worker_at_a_time_counts_orphans_and_all_see_the_count() {
    let world = world().await;
    let hour = Duration::from_secs(3_600);
    assert!(world.queue.take_orphans_turn(&account(), hour).await.unwrap());
    assert!(!world.queue.take_orphans_turn(&account(), hour).await.unwrap());
    assert_eq!(world.queue.orphans(&account()).await.unwrap(), None);
    let now = job::Timestamp::from_second(1_800_000_000).unwrap();
    let orphans = Orphans { at: now, count: 1, oldest: Some(now), tasks: vec![task("o")] };
    world.queue.store_orphans(&account(), &orphans).await.unwrap();
    assert_eq!(world.queue.orphans(&account()).await.unwrap(), Some(orphans));
}
