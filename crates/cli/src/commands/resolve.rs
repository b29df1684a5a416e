//! `job resolve`: a person decides what the evidence could not.

use job::{AccountName, Event, HeldReason, Job, JobState, Prices, StateName, TaskId};
use queue::{CommitError, ExtraState, ExtraTask, Queue};
use serde::Serialize;

use super::agree::agree;
use super::job::id;
use crate::app::{App, queue_failure};
use crate::args::ResolveJob;
use crate::exit_code;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::status::at_most;
use crate::output::words::{counted, money};

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
    let not_held = |state| {
        Failure::message(format!("job `{}` is {state}, not held", args.name.id))
            .hint("`imagemill job ls --held` lists the jobs that wait for a person")
    };
    // Also what is held a moment later is not what the person looked at.
    if job.state_name() != StateName::Held {
        return Err(not_held(job.state_name()));
    }
    let event = match args.adopt {
        Some(task) => adoption(&queue, &job, task).await?,
        None if args.resubmit => {
            if !agreed(app.out, args.yes, &job, &settings.prices())? {
                app.out.note(&format!("Job {id} stays held."));
                return Ok(exit_code::FAILED);
            }
            Event::ResolvedResubmit
        }
        None => Event::ResolvedFail,
    };
    let taken_up = match &event {
        Event::ResolvedAdopt { task } => no_longer_extra(&queue, &job, task).await?,
        _ => None,
    };
    let committed = queue.commit_unfenced(id, event, &settings.rules()).await;
    if let (Err(_), Some((account, extra))) = (&committed, &taken_up) {
        let again = queue.record_extra(account, extra).await;
        again.map_err(|error| queue_failure(error, "write the task down again"))?;
    }
    let committed = committed.map_err(|error| match error {
        CommitError::Illegal(illegal) if illegal.state == StateName::Held => {
            let text =
                "a task cannot be adopted for this job: it is held for another reason than an unknown create";
            Failure::message(text).hint(format!("`imagemill job show {id}` says why it is held"))
        }
        CommitError::Illegal(illegal) => not_held(illegal.state),
        CommitError::TaskOwned { task, owner } => {
            Failure::message(format!("task {task} is owned by job {owner} already"))
                .hint(format!("`imagemill job show {id}` names the tasks that may be this job's"))
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

/// A task of this job that came late, and is looked after as one too many: its job takes it now, and it is not to be cancelled, or
/// billed a second time. The account and the entry, if there was one.
async fn no_longer_extra(
    queue: &Queue,
    job: &Job,
    task: &TaskId,
) -> Result<Option<(AccountName, ExtraTask)>, Failure> {
    let failed = |error| queue_failure(error, "read the tasks that are one too many");
    let Some(attempt) = job.state.attempt() else { return Ok(None) };
    let extras = queue.extras(&attempt.account).await.map_err(failed)?;
    let Some(extra) = extras.into_iter().find(|extra| extra.task == *task && extra.job == job.id) else {
        return Ok(None);
    };
    if extra.state != ExtraState::Open {
        let text = format!("task {task} of this job came too late, and its end is booked already");
        return Err(Failure::message(text).hint("--resubmit makes new images, --fail gives the job up"));
    }
    queue.forget_extras(&attempt.account, std::slice::from_ref(task)).await.map_err(failed)?;
    Ok(Some((attempt.account.clone(), extra)))
}

/// Adopts a task; where the job has it already, its images are taken as they are. A task that another job owns is refused by the
/// commit itself.
async fn adoption(queue: &Queue, job: &Job, task: TaskId) -> Result<Event, Failure> {
    let doubtful = matches!(
        &job.state,
        JobState::Held { reason: HeldReason::DoubtfulAdoption, task: Some(known), .. } if *known == task
    );
    if !doubtful {
        if let JobState::Held { unsettled: true, task: Some(known), .. } = &job.state
            && *known != task
        {
            let text =
                format!("job {} is held with task {known}, of which nobody knows yet how it ended", job.id);
            return Err(Failure::message(text).hint(format!(
                "--adopt {known} asks it again; --resubmit and --fail leave it behind, and book it if it is billed"
            )));
        }
        return Ok(Event::ResolvedAdopt { task });
    }
    let outcome = queue.outcome(job.id).await;
    let outcome = outcome.map_err(|error| queue_failure(error, "read what the task brought"))?;
    let outcome = outcome.filter(|outcome| outcome.task == task);
    let outcome = outcome.ok_or_else(|| {
        Failure::message(format!("what task {task} brought is no longer known"))
            .hint("--resubmit makes new images, --fail gives the job up")
    })?;
    let images = u8::try_from(outcome.images.len()).unwrap_or(u8::MAX);
    let deadline = outcome.deadline().unwrap_or_else(|| queue.now());
    Ok(Event::ResolvedDeliver { task, images, deadline })
}

/// Says what sending the job again may cost, and asks.
fn agreed(out: Output, yes: bool, job: &Job, prices: &Prices) -> Result<bool, Failure> {
    let price = prices.per_image(job.model).times(job.images_max.into());
    let cost = at_most(job.images_max.into(), price, &prices.currency);
    let paid = match (job.billed, job.state.task()) {
        (0, Some(task)) => format!("If DashScope completes task {task}, both are paid for."),
        (0, None) => "If DashScope made its task after all, both are paid for.".to_owned(),
        (billed, _) => format!(
            "{} for {} are paid for already.",
            counted(billed.into(), "image"),
            money(job.cost, &prices.currency)
        ),
    };
    agree(out, yes, &format!("{paid} Sending it again costs {cost}."))
}
