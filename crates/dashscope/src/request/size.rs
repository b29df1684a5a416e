//! The size of the images to make: a specification or a width and a height.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// `size`: either a specification, whose sides follow from the inputs, or exact sides in pixels.
///
/// Without an input image a specification gives a square; with some, the ratio of the last one. The service may round the
/// sides a little. Which sizes a request may ask for depends on model and scenario: see `ImageRequest::check`.
///
/// ```
/// use dashscope::Size;
///
/// assert_eq!("1024*768".parse(), Ok(Size::Pixels { width: 1024, height: 768 }));
/// assert_eq!(Size::K2.to_string(), "2K");
/// assert!("1024x768".parse::<Size>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Size {
    /// `1K`: 1024 × 1024 pixels in total.
    K1,
    /// `2K`: 2048 × 2048 pixels in total; what the service takes by itself.
    #[default]
    K2,
    /// `4K`: 4096 × 4096 pixels in total.
    K4,
    /// `W*H`.
    Pixels {
        /// Pixels from left to right.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
    },
}

impl Size {
    /// How many pixels one image of this size has, up to the service's rounding.
    #[must_use]
    pub const fn pixels(self) -> u64 {
        match self {
            Self::K1 => 1024 * 1024,
            Self::K2 => 2048 * 2048,
            Self::K4 => 4096 * 4096,
            Self::Pixels { width, height } => width as u64 * height as u64,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::K1 => f.pad("1K"),
            Self::K2 => f.pad("2K"),
            Self::K4 => f.pad("4K"),
            Self::Pixels { width, height } => f.pad(&format!("{width}*{height}")),
        }
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1K" => return Ok(Self::K1),
            "2K" => return Ok(Self::K2),
            "4K" => return Ok(Self::K4),
            _ => {}
        }
        let sides = text.split_once('*').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        let (width, height) = sides.ok_or_else(|| InvalidSize::new(text))?;
        Ok(Self::Pixels { width, height })
    }
}

/// Digits only: `u32::from_str` alone would take a plus sign as well.
fn side(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl TryFrom<String> for Size {
    type Error = InvalidSize;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: use `1K`, `2K`, `4K`, or width and height in pixels as in `1024*768`")]
pub struct InvalidSize {
    /// The text, cut after 32 characters.
    pub text: String,
    /// The size that was probably meant.
    pub meant: Option<Size>,
}

impl InvalidSize {
    fn new(text: &str) -> Self {
        let cleaned: String = text.chars().filter(|c| !c.is_whitespace()).take(32).collect();
        let cleaned = cleaned.to_uppercase().replace(['X', '×', ',', ':'], "*");
        // Parsed by hand rather than by `from_str`, which would come back here.
        let meant = match cleaned.as_str() {
            "1K" | "1024" => Some(Size::K1),
            "2K" | "2048" => Some(Size::K2),
            "4K" | "4096" => Some(Size::K4),
            other => other.split_once('*').and_then(|(width, height)| {
                Some(Size::Pixels { width: side(width)?, height: side(height)? })
            }),
        };
        Self { text: text.chars().take(32).collect(), meant }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_spellings_are_refused_and_the_meant_one_is_named() {
        let cases = [
            ("2k", Some(Size::K2)),
            (" 4K", Some(Size::K4)),
            ("1024x768", Some(Size::Pixels { width: 1024, height: 768 })),
            ("1024 * 768", Some(Size::Pixels { width: 1024, height: 768 })),
            ("+1024*768", None),
            ("1024*", None),
            ("1024*768*3", None),
            ("-1*5", None),
            ("99999999999*5", None),
            ("8K", None),
            ("", None),
        ];
        for (text, meant) in cases {
            assert_eq!(text.parse::<Size>().map_err(|error| error.meant), Err(meant), "{text:?}");
        }
    }

    #[test]
    fn a_specification_stands_for_its_documented_pixels() {
        assert_eq!([Size::K1, Size::K2, Size::K4].map(Size::pixels), [1 << 20, 1 << 22, 1 << 24]);
        assert_eq!(Size::Pixels { width: u32::MAX, height: u32::MAX }.pixels(), u64::from(u32::MAX).pow(2));
    }

    proptest! {
        #[test]
        fn every_pair_of_sides_is_read_back(width: u32, height: u32) {
            let size = Size::Pixels { width, height };
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = text.parse::<Size>();
        }
    }
}
