//! The result host: downloads of finished images by signed links, and the faults that befall them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Service, access, answer};
use crate::fault::{Act, ContentLength};
use crate::picture::{ImageFile, Look, VARIANTS};
use crate::world::{TaskIndex, Verdict};

/// Pieces a second in which a slow download comes.
const SLOW_PIECES_PER_S: u64 = 10;
/// How long the bytes of a download that breaks off have to leave.
const CUT_AFTER: Duration = Duration::from_millis(20);

/// `GET /results/{task_id}/{index}.png?Expires=…&OSSAccessKeyId=…&Signature=…`
pub(super) async fn download(
    State(service): State<Arc<Service>>,
    method: Method,
    Path((shown_id, file)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    service.world().requests.results += 1;
    let (index, image) = match access::find(&service, &method, &shown_id, &file, query.as_deref(), &headers) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let verdict = service.world().arrive_result(index, image, service.clock.now_ms());
    match verdict.act {
        // These two differ on this host, whose errors are XML.
        Some(Act::Status { .. }) => service.pause(verdict.delay_ms).await,
        _ => {
            if let Some(response) = answer::carry_out(&service, &verdict).await {
                return response;
            }
        }
    }
    let Some(file) = make(&service, index, image).await else { return answer::cut() };
    respond(&service, &headers, &verdict, index, image, file)
}

/// Makes the file, away from the async threads. `None` if the simulator stops.
async fn make(service: &Arc<Service>, index: TaskIndex, image: u8) -> Option<ImageFile> {
    let (look, mark, digest) = {
        let world = service.world();
        let task = world.task(index);
        let variant = task.prompt_sha256[0].wrapping_add(image) % VARIANTS;
        let look = Look { width: task.width, height: task.height, variant };
        (look, format!("dashscope-sim task {} image {image}", task.id), task.served[usize::from(image)])
    };
    let permit = service.painters.acquire().await.ok()?;
    let maker = Arc::clone(service);
    let (file, digest) = tokio::task::spawn_blocking(move || {
        let file = maker.gallery.file(look, &mark);
        let digest = digest.unwrap_or_else(|| file.sha256());
        (file, digest)
    })
    .await
    .ok()?;
    drop(permit);
    service.world().note_made(index, image, digest);
    Some(file)
}

fn respond(
    service: &Arc<Service>,
    headers: &HeaderMap,
    verdict: &Verdict,
    index: TaskIndex,
    image: u8,
    file: ImageFile,
) -> Response {
    let (request_id, length) = (verdict.request_id, file.len());
    match &verdict.act {
        Some(Act::Status { http, code, message, retry_after_s }) => {
            let mut response = answer::xml(answer::status(*http), code, message, request_id, "");
            answer::set_retry_after(&mut response, *retry_after_s);
            response
        }
        Some(Act::SlowDown) => {
            let message = "Please reduce your request rate.";
            answer::xml(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", message, request_id, "")
        }
        Some(Act::NotFound) => {
            let message = "The specified key does not exist.";
            answer::xml(StatusCode::NOT_FOUND, "NoSuchKey", message, request_id, "")
        }
        Some(Act::Redirect { to }) => {
            let mut response = answer::typed(StatusCode::FOUND, "text/html", Body::empty());
            if let Ok(to) = HeaderValue::from_str(to) {
                response.headers_mut().insert(LOCATION, to);
            }
            response
        }
        Some(Act::WrongType) => answer::html(StatusCode::OK),
        Some(Act::Empty) => image_response(StatusCode::OK, Some(0), Body::empty()),
        Some(Act::Truncated { keep_bytes, content_length }) => {
            let keep = keep_bytes.unwrap_or(length / 2).min(length);
            truncated(file.slice(0, keep), keep, length, *content_length)
        }
        Some(Act::Slow { bytes_per_s }) => {
            service.world().note_served();
            image_response(StatusCode::OK, Some(length), slowly(file.slice(0, length), *bytes_per_s))
        }
        Some(Act::Corrupt) => {
            image_response(StatusCode::OK, Some(length), pieces(file.corrupted().slice(0, length)))
        }
        _ => whole_or_range(service, headers, index, image, &file),
    }
}

/// The healthy answer.
fn whole_or_range(
    service: &Service,
    headers: &HeaderMap,
    index: TaskIndex,
    image: u8,
    file: &ImageFile,
) -> Response {
    let length = file.len();
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    let mut response = match range.and_then(|range| read_range(range, length)) {
        Some((from, to)) => {
            let mut response =
                image_response(StatusCode::PARTIAL_CONTENT, Some(to - from), pieces(file.slice(from, to)));
            let shown = format!("bytes {from}-{}/{length}", to - 1);
            response.headers_mut().insert(CONTENT_RANGE, ascii(&shown));
            response
        }
        // The object store answers a range that it cannot read with the whole file.
        None => {
            service.world().note_served();
            image_response(StatusCode::OK, Some(length), pieces(file.slice(0, length)))
        }
    };
    if let Some(digest) = service.world().task(index).served[usize::from(image)] {
        let tag = format!("\"{}\"", hex::encode_upper(&digest[..16]));
        response.headers_mut().insert(ETAG, ascii(&tag));
    }
    response
}

/// One range of bytes, as `from` up to and without `to`.
fn read_range(header: &str, length: u64) -> Option<(u64, u64)> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from, to) {
        ("", last) => (length.saturating_sub(last.parse().ok()?), length),
        (from, "") => (from.parse().ok()?, length),
        (from, to) => (from.parse().ok()?, to.parse::<u64>().ok()?.saturating_add(1).min(length)),
    };
    (from < to).then_some((from, to))
}

