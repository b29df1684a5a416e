//! Fetches a result from the provider's object host and checks it while it streams in.
//!
//! Owns an HTTP client of its own: the link is signed for a bare GET, and the API key must never reach the object host, so
//! there are no default headers, no redirects, no proxies from the environment and no repeats. It writes nothing and never
//! tries again by itself: that is the caller's schedule. Driven by [`crate::Archiver`], and directly by a command that
//! wants a file.

mod answer;
mod error;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use dashscope::ImageUrl;
use reqwest::{Response, Url, header::CONTENT_LENGTH};
use tokio::time::timeout;

pub use self::error::{FetchError, Waiting};
use crate::{
    budget::{ByteBudget, Reservation},
    cause::Cause,
    guard::{GuardedResolver, NoPublicAddress},
    hosts::{LinkRefusal, ResultHosts},
    png::{PngFacts, PngFault, PngVerifier},
    tls,
};

/// How results are fetched.
#[derive(Debug, Clone)]
pub struct DownloadSettings {
    /// Which hosts may be called. Default: [`ResultHosts::alibaba`].
    pub hosts: ResultHosts,
    /// The most that opening a connection may take. Default: 10 s, as the provider's own SDKs allow.
    pub connect_timeout: Duration,
    /// The most that passes between sending the request and the head of the answer. Default: 30 s.
    pub answer_timeout: Duration,
    /// The longest pause within a body. Default: 30 s.
    pub pause_timeout: Duration,
    /// The most that a whole body may take. Default: 5 min, so that 50 MB arrive at 170 kB/s.
    pub body_timeout: Duration,
    /// The most bytes that an image may have. Default: [`BODY_BYTES_MAX`].
    pub body_bytes_max: u64,
}

/// The most bytes that a result may have.
///
/// Source: a 4096 x 4096 image of 4 channels has 64 MiB before compression; doubled, so that no true image is refused.
/// Applies to: each result on its own; [`ByteBudget`] bounds all of them together.
pub const BODY_BYTES_MAX: u64 = 128 * 1024 * 1024;

