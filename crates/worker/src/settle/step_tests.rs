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
    settle(&world.env, vec![Claimed { job: job.clone(), lease }]).await;
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

/// What becomes of the attempt with a task of another key in its window, when we own these: (seconds, key). The other key made
/// another task at `theirs_since`.
async fn beside_another_key(owned: &[(i64, Option<&str>)], theirs_since: Option<i64>) -> StateName {
    let world = World::new();
    let job = settling(&world);
    let mut rows = vec![row("x", 2, Some("theirs"))];
    rows.extend(theirs_since.map(|seconds| row("y", seconds, Some("theirs"))));
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
    assert_eq!(beside_another_key(&owned, Some(-3_600)).await, StateName::Queued);
    // It may be our own new one, with which nothing was answered yet.
    for since in [None, Some(-600)] {
        assert_ne!(beside_another_key(&owned, since).await, StateName::Queued, "{since:?}");
    }
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
        assert_eq!(beside_another_key(owned, None).await, StateName::Polling, "{owned:?}");
    }
}

#[tokio::test]
async fn whatever_cut_the_create_short_a_request_at_the_gateway_is_waited_for() {
    for (seconds, state) in [(344, StateName::Settling), (345, StateName::Queued)] {
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
        world.jobs.own("o");
        let rows = vec![ListedTask { status, ..row("x", 900, None) }, row("o", 1_000, None)];
        world.api.on_list(Ok(page(1, 1, 2, rows)));
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
    settle(&world.env, vec![Claimed { job: job.clone(), lease: Box::new(FakeLease(None)) }]).await;
    assert_eq!(world.jobs.events(), ["GivenBack"]);
}

/// Another job, settling, whose attempt was claimed so many seconds after the start.
fn another(world: &World, number: u128, seconds: i64) -> Job {
    let (job, spec) = world.submitting(1);
    let mut attempt = job.state.attempt().unwrap().clone();
    let later = SignedDuration::from_secs(seconds);
    (attempt.claimed_at, attempt.send_by) = (attempt.claimed_at + later, attempt.send_by + later);
    let state = JobState::Settling { attempt, due: start(), looks: 0, cause: "worker_vanished".into() };
    let job = Job { id: JobId::fresh(number as u64, number), state, ..job };
    world.jobs.put(job.clone(), (*spec).clone());
    job
}

/// Tasks of ours that teach: each was created 200 ms after its claim, from a minute before to seven minutes after the start.
fn teachers(world: &World) -> Vec<ListedTask> {
    (0..12)
        .map(|n| {
            let task = format!("known{n}");
            let claimed_at = start() + SignedDuration::from_secs(-60 + 40 * n);
            world.jobs.own_for(&task, JobId::fresh(9, 9), Some(claimed_at));
            let created_at = Some(claimed_at + SignedDuration::from_millis(200));
            ListedTask { created_at, ..row(&task, 0, None) }
        })
        .collect()
}

/// Looks twice at attempts that were claimed after these seconds; those named made a task. Returns the jobs after each look.
async fn two_looks(claimed: [i64; 3], made: [bool; 3]) -> (World, [Vec<Job>; 2]) {
    let world = World::new();
    let jobs: Vec<Job> = (0..3).map(|n| another(&world, n as u128 + 1, claimed[n])).collect();
    world.jobs.advance(Duration::from_secs(400));
    let mut rows = teachers(&world);
    for n in (0..3).filter(|n| made[*n]) {
        let task = row(&format!("x{n}"), claimed[n], None);
        rows.push(ListedTask {
            created_at: task.created_at.map(|at| at + SignedDuration::from_millis(210)),
            ..task
        });
    }
    for _ in 0..2 {
        world.api.on_list(Ok(page(1, 1, rows.len() as u64, rows.clone())));
    }
    let mut looks = Vec::new();
    for _ in 0..2 {
        let now = || jobs.iter().map(|job| world.jobs.job(job.id));
        let open = now().filter(|job| job.state_name() == StateName::Settling);
        let claim = |job| Claimed { job, lease: Box::new(FakeLease(Some(Duration::ZERO))) };
        settle(&world.env, open.map(claim).collect()).await;
        looks.push(now().collect());
        world.jobs.advance(Duration::from_secs(120));
    }
    let second = looks.pop().unwrap();
    (world, [looks.pop().unwrap(), second])
}

#[tokio::test]
async fn creates_of_one_killed_worker_that_lie_apart_are_settled_from_one_reading_of_the_list_and_another() {
    let (world, [first, second]) = two_looks([0, 6, 12], [true, true, false]).await;
    let task = |job: &Job| job.state.task().map(ToString::to_string);
    assert_eq!(task(&first[0]).as_deref(), Some("x0"));
    assert_eq!(task(&first[1]).as_deref(), Some("x1"));
    assert_eq!(first[2].state_name(), StateName::Settling, "two tasks had no owner yet");
    assert_eq!(second[2].state_name(), StateName::Queued, "both are older than its claim");
    assert!(second[0].adopted && !second[2].adopted);
    assert_eq!(world.api.log(), ["list 1", "list 1"]);
}

#[tokio::test]
async fn a_task_that_an_earlier_request_held_by_the_gateway_may_have_made_is_given_to_nobody() {
    let (_, [_, second]) = two_looks([0, 6, 12], [true, false, true]).await;
    // The gateway may have held the second request for those six seconds, and the third have made none.
    assert!(second[0].adopted);
    assert_eq!(second[1].state_name(), StateName::Settling);
    assert_eq!(second[2].state_name(), StateName::Settling);
}

#[tokio::test]
async fn a_create_is_not_sent_again_where_a_task_of_its_time_was_taken_for_another() {
    let world = World::new();
    let jobs = [another(&world, 1, 0), another(&world, 2, 6)];
    world.jobs.advance(Duration::from_secs(400));
    // As it looked by what was known then.
    let found = job::Event::TaskFound { task: "x".parse().unwrap() };
    world.env.jobs.commit_unfenced(jobs[1].id, found).await.unwrap();
    let mut rows = teachers(&world);
    rows.push(row("x", 7, None));
    world.api.on_list(Ok(page(1, 1, rows.len() as u64, rows)));
    let job = world.jobs.job(jobs[0].id);
    settle(&world.env, vec![Claimed { job, lease: Box::new(FakeLease(Some(Duration::ZERO))) }]).await;
    assert_eq!(world.jobs.job(jobs[0].id).state_name(), StateName::Settling);
}

#[tokio::test]
async fn what_a_create_under_way_can_have_made_is_not_weighed_yet() {
    for (under_way, state) in [(false, StateName::Polling), (true, StateName::Settling)] {
        let world = World::new();
        let job = settling(&world);
        let mut rows = teachers(&world);
        rows.push(ListedTask {
            created_at: Some(start() + SignedDuration::from_millis(210)),
            ..row("x", 0, None)
        });
        world.api.on_list(Ok(page(1, 1, rows.len() as u64, rows)));
        if under_way {
            world.jobs.on_the_way(JobId::fresh(2, 2), job.state.attempt().unwrap().clone());
        }
        assert_eq!(look(&world, &job).await.state_name(), state);
    }
}

#[tokio::test]
async fn a_task_that_is_another_job_s_by_now_is_not_taken_and_the_job_looks_again() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    world.api.on_list(Ok(page(1, 1, 2, vec![row("o", 350, None), row("x", 2, None)])));
    let owner = JobId::fresh(5, 5);
    // Its owner's answer comes between the last look at owners and the commit.
    struct Answered(std::sync::Arc<crate::testing::FakeJobs>, JobId);
    #[async_trait::async_trait]
    impl crate::place::Places for Answered {
        async fn pass(&self, place: crate::place::Place) {
            if place == crate::place::Place::SettleWeighed {
                self.0.own_for("x", self.1, None);
            }
        }
    }
    let mut world = world;
    world.env.places = std::sync::Arc::new(Answered(world.jobs.clone(), owner));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);
    assert_eq!(world.jobs.owner("x"), Some(owner));
    assert_eq!(world.jobs.events(), ["LookAgain"]);
}

