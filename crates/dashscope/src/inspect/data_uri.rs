//! `data:` URIs: an image inside the request itself.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ImageFacts, ImageFault, ImageFormat, inspect};
use crate::limits::INPUT_BYTES_MAX;

/// The longest Base64 text that can hold [`INPUT_BYTES_MAX`].
const PAYLOAD_BYTES_MAX: u64 = INPUT_BYTES_MAX.div_ceil(3) * 4;

/// An image as `data:<MIME type>;base64,<data>`, with a known MIME type and data that decode.
///
/// Cheap to clone. `Debug` and `Display` show type and length only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DataUri {
    text: Arc<str>,
    format: ImageFormat,
    payload_at: usize,
    decoded_bytes: u64,
}

impl DataUri {
    /// Wraps an image of this format. The bytes are not looked at.
    #[must_use]
    pub fn encode(format: ImageFormat, bytes: &[u8]) -> Self {
        Self::of(format, &STANDARD.encode(bytes), bytes.len() as u64)
    }

    fn of(format: ImageFormat, payload: &str, decoded_bytes: u64) -> Self {
        let head = format!("data:{};base64,", format.mime());
        Self { payload_at: head.len(), text: (head + payload).into(), format, decoded_bytes }
    }

    /// The whole URI, with the registered spelling of its MIME type.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The format its MIME type claims.
    #[must_use]
    pub fn format(&self) -> ImageFormat {
        self.format
    }

    /// The length of the image, in bytes.
    #[must_use]
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes
    }

    /// The image.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        STANDARD
            .decode(&self.text[self.payload_at..])
            .expect("the payload was decoded when this URI was made")
    }

    /// Checks the image against the documented limits, and its bytes against the claimed type.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn inspect(&self) -> Result<ImageFacts, DataUriError> {
        let facts = inspect(&self.decode()).map_err(|source| DataUriError::Image { source })?;
        if facts.format != self.format {
            return Err(DataUriError::MimeMismatch { claimed: self.format, found: facts.format });
        }
        Ok(facts)
    }
}

/// Reads a data URI. The scheme and the MIME type are taken in either case.
///
/// This says that the text can be decoded, not that the image is acceptable: see [`DataUri::inspect`].
///
/// # Errors
///
/// What is wrong with the text, without any of it.
pub fn parse_data_uri(text: &str) -> Result<DataUri, DataUriError> {
    let rest = text.split_at_checked(5).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("data:"));
    let (head, payload) = rest.and_then(|(_, rest)| rest.split_once(',')).ok_or(DataUriError::Syntax)?;
    let (mime, encoding) = head.split_once(';').ok_or(DataUriError::Syntax)?;
    if !encoding.eq_ignore_ascii_case("base64") {
        return Err(DataUriError::Syntax);
    }
    let format = ImageFormat::from_mime(mime).ok_or(DataUriError::Mime)?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        let bytes = payload.len() as u64 / 4 * 3;
        return Err(DataUriError::Image { source: ImageFault::TooLarge { bytes } });
    }
    let decoded = STANDARD.decode(payload).map_err(|_| DataUriError::Base64)?;
    Ok(DataUri::of(format, payload, decoded.len() as u64))
}

impl fmt::Display for DataUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data:{};base64,[{} bytes]", self.format.mime(), self.decoded_bytes)
    }
}

impl fmt::Debug for DataUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataUri({self})")
    }
}

/// What is wrong with a data URI or the image in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataUriError {
    /// It does not have the documented form.
    #[error("a data URI has the form `data:<MIME type>;base64,<data>`")]
    Syntax,
    /// Its MIME type is none of the four.
    #[error("the MIME type of the data URI is none of image/jpeg, image/png, image/bmp and image/webp")]
    Mime,
    /// Its data are not Base64 in the standard alphabet with padding.
    #[error("the data of the data URI are not Base64 (standard alphabet, with padding, without line breaks)")]
    Base64,
    /// The bytes are an image of another type than the URI says; the service refuses that.
    #[error("the data URI claims {claimed}, and its bytes are {found}")]
    MimeMismatch {
        /// The format of its MIME type.
        claimed: ImageFormat,
        /// The format of its bytes.
        found: ImageFormat,
    },
    /// The image breaks a limit.
    #[error("the image in the data URI is not acceptable")]
    Image {
        /// Which limit.
        source: ImageFault,
    },
}
