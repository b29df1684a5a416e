//! Looks at input links on loopback, as the service looks at public ones.
//!
//! One bounded GET per link, no redirects, no TLS. Links to any other host are never fetched: the simulator stays on
//! this machine.

use std::time::Duration;

use axum::body::Body;
use http::header::HOST;
use http::{Method, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::refusal::Refusal;
use crate::validate::{BYTES_MAX, ImageFacts};

/// How long a fetch may take in all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is behind `link`; `None` if the simulator does not look there.
pub(super) async fn look(link: &str) -> Result<Option<ImageFacts>, Refusal> {
    let Some((host, port, link)) = on_loopback(link) else { return Ok(None) };
    match tokio::time::timeout(TIMEOUT, fetch(&host, port, &link)).await {
        Ok(facts) => facts.map(Some),
        Err(_) => Err(refuse("InvalidURL.Timeout", "Download the media resource timed out.")),
    }
}

/// Host, port and link, if the link is plain HTTP to this machine.
fn on_loopback(link: &str) -> Option<(String, u16, Uri)> {
    let link: Uri = link.parse().ok()?;
    let host = link.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_local =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    (is_local && link.scheme_str() == Some("http")).then(|| (host, link.port_u16().unwrap_or(80), link))
}

async fn fetch(host: &str, port: u16, link: &Uri) -> Result<ImageFacts, Refusal> {
    let refused =
        |_| refuse("InvalidURL.ConnectionRefused", "The connection to the media resource was refused.");
    let failed = |_| refuse("BadRequest.InputDownloadFailed", "Failed to download the media resource.");
    let stream = TcpStream::connect((host, port)).await.map_err(refused)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let target = link.path_and_query().map_or("/", |target| target.as_str());
    let authority = link.authority().map_or(host, |authority| authority.as_str());
    let request = http::Request::builder()
        .method(Method::GET)
        .uri(target)
        .header(HOST, authority)
        .body(Body::empty())
        .expect("a parsed link has a path and a host that fit into a request");
    let response = sender.send_request(request).await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        let message =
            format!("Failed to download the media resource: HTTP status {}.", response.status().as_u16());
        return Err(refuse("BadRequest.InputDownloadFailed", &message));
    }
    let too_large = |_| refuse("InvalidParameter", "The media resource is too large or was cut short.");
    let file = axum::body::to_bytes(Body::new(response.into_body()), BYTES_MAX as usize + 1)
        .await
        .map_err(too_large)?;
    connection.abort();
    ImageFacts::read(&file)
        .ok_or_else(|| refuse("InvalidImageFormat", "The media resource is not a supported image."))
}

fn refuse(code: &str, message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_to_this_machine_is_looked_at() {
        for link in ["http://127.0.0.1:9/a?b=c", "http://localhost/a", "http://[::1]:9/a"] {
            assert!(on_loopback(link).is_some(), "{link}");
        }
        for link in [
            "https://127.0.0.1/a",
            "http://example.com/a",
            "http://127.0.0.1.example.com/a",
            "http://10.0.0.1/a",
        ] {
            assert!(on_loopback(link).is_none(), "{link}");
        }
    }
}
