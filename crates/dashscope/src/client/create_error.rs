//! Why a paid call did not get its answer, and whether it may cost all the same.

use std::time::Duration;

use super::call_error::{BoxError, refusal};
use super::gate::{Fate, NotSent};
use super::meta::Meta;
use super::transport::{NoReply, Reply, TOO_LONG};
use crate::error::{ErrorClass, Refusal, classify};
use crate::response::ReplyError;

/// Why there is no task, or no knowledge of one.
#[derive(Debug, thiserror::Error)]
pub enum CreateTaskError {
    /// The caller's gate refused at the last moment.
    #[error("the call was not sent")]
    NotSent {
        /// Why.
        source: NotSent,
    },
    /// No connection could be opened.
    #[error("no connection to the service")]
    Connect {
        /// The cause.
        source: BoxError,
    },
    /// The connection broke, or the time was up, before any of the request was handed to it.
    #[error("the call ended before any of it was sent")]
    Unsent {
        /// Whether the time limit ended it.
        timed_out: bool,
        /// The cause.
        source: BoxError,
    },
    /// The service says no, in a way that proves that it created nothing.
    #[error("the service refused to create a task")]
    Refused {
        /// How it says so.
        source: Refusal,
    },
    /// The service reports an error that leaves open whether a task was created.
    #[error("the service reported an error, and may have created a task")]
    Doubtful {
        /// How it says so.
        source: Refusal,
    },
    /// The answer did not come, or not to its end.
    #[error("no answer from the service, which may have created a task")]
    NoAnswer {
        /// Whether the time limit ended the wait.
        timed_out: bool,
        /// The cause.
        source: BoxError,
    },
    /// The answer cannot be read.
    #[error("the answer of the service, HTTP {http_status}, cannot be read; it may have created a task")]
    UnreadableAnswer {
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

impl CreateTaskError {
    /// Whether sending the same request again could succeed without anybody changing anything. It says nothing of the cost:
    /// ask [`may_have_created_task`](Self::may_have_created_task) as well.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotSent { .. }
            | Self::Connect { .. }
            | Self::Unsent { .. }
            | Self::NoAnswer { .. }
            | Self::UnreadableAnswer { .. } => true,
            Self::Refused { source } | Self::Doubtful { source } => source.class().is_retryable(),
        }
    }

    /// Whether the service may have created a task, which it would bill. Then the request must not be sent again before it
    /// is known.
    #[must_use]
    pub fn may_have_created_task(&self) -> bool {
        match self {
            Self::NotSent { .. } | Self::Connect { .. } | Self::Unsent { .. } | Self::Refused { .. } => false,
            Self::Doubtful { .. } | Self::NoAnswer { .. } | Self::UnreadableAnswer { .. } => true,
        }
    }

    /// Whether somebody waited in vain for the task to be created: this side until its time limit, or the provider's gateway
    /// until its own (408, 504). The service may then still be at it, for minutes.
    #[must_use]
    pub fn timed_out_waiting(&self) -> bool {
        match self {
            Self::NoAnswer { timed_out, .. } => *timed_out,
            Self::Doubtful { source } => matches!(source.http_status, 408 | 504),
            Self::UnreadableAnswer { http_status, .. } => matches!(http_status, 408 | 504),
            Self::NotSent { .. } | Self::Connect { .. } | Self::Unsent { .. } | Self::Refused { .. } => false,
        }
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotSent { .. } | Self::Connect { .. } | Self::Unsent { .. } | Self::NoAnswer { .. } => {
                ErrorClass::Transport
            }
            Self::Refused { source } | Self::Doubtful { source } => source.class(),
            Self::UnreadableAnswer { http_status, .. } => classify(Some(*http_status), "", ""),
        }
    }

    /// The service's words, if it had any.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { source } | Self::Doubtful { source } => Some(source),
            Self::NotSent { .. }
            | Self::Connect { .. }
            | Self::Unsent { .. }
            | Self::NoAnswer { .. }
            | Self::UnreadableAnswer { .. } => None,
        }
    }

    /// The service's code, if it gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.error.code())
    }

    /// The service's message, if it gave one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.error.message())
    }

    /// How long the service wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::UnreadableAnswer { retry_after, .. } => *retry_after,
            other => other.refusal()?.retry_after,
        }
    }

    /// The status of the answer, if there was one.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        match self {
            Self::UnreadableAnswer { http_status, .. } => Some(*http_status),
            other => Some(other.refusal()?.http_status),
        }
    }

    /// The provider's id of the call, if it gave one.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::UnreadableAnswer { request_id, .. } => request_id.as_deref(),
            other => other.refusal()?.request_id.as_deref(),
        }
    }

    /// The same, knowing what became of the request: an answer to something that was never sent, such as a gateway that
    /// ends an idle connection with a 408, leaves nothing open.
    pub(super) fn given(self, fate: Fate) -> Self {
        match fate {
            Fate::Unsent if self.may_have_created_task() => {
                Self::Unsent { timed_out: false, source: Box::new(self) }
            }
            Fate::Refused(source) if self.may_have_created_task() => Self::NotSent { source },
            Fate::MaybeSent | Fate::Unsent | Fate::Refused(_) => self,
        }
    }

    fn unreadable(meta: Meta, source: ReplyError) -> Self {
        let Meta { http_status, request_id, retry_after, .. } = meta;
        Self::UnreadableAnswer { http_status, request_id, retry_after, source }
    }
}

