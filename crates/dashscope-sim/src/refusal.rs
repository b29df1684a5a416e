//! The service's refusals: an HTTP status, a code, a message.
//!
//! Codes and texts follow the API page and Model Studio's "Error messages" where they give one. Pure data; the server
//! turns a [`Refusal`] into an answer.

use http::StatusCode;

/// A call that the service turns down. Nothing was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retry_after_s: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), retry_after_s: None }
    }

    /// 400 `InvalidParameter`, the code of the API page's error sample.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", message)
    }

    pub(crate) fn no_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidApiKey", "No API-key provided.")
    }

    pub(crate) fn wrong_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidApiKey", "Invalid API-key provided.")
    }

    /// The create endpoint without `X-DashScope-Async: enable`.
    pub(crate) fn async_header_missing() -> Self {
        let message = "current user api does not support synchronous calls";
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    /// Any other endpoint with that header.
    pub(crate) fn async_header_misplaced() -> Self {
        let message = "current user api does not support asynchronous calls";
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    pub(crate) fn unknown_model() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ModelNotFound", "Model not exist.")
    }

    pub(crate) fn rate(retry_after_s: u32) -> Self {
        let message = "Requests rate limit exceeded, please try again later.";
        Self::throttled("Throttling.RateQuota", message, retry_after_s)
    }

    pub(crate) fn queue_full(retry_after_s: u32) -> Self {
        let message = "Too many tasks are waiting, please try again later.";
        Self::throttled("Throttling.Concurrency", message, retry_after_s)
    }

    pub(crate) fn not_pending() -> Self {
        let message = "Failed to cancel the task, please confirm if the task is in PENDING status.";
        Self::new(StatusCode::BAD_REQUEST, "UnsupportedOperation", message)
    }

    fn throttled(code: &str, message: &str, retry_after_s: u32) -> Self {
        let retry_after_s = (retry_after_s > 0).then_some(retry_after_s);
        Self { retry_after_s, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, message) }
    }
}
