//! What a job asks for, as scripts and people see it.

use dashscope::Scenario;
use job::{InputImage, JobSpec};
use serde::Serialize;

use crate::output::words::size;

/// What a job asks for.
#[derive(Debug, Serialize)]
pub(crate) struct RequestView {
    /// The kind of work.
    pub(crate) scenario: &'static str,
    /// The size as it was asked for.
    pub(crate) size: String,
    /// How many images.
    pub(crate) n: u8,
    /// The seed.
    pub(crate) seed: Option<u32>,
    /// Input images, without their links.
    pub(crate) inputs: Vec<String>,
    /// How long the prompt is.
    pub(crate) prompt_chars: usize,
    /// The prompt, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<String>,
}

impl RequestView {
    /// With the prompt itself only where that is wanted.
    pub(super) fn new(spec: &JobSpec, prompt: bool) -> Self {
        let request = &spec.request;
        let input = |image: &InputImage| match image {
            InputImage::Direct(input) => input.to_string(),
            InputImage::Object { bucket, key } => format!("s3://{bucket}/{key}"),
            InputImage::Stored { key, mime, bytes } => format!("{key} ({mime}, {})", size(*bytes)),
        };
        Self {
            scenario: scenario(spec).as_str(),
            size: request.size.to_string(),
            n: request.n,
            seed: request.seed,
            inputs: spec.images.iter().map(input).collect(),
            prompt_chars: request.prompt.chars(),
            prompt: prompt.then(|| request.prompt.expose().to_owned()),
        }
    }

    /// In a line.
    pub(super) fn render(&self) -> String {
        let seed = self.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        format!("{}, size {}, n {}{seed}", self.scenario, self.size, self.n)
    }
}

/// The kind of work that a spec asks for: its images stand beside its request.
pub(crate) fn scenario(spec: &JobSpec) -> Scenario {
    spec.request_with(spec.images.iter().map(|_| crate::input::images::stand_in()).collect()).scenario()
}
