//! Keeping a task that was paid for.

use std::time::Duration;

use job::{AccountName, Attempt, Event, Job, TaskId};
use tracing::{error, warn};

use crate::env::Env;
use crate::permit::query_permit;
use crate::ports::{CallFault, CommitFault, Created, Written};

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
            // Without a record nobody will ever ask for it: while it is PENDING it costs nothing.
            matches!(fault, CommitFault::Missing).then_some(task)
        }
    };
    if let Some(extra) = extra {
        drop_extra(env, job, &attempt.account, &extra).await;
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

/// A task that no job can take: it is cancelled while it is PENDING, and shown either way.
pub(crate) async fn drop_extra(env: &Env, job: &Job, account: &AccountName, task: &TaskId) {
    env.tally.count_extra();
    error!(
        job.id = %job.id, task.id = %task, account = %account,
        "Task {task} is one too many for job {}: it may be paid for without need", job.id
    );
    // Even without a permit: one call too many costs less than a task too many.
    let _ = query_permit(env, account).await;
    match env.api.cancel(account, task).await {
        Ok(()) => warn!(task.id = %task, "The cancelling of task {task} was asked for"),
        Err(CallFault::Refused(answer)) => {
            error!(task.id = %task, code = answer.code, "Task {task} can no longer be cancelled: {}", answer.message);
        }
        Err(fault) => error!(task.id = %task, "Task {task} could not be cancelled: {fault}"),
    }
}
