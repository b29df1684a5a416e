//! Faults of the result host, each by name.

use std::time::Duration;

use dashscope_sim::{Act, ContentLength, Fault, On};
use reqwest::StatusCode;

use crate::bench::{Answer, Bench, links, send, text_to_image};

/// Downloads a finished image through the fault, and once more without it.
async fn through(act: Act) -> (Result<Answer, reqwest::Error>, Answer) {
    let bench = Bench::with_fault(Fault::new(On::Result, act).times(1)).await;
    let link = links(&bench.finished(&text_to_image("a")).await).remove(0);
    let struck = send(bench.http.get(&link)).await;
    assert_eq!(bench.sim.faults().report()[0].struck, 1);
    (struck, bench.download(&link).await)
}

#[tokio::test]
async fn a_truncated_download_may_look_perfectly_well() {
    for claim in [ContentLength::Short, ContentLength::Absent] {
        let (struck, whole) = through(Act::Truncated { keep_bytes: None, content_length: claim }).await;
        let struck = struck.unwrap();
        assert_eq!(struck.status, 200);
        assert_eq!(struck.body, whole.body[..whole.body.len() / 2]);
        let length = (claim == ContentLength::Short).then(|| struck.body.len().to_string());
        assert_eq!(struck.header("content-length").map(str::to_owned), length);
    }
}

#[tokio::test]
async fn a_truncated_download_may_break_off() {
    let (struck, _) =
        through(Act::Truncated { keep_bytes: Some(100), content_length: ContentLength::Full }).await;
    let error = struck.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
}

#[tokio::test]
async fn a_download_may_be_empty_or_a_page_of_html() {
    let (struck, _) = through(Act::Empty).await;
    let struck = struck.unwrap();
    assert_eq!((struck.status, struck.body.len(), struck.header("content-length")), (200, 0, Some("0")));
    let (struck, _) = through(Act::WrongType).await;
    let struck = struck.unwrap();
    assert_eq!((struck.status, struck.header("content-type")), (200, Some("text/html")));
}

#[tokio::test]
async fn a_download_may_be_corrupt_with_the_right_length() {
    let (struck, whole) = through(Act::Corrupt).await;
    let struck = struck.unwrap();
    assert_eq!((struck.status, struck.body.len()), (200, whole.body.len()));
    assert_eq!(struck.body.iter().zip(&whole.body).filter(|(one, other)| one != other).count(), 1);
}

#[tokio::test]
async fn a_slow_download_arrives_whole_in_the_end() {
    let bench = Bench::with_fault(Fault::new(On::Result, Act::Slow { bytes_per_s: 20_000 })).await;
    let link = links(&bench.finished(&text_to_image("a")).await).remove(0);
    let hasty = send(bench.http.get(&link).timeout(Duration::from_millis(50))).await;
    assert!(hasty.unwrap_err().is_timeout());
    let patient = bench.download(&link).await;
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&patient.body));
    assert_eq!(bench.sim.ledger().tasks[0].served_sha256, [Some(digest)]);
}

#[tokio::test]
async fn a_download_may_point_elsewhere() {
    let (struck, _) = through(Act::Redirect { to: "http://127.0.0.1:1/elsewhere.png".into() }).await;
    let struck = struck.unwrap();
    assert_eq!((struck.status, struck.header("location")), (302, Some("http://127.0.0.1:1/elsewhere.png")));
}

#[tokio::test]
async fn errors_of_the_result_host_are_xml() {
    let status = Act::Status {
        http: 500,
        code: "InternalError".into(),
        message: "<sorry>".into(),
        retry_after_s: None,
    };
    for (act, http, code) in [
        (Act::SlowDown, StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        (Act::NotFound, StatusCode::NOT_FOUND, "NoSuchKey"),
        (status, StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    ] {
        let (struck, whole) = through(act).await;
        let struck = struck.unwrap();
        assert_eq!((struck.status, struck.header("content-type")), (http.as_u16(), Some("application/xml")));
        assert!(struck.text().contains(&format!("<Code>{code}</Code>")), "{}", struck.text());
        assert!(!struck.text().contains("<sorry>"), "texts are escaped");
        assert_eq!(whole.status, 200);
    }
}

#[tokio::test]
async fn a_download_may_end_without_an_answer() {
    let (struck, whole) = through(Act::RefuseCut).await;
    assert!(struck.unwrap_err().is_request());
    assert_eq!(whole.status, 200);
}
