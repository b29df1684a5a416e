//! The paid calls.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Body, Method};
use tracing::Instrument as _;

use super::Client;
use super::create_error::{CreateTaskError, judge, judge_no_reply};
use super::gate::{Gate, NotSent};
use super::ready;
use super::transport::exchange;
use crate::response::{CreatedTask, SyncResult};
use crate::{ImageRequest, Model, Violations};

/// A request that was checked and is ready to be sent, as bytes. Cheap to clone; `Debug` shows no prompt.
#[derive(Debug, Clone)]
pub struct PreparedCreate {
    body: Secret,
    model: Model,
    needs_resolving: bool,
}

/// The bytes of a body, which hold a prompt.
#[derive(Clone)]
struct Secret(Bytes);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl PreparedCreate {
    /// Checks a request against every documented limit and writes its body.
    ///
    /// # Errors
    ///
    /// Every rule the request breaks. Nothing that breaks one can be sent.
    pub fn new(request: &ImageRequest) -> Result<Self, Violations> {
        request.check()?;
        let needs_resolving = request.needs_resolving();
        Ok(Self { body: Secret(request.to_body_bytes().into()), model: request.model, needs_resolving })
    }

    /// The model that is asked.
    #[must_use]
    pub fn model(&self) -> Model {
        self.model
    }

    /// The length of the body, in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.0.len()
    }
}

impl Client {
    /// Creates a task. It is sent at most once, on a connection of its own.
    ///
    /// `gate` is asked when the connection stands and before the first byte of the request is written: the last moment to
    /// think again. With `Err` from it nothing is sent. Dropping the future before that moment sends nothing either; dropping
    /// it later leaves open whether a task was created.
    ///
    /// # Errors
    ///
    /// See [`CreateTaskError::may_have_created_task`] before trying again.
    pub async fn create(
        &self,
        prepared: &PreparedCreate,
        gate: impl FnOnce() -> Result<(), NotSent> + Send + 'static,
    ) -> Result<CreatedTask, CreateTaskError> {
        self.create_when(prepared, std::future::ready(()), gate).await
    }

    /// Like [`Self::create`], at a moment of the caller's choice: with the connection open it waits for `ready`, and asks `gate`
    /// then. What a handshake takes, and how much that varies, does not shift the moment at which the request goes out.
    ///
    /// The wait counts towards the timeout of the connection and towards that of the call.
    ///
    /// # Errors
    ///
    /// As those of [`Self::create`].
    pub async fn create_when(
        &self,
        prepared: &PreparedCreate,
        ready: impl Future<Output = ()> + Send + 'static,
        gate: impl FnOnce() -> Result<(), NotSent> + Send + 'static,
    ) -> Result<CreatedTask, CreateTaskError> {
        let path = "/services/aigc/image-generation/generation";
        let span = tracing::debug_span!(
            "dashscope.create_task",
            model = %prepared.model,
            body_bytes = prepared.body_bytes(),
            http.status = tracing::field::Empty,
        );
        let call = self.send(path, true, self.timeouts.create, prepared, gate, CreatedTask::read);
        ready::when(ready, call)
            .instrument(span)
            .await
            .map(|(task, date)| CreatedTask { answered_at: date, ..task })
    }

    /// Makes images in one call, which lasts until they are there. It is billed as a task is, and sent at most once.
    ///
    /// # Errors
    ///
    /// See [`CreateTaskError::may_have_created_task`]: with an error that says so, images may have been made and billed, and
    /// cannot be had any more.
    pub async fn create_sync(&self, prepared: &PreparedCreate) -> Result<SyncResult, CreateTaskError> {
        let path = "/services/aigc/multimodal-generation/generation";
        let span = tracing::debug_span!(
            "dashscope.create_sync",
            model = %prepared.model,
            body_bytes = prepared.body_bytes(),
            http.status = tracing::field::Empty,
        );
        self.send(path, false, self.timeouts.sync, prepared, || Ok(()), SyncResult::read)
            .instrument(span)
            .await
            .map(|(result, _)| result)
    }

    async fn send<T>(
        &self,
        path: &str,
        asynchronous: bool,
        timeout: Duration,
        prepared: &PreparedCreate,
        check: impl FnOnce() -> Result<(), NotSent> + Send + 'static,
        read: impl FnOnce(&[u8]) -> Result<T, crate::response::ReplyError>,
    ) -> Result<(T, Option<jiff::Timestamp>), CreateTaskError> {
        let gate = Gate::new(check);
        let mut request = self
            .call(&self.single, Method::POST, path)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .timeout(timeout)
            .body(Body::wrap(gate.guard(prepared.body.0.clone())));
        if asynchronous {
            request = request.header("x-dashscope-async", "enable");
        }
        if prepared.needs_resolving {
            request = request.header("x-dashscope-ossresourceresolve", "enable");
        }
        match exchange(request).await {
            Ok(reply) => {
                let date = reply.meta.date;
                judge(reply, read).map(|view| (view, date)).map_err(|error| error.given(gate.close()))
            }
            Err(no_reply) => Err(judge_no_reply(no_reply, gate.close())),
        }
    }
}
