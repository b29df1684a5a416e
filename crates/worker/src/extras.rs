//! Sees to tasks that no job can take, and to jobs that adopted another's task.
//!
//! An extra task is money spent without need. It is written down in Redis when it is noticed (`queue::ExtraTask`), cancelled
//! while it is PENDING, and asked about until its end, whichever worker lives by then; what was billed for it is booked. A job
//! whose adopted task turned out to be another's is told. Every worker does so; repeating it is harmless. Started by
//! [`crate::run()`].

use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::error::ErrorClass;
use job::{AccountName, Event, JobId, Micros, TaskId};
use queue::{ExtraState, ExtraTask};
use tracing::{debug, error, info, warn};

use crate::env::Env;
use crate::permit::query_permit;
use crate::ports::{CallFault, JobsFault};
use crate::silence::heed;

/// How often extra tasks are asked about. Source: ours; a task takes half a minute or more, and nobody waits for these.
const EVERY: Duration = Duration::from_secs(15);

/// The wait before a task id is offered to Redis again. Source: ours.
const AWAY: Duration = Duration::from_secs(1);

/// How long the entry of an extra task is kept. Source: ours; as long as records of ended jobs by default.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Looks until the worker stops.
pub(crate) async fn run(env: &Env) {
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = async { round(env).await; tokio::time::sleep(EVERY).await } => {}
        }
    }
}

/// One look at every account.
pub(crate) async fn round(env: &Env) {
    for account in env.accounts.now().all() {
        let name = &account.name;
        if let Err(fault) = look(env, name).await {
            debug!(account = %name, error = &fault as &dyn std::error::Error, "Extra tasks of account {name} are looked at later");
        }
    }
}

async fn look(env: &Env, account: &AccountName) -> Result<(), JobsFault> {
    let (extras, now) = (env.jobs.extras(account).await?, env.jobs.now());
    // Read after the extra tasks: one that both name was written by one commit, and its adopter's bill comes before a second one.
    let taken = env.jobs.taken_tasks(account).await?;
    for (task, job) in &taken {
        // One job that cannot be told keeps nobody else from being seen to.
        if let Err(fault) = take_back(env, account, task, *job).await {
            warn!(job.id = %job, task.id = %task, error = &fault as &dyn std::error::Error, "Job {job} cannot be told that its task is another's");
        }
    }
    let is_open = |extra: &&ExtraTask| extra.state == ExtraState::Open;
    let is_taken = |extra: &ExtraTask| taken.iter().any(|(task, _)| *task == extra.task);
    for extra in extras.iter().filter(|extra| is_open(extra) && !is_taken(extra)) {
        ask(env, account, extra).await?;
    }
    let old = |extra: &&ExtraTask| !is_open(extra) && extra.at + KEPT < now;
    let old: Vec<TaskId> = extras.iter().filter(old).map(|extra| extra.task.clone()).collect();
    env.jobs.forget_extras(account, &old).await
}

/// Tells a job that its adopted task is another's.
async fn take_back(env: &Env, account: &AccountName, task: &TaskId, id: JobId) -> Result<(), JobsFault> {
    if let Some(job) = env.jobs.job(id).await?.filter(|job| job.state.task() == Some(task)) {
        if job.state_name().is_final() {
            error!(job.id = %id, task.id = %task, account = %account, "Task {task} was delivered for job {id}, and is another job's");
            let mut twice = ExtraTask::new(task.clone(), id, job.attempts, job.model, env.jobs.now());
            twice.state = ExtraState::DeliveredTwice;
            // Where its own job could not take it either it stands as open, and would be asked for, and booked, once more.
            match env.jobs.extras(account).await?.iter().find(|extra| extra.task == *task) {
                None => env.jobs.record_extra(account, &twice).await?,
                Some(open) if open.state == ExtraState::Open => {
                    env.jobs.close_extra(account, open, &twice).await?;
                }
                Some(_) => {}
            }
        } else {
            match env.jobs.commit_unfenced(id, Event::TaskTakenBack { task: task.clone() }).await {
                Ok(written) => env.note(&job, &written.job),
                Err(fault) => {
                    // It moved on meanwhile: the next round sees to what it is then.
                    debug!(job.id = %id, error = &fault as &dyn std::error::Error, "Job {id} is told later that its task is another's");
                    return Ok(());
                }
            }
        }
    }
    env.jobs.told_of_taken(account, task).await
}

