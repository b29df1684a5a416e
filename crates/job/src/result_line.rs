//! A job as a line of `batch results` and of a batch's `manifest.jsonl`: what came of it, joined by `custom_id`. Pure.
//!
//! Both are read by programs: fields are added, never changed. Prompts and links are no part of a line; what a job asked for is added
//! with [`ResultLine::with_request`], links go where [`ResultLine::links`] shows.

mod error;

use dashscope::{ImageRequest, Model};
use serde::Serialize;

use self::error::error;
pub use self::error::{ErrorLine, ErrorsLine, Mend};
use crate::{
    ImageState, InputImage, Job, JobSpec, JobState, KeyTemplate, ObjectKey, Outcome, StateName, Timestamp,
    Try,
};

/// Where keys of images stand: named in each image's `uri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlace {
    /// The bucket.
    pub bucket: String,
    /// What stands before every key: empty, or ending in a slash.
    pub prefix: String,
}

impl BucketPlace {
    /// A bucket, and the prefix as the settings have it.
    pub fn new(bucket: impl Into<String>, prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { bucket: bucket.into(), prefix }
    }

    /// `s3://bucket/key`.
    pub fn uri(&self, key: &ObjectKey) -> String {
        format!("s3://{}/{}{key}", self.bucket, self.prefix)
    }
}

/// Everything that is known of a job, to make its line of.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its record.
    pub job: Job,
    /// What it asks for, where that can be read.
    pub spec: Option<JobSpec>,
    /// What its task brought.
    pub outcome: Option<Outcome>,
    /// Its history, oldest first.
    pub tries: Vec<Try>,
}

/// A job and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResultLine {
    /// The user's own name for it.
    pub custom_id: Option<String>,
    /// The job.
    pub job_id: String,
    /// Where it is in its life.
    pub state: StateName,
    /// Whether it succeeded with images missing.
    pub partial: bool,
    /// Whether it was to refresh an item, and its images could not be put under the item's stable keys.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unpublished: bool,
    /// The model.
    pub model: Model,
    /// The account that ran it.
    pub account: Option<String>,
    /// The task at DashScope.
    pub task_id: Option<String>,
    /// Of the call that said how it ended: what the provider's support asks for.
    pub request_id: Option<String>,
    /// The seed that was asked for.
    pub seed: Option<u32>,
    /// The size that was asked for.
    pub size: Option<String>,
    /// How many images were asked for, at most.
    pub n: u8,
    /// Its images, once there are some.
    pub images: Vec<ImageLine>,
    /// Images billed, over all its tasks.
    pub billed: u16,
    /// What they cost.
    pub cost: CostLine,
    /// When what happened.
    pub times: TimesLine,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorLine>,
    /// What it asked for, where that was asked for: DashScope's own body, with the prompt and without the input images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<ImageRequest>,
    /// The input images beside `request`: named, links without what opens them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ImageLine {
    /// It is in the bucket.
    Stored {
        /// Its place in the result, from 0.
        index: u8,
        /// Its key.
        key: ObjectKey,
        /// Its whole address.
        #[serde(skip_serializing_if = "Option::is_none")]
        uri: Option<String>,
        /// Of a refresh whose versions are kept: the key that shows the item's newest image, from now on perhaps a later job's. The image of
        /// this job is at `key`, for as long as its version is kept. Not there where the job's images never were under it.
        #[serde(skip_serializing_if = "Option::is_none")]
        stable_key: Option<ObjectKey>,
        /// Its size in bytes.
        bytes: u64,
        /// The SHA-256 of its bytes.
        sha256: String,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// A link that opens it for a while, where one was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
    /// It can never be had.
    Lost {
        /// Its place in the result, from 0.
        index: u8,
        /// A short stable code.
        lost: String,
        /// Why, for people.
        reason: String,
    },
    /// It is not copied yet.
    Waiting {
        /// Its place in the result, from 0.
        index: u8,
        /// When the provider's link dies.
        waits_until: Timestamp,
    },
}

/// Money.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostLine {
    /// The amount. Its decimals are exact.
    pub amount: f64,
    /// The amount in millionths.
    pub micros: i64,
    /// Such as `USD`.
    pub currency: String,
}

/// When what happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimesLine {
    /// It was accepted.
    pub enqueued_at: Timestamp,
    /// The service took its task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    /// The service began with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The service finished it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// A worker noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noticed_at: Option<Timestamp>,
    /// The job was over, or began to wait for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_at: Option<Timestamp>,
}

