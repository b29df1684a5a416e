//! The HTTP client: every call of the API, each with a time limit, none repeated.
//!
//! It owns two pools of connections and the headers of an account. It never retries and never waits of its own accord: limits, permits
//! and second tries belong to the caller, who asks each error whether it is worth one. A create call in particular goes out at
//! most once: protocol retries, redirects and the reuse of connections are off for it, and a [gate](Client::create) lets the
//! caller decide at the last moment before any of it is on the wire.
//!
//! The crypto provider of rustls is the program's to install, before a client is built.

mod builder;
mod call_error;
mod create;
mod create_error;
mod gate;
mod meta;
mod ready;
mod tasks;
mod transport;
mod upload;

use std::fmt;

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder};

pub use builder::{BuildClientError, ClientBuilder, Timeouts};
pub use call_error::{BoxError, CallError, CancelTaskError};
pub use create::PreparedCreate;
pub use create_error::CreateTaskError;
pub use gate::NotSent;
pub use tasks::ListQuery;
pub use upload::UploadError;

use crate::{ApiKey, BaseUrl, WorkspaceId};

/// The most that is read of an answer, in bytes.
///
/// Source: our own guard; the longest answer is a full page of a list, below 1 MiB.
/// Applies to: every answer of the API and of the temporary store.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A client of one account at one base URL. Clones share their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use dashscope::client::{Client, PreparedCreate};
/// use dashscope::{ApiKey, ImageRequest, Model, base_url};
///
/// let client = Client::builder(base_url::SINGAPORE.parse()?, ApiKey::new("sk-…")?).build()?;
/// let request = ImageRequest::new(Model::Wan27Image, "a lighthouse at dusk");
/// let task = client.create(&PreparedCreate::new(&request)?, || Ok(())).await?;
/// let report = client.fetch_task(&task.task_id).await?;
/// println!("{}", report.status);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    base_url: BaseUrl,
    authorization: HeaderValue,
    workspace: Option<HeaderValue>,
    timeouts: Timeouts,
    /// For calls that may be repeated: connections are kept.
    pooled: reqwest::Client,
    /// For calls that cost: a connection for each. A kept one can be closed by the other side at any moment, and what became
    /// of a request that was just being written to it cannot be known.
    single: reqwest::Client,
}

impl Client {
    /// Begins a client for `base_url` with `key`.
    #[must_use]
    pub fn builder(base_url: BaseUrl, key: ApiKey) -> ClientBuilder {
        ClientBuilder::new(base_url, key)
    }

    /// Where this client calls.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }

    /// A request with the account's headers, and no other: a header that belongs to a create call is refused on a query.
    fn call(&self, client: &reqwest::Client, method: Method, path: &str) -> RequestBuilder {
        let request = client
            .request(method, format!("{}{path}", self.base_url.as_str()))
            .header(reqwest::header::AUTHORIZATION, self.authorization.clone());
        match &self.workspace {
            Some(workspace) => request.header("x-dashscope-workspace", workspace.clone()),
            None => request,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.base_url.as_str())
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

/// The value of the header that names a workspace.
fn workspace_header(workspace: &WorkspaceId) -> HeaderValue {
    HeaderValue::from_str(workspace.as_str()).expect("a workspace id is made of letters, digits, `_` and `-`")
}

/// The value of the header that carries the key, kept out of what the HTTP stack prints.
fn authorization_header(key: &ApiKey) -> HeaderValue {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", key.expose())).expect("a key is made of visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests;
