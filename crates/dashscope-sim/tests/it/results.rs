//! The result host.

use std::time::Duration;

use dashscope_sim::{Config, Pictures, Retention};
use reqwest::Method;
use serde_json::json;

use crate::bench::{Bench, links, quick, send, text_to_image, with_parameters};

const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn link(bench: &Bench) -> String {
    links(&bench.finished(&text_to_image("a")).await).remove(0)
}

#[tokio::test]
async fn a_download_is_a_png_of_the_true_size_and_its_digest_is_in_the_ledger() {
    let bench = Bench::start(quick()).await;
    let done = bench.finished(&with_parameters("a", json!({ "n": 2, "size": "1280*720" }))).await;
    assert!(bench.sim.ledger().tasks[0].served_sha256.iter().all(Option::is_none));
    for (index, link) in links(&done).into_iter().enumerate() {
        let image = bench.download(&link).await;
        assert_eq!((image.status, image.header("content-type")), (200, Some("image/png")));
        assert_eq!(image.header("content-length"), Some(image.body.len().to_string().as_str()));
        let reader = png::Decoder::new(std::io::Cursor::new(&image.body)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (1_280, 720));
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&image.body));
        assert_eq!(bench.sim.ledger().tasks[0].served_sha256[index], Some(digest));
    }
    let digests = &bench.sim.ledger().tasks[0].served_sha256;
    assert_ne!(digests[0], digests[1]);
    assert_eq!(bench.sim.totals().totals.images_served, 2);
}

#[tokio::test]
async fn real_weight_pictures_weigh_megabytes() {
    let bench = Bench::start(Config { pictures: Pictures::REAL_WEIGHT, ..quick() }).await;
    let image = bench.download(&link(&bench).await).await;
    assert!((2_097_152..2_100_000).contains(&image.body.len()), "{}", image.body.len());
}

#[tokio::test]
async fn a_link_is_signed_for_a_bare_get_and_nothing_else() {
    let bench = Bench::start(quick()).await;
    let link = link(&bench).await;
    let refused = |request: reqwest::RequestBuilder| async {
        let answer = send(request).await.unwrap();
        (answer.status, answer.text())
    };
    let (status, _) = refused(bench.http.head(&link)).await;
    assert_eq!(status, 403);
    let (status, body) = refused(bench.http.get(&link).header("content-type", "application/json")).await;
    assert_eq!((status, body.contains("<Code>SignatureDoesNotMatch</Code>")), (403, true));
    let (status, body) = refused(bench.http.get(&link).bearer_auth("sk-test")).await;
    assert_eq!((status, body.contains("<Code>InvalidArgument</Code>")), (400, true));
    let (status, _) = refused(bench.http.request(Method::POST, &link)).await;
    assert_eq!(status, 403);
    let violations = bench.sim.totals().violations;
    assert_eq!(violations.results_by_other_verb, 2);
    assert_eq!((violations.results_with_content_type, violations.results_with_authorization), (1, 1));
    assert_eq!(bench.download(&link).await.status, 200);
}

#[tokio::test]
async fn an_altered_link_does_not_open() {
    let bench = Bench::start(quick()).await;
    let link = link(&bench).await;
    assert!(link.contains("%3D"), "the signature is percent-encoded: {link}");
    for altered in [
        link.replace("%3D", "="),
        link.replace("Expires=1", "Expires=2"),
        format!("{link}&x=1"),
        link.split('?').next().unwrap().to_owned(),
        link.replace("/0.png", "/1.png"),
    ] {
        let answer = bench.download(&altered).await;
        assert_eq!(answer.status, 403, "{altered}");
        assert!(answer.text().contains("<Code>SignatureDoesNotMatch</Code>"));
    }
    assert_eq!(bench.sim.totals().violations.results_with_altered_link, 5);
}

#[tokio::test]
async fn a_link_dies_24_hours_after_the_task_ended() {
    let bench = Bench::start(quick()).await;
    let link = link(&bench).await;
    bench.sim.advance_clock(DAY - Duration::from_secs(2));
    assert_eq!(bench.download(&link).await.status, 200);
    bench.sim.advance_clock(Duration::from_secs(2));
    let expired = bench.download(&link).await;
    assert_eq!((expired.status, expired.header("content-type")), (403, Some("application/xml")));
    let body = expired.text();
    assert!(body.contains("<Code>AccessDenied</Code>") && body.contains("Request has expired."), "{body}");
    assert!(body.contains("<Expires>2026-04-01T12:00:10.000Z</Expires>"), "{body}");
    assert_eq!(bench.sim.totals().violations.results_expired, 1);
}

#[tokio::test]
async fn a_link_may_die_before_its_task_and_be_signed_anew() {
    let retention = Retention { link_s: 60, resign_links: true, ..Retention::default() };
    let bench = Bench::start(Config { retention, ..quick() }).await;
    let id = bench.task(&text_to_image("a")).await;
    bench.sim.advance_clock(Duration::from_secs(20));
    let first = links(&bench.query(&id).await).remove(0);
    bench.sim.advance_clock(Duration::from_secs(61));
    assert_eq!(bench.download(&first).await.status, 403);
    let second = links(&bench.query(&id).await).remove(0);
    assert_eq!(bench.download(&second).await.status, 200);
}

#[tokio::test]
async fn a_part_of_a_picture_can_be_had() {
    let bench = Bench::start(quick()).await;
    let link = link(&bench).await;
    let whole = bench.download(&link).await;
    let part = send(bench.http.get(&link).header("range", "bytes=100-199")).await.unwrap();
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), Some(format!("bytes 100-199/{}", whole.body.len()).as_str()));
    assert_eq!(part.body, whole.body[100..200]);
    assert_eq!(part.header("etag"), whole.header("etag"));
}

#[tokio::test]
async fn links_follow_the_name_by_which_the_client_calls_the_simulator() {
    let bench = Bench::start(quick()).await;
    let id = bench.task(&text_to_image("a")).await;
    bench.sim.advance_clock(Duration::from_secs(20));
    let request = bench.request(Method::GET, &format!("/tasks/{id}")).header("host", "sim.test:8080");
    let answer = send(request).await.unwrap().json();
    assert!(links(&answer)[0].starts_with("http://sim.test:8080/results/"));
}
