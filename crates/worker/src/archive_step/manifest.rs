//! The document beside a job's images: what was asked for, what came of it, and what it cost. Pure.

use dashscope::ImageRequest;
use job::{ImageState, InputImage, Job, JobSpec, Micros, Outcome, Prices, Timestamp, Version};
use serde::Serialize;
use serde_json::Value;

/// The current format of the manifest.
const MANIFEST_FORMAT: u8 = 1;

#[derive(Serialize)]
struct Manifest<'a> {
    manifest_version: u8,
    job_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_id: Option<&'a str>,
    /// Where the item's stable keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<&'a str>,
    /// The digest of what the images depend on: the next refresh compares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    model: &'a str,
    account: Option<&'a str>,
    task_id: &'a str,
    /// Of the query that brought the result: what the provider's support asks for.
    request_id: Option<&'a str>,
    /// DashScope's own body, without the input images; `null` if the spec could not be read.
    request: Option<&'a ImageRequest>,
    /// The input images, named but not opened: a signed link outlives its use in no document of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    times: Times,
    usage: Usage<'a>,
    cost: Cost<'a>,
    images: Vec<Image<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    texts: &'a [String],
    /// The versions that are kept, newest first, this one among them.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    versions: &'a [Version],
}

#[derive(Serialize)]
struct Times {
    enqueued_at: Timestamp,
    submitted_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    noticed_at: Timestamp,
    stored_at: Timestamp,
}

#[derive(Serialize)]
struct Usage<'a> {
    images_billed: u8,
    size: Option<&'a str>,
}

#[derive(Serialize)]
struct Cost<'a> {
    /// Exact, as text: a JSON number would be read as a binary fraction.
    amount: String,
    currency: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Image<'a> {
    Stored { index: u8, key: &'a str, bytes: u64, sha256: &'a str, width: u32, height: u32 },
    Lost { index: u8, lost: &'a str, reason: &'a str },
}

/// The manifest of a job that is about to end.
pub(crate) fn build(
    job: &Job,
    spec: Option<&JobSpec>,
    outcome: &Outcome,
    versions: &[Version],
    prices: &Prices,
    now: Timestamp,
) -> Value {
    let refresh = spec.and_then(|spec| spec.refresh.as_ref());
    let Micros(per_image) = prices.per_image(job.model);
    let manifest = Manifest {
        manifest_version: MANIFEST_FORMAT,
        job_id: job.id.to_string(),
        batch: job.batch.as_ref().map(job::BatchName::as_str),
        custom_id: spec.and_then(|spec| spec.custom_id.as_ref()).map(job::CustomId::as_str),
        collection: refresh.map(|refresh| refresh.collection.as_str()),
        content: refresh.map(|refresh| refresh.content.as_str()),
        model: job.model.as_str(),
        account: job.state.attempt().map(|attempt| attempt.account.as_str()),
        task_id: outcome.task.as_str(),
        request_id: outcome.request_id.as_deref(),
        request: spec.map(|spec| &spec.request),
        inputs: spec.map(inputs).unwrap_or_default(),
        seed: spec.and_then(|spec| spec.request.seed),
        times: Times {
            enqueued_at: job.enqueued_at,
            submitted_at: outcome.submitted_at,
            started_at: outcome.started_at,
            ended_at: outcome.ended_at,
            noticed_at: outcome.noticed_at,
            stored_at: now,
        },
        usage: Usage { images_billed: outcome.billed, size: outcome.size.as_deref() },
        cost: Cost {
            amount: Micros(per_image).times(outcome.billed.into()).to_string(),
            currency: &prices.currency,
        },
        images: outcome.images.iter().filter_map(image).collect(),
        texts: &outcome.texts,
        versions,
    };
    serde_json::to_value(manifest).expect("a manifest is plain data and always serializes")
}

fn image(image: &job::OutcomeImage) -> Option<Image<'_>> {
    let index = image.index;
    match &image.state {
        ImageState::Stored(job::StoredImage { key, bytes, sha256, width, height }) => Some(Image::Stored {
            index,
            key: key.as_str(),
            bytes: *bytes,
            sha256,
            width: *width,
            height: *height,
        }),
        ImageState::Lost { code, reason } => Some(Image::Lost { index, lost: code, reason }),
        ImageState::Waiting { .. } => None,
    }
}

fn inputs(spec: &JobSpec) -> Vec<String> {
    spec.images
        .iter()
        .map(|image| match image {
            // The display form: a link without its query, an inlined image as its type and length.
            InputImage::Direct(input) => input.to_string(),
            InputImage::Object { bucket, key } => format!("s3://{bucket}/{key}"),
            InputImage::Stored { key, .. } => key.to_string(),
        })
        .collect()
}
