//! Keeping a task that was paid for.

use std::time::Duration;

use job::{Attempt, Event, Job, TaskId};
use queue::ExtraTask;
use tracing::{error, warn};

use crate::created::KnownTask;
use crate::env::Env;
use crate::extras;
use crate::ports::{CommitFault, Created, Written};

/// How long a commit of a task id may take before the id goes to the log as well: should this process die while Redis is away,
/// that line is the only trace of what was paid for.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Writes the task down, whatever it takes: with the claim, without it, and for as long as Redis is away.
pub(crate) async fn keep(env: &Env, job: &Job, attempt: &Attempt, created: Created) {
    let Created { task, request_id } = created;
    let event = Event::TaskCreated { attempt: attempt.clone(), task: task.clone(), request_id };
    let written = match loudly(job, &task, env.jobs.commit(job, event.clone(), None)).await {
        // The claim is lost, but the id is not: it needs no fence.
        Err(CommitFault::Fenced | CommitFault::Illegal(_)) => {
            loudly(job, &task, env.jobs.commit_unfenced(job.id, event)).await
        }
        answered => answered,
    };
    let extra = match written {
        Ok(Written { job: after, extra_task }) => {
            env.note(job, &after);
            extra_task
        }
        Err(fault) => {
            error!(
                job.id = %job.id, task.id = %task, account = %attempt.account, attempt = attempt.number,
                error = &fault as &dyn std::error::Error,
                "Task {task} was created for job {} and cannot be written down", job.id
            );
            if matches!(fault, CommitFault::Missing | CommitFault::Broken(_)) {
                let extra = ExtraTask::new(task, job.id, attempt.number, job.model, env.jobs.now());
                extras::record(env, &attempt.account, &extra).await;
                Some(extra.task)
            } else {
                None
            }
        }
    };
    if let Some(extra) = extra {
        extras::notice(env, job.id, &attempt.account, &extra);
        extras::cancel(env, &attempt.account, &extra).await;
    }
}

/// Writes a task down once more that Redis forgot. `false`: its job is gone, or cannot take it; then the look at the extra tasks
/// sees to it.
pub(crate) async fn keep_again(env: &Env, known: &KnownTask) -> bool {
    let KnownTask { job, model, attempt, task, .. } = known;
    let event = Event::TaskCreated { attempt: attempt.clone(), task: task.clone(), request_id: None };
    match env.jobs.commit_unfenced(*job, event).await {
        Ok(Written { extra_task, .. }) => {
            if let Some(extra) = &extra_task {
                extras::notice(env, *job, &attempt.account, extra);
            }
            extra_task.is_none()
        }
        Err(CommitFault::Missing | CommitFault::Broken(_)) => {
            let extra = ExtraTask::new(task.clone(), *job, attempt.number, *model, env.jobs.now());
            extras::record(env, &attempt.account, &extra).await;
            extras::notice(env, *job, &attempt.account, task);
            false
        }
        Err(fault) => {
            error!(
                job.id = %job, task.id = %task, account = %attempt.account, attempt = attempt.number,
                error = &fault as &dyn std::error::Error, "Task {task} of job {job} cannot be written down again"
            );
            false
        }
    }
}

/// Waits for `commit`, and says so when that takes long.
async fn loudly<F>(job: &Job, task: &TaskId, commit: F) -> Result<Written, CommitFault>
where
    F: Future<Output = Result<Written, CommitFault>>,
{
    tokio::pin!(commit);
    let mut silence = SILENCE_MAX;
    loop {
        match tokio::time::timeout(silence, &mut commit).await {
            Ok(answered) => return answered,
            Err(_) => {
                warn!(job.id = %job.id, task.id = %task, "Job {} owns task {task}; Redis does not take that yet", job.id);
                silence = (silence * 4).min(Duration::from_secs(60));
            }
        }
    }
}