#[tokio::test]
async fn nothing_is_adopted_while_the_account_shows_a_task_that_no_create_explains() {
    let world = World::new();
    let job = settling(&world);
    world.jobs.own("o");
    let rows = || vec![row("o", 350, None), row("x", 2, None), row("stranger", -7_200, None)];
    world.api.on_list(Ok(page(1, 1, 3, rows())));
    assert_eq!(look(&world, &job).await.state_name(), StateName::Settling);

    world.jobs.advance(Duration::from_secs(1_805));
    world.api.on_list(Ok(page(1, 1, 3, rows())));
    let settling = world.jobs.job(job.id);
    let held = look(&world, &settling).await;
    assert!(matches!(held.state, JobState::Held { reason: HeldReason::CannotTell, .. }));
    let note = world.jobs.notes(job.id).pop().unwrap();
    assert!(note.message.unwrap().starts_with("task stranger has a key of ours"));
    let candidates: Vec<_> = note.candidates.iter().map(|candidate| candidate.task.as_str()).collect();
    assert_eq!(candidates, ["x"]);
}

#[tokio::test]
async fn an_hourly_count_names_what_nobody_owns_and_frees_places_without_need() {
    let world = World::new();
    let job = world.in_state(1, |attempt| JobState::Held {
        since: start(),
        reason: HeldReason::CannotTell,
        attempt,
        unsettled: true,
        slot_free: false,
        task: None,
    });
    world.jobs.place(job.id);
    world.jobs.open(job.id, job.state.attempt().unwrap().clone());
    world.jobs.advance(Duration::from_secs(3_000));
    world.jobs.own("o");
    let rows = |status: TaskStatus| {
        let fits = ListedTask { status, ..row("fits", 2, None) };
        vec![row("o", 2_000, None), fits, row("lost", -7_200, None), row("new", 2_990, None)]
    };
    let account = &world.env.accounts.now().current[0];

    world.api.on_list(Ok(page(1, 1, 4, rows(TaskStatus::Running))));
    super::orphans::count(&world.env, account).await.unwrap();
    let orphans = world.jobs.orphans().unwrap();
    // What the held attempt may have made is in its candidates, and what is new may be written down in a moment.
    assert_eq!((orphans.count, orphans.tasks[0].as_str()), (1, "lost"));
    assert_eq!(orphans.oldest, Some(start() - SignedDuration::from_secs(7_200)));
    assert!(world.jobs.job(job.id).state.slot().is_some(), "a task that may be its own is at work");

    world.api.on_list(Ok(page(1, 1, 4, rows(TaskStatus::Succeeded))));
    super::orphans::count(&world.env, account).await.unwrap();
    assert!(world.jobs.job(job.id).state.slot().is_none());
}
