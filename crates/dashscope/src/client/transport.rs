//! One request, one answer, a bounded number of bytes.

use reqwest::RequestBuilder;

use super::ANSWER_BYTES_MAX;
use super::call_error::BoxError;
use super::meta::Meta;
use crate::response::ReplyError;

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) meta: Meta,
    pub(super) body: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) enum NoReply {
    /// No connection could be opened.
    Connect(BoxError),
    /// It broke off, or took too long, at any point after that.
    Broken { timed_out: bool, source: BoxError },
    /// It has more bytes than are read.
    TooLong(Meta),
}

/// Sends and reads to the end. The time limit is the request's own.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Reply, NoReply> {
    let mut response = request.send().await.map_err(no_reply)?;
    let meta = Meta::read(response.status().as_u16(), response.headers());
    tracing::Span::current().record("http.status", meta.http_status);
    if response.content_length().is_some_and(|bytes| bytes > ANSWER_BYTES_MAX as u64) {
        return Err(NoReply::TooLong(meta));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(no_reply)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(NoReply::TooLong(meta));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Reply { meta, body })
}

fn no_reply(error: reqwest::Error) -> NoReply {
    let (connect, timed_out) = (error.is_connect(), error.is_timeout());
    // The caller knows where it called; an address in an error has only ever leaked.
    let source = error.without_url().into();
    if connect { NoReply::Connect(source) } else { NoReply::Broken { timed_out, source } }
}

/// What is wrong with an answer of too many bytes.
pub(super) const TOO_LONG: ReplyError = ReplyError::TooLong { bytes_max: ANSWER_BYTES_MAX };