impl Default for DownloadSettings {
    fn default() -> Self {
        Self {
            hosts: ResultHosts::alibaba(),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            pause_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(300),
            body_bytes_max: BODY_BYTES_MAX,
        }
    }
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the client for results could not be set up")]
pub struct DownloaderError(#[source] Cause);

/// An image in memory, whole and checked.
#[derive(Debug)]
pub struct FetchedImage {
    /// The file, byte for byte as it was sent.
    pub body: Bytes,
    /// What the check found.
    pub facts: PngFacts,
    /// The image's place in the byte budget; keep it for as long as the body.
    pub reservation: Reservation,
}

/// Fetches results. Clones share connections.
#[derive(Debug, Clone)]
pub struct Downloader {
    client: reqwest::Client,
    settings: Arc<DownloadSettings>,
    hosts: Arc<ResultHosts>,
}

impl Downloader {
    /// Makes the client. Needs no crypto provider to be installed in the process and opens no connection.
    ///
    /// # Errors
    ///
    /// [`DownloaderError`] when the TLS library or the HTTP client refuses its settings.
    pub fn new(settings: DownloadSettings) -> Result<Self, DownloaderError> {
        let hosts = Arc::new(settings.hosts.clone());
        let tls = tls::download_config().map_err(|error| DownloaderError(Cause::of(&error)))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(settings.connect_timeout)
            .dns_resolver(GuardedResolver::new(Arc::clone(&hosts)))
            .build()
            .map_err(|error| DownloaderError(Cause::of(&error)))?;
        Ok(Self { client, settings: Arc::new(settings), hosts })
    }

    /// Fetches one image and checks it. Its bytes are taken from `budget` before the body is read.
    ///
    /// # Errors
    ///
    /// [`FetchError`], which says whether to try again and whether a new link is needed first.
    pub async fn fetch(&self, link: &ImageUrl, budget: &ByteBudget) -> Result<FetchedImage, FetchError> {
        let refused = |reason| FetchError::LinkRefused { host: link.host().to_owned(), reason };
        let url = self.hosts.admit(link).map_err(refused)?;
        let response = self.open(url).await?;
        let expected = stated_length(&response);
        let bytes_max = self.settings.body_bytes_max;
        if let Some(bytes) = expected.filter(|bytes| *bytes > bytes_max) {
            return Err(FetchError::TooLarge { bytes, bytes_max });
        }
        // All at once, see `budget`: what no length is known for may turn out to be as large as any.
        let mut reservation = budget.reserve(expected.unwrap_or(bytes_max)).await;
        let reading = self.read_body(response, expected);
        let (body, facts) = timeout(self.settings.body_timeout, reading)
            .await
            .map_err(|_| FetchError::Timeout { waiting: Waiting::ForTheEnd })??;
        reservation.shrink_to(facts.bytes);
        Ok(FetchedImage { body, facts, reservation })
    }

    /// Sends the request and accepts nothing but a 200.
    async fn open(&self, url: Url) -> Result<Response, FetchError> {
        let response = timeout(self.settings.answer_timeout, self.client.get(url).send())
            .await
            .map_err(|_| FetchError::Timeout { waiting: Waiting::ForTheAnswer })?
            .map_err(send_failure)?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let reading = answer::read_refusal(response);
        // What the refusal says helps, but is not worth a long wait.
        let text = timeout(self.settings.pause_timeout, reading).await.unwrap_or_default();
        Err(answer::classify(status, &text))
    }

    async fn read_body(
        &self,
        mut response: Response,
        expected: Option<u64>,
    ) -> Result<(Bytes, PngFacts), FetchError> {
        let bytes_max = self.settings.body_bytes_max;
        // At most `bytes_max`, which was checked, and reserved.
        let mut body = BytesMut::with_capacity(usize::try_from(expected.unwrap_or(0)).unwrap_or(0));
        let mut verifier = PngVerifier::new();
        loop {
            let received = body.len() as u64;
            let next = timeout(self.settings.pause_timeout, response.chunk())
                .await
                .map_err(|_| FetchError::Timeout { waiting: Waiting::ForMore { received } })?
                .map_err(|error| FetchError::Cut {
                    received,
                    expected,
                    source: Some(Cause::of(&error.without_url())),
                })?;
            let Some(piece) = next else { break };
            let bytes = received + piece.len() as u64;
            if bytes > bytes_max {
                return Err(FetchError::TooLarge { bytes, bytes_max });
            }
            verifier.push(&piece).map_err(|source| FetchError::NotPng { source })?;
            body.extend_from_slice(&piece);
        }
        let received = body.len() as u64;
        if expected.is_some_and(|expected| expected != received) {
            return Err(FetchError::Cut { received, expected, source: None });
        }
        match verifier.finish() {
            Ok(facts) => Ok((body.freeze(), facts)),
            // A clean end of the answer, in the middle of the file.
            Err(PngFault::Truncated { .. }) => Err(FetchError::Cut { received, expected, source: None }),
            Err(source) => Err(FetchError::NotPng { source }),
        }
    }
}

/// The length that the answer's head states, whatever framing is used.
fn stated_length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn send_failure(error: reqwest::Error) -> FetchError {
    let mut level: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = level {
        if current.is::<NoPublicAddress>() {
            let host = error.url().and_then(Url::host_str).unwrap_or_default().to_owned();
            return FetchError::LinkRefused { host, reason: LinkRefusal::PrivateAddress };
        }
        level = current.source();
    }
    let error = error.without_url();
    let source = Cause::of(&error);
    if error.is_timeout() {
        FetchError::Timeout { waiting: Waiting::ForTheAnswer }
    } else if error.is_connect() {
        FetchError::Connect { source }
    } else {
        FetchError::Cut { received: 0, expected: None, source: Some(source) }
    }
}
