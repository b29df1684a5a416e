//! Why a call that may be repeated freely did not get its answer.

use std::time::Duration;

use super::meta::Meta;
use super::transport::{NoReply, Reply, TOO_LONG};
use crate::error::{ErrorClass, Refusal, classify};
use crate::response::{Answer, ReplyError};

/// A cause from below, which differs with the HTTP stack.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a query, a list, the quotas or an upload policy were not answered. None of these calls costs or changes anything, so
/// that the only question is whether to ask again.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be opened.
    #[error("no connection to the service")]
    Connect {
        /// The cause.
        source: BoxError,
    },
    /// The answer did not come, or not to its end.
    #[error("no answer from the service")]
    NoAnswer {
        /// Whether the time limit ended the wait.
        timed_out: bool,
        /// The cause.
        source: BoxError,
    },
    /// The service says no.
    #[error("the service refused the call")]
    Refused {
        /// How it says so.
        source: Refusal,
    },
    /// The answer cannot be read.
    #[error("the answer of the service, HTTP {http_status}, cannot be read")]
    Unreadable {
        /// Its status.
        http_status: u16,
        /// The provider's id of the call, by a header.
        request_id: Option<String>,
        /// How long the service wants to be left alone.
        retry_after: Option<Duration>,
        /// What is wrong with it.
        source: ReplyError,
    },
}

impl CallError {
    /// Whether the same call could succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::NoAnswer { .. } | Self::Unreadable { .. } => true,
            Self::Refused { source } => source.class().is_retryable() || source.http_status >= 500,
        }
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } | Self::NoAnswer { .. } => ErrorClass::Transport,
            Self::Refused { source } => source.class(),
            Self::Unreadable { http_status, .. } => classify(Some(*http_status), "", ""),
        }
    }

    /// The service's refusal, if it worded one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { source } => Some(source),
            Self::Connect { .. } | Self::NoAnswer { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// How long the service wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { source } => source.retry_after,
            Self::Unreadable { retry_after, .. } => *retry_after,
            Self::Connect { .. } | Self::NoAnswer { .. } => None,
        }
    }

    /// The status of the answer, if there was one.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        match self {
            Self::Refused { source } => Some(source.http_status),
            Self::Unreadable { http_status, .. } => Some(*http_status),
            Self::Connect { .. } | Self::NoAnswer { .. } => None,
        }
    }

    /// The provider's id of the call.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused { source } => source.request_id.as_deref(),
            Self::Unreadable { request_id, .. } => request_id.as_deref(),
            Self::Connect { .. } | Self::NoAnswer { .. } => None,
        }
    }
}

impl From<NoReply> for CallError {
    fn from(no_reply: NoReply) -> Self {
        match no_reply {
            NoReply::Connect(source) => Self::Connect { source },
            NoReply::Broken { timed_out, source } => Self::NoAnswer { timed_out, source },
            NoReply::TooLong(meta) => Self::unreadable(meta, TOO_LONG),
        }
    }
}

impl CallError {
    fn unreadable(meta: Meta, source: ReplyError) -> Self {
        let Meta { http_status, request_id, retry_after, .. } = meta;
        Self::Unreadable { http_status, request_id, retry_after, source }
    }
}

/// Reads a good answer with `read`, and finds the refusal in any other.
pub(super) fn judge<T>(
    reply: Reply,
    read: impl FnOnce(&[u8]) -> Result<T, ReplyError>,
) -> Result<T, CallError> {
    if reply.meta.is_success() {
        match read(&reply.body) {
            Ok(view) => return Ok(view),
            Err(ReplyError::Refused { .. }) => {}
            Err(source) => return Err(CallError::unreadable(reply.meta, source)),
        }
    }
    Err(match refusal(&reply) {
        Ok(source) => CallError::Refused { source },
        Err(source) => CallError::unreadable(reply.meta, source),
    })
}

/// The refusal an answer words.
pub(super) fn refusal(reply: &Reply) -> Result<Refusal, ReplyError> {
    let answer = Answer::read(&reply.body)?;
    let error = answer.error().ok_or(ReplyError::Missing { field: "code" })?;
    let request_id = answer.request_id().or_else(|| reply.meta.request_id.clone());
    Ok(Refusal {
        http_status: reply.meta.http_status,
        error,
        request_id,
        retry_after: reply.meta.retry_after,
    })
}

/// Why a task was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelTaskError {
    /// The task is not PENDING any more. It will come to its end, and be billed if it succeeds: not a fault.
    #[error("the task can no longer be cancelled")]
    NotCancellable {
        /// How the service says so.
        source: Refusal,
    },
    /// The call failed. Whether the task was cancelled is not known: ask, or cancel again.
    #[error("the call to cancel the task failed")]
    Call {
        /// How.
        source: CallError,
    },
}
