//! Upload policies, and the storage host that takes the files.

use std::sync::Arc;

use axum::extract::{Multipart, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Service, answer};
use crate::fault::On;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::wire;
use crate::world::UploadForm;

/// The query string of the policy endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyQuery {
    action: Option<String>,
    model: Option<String>,
}

/// `GET /uploads?action=getPolicy&model=…`
pub(super) async fn policy(
    State(service): State<Arc<Service>>,
    Query(query): Query<PolicyQuery>,
    headers: HeaderMap,
) -> Response {
    service.world().requests.upload_policies += 1;
    let arrived = service.caller(&headers).and_then(|_| {
        if query.action.as_deref() != Some("getPolicy") {
            return Err(Refusal::parameter("action must be getPolicy"));
        }
        let name = query.model.as_deref().ok_or_else(|| Refusal::parameter("model is required"))?;
        let model = Model::parse(name).ok_or_else(Refusal::unknown_model)?;
        Ok((model, service.world().arrive_upload_policy(service.clock.now_ms())?))
    });
    let (model, verdict) = match arrived {
        Ok(arrived) => arrived,
        Err(refusal) => return answer::refusal(&refusal, service.world().next_request_id()),
    };
    if let Some(response) = answer::carry_out(&service, &verdict).await {
        return response;
    }
    let issued = service.world().uploads.issue(model, service.clock.now_ms());
    let body = wire::policy(&issued, &service.origin(&headers), verdict.request_id);
    answer::json(StatusCode::OK, &body, verdict.request_id)
}

/// `POST` of the form to the address that the policy names.
pub(super) async fn upload(State(service): State<Arc<Service>>, form: Multipart) -> Response {
    let verdict = {
        let mut world = service.world();
        world.requests.uploads += 1;
        world.arrive_other(On::Upload)
    };
    if let Some(response) = answer::carry_out(&service, &verdict).await {
        return response;
    }
    let Ok(form) = read(form).await else {
        let message = "The body of your POST request is not well-formed multipart/form-data.";
        return answer::xml(StatusCode::BAD_REQUEST, "MalformedPOSTRequest", message, verdict.request_id, "");
    };
    let kept_ms =
        i64::try_from(service.config.retention.upload_s).unwrap_or(i64::MAX / 2_000).saturating_mul(1_000);
    let accepted = service.world().uploads.accept(&form, service.clock.now_ms(), kept_ms);
    match accepted {
        Ok(()) => {
            let asked = form.fields.get("success_action_status").map(String::as_str);
            if asked == Some("200") {
                StatusCode::OK.into_response()
            } else {
                StatusCode::NO_CONTENT.into_response()
            }
        }
        Err((status, code, message)) => {
            answer::xml(answer::status(status), code, message, verdict.request_id, "")
        }
    }
}

/// Reads the fields up to and including the file; what follows is ignored, as the object store ignores it.
async fn read(mut form: Multipart) -> Result<UploadForm, axum::extract::multipart::MultipartError> {
    let mut read = UploadForm::default();
    while let Some(field) = form.next_field().await? {
        match field.name() {
            Some("file") => {
                read.file = Some(field.bytes().await?.to_vec());
                break;
            }
            Some(name) => {
                let name = name.to_owned();
                read.fields.insert(name, field.text().await?);
            }
            None => {}
        }
    }
    Ok(read)
}