/// Asks what became of an extra task, and writes it down once it is over.
async fn ask(env: &Env, account: &AccountName, extra: &ExtraTask) -> Result<(), JobsFault> {
    let task = &extra.task;
    if query_permit(env, account).await.is_err() {
        return Ok(());
    }
    let answer = env.api.fetch(account, task).await;
    heed(env, account, &answer).await;
    let overdue = extra.at + env.config.rules.task_retention < env.jobs.now();
    let closed = |state| ExtraTask { state, ..extra.clone() };
    let after = match answer {
        Ok(report) => match report.status {
            TaskStatus::Pending => {
                cancel_call(env, account, task).await;
                return Ok(());
            }
            TaskStatus::Succeeded => {
                let images = u64::from(report.billed_images());
                let state = if images > 0 { ExtraState::Paid } else { ExtraState::Unpaid };
                let cost = env.config.prices.per_image(extra.model).times(images);
                ExtraTask { images, cost, ..closed(state) }
            }
            TaskStatus::Failed | TaskStatus::Canceled => closed(ExtraState::Unpaid),
            TaskStatus::Unknown if overdue => closed(ExtraState::Forgotten),
            TaskStatus::Running | TaskStatus::Unknown | TaskStatus::Other(_) => return Ok(()),
        },
        Err(CallFault::Refused(answer)) if overdue && answer.class == ErrorClass::NotFound => {
            closed(ExtraState::Forgotten)
        }
        Err(fault) => {
            debug!(task.id = %task, "Extra task {task} could not be asked: {fault}");
            return Ok(());
        }
    };
    if env.jobs.close_extra(account, extra, &after).await? {
        let Micros(cost) = after.cost;
        match after.state {
            ExtraState::Paid => {
                error!(task.id = %task, job.id = %after.job, images = after.images, cost_micros = cost, "Extra task {task} of job {} is billed without need: {} images", after.job, after.images)
            }
            _ => {
                info!(task.id = %task, job.id = %after.job, "Extra task {task} of job {} is over: {:?}", after.job, after.state)
            }
        }
    }
    Ok(())
}

/// Writes down a task whose job is gone, for as long as Redis is away.
pub(crate) async fn record(env: &Env, account: &AccountName, extra: &ExtraTask) {
    while let Err(fault) = env.jobs.record_extra(account, extra).await {
        error!(
            task.id = %extra.task, job.id = %extra.job, account = %account, error = &fault as &dyn std::error::Error,
            "Extra task {} cannot be written down", extra.task
        );
        if !matches!(fault, JobsFault::Away(_)) {
            return;
        }
        tokio::time::sleep(AWAY).await;
    }
}

/// A task that no job can take, as it is noticed.
pub(crate) fn notice(env: &Env, job: JobId, account: &AccountName, task: &TaskId) {
    env.tally.count_extra();
    error!(
        job.id = %job, task.id = %task, account = %account,
        "Task {task} is one too many for job {job}: it may be paid for without need"
    );
}

/// Cancels a task that no job can take: while it is PENDING it costs nothing.
pub(crate) async fn cancel(env: &Env, account: &AccountName, task: &TaskId) {
    // A job that has adopted it has to be told first: it would take it for cancelled by the provider, and end.
    match env.jobs.taken_tasks(account).await {
        Ok(taken) if taken.iter().all(|(other, _)| other != task) => {}
        _ => return,
    }
    // Even without a permit: one call too many costs less than a task too many.
    let _ = query_permit(env, account).await;
    cancel_call(env, account, task).await;
}

async fn cancel_call(env: &Env, account: &AccountName, task: &TaskId) {
    match env.api.cancel(account, task).await {
        Ok(()) => warn!(task.id = %task, "The cancelling of task {task} was asked for"),
        Err(CallFault::Refused(answer)) => {
            warn!(task.id = %task, code = answer.code, "Task {task} can no longer be cancelled: {}", answer.message);
        }
        Err(fault) => warn!(task.id = %task, "Task {task} could not be cancelled: {fault}"),
    }
}

#[cfg(test)]
mod tests {
    use dashscope::response::Usage;
    use job::{HeldReason, JobState, Model, StateName};

    use super::*;
    use crate::testing::{World, report, start};

    fn extra() -> ExtraTask {
        ExtraTask::new("x".parse().unwrap(), JobId::fresh(1, 7), 1, Model::Wan27Image, start())
    }

    #[tokio::test]
    async fn an_extra_task_is_cancelled_while_it_waits_and_booked_once_it_is_billed() {
        let world = World::new();
        world.jobs.put_extra(extra());
        world.api.on_fetch(Ok(report(TaskStatus::Pending)));
        round(&world.env).await;
        assert_eq!(world.api.log(), ["fetch x", "cancel x"]);
        assert_eq!(world.jobs.extra("x").unwrap().state, ExtraState::Open);

        world.api.on_fetch(Ok(report(TaskStatus::Running)));
        round(&world.env).await;
        assert_eq!(world.jobs.extra("x").unwrap().state, ExtraState::Open);

        let mut done = report(TaskStatus::Succeeded);
        done.usage = Some(Usage { image_count: Some(2), ..Usage::default() });
        world.api.on_fetch(Ok(done));
        round(&world.env).await;
        let closed = world.jobs.extra("x").unwrap();
        assert_eq!((closed.state, closed.images, closed.cost), (ExtraState::Paid, 2, Micros(60_000)));

        let asked = world.api.log().len();
        round(&world.env).await;
        assert_eq!(world.api.log().len(), asked, "what is over is not asked again");
    }

