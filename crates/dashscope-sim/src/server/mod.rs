//! The HTTP side: one listener for the API, the result host, the upload host and the simulator's own controls.
//!
//! Owns sockets and real waiting. Every decision is the world's; what a handler does is: take the lock, ask, let go, wait
//! if a fault says so, answer. Connections are served one by one on hyper, since a fault must be able to close one
//! without an answer.

mod access;
mod admin;
mod answer;
mod create;
mod fetch;
mod keys;
mod results;
mod service;
mod tasks;
mod uploads;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) use service::Service;

use crate::link::{RESULTS, UPLOAD_HOST};
use answer::Cut;

/// The path below which the API lies.
pub(crate) const API: &str = "/api/v1";
/// Largest request body: nine images of 20 MB as Base64, and some text.
const BODY_BYTES_MAX: usize = 256 * 1_024 * 1_024;
/// How long connections may finish their answers at shutdown.
const GRACE: Duration = Duration::from_millis(500);

/// Serves connections until `stop`.
pub(crate) async fn run(listener: TcpListener, service: Arc<Service>, stop: CancellationToken) {
    let router = router(service);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, router.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "A connection could not be accepted");
                    // Most often there are too many open files, which passes; a bare loop would spin meanwhile.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "Nagle's algorithm stays on");
    }
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let response = router
                .oneshot(request.map(Body::new))
                .await
                .unwrap_or_else(|never: Infallible| match never {});
            if response.extensions().get::<Cut>().is_some() { Err(Cut) } else { Ok(response) }
        }
    });
    let mut http = http1::Builder::new();
    let connection = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "The connection ended early");
    }
}

/// Paths below `/tasks` may end with a slash: the asyncio classes of the official Python SDK 2.0.2 send them so.
fn router(service: Arc<Service>) -> Router {
    let api = Router::new()
        .route("/services/aigc/image-generation/generation", post(create::asynchronous))
        .route("/services/aigc/multimodal-generation/generation", post(create::synchronous))
        .route("/tasks", get(tasks::list))
        .route("/tasks/", get(tasks::list))
        .route("/tasks/{task_id}", get(tasks::query))
        .route("/tasks/{task_id}/", get(tasks::query))
        .route("/tasks/{task_id}/cancel", post(tasks::cancel))
        .route("/tasks/{task_id}/cancel/", post(tasks::cancel))
        .route("/quotas", get(tasks::quotas))
        .route("/uploads", get(uploads::policy));
    Router::new()
        .nest(API, api)
        .route(&format!("{RESULTS}/{{task_id}}/{{file}}"), any(results::download))
        .route(UPLOAD_HOST, post(uploads::upload))
        .route(&format!("{UPLOAD_HOST}/"), post(uploads::upload))
        .route("/_sim/ledger", get(admin::ledger))
        .route("/_sim/faults", get(admin::show_faults).put(admin::replace_faults).post(admin::add_faults))
        .route("/_sim/clock", get(admin::show_clock).post(admin::advance_clock))
        .fallback(answer::no_such_path)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}
