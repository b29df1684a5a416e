//! `job cancel` and `batch cancel`: what is not being made yet is given up, the rest is finished and stored.
//!
//! A batch is held back first, so that nothing of it is claimed while its jobs are gone through, and let go again at the end. A command
//! that is cut short leaves it held back, and says so where pauses are shown; the next one finishes the work.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use job::{BatchName, Event, Job, JobId, JobState, Rules, StateName, Timestamp};
use queue::{BatchSummary, CommitError, JobFilter, PauseChange, PauseOf, Queue};
use serde::Serialize;

use super::batch::no_batch;
use super::job::id;
use super::pause::who;
use crate::app::{App, queue_failure};
use crate::args::{CancelBatch, CancelJobs};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::words::{count, counted};

/// How many calls to Redis run at once.
const CALLS_AT_ONCE: usize = 64;

/// Jobs of a batch that are read at a time.
const PAGE: usize = 500;

/// How often it is asked whether creates are still out.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is waited beyond the time in which a create is answered. Source: ours; for the commit of the answer.
const ANSWERED: Duration = Duration::from_secs(1);

/// After a failure: until then the batch is held back.
const AGAIN: &str = "run the same command again: until then the batch is held back";

/// After a failure of the wait for creates that are out.
const WAIT_AGAIN: &str =
    "the wish to cancel is written down; run the same command again to wait until nothing more is created";

/// Why a batch is held back meanwhile.
const CANCELING: &str = "it is being canceled";

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Became {
    /// It is canceled.
    Canceled,
    /// It is under way: canceled where that is still possible, else finished and stored. Its create, if it may still be sent, goes
    /// out by this time.
    Requested(Option<Timestamp>),
    /// It is over, or waits for a person.
    TooLate(StateName),
    /// There is no such job.
    NotFound,
}

impl Became {
    fn sent_by(&self) -> Option<Timestamp> {
        match self {
            Self::Requested(sent_by) => *sent_by,
            Self::Canceled | Self::TooLate(_) | Self::NotFound => None,
        }
    }
}

/// What `job cancel --json` and `batch cancel --json` print. The shape is stable: fields are added, never changed.
#[derive(Debug, Default, Serialize)]
struct CancelView {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    canceled: u64,
    requested: u64,
    too_late: u64,
    not_found: u64,
    /// Jobs of the batch that wait for a person, and still do.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
}

impl CancelView {
    fn count(&mut self, became: &Became) {
        let counter = match became {
            Became::Canceled => &mut self.canceled,
            Became::Requested(_) => &mut self.requested,
            Became::TooLate(_) => &mut self.too_late,
            Became::NotFound => &mut self.not_found,
        };
        *counter += 1;
    }

    /// For people.
    fn render(&self) -> String {
        let mut text = match &self.batch {
            Some(batch) => format!("{} of batch {batch} canceled", counted(self.canceled, "job")),
            None => format!("{} canceled", counted(self.canceled, "job")),
        };
        if self.requested > 0 {
            text.push_str(&format!(
                "; {} under way: canceled at DashScope if still possible, else finished and stored",
                counted(self.requested, "job")
            ));
        }
        if let Some(held) = self.held.filter(|held| *held > 0) {
            text.push_str(&format!("; {} held for a person: see `imagemill job ls --held`", count(held)));
        }
        text
    }
}

/// Cancels jobs. When this returns, no create of theirs goes out any more.
pub(super) async fn jobs(app: &App, args: CancelJobs) -> Result<u8, Failure> {
    if let (true, Some(name)) = (args.all, args.batch.clone()) {
        return batch(app, CancelBatch { name }).await;
    }
    let settings = app.settings()?;
    let ids: Vec<JobId> =
        args.ids.iter().map(|text| id(&settings, args.batch.as_ref(), text)).collect::<Result<_, _>>()?;
    let queue = app.queue(&settings).await?;
    let rules = settings.rules();
    let mut view = CancelView::default();
    let all = each(&queue, ids.iter().copied().map(Of::Id), &rules).await?;
    let out: Vec<(JobId, Timestamp)> =
        ids.iter().zip(&all).filter_map(|(id, became)| Some((*id, became.sent_by()?))).collect();
    until_none_is_out(&queue, out, &rules).await.map_err(|failure| failure.hint(WAIT_AGAIN))?;
    for (name, became) in args.ids.iter().zip(all) {
        view.count(&became);
        match became {
            Became::NotFound => app.out.note(&format!("warning: there is no job `{name}`")),
            Became::TooLate(state) => app.out.note(&format!("warning: job `{name}` is {state} and stays so")),
            Became::Canceled | Became::Requested(_) => {}
        }
    }
    say(app, &view)?;
    Ok(if view.not_found > 0 || view.too_late > 0 { exit_code::FAILED } else { exit_code::DONE })
}

