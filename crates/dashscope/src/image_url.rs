//! Links to images: strings that are credentials.
//!
//! A result link, or a presigned link to an input, opens to whoever holds it until it expires. This module owns the one
//! type such a link travels in. The string inside is kept byte for byte, because the signature covers the query as it was
//! written: it is never taken apart and put together again. What prints it shows no query. Nothing here fetches.

use std::fmt;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use url::Url;

/// The longest link that is accepted, in bytes.
///
/// Source: our own guard. A signed link has some 300 to 1,500 bytes; common servers refuse request lines above 8 KiB.
/// Applies to: [`ImageUrl::new`].
pub const LINK_BYTES_MAX: usize = 8 * 1024;

/// A link to an image, usually signed, which must not be changed and must not be printed.
///
/// `Debug` and `Display` hide the query; serde reads and writes the whole string, since a link has to be stored to be
/// used later. [`ImageUrl::expose`] is the only other way to the whole of it, so that a search for that word finds every
/// place where a link leaves its wrapping.
///
/// ```
/// use dashscope::ImageUrl;
///
/// let url = ImageUrl::new("https://a.oss-cn-beijing.aliyuncs.com/1.png?Expires=1775000000&Signature=s%2Bt".to_owned())?;
/// assert_eq!(url.to_string(), "https://a.oss-cn-beijing.aliyuncs.com/1.png?[redacted]");
/// assert_eq!(url.host(), "a.oss-cn-beijing.aliyuncs.com");
/// assert_eq!(url.expires_at(), Some(jiff::Timestamp::from_second(1_775_000_000)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageUrl {
    link: String,
    host: String,
    port: Option<u16>,
}

impl ImageUrl {
    /// Accepts an absolute `http` or `https` link.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text, never what the text was.
    pub fn new(link: String) -> Result<Self, ImageUrlError> {
        if link.is_empty() {
            return Err(ImageUrlError::Empty);
        }
        if link.len() > LINK_BYTES_MAX {
            return Err(ImageUrlError::TooLong { bytes: link.len() });
        }
        // A URL parser drops tabs and line ends without a word; the signature would then not match what was meant.
        if link.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(ImageUrlError::ForbiddenCharacter);
        }
        let url = Url::parse(&link).map_err(|source| ImageUrlError::Unreadable { source })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ImageUrlError::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ImageUrlError::UserInfo);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(ImageUrlError::NoHost)?.to_owned();
        let port = url.port();
        Ok(Self { link, host, port })
    }

    /// The whole link, byte for byte as it was given. Whoever reads it can fetch the image: keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.link
    }

    /// The host in lower case, without the port; an IPv6 address stands in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if the link names one that is not its scheme's own.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether the link is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.link.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }

    /// When the link says it stops working: `Expires` (epoch seconds, OSS V1), or a date and a life time in seconds
    /// (`x-oss-date` and `x-oss-expires`, OSS V4; `X-Amz-Date` and `X-Amz-Expires`, S3).
    ///
    /// `None` when the query names no time that can be read. The service promises no more than 24 hours whatever stands
    /// here, and a clock may be off: take this as the latest moment, not as leave to wait for it.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let parameter = |name: &str| {
            self.query()?
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        if let Some(second) = parameter("Expires") {
            return Timestamp::from_second(second.parse().ok()?).ok();
        }
        [("x-oss-date", "x-oss-expires"), ("x-amz-date", "x-amz-expires")].into_iter().find_map(
            |(date, life)| {
                let signed_at = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", parameter(date)?).ok()?;
                let life = jiff::SignedDuration::from_secs(parameter(life)?.parse::<u32>().ok()?.into());
                TimeZone::UTC.to_timestamp(signed_at).ok()?.checked_add(life).ok()
            },
        )
    }

    fn query(&self) -> Option<&str> {
        let (_, query) = self.link.split_once('?')?;
        Some(query.split_once('#').map_or(query, |(query, _)| query))
    }
}

impl fmt::Display for ImageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link.split_once(['?', '#']) {
            Some((bare, _)) => write!(f, "{bare}?[redacted]"),
            None => f.write_str(&self.link),
        }
    }
}

impl fmt::Debug for ImageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageUrl({self})")
    }
}

impl TryFrom<String> for ImageUrl {
    type Error = ImageUrlError;

    fn try_from(link: String) -> Result<Self, Self::Error> {
        Self::new(link)
    }
}

impl From<ImageUrl> for String {
    fn from(url: ImageUrl) -> Self {
        url.link
    }
}

