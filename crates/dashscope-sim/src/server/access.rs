//! Who may download what: the object store's checks, before any byte of a picture is made.
//!
//! Source of the manners: the object store's signature rules (verb, `Content-Type` and expiry are signed; a signature in
//! a header beside one in the query is an error) and its XML errors.

use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;

use super::{Service, answer};
use crate::draw::Uuid;
use crate::link::{self, LinkFault};
use crate::world::TaskIndex;

/// The image that a link names, if the request is one for which it was signed.
pub(super) fn find(
    service: &Service,
    method: &Method,
    shown_id: &str,
    file: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<(TaskIndex, u8), Box<Response>> {
    let now_ms = service.clock.now_ms();
    let mut world = service.world();
    world.advance(now_ms);
    let request_id = world.next_request_id();
    let error = |status, code, message| Err(Box::new(answer::xml(status, code, message, request_id, "")));
    let mismatch = "The request signature we calculated does not match the signature you provided. \
                    Check your key and signing method.";
    if headers.contains_key(AUTHORIZATION) {
        world.violations.results_with_authorization += 1;
        return error(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            "Only one signature form is allowed in a request.",
        );
    }
    if headers.contains_key(CONTENT_TYPE) {
        world.violations.results_with_content_type += 1;
        return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", mismatch);
    }
    if method != Method::GET {
        world.violations.results_by_other_verb += 1;
        return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", mismatch);
    }
    let id = Uuid::parse(shown_id);
    let image = file.strip_suffix(".png").and_then(|image| image.parse::<u8>().ok());
    let (Some(id), Some(image)) = (id, image) else {
        return error(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.");
    };
    match link::check(query.unwrap_or_default(), service.config.seed, id, image, now_ms) {
        Ok(()) => {}
        Err(LinkFault::Altered) => {
            world.violations.results_with_altered_link += 1;
            return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", mismatch);
        }
        Err(LinkFault::Expired { at_s }) => {
            world.violations.results_expired += 1;
            let time = |at_ms| {
                Timestamp::from_millisecond(at_ms)
                    .unwrap_or(Timestamp::MAX)
                    .strftime("%Y-%m-%dT%H:%M:%S.000Z")
            };
            let extra = format!(
                "  <Expires>{}</Expires>\n  <ServerTime>{}</ServerTime>\n",
                time(at_s.saturating_mul(1_000)),
                time(now_ms)
            );
            let message = "Request has expired.";
            let denied = answer::xml(StatusCode::FORBIDDEN, "AccessDenied", message, request_id, &extra);
            return Err(Box::new(denied));
        }
    }
    match world.find_result(id).filter(|&index| image < world.task(index).makes) {
        Some(index) => Ok((index, image)),
        None => error(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist."),
    }
}
