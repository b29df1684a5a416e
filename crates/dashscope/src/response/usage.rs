//! What a task used.

use serde::{Deserialize, Serialize};

use super::answer::Fields;

/// What the service counted for a task or a call. Only images are billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Images that were made, and are billed. Not every answer has it.
    pub image_count: Option<u32>,
    /// Sides of an image in pixels, one pair even for a set. The image itself knows better.
    pub size: Option<(u32, u32)>,
    /// Tokens read; not billed.
    pub input_tokens: Option<u64>,
    /// Tokens written; not billed.
    pub output_tokens: Option<u64>,
    /// Their sum.
    pub total_tokens: Option<u64>,
}

impl Usage {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        let side = |name| fields.count(name).and_then(|side| u32::try_from(side).ok());
        let sides = || Some((side("width")?, side("height")?));
        Self {
            image_count: fields.count("image_count").and_then(|count| u32::try_from(count).ok()),
            size: fields.text("size").and_then(|text| read_size(&text)).or_else(sides),
            input_tokens: fields.count("input_tokens"),
            output_tokens: fields.count("output_tokens"),
            total_tokens: fields.count("total_tokens"),
        }
    }
}

/// `1488*704`; the page writes `1376×768` as well.
fn read_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once(['*', '×', 'x', 'X'])?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}
