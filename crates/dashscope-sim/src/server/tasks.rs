//! Queries, the task list, cancellations and the limits endpoint.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Service, answer};
use crate::fault::{Act, On};
use crate::link;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::wire;
use crate::world::{ListQuery, State as TaskState, Task, Verdict};

/// `GET /tasks/{task_id}`
pub(super) async fn query(
    State(service): State<Arc<Service>>,
    Path(shown_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    service.world().requests.queries += 1;
    let verdict = match arrive(&service, &headers, On::Query, Some(&shown_id)).await {
        Ok(verdict) => verdict,
        Err(response) => return response,
    };
    let request_id = verdict.request_id;
    let now_ms = service.clock.now_ms();
    let mut world = service.world();
    world.advance(now_ms);
    let body = match (&verdict.act, world.find(&shown_id)) {
        (Some(Act::UnknownOnce | Act::UnknownForever), _) | (_, None) => {
            wire::state_only(&shown_id, "UNKNOWN", request_id)
        }
        (Some(Act::UnrecognisedState { state }), Some(_)) => wire::state_only(&shown_id, state, request_id),
        (_, Some(index)) => {
            let task = world.task(index);
            wire::status(task, request_id, &links(&service, &headers, task, now_ms))
        }
    };
    answer::json(StatusCode::OK, &body, request_id)
}

/// `GET /tasks`
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Response {
    service.world().requests.lists += 1;
    let verdict = match arrive(&service, &headers, On::List, None).await {
        Ok(verdict) => verdict,
        Err(response) => return response,
    };
    let mut world = service.world();
    world.advance(service.clock.now_ms());
    match world.list(&query) {
        Ok(page) => {
            let body = wire::page(&page, verdict.request_id, &service.config);
            answer::json(StatusCode::OK, &body, verdict.request_id)
        }
        Err(refusal) => answer::refusal(&refusal, verdict.request_id),
    }
}

/// `POST /tasks/{task_id}/cancel`
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    Path(shown_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    service.world().requests.cancels += 1;
    let verdict = match arrive(&service, &headers, On::Cancel, Some(&shown_id)).await {
        Ok(verdict) => verdict,
        Err(response) => return response,
    };
    let mut world = service.world();
    world.advance(service.clock.now_ms());
    let canceled = match world.find(&shown_id) {
        Some(index) => world.cancel(index, service.clock.now_ms()),
        None => Err(Refusal::not_pending()),
    };
    match canceled {
        Ok(()) => {
            let body = serde_json::json!({ "request_id": verdict.request_id.to_string() });
            answer::json(StatusCode::OK, &body, verdict.request_id)
        }
        Err(refusal) => answer::refusal(&refusal, verdict.request_id),
    }
}

/// The query string of the limits endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct QuotasQuery {
    model: Option<String>,
    page_no: Option<usize>,
    page_size: Option<usize>,
}

/// `GET /quotas`
pub(super) async fn quotas(
    State(service): State<Arc<Service>>,
    Query(query): Query<QuotasQuery>,
    headers: HeaderMap,
) -> Response {
    service.world().requests.quotas += 1;
    let verdict = match service.caller(&headers).and_then(|_| service.refuse_async_header(&headers)) {
        Ok(()) => service.world().arrive_other(On::Quotas),
        Err(refusal) => return answer::refusal(&refusal, service.world().next_request_id()),
    };
    if let Some(response) = answer::carry_out(&service, &verdict).await {
        return response;
    }
    let asked = |model: &Model| query.model.as_deref().is_none_or(|name| name == model.name());
    let models: Vec<Model> = Model::ALL.into_iter().filter(asked).collect();
    // 20 is the documented default of this page size.
    let (page_no, page_size) = (query.page_no.unwrap_or(1).max(1), query.page_size.unwrap_or(20).max(1));
    let body = wire::quotas(&models, &service.config, page_no, page_size, verdict.request_id);
    answer::json(StatusCode::OK, &body, verdict.request_id)
}

/// The links to a task's images, as a query at `now_ms` shows them; none before it ended well.
pub(super) fn links(service: &Service, headers: &HeaderMap, task: &Task, now_ms: i64) -> Vec<String> {
    if task.state != TaskState::Succeeded {
        return Vec::new();
    }
    let origin = service.origin(headers);
    let retention = &service.config.retention;
    let signed_ms = if retention.resign_links { now_ms } else { task.ended_ms.unwrap_or(now_ms) };
    let lives_ms = task.shape().link_lives_ms.unwrap_or(retention.link_s.saturating_mul(1_000));
    let expires_s = signed_ms.saturating_add(i64::try_from(lives_ms).unwrap_or(i64::MAX)).div_euclid(1_000);
    let image = |index: u8| if task.shape().equal_urls { 0 } else { index };
    (0..task.makes)
        .map(|index| link::result_link(&origin, service.config.seed, task.id, image(index), expires_s))
        .collect()
}

/// Key, header, rate and faults: what queries, lists and cancellations have in common. `Err` is the answer already.
async fn arrive(
    service: &Service,
    headers: &HeaderMap,
    on: On,
    shown: Option<&str>,
) -> Result<Verdict, Response> {
    let allowed = service.caller(headers).and_then(|_| match on {
        On::Cancel => Ok(()),
        _ => service.refuse_async_header(headers),
    });
    let arrived = allowed.and_then(|()| service.world().arrive_query(on, shown, service.clock.now_ms()));
    let verdict = arrived.map_err(|refusal| answer::refusal(&refusal, service.world().next_request_id()))?;
    match answer::carry_out(service, &verdict).await {
        Some(response) => Err(response),
        None => Ok(verdict),
    }
}
