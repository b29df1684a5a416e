//! The downloader against servers that do as they please.

use std::time::Duration;

use crate::support::{Reply, Server, Step, answer, head, image};
use archive::{
    ByteBudget, DownloadSettings, Downloader, FetchError, FetchedImage, LinkRefusal, ResultHosts,
    Sha256Digest, Waiting,
    png::{Looks, PngFault},
};
use dashscope::ImageUrl;

const TARGET: &str =
    "/1d/a%2fb%20c.png?Expires=1775000000&OSSAccessKeyId=LTAI5t&Signature=s3cr3t%2B%2f+%3d&x&&y=~*";
const PNG: (&str, &str) = ("content-type", "image/png");

fn settings() -> DownloadSettings {
    DownloadSettings {
        hosts: ResultHosts::none().allow("127.0.0.1").unwrap(),
        body_bytes_max: 1024 * 1024,
        ..DownloadSettings::default()
    }
}

fn budget() -> ByteBudget {
    ByteBudget::new(4 * 1024 * 1024)
}

async fn fetch(settings: DownloadSettings, link: &ImageUrl) -> Result<FetchedImage, FetchError> {
    let budget = budget();
    let fetched = Downloader::new(settings).unwrap().fetch(link, &budget).await;
    if fetched.is_err() {
        assert_eq!(budget.free_bytes(), budget.total_bytes(), "a failure gives its bytes back");
    }
    fetched
}

/// What a fetch comes to when the server does this.
async fn fetch_from(reply: Reply) -> Result<FetchedImage, FetchError> {
    let server = Server::start(move |_| reply.clone()).await;
    fetch(settings(), &server.link(TARGET)).await
}

/// The error, after a look at all that it prints.
async fn failure_from(reply: Reply) -> FetchError {
    let error = fetch_from(reply).await.map(|fetched| fetched.facts).unwrap_err();
    assert_no_secret(&error);
    error
}

fn assert_no_secret(error: &FetchError) {
    let mut printed = String::new();
    let mut level: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = level {
        printed += &format!(" {current} {current:?}");
        level = current.source();
    }
    for secret in ["1d/a", "Signature=", "s3cr3t", "LTAI5t"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test]
async fn a_whole_image_arrives_byte_for_byte_by_a_bare_get() {
    let file = image(300, 200, 1);
    let sent = file.clone();
    let server = Server::start(move |_| answer(200, &[PNG], &sent)).await;
    let fetched = fetch(settings(), &server.link(TARGET)).await.unwrap();
    assert_eq!(fetched.body, file);
    assert_eq!((fetched.facts.width, fetched.facts.height), (300, 200));
    assert_eq!(fetched.facts.bytes, file.len() as u64);
    assert_eq!(fetched.facts.sha256, Sha256Digest::of(&file));
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", TARGET));
    let names: Vec<&str> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["accept", "host"], "nothing that is signed, nothing that is ours");
    assert!(seen[0].body.is_empty());
}

