//! Looks at attempts without an answer, on twins.

use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::response::{ListedTask, TaskPage};
use jiff::SignedDuration;
use job::{HeldReason, Job, JobId, JobState, StateName};

use super::settle;
use crate::config::Ambiguous;
use crate::ports::{CallFault, Claimed};
use crate::testing::{FakeLease, World, start};

fn settling(world: &World) -> Job {
    let job = world.in_state(1, |attempt| JobState::Settling {
        attempt,
        due: start(),
        looks: 0,
        cause: "worker_vanished".into(),
    });
    world.jobs.advance(Duration::from_secs(400));
    job
}

fn row(task: &str, seconds: i64, key: Option<&str>) -> ListedTask {
    ListedTask {
        task_id: task.parse().unwrap(),
        status: TaskStatus::Succeeded,
        model_name: None,
        request_id: None,
        created_at: Some(start() + SignedDuration::from_secs(seconds)),
        started_at: None,
        ended_at: None,
        api_key_id: key.map(str::to_owned),
        region: None,
    }
}

fn page(number: u64, pages: u64, total: u64, tasks: Vec<ListedTask>) -> TaskPage {
    TaskPage {
        request_id: None,
        page_no: Some(number),
        page_size: Some(100),
        total: Some(total),
        total_pages: Some(pages),
        tasks,
        unreadable: 0,
    }
}

async fn look(world: &World, job: &Job) -> Job {
    let lease = Box::new(FakeLease(Some(Duration::ZERO)));
    settle(&world.env, Claimed { job: job.clone(), lease }).await;
    world.jobs.job(job.id)
}

#[tokio::test]
async fn a_task_that_nobody_owns_is_found_on_the_second_page() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.open(job.id, job.state.attempt().unwrap().clone());
    world.jobs.own("o");
    world.api.on_list(Ok(page(1, 2, 2, vec![row("o", 350, None)])));
    world.api.on_list(Ok(page(2, 2, 2, vec![row("x", 2, None)])));
    let after = look(&world, &job).await;
    assert_eq!((after.state_name(), after.state.task().unwrap().as_str()), (StateName::Polling, "x"));
    assert_eq!(world.jobs.permits(), 2);
}

#[tokio::test]
async fn a_list_that_shows_only_later_tasks_of_ours_lets_the_job_be_sent_again() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    world.api.on_list(Ok(page(1, 1, 1, vec![row("o", 350, None)])));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Queued);
}

#[tokio::test]
async fn a_list_with_a_row_missing_decides_nothing() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    world.api.on_list(Ok(page(1, 1, 2, vec![row("o", 350, None)])));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);

    let unreadable = TaskPage { unreadable: 1, ..page(1, 1, 1, vec![row("o", 350, None)]) };
    world.api.on_list(Ok(unreadable));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);
}

/// What becomes of the attempt with a task of another key in its window, when we own these: (seconds, key).
async fn beside_another_key(owned: &[(i64, Option<&str>)]) -> StateName {
    let world = World::new();
    let job = settling(&world);
    let mut rows = vec![row("x", 2, Some("theirs"))];
    for (number, (seconds, key)) in owned.iter().enumerate() {
        let task = format!("o{number}");
        world.jobs.own(&task);
        rows.push(row(&task, *seconds, *key));
    }
    world.api.on_list(Ok(page(1, 1, rows.len() as u64, rows)));
    look(&world, &job).await.state_name()
}

#[tokio::test]
async fn another_key_s_task_is_neither_taken_nor_in_the_way() {
    let owned = [(-60, Some("ours")), (350, Some("ours"))];
    assert_eq!(beside_another_key(&owned).await, StateName::Queued);
}

#[tokio::test]
async fn a_key_that_may_have_been_changed_makes_nobody_a_stranger() {
    // Yesterday's key says nothing of the attempt's, nor does the one of today; and two keys say nothing at all. So the task may
    // be the attempt's own: here it fits, and is taken instead of being paid for twice.
    for owned in [
        &[(-60, Some("old")), (350, None)][..],
        &[(350, Some("new"))],
        &[(-60, Some("old")), (350, Some("new"))],
    ] {
        assert_eq!(beside_another_key(owned).await, StateName::Polling, "{owned:?}");
    }
}

#[tokio::test]
async fn whatever_cut_the_create_short_a_request_at_the_gateway_is_waited_for() {
    for (seconds, state) in [(314, StateName::Settling), (315, StateName::Queued)] {
        let world = World::new();
        let job = settling(&world);
        world.jobs.own("o");
        world.api.on_list(Ok(page(1, 1, 1, vec![row("o", seconds, None)])));
        assert_eq!(look(&world, &job).await.state_name(), state, "a task of ours at {seconds} s");
    }
}

#[tokio::test]
async fn a_held_attempt_keeps_its_place_only_while_a_task_that_nobody_owns_is_at_work() {
    for (status, kept) in [(TaskStatus::Running, true), (TaskStatus::Succeeded, false)] {
        let world = World::new();
        let job = settling(&world);
        world.jobs.advance(Duration::from_secs(1_805));
        world.api.on_list(Ok(page(1, 1, 1, vec![ListedTask { status, ..row("x", 900, None) }])));
        let after = look(&world, &job).await;
        assert_eq!(after.state_name(), StateName::Held);
        assert_eq!(after.state.slot().is_some(), kept);
    }
}

#[tokio::test]
async fn an_open_attempt_of_the_same_time_stands_in_the_way_of_taking_a_task() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    let rival = job.state.attempt().unwrap().clone();
    world.jobs.open(job.id, rival.clone());
    world.jobs.open(JobId::fresh(2, 2), rival);
    world.api.on_list(Ok(page(1, 1, 2, vec![row("o", 350, None), row("x", 2, None)])));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_looked_at_again() {
    let world = World::new();
    let job = settling(&world);
    world.api.on_list(Err(CallFault::Unanswered { message: "reset".into() }));
    let JobState::Settling { looks, due, .. } = look(&world, &job).await.state else {
        panic!("not settling")
    };
    assert_eq!(looks, 1);
    assert!(due > start() + Duration::from_secs(400));
}

#[tokio::test]
async fn a_policy_decides_without_looking() {
    for (ambiguous, state) in
        [(Ambiguous::Hold, StateName::Held), (Ambiguous::ResubmitMayPayTwice, StateName::Queued)]
    {
        let world = World::with(|config| config.settle.ambiguous = ambiguous);
        let job = settling(&world);
        let after = look(&world, &job).await;
        assert_eq!(after.state_name(), state);
        assert!(world.api.log().is_empty());
        if let JobState::Held { reason, unsettled, .. } = after.state {
            assert_eq!((reason, unsettled), (HeldReason::Policy, true));
        }
    }
}

#[tokio::test]
async fn a_worker_that_goes_down_or_lost_its_lease_gives_no_verdict() {
    let world = World::new();
    let job = settling(&world);
    world.env.stop.cancel();
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);
    assert_eq!(world.jobs.events(), ["GivenBack"]);

    let world = World::with(|config| config.settle.ambiguous = Ambiguous::Hold);
    let job = settling(&world);
    settle(&world.env, Claimed { job: job.clone(), lease: Box::new(FakeLease(None)) }).await;
    assert_eq!(world.jobs.events(), ["GivenBack"]);
}
