//! `job resolve`: a person decides what the evidence could not.

use job::{Event, Job, JobState, StateName};
use queue::{CommitError, Queue};
use serde::Serialize;

use super::job::id;
use crate::app::{App, queue_failure};
use crate::args::ResolveJob;
use crate::exit_code;
use crate::failure::Failure;

/// What `job resolve --json` prints.
#[derive(Debug, Serialize)]
struct ResolveView {
    job: String,
    state: StateName,
}

/// Resolves a held job.
pub(super) async fn resolve(app: &App, args: ResolveJob) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let id = id(&settings, args.name.batch.as_ref(), &args.name.id)?;
    let queue = app.queue(&settings).await?;
    let job = queue.job(id).await.map_err(|error| queue_failure(error, "read the job"))?;
    let job = job.ok_or_else(|| Failure::message(format!("there is no job `{}`", args.name.id)))?;
    if let Some(task) = &args.adopt {
        refuse_anothers_task(&queue, &job, task).await?;
    }
    let event = match args.adopt {
        Some(task) => Event::ResolvedAdopt { task },
        None if args.resubmit => Event::ResolvedResubmit,
        None => Event::ResolvedFail,
    };
    let committed = queue.commit_unfenced(id, event, &settings.rules()).await.map_err(|error| match error {
        CommitError::Illegal(illegal) if illegal.state == StateName::Held => {
            let text = "a task cannot be adopted for this job: it is held for another reason than an unknown create";
            Failure::message(text).hint(format!("`imagemill job show {id}` says why it is held"))
        }
        CommitError::Illegal(illegal) => {
            Failure::message(format!("job `{}` is {}, not held", args.name.id, illegal.state))
                .hint("`imagemill job ls --held` lists the jobs that wait for a person")
        }
        CommitError::Queue(error) => queue_failure(error, "resolve the job"),
        error => Failure::new(error).context("failed to resolve the job"),
    })?;
    let state = committed.job.state_name();
    if app.out.json {
        app.out.print_json(&ResolveView { job: id.to_string(), state })?;
    } else {
        app.out.print(&format!("Job {id} is {state}."))?;
    }
    Ok(exit_code::DONE)
}

/// A task that another job owns is that job's, whatever its images look like.
async fn refuse_anothers_task(queue: &Queue, job: &Job, task: &job::TaskId) -> Result<(), Failure> {
    let JobState::Held { attempt, .. } = &job.state else { return Ok(()) };
    let owners = queue.task_owners(&attempt.account, std::slice::from_ref(task)).await;
    let owners = owners.map_err(|error| queue_failure(error, "look whose the task is"))?;
    match owners.first() {
        Some(Some((owner, _))) if *owner != job.id => {
            Err(Failure::message(format!("task {task} is owned by job {owner} already")))
        }
        _ => Ok(()),
    }
}
