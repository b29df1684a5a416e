//! Settings of a client.

use std::time::Duration;

use reqwest::{redirect, retry};

use super::call_error::BoxError;
use super::ready::Ready;
use super::{Client, authorization_header, workspace_header};
use crate::{ApiKey, BaseUrl, WorkspaceId};

/// How long each call may take, from its start to the last byte of the answer. Waiting for a connection counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection. 10 s: the slow end of a handshake across continents.
    pub connect: Duration,
    /// A create call. 30 s: it answers in well under a second; sending inlined images takes longer.
    pub create: Duration,
    /// A query, list, cancel, quotas or upload policy. 30 s, for the same reasons.
    pub query: Duration,
    /// A synchronous call, which waits for the image. 300 s: what the official SDKs allow.
    pub sync: Duration,
    /// Sending a file to the temporary store. 120 s: 20 MiB at 1.4 Mbit/s.
    pub upload: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            create: Duration::from_secs(30),
            query: Duration::from_secs(30),
            sync: Duration::from_secs(300),
            upload: Duration::from_secs(120),
        }
    }
}

/// A client in the making; see [`Client::builder`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    base_url: BaseUrl,
    key: ApiKey,
    workspace: Option<WorkspaceId>,
    timeouts: Timeouts,
}

impl ClientBuilder {
    pub(super) fn new(base_url: BaseUrl, key: ApiKey) -> Self {
        Self { base_url, key, workspace: None, timeouts: Timeouts::default() }
    }

    /// Acts in a workspace of the account, on a host that several share.
    #[must_use]
    pub fn workspace(mut self, workspace: WorkspaceId) -> Self {
        self.workspace = Some(workspace);
        self
    }

    /// Sets the time limits.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Makes the client. Nothing is connected yet. Proxies named in the environment are not used: a paid call goes where the
    /// settings say and nowhere else.
    ///
    /// # Errors
    ///
    /// The program has installed no crypto provider, or the system's certificates cannot be loaded.
    pub fn build(self) -> Result<Client, BuildClientError> {
        // The HTTP stack would panic.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BuildClientError::NoCryptoProvider);
        }
        let stack = || {
            reqwest::Client::builder()
                .user_agent(concat!("imagemill-dashscope/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(self.timeouts.connect)
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .referer(false)
                .no_proxy()
                .http1_only()
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|source| BuildClientError::Stack { source: source.into() })
        };
        Ok(Client {
            pooled: build(stack())?,
            single: build(stack().pool_max_idle_per_host(0).connector_layer(Ready))?,
            authorization: authorization_header(&self.key),
            workspace: self.workspace.as_ref().map(workspace_header),
            timeouts: self.timeouts,
            base_url: self.base_url,
        })
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildClientError {
    /// Nobody has chosen how to encrypt.
    #[error(
        "no crypto provider is installed: the program must install one of rustls's before it builds a client"
    )]
    NoCryptoProvider,
    /// The HTTP stack refuses to start.
    #[error("the HTTP stack cannot be set up")]
    Stack {
        /// Its reason.
        source: BoxError,
    },
}
