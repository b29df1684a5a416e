//! The simulator's own controls: the ledger, the faults, the clock. No key, no rate limit.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Service, answer};
use crate::fault::{self, Fault, FaultError};

/// The query string of the ledger.
#[derive(Debug, Deserialize)]
pub(super) struct LedgerQuery {
    #[serde(default = "yes")]
    tasks: bool,
}

fn yes() -> bool {
    true
}

/// `GET /_sim/ledger[?tasks=false]`
pub(super) async fn ledger(
    State(service): State<Arc<Service>>,
    Query(query): Query<LedgerQuery>,
) -> Response {
    // A hundred thousand tasks take a while to write down.
    let written = tokio::task::spawn_blocking(move || {
        let ledger = {
            let mut world = service.world();
            world.advance(service.clock.now_ms());
            world.ledger(query.tasks)
        };
        serde_json::to_vec(&ledger)
    });
    match written.await {
        Ok(Ok(body)) => answer::typed(StatusCode::OK, "application/json", body),
        Ok(Err(error)) => bad_request(&error.to_string()),
        Err(error) => bad_request(&error.to_string()),
    }
}

/// `GET /_sim/faults`: the scripted faults with their counts.
pub(super) async fn show_faults(State(service): State<Arc<Service>>) -> Response {
    answer::plain_json(StatusCode::OK, &json!({ "faults": service.world().faults.report() }))
}

/// `PUT /_sim/faults`: these faults instead of the present ones. An empty list ends all faults.
pub(super) async fn replace_faults(State(service): State<Arc<Service>>, script: String) -> Response {
    match read_script(&script) {
        Ok(faults) => {
            service.world().faults.replace(faults);
            show_faults(State(service)).await
        }
        Err(error) => bad_request(&error.to_string()),
    }
}

/// `POST /_sim/faults`: these faults as well, behind the present ones.
pub(super) async fn add_faults(State(service): State<Arc<Service>>, script: String) -> Response {
    match read_script(&script) {
        Ok(faults) => {
            service.world().faults.extend(faults);
            show_faults(State(service)).await
        }
        Err(error) => bad_request(&error.to_string()),
    }
}

/// `GET /_sim/clock`
pub(super) async fn show_clock(State(service): State<Arc<Service>>) -> Response {
    let clock = &service.clock;
    answer::plain_json(
        StatusCode::OK,
        &json!({ "now_ms": clock.now_ms(), "offset_s": clock.offset().as_secs_f64() }),
    )
}

/// How far to move.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    advance_s: f64,
}

/// `POST /_sim/clock` with `{"advance_s": n}`
pub(super) async fn advance_clock(State(service): State<Arc<Service>>, body: String) -> Response {
    let step: Step = match serde_json::from_str(&body) {
        Ok(step) => step,
        Err(error) => return bad_request(&error.to_string()),
    };
    match Duration::try_from_secs_f64(step.advance_s) {
        Ok(by) => {
            service.clock.advance(by);
            show_clock(State(service)).await
        }
        Err(error) => bad_request(&error.to_string()),
    }
}

/// JSON if it begins like JSON, else TOML.
fn read_script(script: &str) -> Result<Vec<Fault>, FaultError> {
    if script.trim_start().starts_with('{') {
        fault::faults_from_json(script)
    } else {
        fault::faults_from_toml(script)
    }
}

fn bad_request(message: &str) -> Response {
    answer::plain_json(StatusCode::BAD_REQUEST, &json!({ "error": message }))
}
