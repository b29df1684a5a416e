//! Why a job did not succeed, and the line by which it can be enqueued again. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::{BucketPlace, Known, ResultLine};
use crate::{
    CanceledBy, FailureClass, HeldReason, ImageState, InputImage, Job, JobSpec, JobState, Outcome, StateName,
};

/// Why a job did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorLine {
    /// What kind of failure: a class of `imagemill batch retry --where class=…`, or `expired`, `canceled`, `held`, `partial`.
    pub class: String,
    /// The service's code, or ours.
    pub code: String,
    /// The service's message, or ours.
    pub message: String,
    /// What can be done.
    pub hint: String,
}

/// Why a job did not succeed, or not wholly. `None` of one that did, and of one that is under way.
pub(super) fn error(known: &Known) -> Option<ErrorLine> {
    let Known { job, outcome, tries, .. } = known;
    let line = |class: &str, code: &str, message: String, hint: &str| {
        Some(ErrorLine { class: class.to_owned(), code: code.to_owned(), message, hint: hint.to_owned() })
    };
    // The words that stand in the history for what the record says in short.
    let said =
        |what: &str| tries.iter().rev().find(|line| line.what == what).and_then(|line| line.message.clone());
    match &job.state {
        JobState::Failed { class, code, .. } => {
            let message = said(class.as_str()).unwrap_or_else(|| format!("the job failed: {code}"));
            line(class.as_str(), code, message, hint_of(*class))
        }
        JobState::Expired { .. } => {
            let message = match job.lost_images() {
                0 => "DashScope forgot the task before it said how it ended".to_owned(),
                lost => format!("the links of {lost} billed images died before they were copied"),
            };
            let hint = "`imagemill batch retry BATCH --missing` asks for them again, which is billed";
            line("expired", "links_dead", message, hint)
        }
        JobState::Canceled { by: CanceledBy::User, .. } => {
            let hint = "`imagemill batch retry BATCH --where state=canceled` runs it again";
            line("canceled", "by_request", "somebody asked to cancel it".to_owned(), hint)
        }
        JobState::Canceled { by: CanceledBy::Provider, .. } => {
            let hint = "`imagemill batch retry BATCH --where state=canceled` runs it again";
            line("canceled", "at_provider", "the provider canceled the task unasked".to_owned(), hint)
        }
        JobState::Held { reason, .. } => {
            let hint = "`imagemill job show ID` shows what is to be decided, `imagemill job resolve` decides";
            line("held", held_code(*reason), reason.explain().to_owned(), hint)
        }
        JobState::Succeeded { partial: true, .. } => {
            let hint = "`imagemill batch retry BATCH --missing` asks for what is missing, which is billed";
            line("partial", "images_missing", missing(job, outcome.as_ref()), hint)
        }
        _ => None,
    }
}

/// What is missing of a job that brought a part of its images.
fn missing(job: &Job, outcome: Option<&Outcome>) -> String {
    let mut text = format!("{} of {} images are stored", job.stored, job.billed.max(u16::from(job.stored)));
    let reasons = outcome.iter().flat_map(|outcome| &outcome.images).filter_map(|image| match &image.state {
        ImageState::Lost { reason, .. } => Some((image.index, reason)),
        _ => None,
    });
    for (index, reason) in reasons {
        let _ = write!(text, "; image {index}: {reason}");
    }
    text
}

fn held_code(reason: HeldReason) -> &'static str {
    match reason {
        HeldReason::CannotTell => "cannot_tell",
        HeldReason::Policy => "policy",
        HeldReason::UnknownTask => "unknown_task",
        HeldReason::Poison => "poison",
        HeldReason::UnreadableResult => "unreadable_result",
        HeldReason::DoubtfulAdoption => "doubtful_adoption",
    }
}

