//! Why an image could not be fetched.

use crate::{cause::Cause, hosts::LinkRefusal, png::PngFault};

/// Why an image could not be fetched. No variant, printed in any way, shows the link's path or query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The link must not be followed; nothing was sent.
    #[error("the link to `{host}` is not followed")]
    LinkRefused {
        /// The link's host.
        host: String,
        /// Why.
        #[source]
        reason: LinkRefusal,
    },
    /// The object host says that the link has expired.
    #[error("the link has expired")]
    LinkExpired,
    /// The object is no longer there (404).
    #[error("the object behind the link is gone")]
    LinkGone,
    /// The object host refuses this request, and would refuse the same again.
    #[error("the object host refused the request with status {status}{}", in_brackets(.code))]
    Denied {
        /// The HTTP status.
        status: u16,
        /// The object host's code, such as `SignatureDoesNotMatch`.
        code: Option<String>,
    },
    /// The object host cannot answer now, or answered beside the point.
    #[error("the object host answered with status {status}{}", in_brackets(.code))]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// The object host's code, such as `SlowDown`.
        code: Option<String>,
    },
    /// There is no connection to the object host.
    #[error("no connection to the object host")]
    Connect {
        /// What the network or TLS says.
        source: Cause,
    },
    /// Nothing came for too long.
    #[error("the object host kept silent for too long, {waiting}")]
    Timeout {
        /// What was waited for.
        waiting: Waiting,
    },
    /// The body ended before the image did: a broken connection, or a short body behind a clean answer.
    #[error("the image was cut after {received} bytes{}", of_expected(.expected))]
    Cut {
        /// The bytes that came.
        received: u64,
        /// The bytes that were announced, if any were.
        expected: Option<u64>,
        /// What the connection says, if it broke.
        source: Option<Cause>,
    },
    /// What came is not a whole PNG.
    #[error("the body is not a whole PNG")]
    NotPng {
        /// What is wrong with it.
        source: PngFault,
    },
    /// The image is larger than the settings allow.
    #[error("the image has {bytes} bytes or more, and {bytes_max} are allowed")]
    TooLarge {
        /// The bytes that were announced or had come.
        bytes: u64,
        /// The bytes allowed.
        bytes_max: u64,
    },
}

/// What a download was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// For a connection, or the head of the answer.
    ForTheAnswer,
    /// For the next bytes of the body.
    ForMore {
        /// The bytes that had come.
        received: u64,
    },
    /// For the end of a body that kept trickling.
    ForTheEnd,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ForTheAnswer => f.write_str("before it answered"),
            Self::ForMore { received } => write!(f, "after {received} bytes"),
            Self::ForTheEnd => f.write_str("sending the body too slowly"),
        }
    }
}

impl FetchError {
    /// Whether the same link, tried again later, could succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Cut { .. }
            | Self::NotPng { .. } => true,
            // A resolver may have been wrong for a while; the list of hosts will not change by itself.
            Self::LinkRefused { reason, .. } => *reason == LinkRefusal::PrivateAddress,
            Self::LinkExpired | Self::LinkGone | Self::Denied { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Whether another link to the same image, from a new look at the task, could succeed where this one cannot.
    #[must_use]
    pub fn needs_fresh_link(&self) -> bool {
        match self {
            Self::LinkExpired | Self::LinkGone | Self::Denied { .. } => true,
            Self::LinkRefused { .. }
            | Self::Unavailable { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Cut { .. }
            | Self::NotPng { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// A short name for records and metrics. Kept stable: it is stored.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::LinkRefused { .. } => "link_refused",
            Self::LinkExpired => "link_expired",
            Self::LinkGone => "link_gone",
            Self::Denied { .. } => "source_denied",
            Self::Unavailable { .. } => "source_unavailable",
            Self::Connect { .. } => "source_connect",
            Self::Timeout { .. } => "source_timeout",
            Self::Cut { .. } => "image_cut",
            Self::NotPng { .. } => "not_png",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

fn in_brackets(code: &Option<String>) -> String {
    code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default()
}

fn of_expected(expected: &Option<u64>) -> String {
    expected.map(|bytes| format!(" of {bytes}")).unwrap_or_default()
}
