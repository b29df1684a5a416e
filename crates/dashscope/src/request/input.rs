//! An input image in one of the forms the API itself knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ImageUrl;
use crate::image_url::{ImageUrlError, LINK_BYTES_MAX};
use crate::inspect::{DataUri, DataUriError, parse_data_uri};

/// One input image: a link, the image itself, or a file in the provider's temporary store.
///
/// Local files and objects of other stores are not known to the API; whoever offers them turns them into one of these.
/// `Debug` and `Display` hide what must not be seen: a link's query, an image's bytes.
///
/// ```
/// use dashscope::ImageInput;
///
/// let input = ImageInput::parse("https://example.com/car.webp".to_owned())?;
/// assert!(matches!(input, ImageInput::Link(_)));
/// assert!(ImageInput::parse("car.webp".to_owned()).is_err());
/// # Ok::<(), dashscope::request::ImageInputError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageInput {
    /// An `http` or `https` link that the service fetches.
    Link(ImageUrl),
    /// The image itself, as a `data:` URI.
    Data(DataUri),
    /// A file that was put into the provider's temporary store, as `oss://…`.
    Temporary(OssUri),
}

impl ImageInput {
    /// Tells the forms apart by their scheme and checks the syntax. The image itself is not looked at.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, without any of it.
    pub fn parse(text: String) -> Result<Self, ImageInputError> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => {
                ImageUrl::new(text).map(Self::Link).map_err(|source| ImageInputError::Link { source })
            }
            Some("data") => {
                parse_data_uri(&text).map(Self::Data).map_err(|source| ImageInputError::Data { source })
            }
            Some("oss") => OssUri::new(text).map(Self::Temporary),
            _ => Err(ImageInputError::Scheme),
        }
    }

    /// The whole text as it is sent. A link in it is a credential: keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Self::Link(url) => url.expose(),
            Self::Data(uri) => uri.expose(),
            Self::Temporary(uri) => uri.as_str(),
        }
    }

    /// Whether the request needs the header `X-DashScope-OssResourceResolve`.
    #[must_use]
    pub fn needs_resolving(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }
}

impl fmt::Display for ImageInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(url) => url.fmt(f),
            Self::Data(uri) => uri.fmt(f),
            Self::Temporary(uri) => uri.fmt(f),
        }
    }
}

impl TryFrom<String> for ImageInput {
    type Error = ImageInputError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text)
    }
}

impl From<ImageInput> for String {
    fn from(input: ImageInput) -> Self {
        match input {
            ImageInput::Link(url) => url.into(),
            other => other.expose().to_owned(),
        }
    }
}

impl From<ImageUrl> for ImageInput {
    fn from(url: ImageUrl) -> Self {
        Self::Link(url)
    }
}

impl From<DataUri> for ImageInput {
    fn from(uri: DataUri) -> Self {
        Self::Data(uri)
    }
}

/// `oss://` and the key of a file in the provider's temporary store. It opens only with the key of the account that put it
/// there, so that it may be printed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OssUri(String);

impl OssUri {
    /// Accepts `oss://` and a key without white space.
    ///
    /// # Errors
    ///
    /// [`ImageInputError::Oss`].
    pub fn new(text: String) -> Result<Self, ImageInputError> {
        let key = text.strip_prefix("oss://").filter(|key| {
            !key.is_empty()
                && !key.starts_with('/')
                && !key.chars().any(|c| c.is_control() || c.is_whitespace())
        });
        if key.is_none() || text.len() > LINK_BYTES_MAX {
            return Err(ImageInputError::Oss);
        }
        Ok(Self(text))
    }

    /// The URI as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OssUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an input image. No variant repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageInputError {
    /// It begins with none of the known schemes.
    #[error("an input image is an http or https link, a data URI, or an oss:// file")]
    Scheme,
    /// It is a faulty link.
    #[error("the link to the input image cannot be used")]
    Link {
        /// What is wrong with it.
        source: ImageUrlError,
    },
    /// It is a faulty data URI.
    #[error("the data URI of the input image cannot be used")]
    Data {
        /// What is wrong with it.
        source: DataUriError,
    },
    /// It is a faulty `oss://` URI.
    #[error(
        "a temporary file has the form `oss://<key>`, with neither white space nor a leading slash in its key"
    )]
    Oss,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_told_apart_by_their_scheme() {
        let kind = |text: &str| match ImageInput::parse(text.to_owned()) {
            Ok(ImageInput::Link(_)) => "link",
            Ok(ImageInput::Data(_)) => "data",
            Ok(ImageInput::Temporary(_)) => "oss",
            Err(_) => "refused",
        };
        let cases = [
            ("https://h/1.png", "link"),
            ("HTTP://h/1.png", "link"),
            ("data:image/png;base64,AAAA", "data"),
            ("DATA:image/png;base64,AAAA", "data"),
            ("oss://dashscope-instant/x/1.png", "oss"),
            ("oss://", "refused"),
            ("oss:///x", "refused"),
            ("oss://a b", "refused"),
            ("s3://bucket/key", "refused"),
            ("file://car.png", "refused"),
            ("car.png", "refused"),
            ("C:\\car.png", "refused"),
            ("", "refused"),
        ];
        for (text, expected) in cases {
            assert_eq!(kind(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_input_is_read_back_from_its_json_and_printed_without_its_secrets() {
        for text in ["https://h/1.png?Signature=secret", "data:image/png;base64,AAAA", "oss://k/1.png"] {
            let input = ImageInput::parse(text.to_owned()).unwrap();
            let json = serde_json::to_string(&input).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<ImageInput>(&json).unwrap(), input);
            let printed = format!("{input} {input:?}");
            assert!(!printed.contains("secret") && !printed.contains("AAAA"), "{printed}");
        }
    }
}