    #[tokio::test]
    async fn an_extra_task_that_was_cancelled_or_is_forgotten_costs_nothing() {
        for (status, days, state) in [
            (TaskStatus::Canceled, 0, ExtraState::Unpaid),
            (TaskStatus::Failed, 0, ExtraState::Unpaid),
            (TaskStatus::Unknown, 0, ExtraState::Open),
            (TaskStatus::Unknown, 2, ExtraState::Forgotten),
        ] {
            let world = World::new();
            world.jobs.put_extra(extra());
            world.jobs.advance(Duration::from_secs(days * 86_400));
            world.api.on_fetch(Ok(report(status.clone())));
            round(&world.env).await;
            assert_eq!(world.jobs.extra("x").unwrap().state, state, "{status:?} after {days} days");
        }
    }

    #[tokio::test]
    async fn the_entry_of_an_extra_task_is_kept_for_a_month() {
        let world = World::new();
        world.jobs.put_extra(ExtraTask { state: ExtraState::Paid, ..extra() });
        world.jobs.advance(KEPT);
        round(&world.env).await;
        assert!(world.jobs.extra("x").is_some());
        world.jobs.advance(Duration::from_secs(1));
        round(&world.env).await;
        assert!(world.jobs.extra("x").is_none());
    }

    /// The job that adopted task `t1`, which then turned out to be another's.
    async fn after_another_s_answer(state: impl FnOnce(&World) -> job::Job) -> (World, job::Job) {
        let world = World::new();
        let adopter = state(&world);
        world.jobs.own_for("t1", adopter.id, None);
        let (other, spec) = world.submitting(1);
        let other = job::Job { id: JobId::fresh(3, 3), ..other };
        world.jobs.put(other.clone(), (*spec).clone());
        world.jobs.put(adopter.clone(), (*spec).clone());
        let attempt = other.state.attempt().unwrap().clone();
        let answered = Event::TaskCreated { attempt, task: "t1".parse().unwrap(), request_id: None };
        let written = env_commit(&world, other.id, answered).await;
        assert_eq!(written.state_name(), StateName::Polling);
        assert_eq!(world.jobs.owner("t1"), Some(other.id));
        round(&world.env).await;
        let after = world.jobs.job(adopter.id);
        (world, after)
    }

    #[tokio::test]
    async fn a_late_task_that_was_delivered_for_its_adopter_is_not_booked_a_second_time() {
        let world = World::new();
        let task: TaskId = "t1".parse().unwrap();
        let adopter =
            world.in_state(1, |_| JobState::Succeeded { task: task.clone(), at: start(), partial: false });
        world.jobs.own_for("t1", adopter.id, None);
        // Its own job went on with another task meanwhile, and cannot take it.
        let (other, spec) = world.submitting(1);
        let late = other.state.attempt().unwrap().clone();
        let other = job::Job { id: JobId::fresh(3, 3), ..world.polling(1, job::TaskPhase::Running) };
        let state = match other.state.clone() {
            JobState::Polling { attempt, created_at, due, polls, unknowns, phase, running_since, .. } => {
                JobState::Polling {
                    attempt,
                    task: "t2".parse().unwrap(),
                    created_at,
                    due,
                    polls,
                    unknowns,
                    phase,
                    running_since,
                }
            }
            state => state,
        };
        world.jobs.put(job::Job { state, ..other.clone() }, (*spec).clone());
        world.jobs.put(adopter.clone(), (*spec).clone());
        let answered = Event::TaskCreated { attempt: late, task, request_id: None };
        env_commit(&world, other.id, answered).await;
        assert_eq!(world.jobs.extra("t1").unwrap().state, ExtraState::Open);

        for _ in 0..2 {
            round(&world.env).await;
            let extra = world.jobs.extra("t1").unwrap();
            assert_eq!((extra.state, extra.images), (ExtraState::DeliveredTwice, 0));
        }
        assert!(world.api.log().is_empty(), "it was billed with the adopter: {:?}", world.api.log());
    }

    async fn env_commit(world: &World, id: JobId, event: Event) -> job::Job {
        world.env.jobs.commit_unfenced(id, event).await.unwrap().job
    }

    #[tokio::test]
    async fn a_job_under_way_with_another_s_task_is_held() {
        let (world, after) = after_another_s_answer(|world| job::Job {
            adopted: true,
            ..world.polling(1, job::TaskPhase::Running)
        })
        .await;
        assert!(matches!(
            after.state,
            JobState::Held { reason: HeldReason::DoubtfulAdoption, unsettled: true, .. }
        ));
        let events = world.jobs.events();
        round(&world.env).await;
        assert_eq!(world.jobs.events(), events, "it is told once");
    }

    #[tokio::test]
    async fn a_job_that_was_over_with_another_s_task_is_shown_as_a_double_delivery() {
        let (world, after) = after_another_s_answer(|world| {
            world.in_state(1, |_| JobState::Succeeded {
                task: "t1".parse().unwrap(),
                at: start(),
                partial: false,
            })
        })
        .await;
        assert_eq!(after.state_name(), StateName::Succeeded);
        let extra = world.jobs.extra("t1").unwrap();
        assert_eq!((extra.state, extra.job), (ExtraState::DeliveredTwice, after.id));
        assert_eq!(extra.images, 0, "it is billed with the jobs");
    }
}
