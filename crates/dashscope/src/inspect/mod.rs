//! Looks at the bytes of an input image and says whether the service would take it.
//!
//! Pure: bytes in, facts or a fault out. Only headers are read, so that a truncated or damaged picture behind a good header
//! passes here and is refused by the service. Used at enqueue for local files and data URIs, and with
//! [`inspect_header`] for objects of which only the beginning has been fetched.

mod bmp;
mod data_uri;
mod jpeg;
mod png;
mod webp;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use data_uri::{DataUri, DataUriError, parse_data_uri};

use crate::limits::{ASPECT_RATIO_MAX, INPUT_BYTES_MAX, INPUT_SIDE_PIXELS};

/// How much of a file [`inspect_header`] should be given at first, in bytes. It is enough for nearly every picture; a JPEG
/// or PNG with a large colour profile or preview before its size asks for more by [`ImageFault::HeaderCut`].
///
/// Source: our own choice; profiles and previews are usually below 64 KiB, which is the most one JPEG segment can hold.
/// Applies to: [`inspect_header`].
pub const HEADER_BYTES: usize = 64 * 1024;

/// A format of input image that the service reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// JPEG.
    Jpeg,
    /// PNG, without an alpha channel.
    Png,
    /// Windows bitmap.
    Bmp,
    /// WebP.
    Webp,
}

impl ImageFormat {
    /// The format whose signature these bytes begin with. Twelve bytes are enough.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\xFF\xD8\xFF") {
            Some(Self::Jpeg)
        } else if bytes.starts_with(png::SIGNATURE) {
            Some(Self::Png)
        } else if bytes.starts_with(b"BM") {
            Some(Self::Bmp)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else {
            None
        }
    }

    /// The format of a MIME type, in either case; `image/jpg` and `image/x-ms-bmp` are in use and are understood.
    #[must_use]
    pub fn from_mime(mime: &str) -> Option<Self> {
        match mime.to_ascii_lowercase().as_str() {
            "image/jpeg" | "image/jpg" => Some(Self::Jpeg),
            "image/png" => Some(Self::Png),
            "image/bmp" | "image/x-ms-bmp" => Some(Self::Bmp),
            "image/webp" => Some(Self::Webp),
            _ => None,
        }
    }

    /// The registered MIME type.
    #[must_use]
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Bmp => "image/bmp",
            Self::Webp => "image/webp",
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Bmp => "BMP",
            Self::Webp => "WEBP",
        })
    }
}

/// What is known of an acceptable input image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Its format.
    pub format: ImageFormat,
    /// Pixels from left to right, as stored: an orientation note in the file is not followed.
    pub width: u32,
    /// Pixels from top to bottom, as stored.
    pub height: u32,
    /// Whether the header announces transparency. Refused in a PNG; of the other formats the limits say nothing.
    pub alpha: bool,
    /// The length of the whole file, in bytes.
    pub bytes: u64,
}

/// Why an image is not acceptable as input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// There are no bytes.
    #[error("the image is empty")]
    Empty,
    /// It is larger than [`INPUT_BYTES_MAX`].
    #[error("the image has {bytes} bytes, and {INPUT_BYTES_MAX} (20 MiB) are the most")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// It begins like none of the four formats.
    #[error("the image is none of JPEG, PNG, BMP and WEBP")]
    UnknownFormat,
    /// The header contradicts itself or ends too early.
    #[error("the {format} header cannot be read")]
    Unreadable {
        /// The format its signature promises.
        format: ImageFormat,
    },
    /// The part that was given ends within the header. Not a fault of the image: give more of it.
    #[error("the first {bytes_needed} bytes of the image are needed to know its size")]
    HeaderCut {
        /// How many bytes to give, at least.
        bytes_needed: u64,
    },
    /// A side is outside of [`INPUT_SIDE_PIXELS`].
    #[error("the image has {width}×{height} pixels, and each side must have {} to {}", INPUT_SIDE_PIXELS.start(), INPUT_SIDE_PIXELS.end())]
    Sides {
        /// Pixels from left to right.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
    },
    /// One side is more than [`ASPECT_RATIO_MAX`] times the other.
    #[error(
        "the image has {width}×{height} pixels, and its ratio must be within 1:{ASPECT_RATIO_MAX} and {ASPECT_RATIO_MAX}:1"
    )]
    Ratio {
        /// Pixels from left to right.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
    },
    /// It is a PNG with an alpha channel or a transparent colour.
    #[error("the PNG has transparency, which the service does not support")]
    Alpha,
}

