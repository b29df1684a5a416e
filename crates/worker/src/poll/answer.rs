//! What an answer about a task means. Pure.

use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::error::{ApiError, ErrorClass};
use dashscope::response::TaskReport;
use job::{
    Event, Failure, ImageState, Job, JobState, Micros, OUTCOME_FORMAT, Outcome, OutcomeImage, TaskId,
    TaskPhase, Timestamp,
};

use crate::ports::CallFault;
use crate::submit::failure_class;

/// The code of a task that succeeded without a single image.
const NO_IMAGES: &str = "NoImages";

/// The longest wait that the service may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// What the answer needs to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) task: &'a TaskId,
    /// When the task was created, by our clock, at the latest.
    pub(crate) created_at: Timestamp,
    pub(crate) now: Timestamp,
    /// How long the provider keeps tasks and links.
    pub(crate) retention: Duration,
    /// What one image costs.
    pub(crate) price: Micros,
}

impl<'a> Reading<'a> {
    /// What is known of a job's task; `None` in states without one.
    pub(crate) fn of(job: &'a Job, now: Timestamp, retention: Duration, price: Micros) -> Option<Self> {
        match &job.state {
            JobState::Polling { task, created_at, .. } | JobState::Archiving { task, created_at, .. } => {
                Some(Self { task, created_at: *created_at, now, retention, price })
            }
            _ => None,
        }
    }

    fn age(&self) -> Duration {
        Duration::try_from(self.now.duration_since(self.created_at)).unwrap_or_default()
    }
}

/// The event that a report is, with what the task brought.
pub(crate) fn read(report: TaskReport, reading: Reading<'_>) -> (Event, Option<Outcome>) {
    let began_after = report
        .scheduled_at
        .zip(report.submitted_at)
        .and_then(|(began, created)| Duration::try_from(began.duration_since(created)).ok());
    let going = |phase| (Event::StillGoing { phase, began_after }, None);
    match &report.status {
        TaskStatus::Pending => going(TaskPhase::Pending),
        TaskStatus::Running => going(TaskPhase::Running),
        TaskStatus::Other(_) => going(TaskPhase::Unrecognised),
        TaskStatus::Unknown => (Event::TaskUnknown, None),
        TaskStatus::Canceled => (Event::TaskCanceled, None),
        TaskStatus::Failed => (Event::TaskFailed(failure(report)), None),
        TaskStatus::Succeeded if brought_nothing(&report) => {
            let message = "the task succeeded and brought no image".to_owned();
            let failure = Failure {
                class: job::FailureClass::Service,
                code: NO_IMAGES.to_owned(),
                message,
                request_id: report.request_id,
            };
            (Event::TaskFailed(failure), None)
        }
        TaskStatus::Succeeded => {
            let readable = !report.output.images.is_empty();
            let outcome = outcome(report, reading);
            // What is paid for and cannot be read is held for a person: another task would be paid for as well.
            let images = if readable { u8::try_from(outcome.images.len()).unwrap_or(u8::MAX) } else { 0 };
            let event = Event::TaskSucceeded {
                images,
                billed: outcome.billed,
                cost: reading.price.times(outcome.billed.into()),
                deadline: outcome.deadline().unwrap_or(reading.created_at + reading.retention),
            };
            (event, Some(outcome))
        }
    }
}

/// Whether a task that succeeded made nothing, and cost nothing. Where the service does not say what it bills, anything that looks
/// like an image counts as paid for.
fn brought_nothing(report: &TaskReport) -> bool {
    let billed = report.usage.and_then(|usage| usage.image_count);
    report.output.images.is_empty() && billed.map_or(report.output.unusable.is_empty(), |billed| billed == 0)
}

fn failure(report: TaskReport) -> Failure {
    let error = report.failure.unwrap_or_else(|| ApiError::new("", "the service gave no reason"));
    let code = if error.code().is_empty() { "Unexplained" } else { error.code() };
    Failure {
        class: failure_class(error.class()),
        code: code.to_owned(),
        message: error.message().to_owned(),
        request_id: report.request_id,
    }
}

/// What a task that succeeded brought: every image that it names, and every one that it should have named.
pub(crate) fn outcome(report: TaskReport, reading: Reading<'_>) -> Outcome {
    let billed = u8::try_from(report.billed_images()).unwrap_or(u8::MAX);
    // The service promises no more than a day, whatever a link says.
    let kept_until = report.ended_at.unwrap_or(reading.created_at) + reading.retention;
    let mut images: Vec<(usize, usize, ImageState)> = Vec::new();
    for image in report.output.images {
        let deadline = image.url.expires_at().map_or(kept_until, |expires| expires.min(kept_until));
        images.push((image.choice, image.item, ImageState::Waiting { link: image.url, deadline }));
    }
    for item in report.output.unusable {
        let code = if item.reason.code().is_empty() { "Unexplained" } else { item.reason.code() };
        let (code, reason) = (code.to_owned(), item.reason.message().to_owned());
        images.push((item.choice, item.item, ImageState::Lost { code, reason }));
    }
    images.sort_by_key(|(choice, item, _)| (*choice, *item));
    let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    Outcome {
        format: OUTCOME_FORMAT,
        task: reading.task.clone(),
        request_id: report.request_id,
        submitted_at: report.submitted_at,
        started_at: report.scheduled_at,
        ended_at: report.ended_at,
        noticed_at: reading.now,
        billed,
        size: report.usage.and_then(|usage| usage.size).map(|(width, height)| format!("{width}*{height}")),
        texts: report.output.texts.into_iter().map(|text| text.text).collect(),
        unpublished: false,
        images: images
            .into_iter()
            .take(u8::MAX.into())
            .enumerate()
            .map(|(index, (choice, item, state))| OutcomeImage {
                index: small(index),
                choice: small(choice),
                item: small(item),
                state,
            })
            .collect(),
    }
}

/// What a query without a report means for the job. What it means for the account's other queries, [`crate::silence`] knows.
pub(crate) fn unanswered(fault: &CallFault, reading: Reading<'_>) -> Event {
    let CallFault::Refused(answer) = fault else {
        return Event::PollUnanswered { retry_after: None };
    };
    match answer.class {
        // The documents say UNKNOWN for a task that the service does not know; should it say so with a status, that counts
        // only from the age on at which tasks are forgotten. Before, it is more likely a wrong base URL.
        ErrorClass::NotFound if reading.age() >= reading.retention => Event::TaskUnknown,
        _ => Event::PollUnanswered { retry_after: answer.retry_after.map(|wait| wait.min(PAUSE_MAX)) },
    }
}
