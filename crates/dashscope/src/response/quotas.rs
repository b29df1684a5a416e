//! The answer to a query for limits.

use super::answer::{Answer, Fields, ReplyError, rows};

/// The limits of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The model's name.
    pub model: String,
    /// The workspace the second limit belongs to.
    pub workspace_id: Option<String>,
    /// What the main account may use.
    pub model_limit: Option<QuotaLimit>,
    /// What the workspace may use of it.
    pub workspace_limit: Option<QuotaLimit>,
}

/// One set of limits. What is absent is not limited, or not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaLimit {
    /// Calls in one period.
    pub request_limit: Option<u64>,
    /// The period, in seconds.
    pub request_limit_period_seconds: Option<u64>,
    /// Units of usage in one period.
    pub usage_limit: Option<u64>,
    /// The period, in seconds.
    pub usage_limit_period_seconds: Option<u64>,
    /// Tasks that may wait.
    pub async_user_queue_limit: Option<u64>,
    /// Tasks being processed at once.
    pub async_user_concurrency_limit: Option<u64>,
}

/// One page of limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaPage {
    /// The provider's id of the call.
    pub request_id: Option<String>,
    /// The limits. Rows without a model's name are passed over.
    pub quotas: Vec<Quota>,
}

impl QuotaPage {
    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// There are no quotas in it: because the service refused, or because the body is something else.
    pub fn read(body: &[u8]) -> Result<Self, ReplyError> {
        let answer = Answer::read(body)?;
        let list = answer
            .output()
            .and_then(|output| output.list("quotas"))
            .ok_or_else(|| answer.lacks("output.quotas"))?;
        Ok(Self {
            request_id: answer.request_id(),
            quotas: rows(list).flatten().filter_map(read_quota).collect(),
        })
    }
}

fn read_quota(row: Fields<'_>) -> Option<Quota> {
    Some(Quota {
        model: row.text("model")?,
        workspace_id: row.text("workspace_id"),
        model_limit: row.object("model_limit").map(read_limit),
        workspace_limit: row.object("workspace_limit").map(read_limit),
    })
}

fn read_limit(fields: Fields<'_>) -> QuotaLimit {
    QuotaLimit {
        request_limit: fields.count("request_limit"),
        request_limit_period_seconds: fields.count("request_limit_period"),
        usage_limit: fields.count("usage_limit"),
        usage_limit_period_seconds: fields.count("usage_limit_period"),
        async_user_queue_limit: fields.count("async_user_queue_limit"),
        async_user_concurrency_limit: fields.count("async_user_concurrency_limit"),
    }
}
