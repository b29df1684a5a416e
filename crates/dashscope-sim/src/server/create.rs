//! Create calls, asynchronous and synchronous.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::{Service, answer, fetch};
use crate::draw::Draw;
use crate::refusal::Refusal;
use crate::validate::{ImageFacts, ImageRef, Order};
use crate::wire;
use crate::world::{State as TaskState, TaskIndex};

/// `POST …/image-generation/generation`
pub(super) async fn asynchronous(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    service.world().requests.creates += 1;
    let index = match accept(&service, &headers, &body, false).await {
        Ok(index) => index,
        Err(response) => return response,
    };
    let body = wire::created(service.world().task(index));
    let request_id = service.world().task(index).request_id;
    answer::json(StatusCode::OK, &body, request_id)
}

/// `POST …/multimodal-generation/generation`: the answer comes when the task has ended.
pub(super) async fn synchronous(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    service.world().requests.sync_creates += 1;
    let index = match accept(&service, &headers, &body, true).await {
        Ok(index) => index,
        Err(response) => return response,
    };
    if !service.until_final(index).await {
        return answer::cut();
    }
    let world = service.world();
    let task = world.task(index);
    match (&task.shape().failure, task.state) {
        (Some(failure), TaskState::Failed) => answer::refusal(
            &Refusal::new(failed_status(&failure.code), &failure.code, &failure.message),
            task.request_id,
        ),
        _ => {
            let links = super::tasks::links(&service, &headers, task, service.clock.now_ms());
            answer::json(StatusCode::OK, &wire::generated(task, &links), task.request_id)
        }
    }
}

/// All that happens before the answer of an accepted call, faults included. `Err` is the answer of any other.
async fn accept(
    service: &Service,
    headers: &HeaderMap,
    body: &[u8],
    sync: bool,
) -> Result<TaskIndex, Response> {
    let early = |refusal| {
        let request_id = service.world().next_request_id();
        answer::refusal(&refusal, request_id)
    };
    let caller = service.caller(headers).map_err(early)?;
    check_headers(service, headers, sync).map_err(early)?;
    let order = Order::read(body).map_err(|refusal| {
        service.world().violations.invalid_creates += 1;
        early(refusal)
    })?;

    let verdict = service.world().arrive_create(&order, service.clock.now_ms());
    let verdict = verdict.map_err(early)?;
    if let Some(response) = answer::carry_out(service, &verdict).await {
        return Err(response);
    }

    let late = |refusal: Refusal| answer::refusal(&refusal, verdict.request_id);
    let facts = look_at_images(service, headers, &order).await.map_err(late)?;
    let size = order.settle_size(&facts).map_err(|refusal| {
        service.world().violations.invalid_creates += 1;
        late(refusal)
    })?;
    let now_ms = service.clock.now_ms();
    let index = service.world().create(&order, size, &caller.api_key_id, sync, now_ms).map_err(late)?;

    let (accepted, task_id) = {
        let mut world = service.world();
        (world.accepted(index), world.task(index).id)
    };
    let latency = Draw::new(service.config.seed, "create latency", &[task_id.as_bytes()]);
    service.pause(service.config.create_latency.sample_ms(&latency, 1.0).unsigned_abs()).await;
    match answer::carry_out(service, &accepted).await {
        Some(response) => Err(response),
        None => Ok(index),
    }
}

/// The headers that the API page asks for.
fn check_headers(service: &Service, headers: &HeaderMap, sync: bool) -> Result<(), Refusal> {
    if sync {
        service.refuse_async_header(headers)?;
    } else if headers.get("x-dashscope-async").is_none_or(|value| value != "enable") {
        service.world().violations.async_header_missing += 1;
        return Err(Refusal::async_header_missing());
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(Refusal::parameter("Content-Type must be application/json")),
    }
}

/// What can be known of each image: data URIs and uploads wholly, links on loopback by fetching, others not at all.
async fn look_at_images(
    service: &Service,
    headers: &HeaderMap,
    order: &Order,
) -> Result<Vec<Option<ImageFacts>>, Refusal> {
    let resolve = headers.get("x-dashscope-ossresourceresolve").is_some_and(|value| value == "enable");
    let mut known = Vec::with_capacity(order.images.len());
    for image in &order.images {
        known.push(match image {
            ImageRef::Inline(facts) => Some(*facts),
            ImageRef::Upload(_) if !resolve => {
                let message = "oss:// resources need the header X-DashScope-OssResourceResolve: enable";
                return Err(Refusal { code: "InvalidURL".to_owned(), ..Refusal::parameter(message) });
            }
            ImageRef::Upload(key) => {
                Some(service.world().uploads.facts(key, order.model, service.clock.now_ms())?)
            }
            ImageRef::Link(link) if service.config.fetch_loopback_inputs => fetch::look(link).await?,
            ImageRef::Link(_) => None,
        });
    }
    Ok(known)
}

/// The status under which a failure is sent when nobody polls for it.
fn failed_status(code: &str) -> StatusCode {
    match code {
        _ if code.starts_with("Throttling") => StatusCode::TOO_MANY_REQUESTS,
        _ if code.starts_with("Invalid")
            || code.starts_with("DataInspection")
            || code.starts_with("IPInfringement") =>
        {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