/// Why a text is not a link to an image. No variant repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageUrlError {
    /// There is no text.
    #[error("the link is empty")]
    Empty,
    /// The link is longer than [`LINK_BYTES_MAX`].
    #[error("the link has {bytes} bytes, and {LINK_BYTES_MAX} are the most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A space, a line end or a control character stands in the link.
    #[error("the link contains white space or a control character")]
    ForbiddenCharacter,
    /// The text is not an absolute URL.
    #[error("the link is not an absolute URL")]
    Unreadable {
        /// What the parser says; it names no part of the link.
        source: url::ParseError,
    },
    /// The scheme is neither `http` nor `https`.
    #[error("the link is neither http nor https")]
    NotHttp,
    /// The link has no host.
    #[error("the link has no host")]
    NoHost,
    /// A user name or password stands before the host.
    #[error("the link carries a user name or password")]
    UserInfo,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNED: &str = "https://dashscope-result-bj.oss-cn-beijing.aliyuncs.com/1d/a%2Bb.png?Expires=1775000000&OSSAccessKeyId=LTAI5t&Signature=a%2Fb%3D";

    fn url(link: &str) -> ImageUrl {
        ImageUrl::new(link.to_owned()).unwrap()
    }

    #[test]
    fn a_link_is_kept_byte_for_byte() {
        for link in [SIGNED, "HTTPS://HOST.example/%7e?q=%2b+%20&&x", "http://127.0.0.1:8080/x.png?a=1#frag"]
        {
            assert_eq!(url(link).expose(), link);
            assert_eq!(serde_json::to_value(url(link)).unwrap(), serde_json::Value::from(link));
            let read: ImageUrl = serde_json::from_value(link.into()).unwrap();
            assert_eq!(read.expose(), link);
        }
    }

    #[test]
    fn what_is_printed_shows_neither_query_nor_fragment() {
        for printed in [
            url(SIGNED).to_string(),
            format!("{:?}", url(SIGNED)),
            format!("{:?}", url("https://h/1#secret")),
        ] {
            assert!(printed.contains("?[redacted]"), "{printed}");
            for secret in ["Expires", "LTAI5t", "Signature", "secret"] {
                assert!(!printed.contains(secret), "{printed}");
            }
        }
        assert_eq!(url("https://h.example/1.png").to_string(), "https://h.example/1.png");
    }

    #[test]
    fn the_host_is_lower_case_and_without_port() {
        assert_eq!(url("https://OSS.Example:8443/1").host(), "oss.example");
        assert_eq!(url("https://OSS.Example:8443/1").port(), Some(8443));
        assert_eq!(url("http://[::1]:9000/1").host(), "[::1]");
        assert!(url("HTTPS://h.example/").is_https() && !url("http://h.example/").is_https());
    }

    #[test]
    fn the_time_of_expiry_is_read_from_each_kind_of_signature() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(url(SIGNED).expires_at(), Some(Timestamp::from_second(1_775_000_000).unwrap()));
        let oss4 = "https://h/1.png?x-oss-date=20260401T120000Z&x-oss-expires=86400&x-oss-signature=00";
        assert_eq!(url(oss4).expires_at(), at("2026-04-02T12:00:00Z"));
        let s3 = "http://h/1.png?X-Amz-Date=20260401T120000Z&X-Amz-Expires=60&X-Amz-Signature=00#f";
        assert_eq!(url(s3).expires_at(), at("2026-04-01T12:01:00Z"));
    }

    #[test]
    fn a_time_of_expiry_that_cannot_be_read_is_none() {
        for query in [
            "",
            "?",
            "?Expires=",
            "?Expires=xxx",
            "?Expires=99999999999999999",
            "?X-Amz-Expires=5",
            "?ExpiresX=1",
        ] {
            assert_eq!(url(&format!("https://h/1.png{query}")).expires_at(), None, "{query}");
        }
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        let cases = [
            ("", ImageUrlError::Empty),
            ("https://h/a b", ImageUrlError::ForbiddenCharacter),
            ("https://h/a\nb", ImageUrlError::ForbiddenCharacter),
            ("secret.png", ImageUrlError::Unreadable { source: url::ParseError::RelativeUrlWithoutBase }),
            ("oss://bucket/secret.png", ImageUrlError::NotHttp),
            ("data:image/png;base64,secret", ImageUrlError::NotHttp),
            ("https://secret:pw@h/1", ImageUrlError::UserInfo),
            ("https://", ImageUrlError::Unreadable { source: url::ParseError::EmptyHost }),
        ];
        for (link, expected) in cases {
            let error = ImageUrl::new(link.to_owned()).unwrap_err();
            assert_eq!(error, expected, "{link}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }

    #[test]
    fn the_longest_link_is_accepted_and_one_byte_more_is_not() {
        let longest = format!("https://h/{}", "a".repeat(LINK_BYTES_MAX - 10));
        assert_eq!(longest.len(), LINK_BYTES_MAX);
        assert!(ImageUrl::new(longest.clone()).is_ok());
        assert_eq!(ImageUrl::new(longest + "a"), Err(ImageUrlError::TooLong { bytes: LINK_BYTES_MAX + 1 }));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_none_is_printed_with_its_query(text in ".*") {
            if let Ok(url) = ImageUrl::new(text.clone()) {
                prop_assert_eq!(url.expose(), text.as_str());
                let _ = url.expires_at();
            }
            if let Ok(url) = ImageUrl::new(format!("https://h/1.png?SECRET{}", text)) {
                let printed = format!("{url} {url:?}");
                prop_assert!(!printed.contains("SECRET"));
            }
        }
    }
}
