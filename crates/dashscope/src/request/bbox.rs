//! Boxes that say where an image is to be edited.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A selected area of one input image, in pixels of that image; the top left corner is (0, 0).
///
/// On the wire it is `[x1, y1, x2, y2]`. Whether it has an area and lies inside its image is checked with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[u32; 4]", into = "[u32; 4]")]
pub struct BoundingBox {
    /// The left edge.
    pub x1: u32,
    /// The upper edge.
    pub y1: u32,
    /// The right edge.
    pub x2: u32,
    /// The lower edge.
    pub y2: u32,
}

impl From<[u32; 4]> for BoundingBox {
    fn from([x1, y1, x2, y2]: [u32; 4]) -> Self {
        Self { x1, y1, x2, y2 }
    }
}

impl From<BoundingBox> for [u32; 4] {
    fn from(bbox: BoundingBox) -> Self {
        [bbox.x1, bbox.y1, bbox.x2, bbox.y2]
    }
}

impl fmt::Display for BoundingBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}, {}]", self.x1, self.y1, self.x2, self.y2)
    }
}
