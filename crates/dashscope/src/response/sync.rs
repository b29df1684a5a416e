//! The answer to a synchronous call.

use super::answer::{Answer, ReplyError};
use super::{Output, Usage};

/// What a synchronous call made, and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncResult {
    /// The provider's id of the call.
    pub request_id: Option<String>,
    /// Images and texts.
    pub output: Output,
    /// What it used.
    pub usage: Option<Usage>,
}

impl SyncResult {
    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// There are no choices in it: because the service refused, or because the body is something else.
    pub fn read(body: &[u8]) -> Result<Self, ReplyError> {
        let answer = Answer::read(body)?;
        let output =
            answer.output().filter(|output| output.list("choices").or(output.list("results")).is_some());
        let output = output.map(Output::read).ok_or_else(|| answer.lacks("output.choices"))?;
        let usage = answer.fields().object("usage").map(Usage::read);
        Ok(Self { request_id: answer.request_id(), output, usage })
    }
}