/// What can be done about a class of failure.
fn hint_of(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Moderation => {
            "the provider's content rules hold back the prompt, an input or the result: change what is asked for"
        }
        FailureClass::InvalidRequest => "the service takes no such request: change what is asked for",
        FailureClass::InputDownload => {
            "the service could not fetch an input image: is its link open to it, and still alive?"
        }
        FailureClass::Service | FailureClass::ServiceTimeout | FailureClass::Transport => {
            "the service had trouble: `imagemill batch retry BATCH` runs it again"
        }
        FailureClass::ByPerson => {
            "a person gave it up: `imagemill batch retry BATCH --where class=by_person`"
        }
        FailureClass::Local => "this installation could not do it: the message says why",
    }
}

/// A line that can be enqueued again, with why it did not succeed: `imagemill enqueue` passes over `error`.
///
/// Input images stand in it as they were given, signed links among them, so that the line can be used: it belongs to whoever asked for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorsLine {
    /// The user's own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_id: Option<String>,
    /// DashScope's own body, with the input images as a line may name them.
    body: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// Why it did not succeed.
    error: ErrorOf,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ErrorOf {
    job_id: String,
    state: StateName,
    task_id: Option<String>,
    request_id: Option<String>,
    billed: u16,
    #[serde(flatten)]
    line: ErrorLine,
}

/// What is to be done about a job, once it is over or waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub enum Mend {
    /// Nothing: it succeeded, or is under way.
    Nothing,
    /// It can be enqueued again, once it is mended.
    Line(Box<ErrorsLine>),
    /// A person decides about it first, or gave it up: its create may have made a task, and another job would pay for the same images again.
    Held,
    /// Only what is missing is to be asked for: the rest is paid for and stored, and what is missing may be asked for already.
    Missing,
    /// It did not succeed, and what it asked for can be read no more.
    Unreadable,
}

impl ErrorsLine {
    /// What is to be done about a job. `place` is the bucket in which stored inputs stand.
    pub fn of(known: &Known, line: &ResultLine, place: Option<&BucketPlace>) -> Mend {
        let Some(error) = line.error.clone() else { return Mend::Nothing };
        match known.job.state {
            // What a person gave up may have been made after all, as what is held.
            JobState::Held { .. } | JobState::Failed { class: FailureClass::ByPerson, .. } => {
                return Mend::Held;
            }
            JobState::Succeeded { .. } => return Mend::Missing,
            // Its images were paid for, and somebody may have asked for them again.
            JobState::Expired { .. } if known.job.billed > 0 => return Mend::Missing,
            _ => {}
        }
        match &known.spec {
            Some(spec) => Mend::Line(Box::new(Self::new(spec, line, error, place))),
            None => Mend::Unreadable,
        }
    }

    fn new(spec: &JobSpec, line: &ResultLine, error: ErrorLine, place: Option<&BucketPlace>) -> Self {
        let mut body = spec.request.to_body();
        let name = |image: &InputImage| match image {
            InputImage::Direct(input) => input.expose().to_owned(),
            InputImage::Object { bucket, key } => format!("s3://{bucket}/{key}"),
            InputImage::Stored { key, .. } => place.map_or_else(|| key.to_string(), |place| place.uri(key)),
        };
        if let Some(content) =
            body.pointer_mut("/input/messages/0/content").and_then(|list| list.as_array_mut())
        {
            let images = spec.images.iter().map(|image| serde_json::json!({ "image": name(image) }));
            content.splice(0..0, images);
        }
        let default = crate::Priority::default();
        Self {
            custom_id: line.custom_id.clone(),
            body,
            priority: (spec.priority != default).then(|| spec.priority.into()),
            account: spec.account.as_ref().map(ToString::to_string),
            region: spec.region.as_ref().map(ToString::to_string),
            error: ErrorOf {
                job_id: line.job_id.clone(),
                state: line.state,
                task_id: line.task_id.clone(),
                request_id: line.request_id.clone(),
                billed: line.billed,
                line: error,
            },
        }
    }

    /// The line as JSON, with its line end.
    pub fn to_json_line(&self) -> String {
        let mut text =
            serde_json::to_string(self).expect("a line of errors is plain data and always serializes");
        text.push('\n');
        text
    }
}