/// What an answer to a paid call means. What was asked for counts under any status: a task that exists must not be lost over
/// a contradiction.
pub(super) fn judge<T>(
    reply: Reply,
    read: impl FnOnce(&[u8]) -> Result<T, ReplyError>,
) -> Result<T, CreateTaskError> {
    let unread = match read(&reply.body) {
        Ok(view) => return Ok(view),
        Err(error) => error,
    };
    Err(match refusal(&reply) {
        Ok(source) if source.proves_no_task() => CreateTaskError::Refused { source },
        Ok(source) => CreateTaskError::Doubtful { source },
        Err(_) => CreateTaskError::unreadable(reply.meta, unread),
    })
}

/// What the lack of an answer means, by whether anything may have been sent.
pub(super) fn judge_no_reply(no_reply: NoReply, fate: Fate) -> CreateTaskError {
    match (no_reply, fate) {
        (_, Fate::Refused(source)) => CreateTaskError::NotSent { source },
        (NoReply::Connect(source), Fate::Unsent) => CreateTaskError::Connect { source },
        (NoReply::Connect(source), Fate::MaybeSent) => CreateTaskError::NoAnswer { timed_out: false, source },
        (NoReply::Broken { timed_out, source }, Fate::Unsent) => {
            CreateTaskError::Unsent { timed_out, source }
        }
        (NoReply::Broken { timed_out, source }, Fate::MaybeSent) => {
            CreateTaskError::NoAnswer { timed_out, source }
        }
        (NoReply::TooLong(meta), fate) => CreateTaskError::unreadable(meta, TOO_LONG).given(fate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> NoReply {
        NoReply::Broken { timed_out: true, source: "x".into() }
    }

    fn answered(http_status: u16, code: &str) -> CreateTaskError {
        let body = format!(r#"{{"code": "{code}", "message": "m"}}"#).into_bytes();
        let meta = Meta { http_status, request_id: None, date: None, retry_after: None };
        judge(Reply { meta, body }, crate::response::CreatedTask::read).unwrap_err()
    }

    #[test]
    fn without_an_answer_only_what_may_have_been_sent_leaves_it_open() {
        let connect = || NoReply::Connect("x".into());
        let refused = || Fate::Refused(NotSent::new("late"));
        for no_reply in [connect, broken] {
            assert!(judge_no_reply(no_reply(), Fate::MaybeSent).may_have_created_task());
            assert!(!judge_no_reply(no_reply(), Fate::Unsent).may_have_created_task());
            assert!(matches!(judge_no_reply(no_reply(), refused()), CreateTaskError::NotSent { .. }));
        }
        assert!(judge_no_reply(broken(), Fate::MaybeSent).timed_out_waiting());
        assert!(!judge_no_reply(broken(), Fate::Unsent).timed_out_waiting());
    }

    #[test]
    fn an_answer_to_what_was_never_sent_leaves_nothing_open() {
        assert!(answered(500, "InternalError").given(Fate::MaybeSent).may_have_created_task());
        assert!(!answered(500, "InternalError").given(Fate::Unsent).may_have_created_task());
        let refused = answered(408, "RequestTimeOut").given(Fate::Refused(NotSent::new("late")));
        assert!(matches!(refused, CreateTaskError::NotSent { .. }));
    }

    #[test]
    fn a_refusal_stays_one_whatever_was_sent() {
        for fate in [Fate::MaybeSent, Fate::Unsent, Fate::Refused(NotSent::new("late"))] {
            assert!(matches!(answered(429, "Throttling").given(fate), CreateTaskError::Refused { .. }));
        }
    }
}