impl ResultLine {
    /// The line of a job. `place` names the bucket, where that is known.
    pub fn new(known: &Known, place: Option<&BucketPlace>, currency: &str) -> Self {
        let Known { job, spec, outcome, tries } = known;
        let outcome = outcome.as_ref();
        let task = job.state.task().cloned().or_else(|| outcome.map(|outcome| outcome.task.clone()));
        let of_task = tries.iter().rev().find(|line| task.is_some() && line.task == task);
        let last_account = || tries.iter().rev().find_map(|line| line.account.clone());
        let account = job.state.attempt().map(|attempt| attempt.account.to_string());
        let request = spec.as_ref().map(|spec| &spec.request);
        Self {
            custom_id: spec.as_ref().and_then(|spec| spec.custom_id.as_ref()).map(ToString::to_string),
            job_id: job.id.to_string(),
            state: job.state_name(),
            partial: matches!(job.state, JobState::Succeeded { partial: true, .. }),
            unpublished: outcome.as_ref().is_some_and(|outcome| outcome.unpublished),
            model: job.model,
            account: account.or_else(|| of_task.and_then(|line| line.account.clone())).or_else(last_account),
            task_id: task.as_ref().map(ToString::to_string),
            request_id: outcome
                .and_then(|outcome| outcome.request_id.clone())
                .or_else(|| tries.iter().rev().find_map(|line| line.request_id.clone())),
            seed: request.and_then(|request| request.seed),
            size: request.map(|request| request.size.to_string()),
            n: job.images_max,
            images: outcome.map(|outcome| images(known, outcome, place)).unwrap_or_default(),
            billed: job.billed,
            cost: CostLine {
                // The nearest double to the decimal fraction prints as that fraction, for every amount under a billion.
                amount: job.cost.0 as f64 / 1e6,
                micros: job.cost.0,
                currency: currency.to_owned(),
            },
            times: TimesLine {
                enqueued_at: job.enqueued_at,
                submitted_at: outcome.and_then(|outcome| outcome.submitted_at),
                started_at: outcome.and_then(|outcome| outcome.started_at),
                ended_at: outcome.and_then(|outcome| outcome.ended_at),
                noticed_at: outcome.map(|outcome| outcome.noticed_at),
                over_at: over_at(&job.state),
            },
            error: error(known),
            request: None,
            inputs: Vec::new(),
        }
    }

    /// The same with what the job asked for, the prompt among it.
    #[must_use]
    pub fn with_request(self, spec: Option<&JobSpec>) -> Self {
        let name = |image: &InputImage| match image {
            // The display form: a link without its query, an inlined image as its type and length.
            InputImage::Direct(input) => input.to_string(),
            InputImage::Object { bucket, key } => format!("s3://{bucket}/{key}"),
            InputImage::Stored { key, .. } => key.to_string(),
        };
        Self {
            request: spec.map(|spec| spec.request.clone()),
            inputs: spec.map(|spec| spec.images.iter().map(name).collect()).unwrap_or_default(),
            ..self
        }
    }

    /// The key of each stored image, with the place for a link to it.
    pub fn links(&mut self) -> impl Iterator<Item = (&ObjectKey, &mut Option<String>)> {
        self.images.iter_mut().filter_map(|image| match image {
            ImageLine::Stored { key, link, .. } => Some((&*key, link)),
            _ => None,
        })
    }

    /// Whether every image that the job was to bring is in the bucket.
    pub fn is_whole(&self) -> bool {
        self.state == StateName::Succeeded && !self.partial
    }

    /// The line as JSON, with its line end.
    pub fn to_json_line(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a result is plain data and always serializes");
        text.push('\n');
        text
    }
}

fn images(known: &Known, outcome: &Outcome, place: Option<&BucketPlace>) -> Vec<ImageLine> {
    let is_refresh = known.spec.as_ref().is_some_and(|spec| spec.refresh.is_some());
    // One that is not over, or lacks images, has replaced none.
    let is_over = matches!(known.job.state, JobState::Succeeded { .. });
    let was_shown = is_refresh && is_over && outcome.lost() == 0 && !outcome.unpublished;
    let stable_key = |key: &ObjectKey| KeyTemplate::stable_key(key, known.job.id).filter(|_| was_shown);
    let line = |image: &crate::OutcomeImage| match &image.state {
        ImageState::Stored(stored) => ImageLine::Stored {
            index: image.index,
            key: stored.key.clone(),
            uri: place.map(|place| place.uri(&stored.key)),
            stable_key: stable_key(&stored.key),
            bytes: stored.bytes,
            sha256: stored.sha256.clone(),
            width: stored.width,
            height: stored.height,
            link: None,
        },
        ImageState::Lost { code, reason } => {
            ImageLine::Lost { index: image.index, lost: code.clone(), reason: reason.clone() }
        }
        ImageState::Waiting { deadline, .. } => {
            ImageLine::Waiting { index: image.index, waits_until: *deadline }
        }
    };
    outcome.images.iter().map(line).collect()
}

fn over_at(state: &JobState) -> Option<Timestamp> {
    match state {
        JobState::Succeeded { at, .. }
        | JobState::Failed { at, .. }
        | JobState::Canceled { at, .. }
        | JobState::Expired { at, .. } => Some(*at),
        JobState::Held { since, .. } => Some(*since),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
