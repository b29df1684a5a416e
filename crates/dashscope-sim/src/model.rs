//! The two models the simulator serves, and the classes of picture size.

use serde::{Deserialize, Serialize};

/// A model of the Wan2.7 page, section "Model overview".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Model {
    /// `wan2.7-image-pro`: up to 4K for text-to-image.
    #[serde(rename = "wan2.7-image-pro")]
    Pro,
    /// `wan2.7-image`: up to 2K.
    #[serde(rename = "wan2.7-image")]
    Standard,
}

impl Model {
    /// Both, in the order used for tables.
    pub const ALL: [Self; 2] = [Self::Pro, Self::Standard];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pro => "wan2.7-image-pro",
            Self::Standard => "wan2.7-image",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Pro => 0,
            Self::Standard => 1,
        }
    }
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How large a picture is, as far as its duration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SizeClass {
    K1,
    K2,
    K4,
}

impl SizeClass {
    /// The class of a picture of so many pixels: the smallest nominal size that holds it.
    pub(crate) fn of(pixels: u64) -> Self {
        match pixels {
            0..=1_048_576 => Self::K1,
            1_048_577..=4_194_304 => Self::K2,
            _ => Self::K4,
        }
    }
}
