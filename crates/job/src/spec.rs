//! What a user asked for: written at enqueue, and changed only by the user, while nobody works on the job.

use dashscope::request::OssUri;
use dashscope::{ImageInput, ImageRequest, Violations, Warning};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    AccountName, BatchName, CustomId, ObjectKey, PinnedTo, Priority, Refresh, RegionName, Timestamp,
};

/// The current [`JobSpec::format`].
pub const SPEC_FORMAT: u8 = 1;

/// What a job asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The format of this document. A worker that does not know it leaves the job alone.
    #[serde(rename = "v")]
    pub format: u8,
    /// The batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchName>,
    /// The user's own name for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_id: Option<CustomId>,
    /// DashScope's request without its input images, which stand in `images`.
    pub request: ImageRequest,
    /// The input images, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<InputImage>,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// The only account that may run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The only region whose accounts may run it. Never beside `account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// Not to be started before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What the job replaces, if it refreshes an item of a catalogue. A worker from before this field cannot read a document that has it:
    /// workers are updated before anything is refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// An input image, where the worker finds it when it creates the task.
///
/// Links to our own bucket are signed then and not at enqueue: a job may wait for days, a signature lives for hours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputImage {
    /// What the API takes as it is: a link that the service fetches itself, or a file in its temporary store.
    Direct(ImageInput),
    /// An object that the user named as `s3://bucket/key`.
    Object {
        /// The bucket.
        bucket: String,
        /// The key.
        key: ObjectKey,
    },
    /// A local file or data URI, put into our bucket at enqueue.
    Stored {
        /// `inputs/<sha256>`.
        key: ObjectKey,
        /// Such as `image/jpeg`.
        mime: String,
        /// Size in bytes.
        bytes: u64,
    },
}

impl JobSpec {
    /// A job with nothing but its request.
    pub fn new(request: ImageRequest) -> Self {
        Self {
            format: SPEC_FORMAT,
            batch: None,
            custom_id: None,
            request,
            images: Vec::new(),
            priority: Priority::default(),
            account: None,
            region: None,
            not_before: None,
            refresh: None,
        }
    }

    /// The same with a name.
    pub fn named(custom_id: CustomId, request: ImageRequest) -> Self {
        Self { custom_id: Some(custom_id), ..Self::new(request) }
    }

    /// Checks what can be known of the request without its images' bytes.
    ///
    /// # Errors
    ///
    /// Everything that the service would refuse.
    pub fn check(&self) -> Result<Vec<Warning>, Violations> {
        let stand_in = OssUri::new("oss://checked/apart".to_owned()).map(ImageInput::Temporary);
        let images = self.images.iter().filter_map(|_| stand_in.clone().ok()).collect();
        self.request_with(images).check()
    }

    /// Where alone it may run.
    pub fn pinned_to(&self) -> Option<PinnedTo> {
        let account = self.account.clone().map(PinnedTo::Account);
        account.or_else(|| self.region.clone().map(PinnedTo::Region))
    }

    /// The most images that the job can bring.
    pub fn images_max(&self) -> u8 {
        self.request.n
    }

    /// The first 16 hex digits of the SHA-256 of the spec's JSON: equal lines have equal digests.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(self).expect("a spec is plain data and always serializes");
        Sha256::digest(&json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The request to send, with each input image in a form that the API knows, in the order of `images`.
    pub fn request_with(&self, images: Vec<ImageInput>) -> ImageRequest {
        ImageRequest { images, ..self.request.clone() }
    }
}
