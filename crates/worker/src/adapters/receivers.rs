//! The receivers of webhooks, over HTTP.

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::redirect::Policy;

use crate::outbox::{Post, Receivers, SendFault};

/// [`Receivers`] over HTTP. A client of its own: nothing of the provider's or the store's can reach a receiver.
pub struct HttpReceivers(reqwest::Client);

impl HttpReceivers {
    /// Sets the client up.
    ///
    /// # Errors
    ///
    /// The HTTP stack cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        // A redirect would take a signed event to whoever answers there.
        reqwest::Client::builder().redirect(Policy::none()).retry(reqwest::retry::never()).build().map(Self)
    }
}

#[async_trait]
impl Receivers for HttpReceivers {
    async fn send(&self, post: &Post) -> Result<u16, SendFault> {
        let sent = self
            .0
            .post(&post.url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("imagemill/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &post.id)
            .header("webhook-timestamp", post.timestamp.to_string())
            .header("webhook-signature", &post.signature)
            .body(post.body.clone())
            .timeout(post.timeout)
            .send()
            .await;
        match sent {
            // Dropped unread: what a receiver says beside its status is nothing to us, however long it is.
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) if error.is_timeout() => Err(SendFault::TimedOut(post.timeout)),
            Err(error) if error.is_connect() => Err(SendFault::Unreachable(root_of(error))),
            Err(error) => Err(SendFault::Broken(root_of(error))),
        }
    }
}

/// What went wrong at the bottom, without the address: it may hold a token.
fn root_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut root: &dyn std::error::Error = &error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}