/// Checks a whole image against the documented limits.
///
/// ```
/// use dashscope::inspect::{ImageFault, inspect};
///
/// assert_eq!(inspect(b"<html>"), Err(ImageFault::UnknownFormat));
/// ```
///
/// # Errors
///
/// The first limit it breaks. Never [`ImageFault::HeaderCut`].
pub fn inspect(bytes: &[u8]) -> Result<ImageFacts, ImageFault> {
    inspect_header(bytes, bytes.len() as u64)
}

/// Checks an image of `total_bytes` of which `header` is the beginning.
///
/// # Errors
///
/// The first limit the image breaks, or [`ImageFault::HeaderCut`] with the number of bytes to come back with.
pub fn inspect_header(header: &[u8], total_bytes: u64) -> Result<ImageFacts, ImageFault> {
    if total_bytes == 0 {
        return Err(ImageFault::Empty);
    }
    if total_bytes > INPUT_BYTES_MAX {
        return Err(ImageFault::TooLarge { bytes: total_bytes });
    }
    let more_exists = total_bytes > header.len() as u64;
    let Some(format) = ImageFormat::of(header) else {
        let cut = header.len() < 12 && more_exists;
        return Err(if cut {
            ImageFault::HeaderCut { bytes_needed: 12.min(total_bytes) }
        } else {
            ImageFault::UnknownFormat
        });
    };
    let read = match format {
        ImageFormat::Jpeg => jpeg::read(header),
        ImageFormat::Png => png::read(header),
        ImageFormat::Bmp => bmp::read(header),
        ImageFormat::Webp => webp::read(header),
    };
    let Header { width, height, alpha } = read.map_err(|stop| match stop {
        Stop::Ends { bytes_needed } if more_exists && bytes_needed <= total_bytes => {
            ImageFault::HeaderCut { bytes_needed }
        }
        Stop::Ends { .. } | Stop::Nonsense => ImageFault::Unreadable { format },
    })?;
    if !INPUT_SIDE_PIXELS.contains(&width) || !INPUT_SIDE_PIXELS.contains(&height) {
        return Err(ImageFault::Sides { width, height });
    }
    if !ratio_allowed(width, height) {
        return Err(ImageFault::Ratio { width, height });
    }
    if alpha && format == ImageFormat::Png {
        return Err(ImageFault::Alpha);
    }
    Ok(ImageFacts { format, width, height, alpha, bytes: total_bytes })
}

/// Whether the sides are within 1:8 and 8:1, both included.
pub(crate) fn ratio_allowed(width: u32, height: u32) -> bool {
    let (long, short) = (width.max(height), width.min(height));
    u64::from(long) <= u64::from(short) * u64::from(ASPECT_RATIO_MAX)
}

/// What a header says.
#[derive(Debug)]
struct Header {
    width: u32,
    height: u32,
    alpha: bool,
}

/// Why a header could not be read to its end.
#[derive(Debug)]
enum Stop {
    /// The bytes end before it does.
    Ends { bytes_needed: u64 },
    /// It is not what its signature promised.
    Nonsense,
}

/// `N` bytes at `at`.
fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Stop> {
    let end = at.saturating_add(N);
    bytes.get(at..end).and_then(|part| part.try_into().ok()).ok_or(Stop::Ends { bytes_needed: end as u64 })
}

#[cfg(test)]
pub(crate) mod tests;