/// Cancels a batch. When this returns, no create of its jobs goes out any more.
pub(super) async fn batch(app: &App, args: CancelBatch) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let name = &args.name;
    let failed = |error| queue_failure(error, "cancel the batch").hint(AGAIN);
    if queue.hold_batch(name, who(app), CANCELING).await.map_err(failed)? == PauseChange::NoBatch {
        return Err(no_batch(name));
    }
    let rules = settings.rules();
    let mut view = CancelView { batch: Some(name.to_string()), ..CancelView::default() };
    let sent_by =
        each_of_batch(&queue, name, &rules, &mut view).await.map_err(|failure| failure.hint(AGAIN))?;
    let answered_by = sent_by.and_then(|by| answered_by(by, &rules));
    let summary = until_answered(&queue, name, answered_by).await.map_err(|failure| failure.hint(AGAIN))?;
    queue.let_go_batch(name).await.map_err(failed)?;
    let paused = queue.hand_pause(PauseOf::Batch(name.clone())).await.map_err(failed)?.is_some();
    view.held = summary.as_ref().map(|summary| summary.count(StateName::Held));
    say(app, &view)?;
    if !app.out.json {
        if summary.is_some_and(|summary| !summary.sealed) {
            app.out.note("Its enqueueing is not over: what is enqueued into it from now on will be made.");
        }
        if paused {
            app.out.note("It is paused and stays so.");
        }
    }
    Ok(exit_code::DONE)
}

fn say(app: &App, view: &CancelView) -> Result<(), Failure> {
    if app.out.json { app.out.print_json(view) } else { app.out.print(&view.render()) }
}

/// Goes through a batch, a page at a time. Returns by when the last create of it may go out.
async fn each_of_batch(
    queue: &Queue,
    name: &BatchName,
    rules: &Rules,
    view: &mut CancelView,
) -> Result<Option<Timestamp>, Failure> {
    let open = |state: &StateName| !state.is_final() && *state != StateName::Held;
    let states = StateName::ALL.into_iter().filter(open).collect();
    let filter = JobFilter { batch: Some(Some(name.clone())), states };
    let (mut cursor, mut sent_by) = (None, None);
    loop {
        let page = queue.jobs(&filter, cursor.as_ref(), PAGE).await;
        let page = page.map_err(|error| queue_failure(error, "list the jobs"))?;
        for became in each(queue, page.items.into_iter().map(|job| Of::Read(Box::new(job))), rules).await? {
            view.count(&became);
            sent_by = sent_by.max(became.sent_by());
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(sent_by);
        }
    }
}

/// By when a create that goes out by `sent_by` is answered, or is never answered.
fn answered_by(sent_by: Timestamp, rules: &Rules) -> Option<Timestamp> {
    sent_by.checked_add(rules.create_timeout + ANSWERED).ok()
}

/// The same as [`until_answered`], for single jobs, each with the time by which its create goes out.
async fn until_none_is_out(
    queue: &Queue,
    mut out: Vec<(JobId, Timestamp)>,
    rules: &Rules,
) -> Result<(), Failure> {
    while let Some((id, sent_by)) = out.last() {
        let job = queue.job(*id).await.map_err(|error| queue_failure(error, "look at a job"))?;
        let is_out = job.is_some_and(|job| job.state_name() == StateName::Submitting);
        if is_out && answered_by(*sent_by, rules).is_some_and(|last| queue.now() <= last) {
            tokio::time::sleep(LOOK_EVERY).await;
        } else {
            out.pop();
        }
    }
    Ok(())
}

/// Waits until every create that was claimed before is answered or given back, or no answer can come any more (its worker is gone).
async fn until_answered(
    queue: &Queue,
    name: &BatchName,
    answered_by: Option<Timestamp>,
) -> Result<Option<BatchSummary>, Failure> {
    loop {
        let summary =
            queue.batch(Some(name)).await.map_err(|error| queue_failure(error, "read the batch"))?;
        let out = summary.as_ref().map_or(0, |summary| summary.count(StateName::Submitting));
        if out == 0 || answered_by.is_none_or(|last| queue.now() > last) {
            return Ok(summary);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A job to cancel: by its id, or as it was just read.
enum Of {
    Id(JobId),
    Read(Box<Job>),
}

async fn each(queue: &Queue, jobs: impl Iterator<Item = Of>, rules: &Rules) -> Result<Vec<Became>, Failure> {
    let one = |of: Of| {
        let queue = queue.clone();
        async move {
            let committed = match of {
                Of::Id(id) => queue.commit_unfenced(id, Event::CancelRequested, rules).await,
                Of::Read(job) => queue.commit_unfenced_of(*job, Event::CancelRequested, rules).await,
            };
            match committed {
                Ok(committed) => Ok(match committed.job.state {
                    JobState::Canceled { .. } => Became::Canceled,
                    JobState::Submitting { attempt } => Became::Requested(Some(attempt.send_by)),
                    _ => Became::Requested(None),
                }),
                Err(CommitError::Missing(_)) => Ok(Became::NotFound),
                Err(CommitError::Illegal(illegal)) => Ok(Became::TooLate(illegal.state)),
                Err(CommitError::Queue(error)) => Err(queue_failure(error, "cancel a job")),
                Err(error) => Err(Failure::new(error).context("failed to cancel a job")),
            }
        }
    };
    let became: Vec<Result<Became, Failure>> =
        stream::iter(jobs.map(one)).buffered(CALLS_AT_ONCE).collect().await;
    became.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_is_canceled_and_what_is_paid_for_already() {
        let mut view = CancelView { batch: Some("spring".to_owned()), ..CancelView::default() };
        view.count(&Became::Canceled);
        view.count(&Became::Requested(None));
        view.count(&Became::TooLate(StateName::Succeeded));
        view.held = Some(2);
        insta::assert_snapshot!(view.render(), @"1 job of batch spring canceled; 1 job under way: canceled at DashScope if still possible, else finished and stored; 2 held for a person: see `imagemill job ls --held`");
        insta::assert_snapshot!(serde_json::to_string(&view).unwrap(), @r#"{"batch":"spring","canceled":1,"requested":1,"too_late":1,"not_found":0,"held":2}"#);
    }
}
