//! Fetches a plain file over https: a list of items that a schedule names. Nothing of it is checked here but its size.
//!
//! Its own client without headers, cookies or a proxy from the environment. Redirects are followed, to https only; what is fetched
//! is no secret, and no secret goes along.

use std::io::Write;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use tokio::time::timeout;
use url::Url;

use crate::cause::Cause;
use crate::tls;

/// Redirects that are followed. Source: ours; a file behind a short link and a CDN takes two.
const REDIRECTS_MAX: usize = 5;

/// The most that opening a connection, and then the head of the answer, may take. Source: ours, as for results.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Why a file could not be fetched. The link is in no message: it may be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The client could not be made.
    #[error("the client could not be set up")]
    Client(#[source] Cause),
    /// There was no usable answer.
    #[error("there was no whole answer")]
    Unanswered(#[source] Cause),
    /// It took too long.
    #[error("it took more than {} s", .0.as_secs())]
    Slow(Duration),
    /// The host said no.
    #[error("the host answered with status {0}")]
    Status(u16),
    /// It is larger than allowed.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// It could not be written down here.
    #[error("it could not be written down")]
    Write(#[source] std::io::Error),
}

/// Fetches the file at `link` into `file`: at most `bytes_max` bytes, within `within`.
///
/// # Errors
///
/// [`FileError`]; `file` may then hold a part.
pub async fn fetch_file(
    link: &Url,
    bytes_max: u64,
    within: Duration,
    file: &mut (impl Write + Send),
) -> Result<(), FileError> {
    let tls = tls::download_config().map_err(|error| FileError::Client(Cause::of(&error)))?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .referer(false)
        .redirect(Policy::custom(to_https_only))
        .connect_timeout(ANSWER_WITHIN)
        .build()
        .map_err(|error| FileError::Client(Cause::of(&error)))?;
    timeout(within, fetch(&client, link, bytes_max, file)).await.map_err(|_| FileError::Slow(within))?
}

fn to_https_only(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error("there are too many redirects")
    } else if attempt.url().scheme() == "https" {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

async fn fetch(
    client: &reqwest::Client,
    link: &Url,
    bytes_max: u64,
    file: &mut (impl Write + Send),
) -> Result<(), FileError> {
    let unanswered = |error: reqwest::Error| FileError::Unanswered(Cause::of(&error.without_url()));
    let answer = timeout(ANSWER_WITHIN, client.get(link.clone()).send());
    let mut response = answer.await.map_err(|_| FileError::Slow(ANSWER_WITHIN))?.map_err(unanswered)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(FileError::Status(response.status().as_u16()));
    }
    let mut bytes = 0_u64;
    while let Some(piece) = response.chunk().await.map_err(unanswered)? {
        bytes += piece.len() as u64;
        if bytes > bytes_max {
            return Err(FileError::TooLarge(bytes_max));
        }
        file.write_all(&piece).map_err(FileError::Write)?;
    }
    Ok(())
}
