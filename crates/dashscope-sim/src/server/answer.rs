//! Answers: JSON of the API, XML of the object store, HTML of a proxy, and none at all.

use std::fmt;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::Service;
use crate::draw::Uuid;
use crate::fault::Act;
use crate::refusal::Refusal;
use crate::wire;
use crate::world::Verdict;

/// What a proxy in front of the service says when it has lost the service.
pub(super) const HTML: &str = "<html>\r\n<head><title>Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// Put into a response's extensions: close the connection instead of sending it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault closed the connection")
    }
}

impl std::error::Error for Cut {}

/// No answer: the connection closes.
pub(super) fn cut() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Cut);
    response
}

pub(super) fn json(status: StatusCode, body: &Value, request_id: Uuid) -> Response {
    let mut response = plain_json(status, body);
    let id = HeaderValue::from_str(&request_id.to_string()).expect("an id is hex digits and dashes");
    response.headers_mut().insert("x-request-id", id);
    response
}

/// JSON without a request id, for the simulator's own controls.
pub(super) fn plain_json(status: StatusCode, body: &Value) -> Response {
    typed(status, "application/json", body.to_string())
}

pub(super) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn html(status: StatusCode) -> Response {
    typed(status, "text/html", HTML)
}

pub(super) fn refusal(refusal: &Refusal, request_id: Uuid) -> Response {
    let mut response =
        json(refusal.status, &wire::error(request_id, &refusal.code, &refusal.message), request_id);
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The object store's error document. `extra` are further elements.
pub(super) fn xml(status: StatusCode, code: &str, message: &str, request_id: Uuid, extra: &str) -> Response {
    let id = hex::encode_upper(&request_id.as_bytes()[..12]);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{}</Code>\n  <Message>{}</Message>\n  \
         <RequestId>{id}</RequestId>\n  <HostId>dashscope-result.simulated</HostId>\n{extra}</Error>\n",
        escaped(code),
        escaped(message),
    );
    let mut response = typed(status, "application/xml", body);
    let id = HeaderValue::from_str(&id).expect("an id is hex digits");
    response.headers_mut().insert("x-oss-request-id", id);
    response
}

pub(super) async fn no_such_path() -> Response {
    let body = serde_json::json!({ "code": "NotFound", "message": "no such path" });
    plain_json(StatusCode::NOT_FOUND, &body)
}

/// Carries out the faults that all requests have in common. `None`: go on as usual.
pub(super) async fn carry_out(service: &Service, verdict: &Verdict) -> Option<Response> {
    service.pause(verdict.delay_ms).await;
    let request_id = verdict.request_id;
    match verdict.act.as_ref()? {
        Act::Status { http, code, message, retry_after_s } => {
            let mut response = json(status(*http), &wire::error(request_id, code, message), request_id);
            set_retry_after(&mut response, *retry_after_s);
            Some(response)
        }
        Act::Flat200 { code, message } => {
            Some(json(StatusCode::OK, &wire::error(request_id, code, message), request_id))
        }
        Act::Html502 => Some(html(StatusCode::BAD_GATEWAY)),
        Act::RefuseCut | Act::AcceptThenCut => Some(cut()),
        Act::Hang | Act::AcceptThenHang => {
            service.stop.cancelled().await;
            Some(cut())
        }
        Act::AcceptThenStatus { http } => Some(html(status(*http))),
        _ => None,
    }
}

pub(super) fn set_retry_after(response: &mut Response, seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// A status of a script, which [`crate::Fault::check`] has found to be one.
pub(super) fn status(http: u16) -> StatusCode {
    StatusCode::from_u16(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
