//! Waiting with an open connection.
//!
//! The HTTP stack opens a connection and sends on it in one go. A layer around its connector holds the connection back until the
//! caller is ready: then it stands, and not a byte of the request was written. What is waited for belongs to one call and
//! reaches the connector by way of the call's task, in which a stack that keeps no connections opens them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    /// What the call that is under way waits for, until its connection takes it.
    static WAITED_FOR: Arc<Mutex<Option<BoxFuture<'static, ()>>>>;
}

/// Makes `call`, whose connection is held back for `ready`.
pub(super) async fn when<T>(
    ready: impl Future<Output = ()> + Send + 'static,
    call: impl Future<Output = T>,
) -> T {
    WAITED_FOR.scope(Arc::new(Mutex::new(Some(Box::pin(ready)))), call).await
}

/// Around a connector: its connections are handed over once the caller is ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready;

impl<S> Layer<S> for Ready {
    type Service = ReadyConnector<S>;

    fn layer(&self, connector: S) -> Self::Service {
        ReadyConnector(connector)
    }
}

#[derive(Debug, Clone)]
pub(super) struct ReadyConnector<S>(S);

impl<S, R> Service<R> for ReadyConnector<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = self.0.call(target);
        let waited_for = WAITED_FOR
            .try_with(|waited_for| waited_for.lock().unwrap_or_else(PoisonError::into_inner).take())
            .ok()
            .flatten();
        Box::pin(async move {
            let connection = connecting.await?;
            if let Some(waited_for) = waited_for {
                waited_for.await;
            }
            Ok(connection)
        })
    }
}