#[tokio::test]
async fn an_image_of_unknown_length_arrives_and_keeps_only_its_own_bytes_of_the_budget() {
    let file = image(300, 200, 2);
    let chunked = |file: &[u8]| {
        let mut body = head(200, &[PNG, ("transfer-encoding", "chunked")]);
        for chunk in file.chunks(1000) {
            body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        vec![Step::Send(body)]
    };
    let until_close = |file: &[u8]| vec![Step::Send([&head(200, &[PNG]), file].concat())];
    for reply in [chunked(&file), until_close(&file)] {
        let fetched = fetch_from(reply).await.unwrap();
        assert_eq!(fetched.body, file);
        assert!(fetched.reservation.bytes() < file.len() as u64 + 4096);
    }
}

#[tokio::test]
async fn a_short_body_behind_a_clean_200_is_cut() {
    let file = image(300, 200, 3);
    for length in [1, 8, 33, file.len() / 2, file.len() - 1] {
        let short = &file[..length];
        for reply in [answer(200, &[PNG], short), vec![Step::Send([&head(200, &[PNG]), short].concat())]] {
            let error = failure_from(reply).await;
            let FetchError::Cut { received, source: None, .. } = error else { panic!("{error:?}") };
            assert_eq!(received, length as u64);
        }
    }
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_cut() {
    let file = image(300, 200, 4);
    let announced = (file.len()).to_string();
    let head = head(200, &[("content-length", &announced)]);
    for end in [vec![], vec![Step::Reset]] {
        let mut reply = vec![Step::Send([&head, &file[..file.len() - 10]].concat())];
        reply.extend(end);
        let error = failure_from(reply).await;
        let FetchError::Cut { expected, source: Some(_), .. } = error else { panic!("{error:?}") };
        assert_eq!(expected, Some(file.len() as u64));
        assert!(error.is_retryable() && !error.needs_fresh_link());
    }
}

#[tokio::test]
async fn a_whole_image_that_is_not_as_long_as_announced_is_not_believed() {
    let file = image(20, 20, 5);
    let announced = (file.len() + 1).to_string();
    let mut body = head(200, &[("content-length", &announced), ("transfer-encoding", "chunked")]);
    body.extend(format!("{:x}\r\n", file.len()).bytes());
    body.extend(&file);
    body.extend(b"\r\n0\r\n\r\n");
    let error = failure_from(vec![Step::Send(body)]).await;
    assert!(matches!(error, FetchError::Cut { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_an_image_is_told_and_not_kept() {
    let file = image(20, 20, 6);
    let mut flipped = file.clone();
    flipped[60] ^= 1;
    let html = PngFault::Signature { looks: Looks::Html };
    let json = PngFault::Signature { looks: Looks::Json };
    let damaged = archive::png::verify(&flipped).unwrap_err();
    assert!(matches!(damaged, PngFault::Sum { .. }), "{damaged}");
    let cases: [(&[u8], PngFault); 5] = [
        (b"<!DOCTYPE html><html><body>502</body></html>", html),
        (b"{\"code\":\"InternalError\"}", json),
        (b"", PngFault::Empty),
        (&flipped, damaged),
        (&[file.as_slice(), b"more"].concat(), PngFault::AfterEnd),
    ];
    for (body, expected) in cases {
        let error = failure_from(answer(200, &[PNG], body)).await;
        let FetchError::NotPng { source } = &error else { panic!("{error:?}") };
        assert_eq!(*source, expected);
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(|_| answer(200, &[], b"")).await;
    let location = format!("http://{}/secret", elsewhere.address());
    for status in [301, 302, 303, 307, 308] {
        let error = failure_from(answer(status, &[("location", &location)], b"")).await;
        assert!(matches!(error, FetchError::Unavailable { status: told, .. } if told == status), "{error:?}");
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn refusals_are_told_apart_by_status_and_code() {
    let xml = |code: &str, message: &str| {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>")
            .into_bytes()
    };
    let cases = [
        (403, xml("AccessDenied", "Request has expired."), "link_expired"),
        (403, xml("SignatureDoesNotMatch", "s3cr3t"), "source_denied"),
        (404, xml("NoSuchKey", "The specified key does not exist."), "link_gone"),
        (503, xml("SlowDown", ""), "source_unavailable"),
        (206, image(5, 5, 0), "source_unavailable"),
    ];
    for (status, body, code) in cases {
        assert_eq!(failure_from(answer(status, &[], &body)).await.code(), code);
    }
    // A refusal without end is read no further than it says something.
    let endless = vec![Step::Send([head(403, &[]), vec![b'x'; 100_000]].concat()), Step::Hang];
    assert_eq!(failure_from(endless).await.code(), "source_denied");
}

#[tokio::test]
async fn silence_ends_the_wait_wherever_it_falls() {
    let short = Duration::from_millis(100);
    let server = Server::start(|_| vec![Step::Hang]).await;
    let impatient = DownloadSettings { answer_timeout: short, ..settings() };
    let error = fetch(impatient, &server.link(TARGET)).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { waiting: Waiting::ForTheAnswer }), "{error:?}");
    assert!(error.is_retryable());

    let file = image(300, 200, 7);
    let half = [&head(200, &[("content-length", &file.len().to_string())]), &file[..500]].concat();
    let server = Server::start(move |_| vec![Step::Send(half.clone()), Step::Hang]).await;
    let impatient = DownloadSettings { pause_timeout: short, ..settings() };
    let error = fetch(impatient, &server.link(TARGET)).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Timeout { waiting: Waiting::ForMore { received: 500 } }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_body_that_takes_too_long_in_all_is_given_up() {
    let file = image(300, 200, 7);
    let half = [&head(200, &[("content-length", &file.len().to_string())]), &file[..500]].concat();
    let server = Server::start(move |_| vec![Step::Send(half.clone()), Step::Hang]).await;
    let settings = DownloadSettings { body_timeout: Duration::from_millis(100), ..settings() };
    let error = fetch(settings, &server.link(TARGET)).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { waiting: Waiting::ForTheEnd }), "{error:?}");
}

#[tokio::test]
async fn an_image_over_the_limit_is_refused_when_announced_and_when_it_comes() {
    let max = 1024 * 1024;
    let announced = vec![Step::Send(head(200, &[("content-length", &(max + 1).to_string())])), Step::Hang];
    let error = failure_from(announced).await;
    assert!(matches!(error, FetchError::TooLarge { bytes, .. } if bytes == max + 1), "{error:?}");
    // The start of an image, then data without end.
    let mut endless = [&head(200, &[]), &image(20, 20, 8)[..33], b"\x7f\xff\xff\xffIDAT".as_slice()].concat();
    endless.extend(vec![0; 2 * 1024 * 1024]);
    let error = failure_from(vec![Step::Send(endless)]).await;
    assert!(matches!(error, FetchError::TooLarge { .. }), "{error:?}");
    assert!(!error.is_retryable() && !error.needs_fresh_link());
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_that_is_not_allowed() {
    let server = Server::start(|_| answer(200, &[], b"")).await;
    let settings = DownloadSettings { hosts: ResultHosts::alibaba(), ..settings() };
    let error = fetch(settings, &server.link(TARGET)).await.unwrap_err();
    assert!(
        matches!(&error, FetchError::LinkRefused { host, reason: LinkRefusal::Host } if host == "127.0.0.1")
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_refused_connection_is_told_without_the_link() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let link = ImageUrl::new(format!("http://{address}{TARGET}")).unwrap();
    let error = fetch(settings(), &link).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
    assert!(error.is_retryable());
    assert_no_secret(&error);
}

#[tokio::test]
async fn a_body_is_read_only_when_the_budget_has_room_for_it() {
    let file = image(300, 200, 9);
    let size = file.len() as u64;
    let server = Server::start(move |_| answer(200, &[PNG], &file)).await;
    let budget = ByteBudget::new(size + size / 2);
    let downloader = Downloader::new(settings()).unwrap();
    let link = server.link(TARGET);
    let first = downloader.fetch(&link, &budget).await.unwrap();
    let mut second = Box::pin(downloader.fetch(&link, &budget));
    // The second has its answer, and waits.
    let waits = async {
        while server.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut second => panic!("both images were held at once"),
        () = waits => {}
    }
    drop(first);
    assert!(second.await.is_ok());
}

/// The simulator's and OSS's connections stay open, and one may die between two fetches.
#[tokio::test]
async fn a_kept_connection_that_died_does_not_fail_the_next_fetch() {
    let file = image(20, 20, 10);
    let length = file.len().to_string();
    let kept = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    // Says nothing of closing, then closes.
    let server = Server::start(move |_| vec![Step::Send([kept.as_slice(), &file].concat())]).await;
    let (downloader, budget) = (Downloader::new(settings()).unwrap(), budget());
    for _ in 0..20 {
        downloader.fetch(&server.link(TARGET), &budget).await.unwrap();
    }
}
