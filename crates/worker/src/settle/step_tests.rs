//! Looks at attempts without an answer, on twins.

use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::response::{ListedTask, TaskPage};
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
        cause: "no_answer".into(),
    });
    world.jobs.advance(Duration::from_secs(60));
    job
}

fn row(task: &str, seconds: u64, key: Option<&str>) -> ListedTask {
    ListedTask {
        task_id: task.parse().unwrap(),
        status: TaskStatus::Succeeded,
        model_name: None,
        request_id: None,
        created_at: Some(start() + Duration::from_secs(seconds)),
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
    world.api.on_list(Ok(page(1, 2, 2, vec![row("o", 50, None)])));
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
    world.api.on_list(Ok(page(1, 1, 1, vec![row("o", 50, None)])));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Queued);
}

#[tokio::test]
async fn a_list_with_a_row_missing_decides_nothing() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    world.api.on_list(Ok(page(1, 1, 2, vec![row("o", 50, None)])));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);

    let unreadable = TaskPage { unreadable: 1, ..page(1, 1, 1, vec![row("o", 50, None)]) };
    world.api.on_list(Ok(unreadable));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);
}

#[tokio::test]
async fn another_key_s_task_is_neither_taken_nor_in_the_way() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    let rows = vec![row("o", 50, Some("ours")), row("x", 2, Some("theirs"))];
    world.api.on_list(Ok(page(1, 1, 2, rows)));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Queued);
}

#[tokio::test]
async fn an_open_attempt_of_the_same_time_stands_in_the_way_of_taking_a_task() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    let rival = job.state.attempt().unwrap().clone();
    world.jobs.open(job.id, rival.clone());
    world.jobs.open(JobId::fresh(2, 2), rival);
    world.api.on_list(Ok(page(1, 1, 2, vec![row("o", 50, None), row("x", 2, None)])));
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
    assert!(due > start() + Duration::from_secs(60));
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