fn truncated(kept: Vec<Bytes>, kept_bytes: u64, length: u64, claim: ContentLength) -> Response {
    match claim {
        ContentLength::Short => image_response(StatusCode::OK, Some(kept_bytes), pieces(kept)),
        ContentLength::Absent => image_response(StatusCode::OK, None, pieces(kept)),
        ContentLength::Full => {
            // The error makes the server close the connection in the middle of the body. It waits until the bytes
            // before it have left, which an error would discard.
            let end = stream::once(async {
                tokio::time::sleep(CUT_AFTER).await;
                Err(std::io::Error::other("a fault cut the download short"))
            });
            let broken = stream::iter(kept.into_iter().map(Ok)).chain(end);
            image_response(StatusCode::OK, Some(length), Body::from_stream(broken))
        }
    }
}

fn image_response(status: StatusCode, length: Option<u64>, body: Body) -> Response {
    let mut response = answer::typed(status, "image/png", body);
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

fn pieces(pieces: Vec<Bytes>) -> Body {
    Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)))
}

/// The same bytes at a pace, in small pieces.
fn slowly(pieces: Vec<Bytes>, bytes_per_s: u64) -> Body {
    let step = usize::try_from(bytes_per_s / SLOW_PIECES_PER_S).unwrap_or(usize::MAX).max(1);
    let wait = Duration::from_secs(1) / SLOW_PIECES_PER_S as u32;
    let small = pieces.into_iter().flat_map(move |piece| {
        (0..piece.len())
            .step_by(step)
            .map(move |at| piece.slice(at..(at + step).min(piece.len())))
            .collect::<Vec<_>>()
    });
    Body::from_stream(stream::iter(small).then(move |piece| async move {
        tokio::time::sleep(wait).await;
        Ok::<_, std::io::Error>(piece)
    }))
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits, letters and punctuation fit into a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_object_store_reads_them() {
        for (header, range) in [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=90-", Some((90, 100))),
            ("bytes=-10", Some((90, 100))),
            ("bytes=90-500", Some((90, 100))),
            ("bytes=100-", None),
            ("bytes=9-0", None),
            ("lines=0-9", None),
        ] {
            assert_eq!(read_range(header, 100), range, "{header}");
        }
    }
}
