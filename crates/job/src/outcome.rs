//! What a task brought: its images, and what became of each.

use dashscope::ImageUrl;
use serde::{Deserialize, Serialize};

use crate::{ObjectKey, TaskId, Timestamp};

/// What is known of a task that succeeded, kept from the answer that said so until the job is over (and, without links, as long as the job).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The format of this document.
    #[serde(rename = "v")]
    pub format: u8,
    /// The task.
    pub task: TaskId,
    /// The service's request id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When the service took the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    /// When the service began with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the service finished it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When a worker noticed.
    pub noticed_at: Timestamp,
    /// Images that the service says it bills.
    pub billed: u8,
    /// The size that the service reports, such as `2048*2048`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Text parts among the images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// The images, in the order of the answer.
    pub images: Vec<OutcomeImage>,
    /// Of a refresh that is over: its images never were under the item's stable keys. Records from before this was written down do not say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpublished: bool,
}

/// The current [`Outcome::format`].
pub const OUTCOME_FORMAT: u8 = 1;

/// One image of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutcomeImage {
    /// Its place in the answer, from 0; also `{index}` of its key.
    pub index: u8,
    /// The choice it stands in.
    pub choice: u8,
    /// Its place within the choice.
    pub item: u8,
    /// What has become of it.
    #[serde(flatten)]
    pub state: ImageState,
}

/// What has become of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ImageState {
    /// To be copied from this link.
    Waiting {
        /// The link: a bearer credential until it dies.
        link: ImageUrl,
        /// When the link dies.
        deadline: Timestamp,
    },
    /// In the bucket.
    Stored(StoredImage),
    /// It can never be copied.
    Lost {
        /// A short stable code.
        code: String,
        /// Why, for people; without any link.
        reason: String,
    },
}

/// An image in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// Its key.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub bytes: u64,
    /// The SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
    /// In pixels, from the PNG itself.
    pub width: u32,
    /// In pixels, from the PNG itself.
    pub height: u32,
}

impl Outcome {
    /// Images in the bucket.
    pub fn stored(&self) -> u8 {
        self.count(|state| matches!(state, ImageState::Stored(_)))
    }

    /// Images that can never be copied.
    pub fn lost(&self) -> u8 {
        self.count(|state| matches!(state, ImageState::Lost { .. }))
    }

    /// What came of it, in a line of history: how many images were billed, and where the first of those is that are stored; the others stand
    /// beside it.
    pub fn in_words(&self) -> String {
        let mut keys = self.images.iter().filter_map(|image| match &image.state {
            ImageState::Stored(stored) => Some(stored.key.as_str()),
            _ => None,
        });
        let noun = if self.billed == 1 { "image" } else { "images" };
        let billed = format!("{} {noun} billed, {} stored", self.billed, self.stored());
        match (keys.next(), keys.next()) {
            (None, _) => billed,
            (Some(only), None) => format!("{billed}: {only}"),
            (Some(first), Some(_)) => format!("{billed}, the first {first}"),
        }
    }

    /// When the first of the links that are still needed dies.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.images
            .iter()
            .filter_map(|image| match &image.state {
                ImageState::Waiting { deadline, .. } => Some(*deadline),
                _ => None,
            })
            .min()
    }

    fn count(&self, is: impl Fn(&ImageState) -> bool) -> u8 {
        u8::try_from(self.images.iter().filter(|image| is(&image.state)).count()).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_images_are_no_longer_a_line_of_history_than_one() {
        let images = |stored: u8| {
            let image = |index: u8| {
                let key = ObjectKey::parse(&format!("b/a/{index}.png")).unwrap();
                let lost = ImageState::Lost { code: "gone".into(), reason: "the link died".into() };
                let state = match index < stored {
                    true => ImageState::Stored(StoredImage {
                        key,
                        bytes: 9,
                        sha256: "0".repeat(64),
                        width: 3,
                        height: 3,
                    }),
                    false => lost,
                };
                OutcomeImage { index, choice: 0, item: index, state }
            };
            let outcome = Outcome {
                format: OUTCOME_FORMAT,
                task: "task-1".parse().unwrap(),
                request_id: None,
                submitted_at: None,
                started_at: None,
                ended_at: None,
                noticed_at: Timestamp::UNIX_EPOCH,
                billed: 12,
                size: None,
                texts: Vec::new(),
                images: (0..12).map(image).collect(),
                unpublished: false,
            };
            outcome.in_words()
        };
        assert_eq!(images(12), "12 images billed, 12 stored, the first b/a/0.png");
        assert_eq!(images(1), "12 images billed, 1 stored: b/a/0.png");
        assert_eq!(images(0), "12 images billed, 0 stored");
    }
}
