//! Uploads to a small S3 in memory that can fail in every way.

use std::time::Duration;

use crate::support::s3::{Abilities, Conditions, FakeS3, Fault};
use archive::{
    ChecksumMode, ConditionalPut, Existing, PutOptions, PutOutcome, Sha256Digest, Sse, Store, StoreErrorKind,
    StoreSettings, StoreTimeouts, Verify,
};
use bytes::Bytes;
use job::ObjectKey;

const BODY: &[u8] = b"the bytes of an image";

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

fn options(body: &[u8]) -> PutOptions {
    PutOptions {
        content_type: "image/png".to_owned(),
        metadata: vec![("job-id".to_owned(), "01J".to_owned())],
        cache_control: Some("max-age=31536000".to_owned()),
        sha256: Sha256Digest::of(body),
        existing: Existing::Keep,
    }
}

async fn put(store: &Store, body: &'static [u8]) -> Result<PutOutcome, StoreErrorKind> {
    let put = store.put(&key("b/sku%2E1/0.png"), Bytes::from_static(body), options(body)).await;
    put.map_err(|error| error.kind())
}

fn stored(s3: &FakeS3) -> Option<Vec<u8>> {
    s3.object("b/sku%2E1/0.png").map(|object| object.body)
}

#[tokio::test]
async fn an_upload_is_one_put_of_known_length_with_its_checksum() {
    let s3 = FakeS3::start().await;
    let settings = StoreSettings {
        prefix: "shop".to_owned(),
        sse: Some(Sse::Kms { key_id: Some("k1".to_owned()) }),
        storage_class: Some("STANDARD_IA".to_owned()),
        tags: vec![("team".to_owned(), "a&b".to_owned())],
        ..s3.settings()
    };
    let store = Store::connect(&settings).await.unwrap();
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
    let seen = s3.server.seen();
    assert_eq!(seen.len(), 1, "one call, no look before or after");
    let put = &seen[0];
    assert_eq!((put.method.as_str(), put.path()), ("PUT", "/jobs/shop/b/sku%252E1/0.png"));
    assert_eq!(put.body, BODY);
    let sum = Sha256Digest::of(BODY);
    for (name, value) in [
        ("content-length", BODY.len().to_string().as_str()),
        ("x-amz-checksum-sha256", sum.to_base64().as_str()),
        ("x-amz-content-sha256", sum.to_string().as_str()),
        ("x-amz-meta-sha256", sum.to_string().as_str()),
        ("x-amz-meta-job-id", "01J"),
        ("content-type", "image/png"),
        ("cache-control", "max-age=31536000"),
        ("if-none-match", "*"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "k1"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-tagging", "team=a%26b"),
    ] {
        assert_eq!(put.header(name), Some(value), "{name}");
    }
    for name in [
        "content-encoding",
        "transfer-encoding",
        "x-amz-trailer",
        "x-amz-decoded-content-length",
        "x-amz-checksum-crc32",
    ] {
        assert_eq!(put.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn without_checksums_the_sum_is_kept_in_the_metadata_and_looked_up() {
    let s3 = FakeS3::with(Abilities { checksums: false, ..Abilities::default() }).await;
    let settings = StoreSettings { checksum: ChecksumMode::WhenRequired, ..s3.settings() };
    let store = Store::connect(&settings).await.unwrap();
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
    assert_eq!(s3.calls(), ["PUT b/sku%2E1/0.png", "HEAD b/sku%2E1/0.png"]);
    let put = &s3.server.seen()[0];
    let sums: Vec<_> = put.headers.iter().filter(|(name, _)| name.starts_with("x-amz-checksum")).collect();
    assert!(sums.is_empty() && put.header("x-amz-trailer").is_none(), "{sums:?}");
    let facts = store.head(&key("b/sku%2E1/0.png")).await.unwrap().unwrap();
    assert_eq!((facts.sha256, facts.checked_sha256), (Some(Sha256Digest::of(BODY)), None));
}

#[tokio::test]
async fn verification_follows_the_settings() {
    for (verify, checksums, calls) in [
        (Verify::Auto, true, 1),
        (Verify::Auto, false, 2),
        (Verify::Always, true, 2),
        (Verify::Never, false, 1),
    ] {
        let s3 = FakeS3::with(Abilities { checksums, ..Abilities::default() }).await;
        let store = Store::connect(&StoreSettings { verify, ..s3.settings() }).await.unwrap();
        assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
        assert_eq!(s3.calls().len(), calls, "{verify:?} {checksums}");
    }
}

#[tokio::test]
async fn the_same_bytes_again_are_already_there() {
    for conditional_put in [ConditionalPut::Auto, ConditionalPut::Off] {
        let s3 = FakeS3::start().await;
        let store = Store::connect(&StoreSettings { conditional_put, ..s3.settings() }).await.unwrap();
        assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
        assert_eq!(put(&store, BODY).await, Ok(PutOutcome::AlreadyThere));
        assert_eq!(stored(&s3).unwrap(), BODY);
    }
}

#[tokio::test]
async fn a_different_object_at_the_key_is_kept_unless_it_is_to_be_replaced() {
    for conditional_put in [ConditionalPut::Auto, ConditionalPut::Off] {
        let s3 = FakeS3::start().await;
        let store = Store::connect(&StoreSettings { conditional_put, ..s3.settings() }).await.unwrap();
        put(&store, b"newer").await.unwrap();
        assert_eq!(put(&store, BODY).await, Err(StoreErrorKind::Occupied));
        assert_eq!(stored(&s3).unwrap(), b"newer");
        let replacing = PutOptions { existing: Existing::Replace, ..options(BODY) };
        let replaced = store.put(&key("b/sku%2E1/0.png"), Bytes::from_static(BODY), replacing).await.unwrap();
        assert_eq!((replaced, stored(&s3).unwrap()), (PutOutcome::Stored, BODY.to_vec()));
    }
}

#[tokio::test]
async fn a_store_that_does_not_know_conditions_is_asked_first_from_then_on() {
    let s3 = FakeS3::with(Abilities { conditions: Conditions::NotImplemented, ..Abilities::default() }).await;
    let store = s3.store().await;
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
    assert_eq!(s3.calls().len(), 3, "refused, asked, written");
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::AlreadyThere));
    assert_eq!(s3.calls().len(), 4, "asked");
    assert_eq!(put(&store, b"other").await, Err(StoreErrorKind::Occupied));
}

#[tokio::test]
async fn a_store_that_ignores_conditions_still_ends_with_the_same_bytes() {
    let s3 = FakeS3::with(Abilities { conditions: Conditions::Ignored, checksums: false }).await;
    let store = s3.store().await;
    for _ in 0..2 {
        assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
    }
    assert_eq!(stored(&s3).unwrap(), BODY);
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_found() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    s3.plan("PUT", Fault::LoseAnswer);
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
    assert_eq!(s3.calls(), ["PUT b/sku%2E1/0.png", "HEAD b/sku%2E1/0.png"]);
}

#[tokio::test]
async fn an_upload_that_the_sdk_sent_again_after_a_lost_answer_meets_its_own_object() {
    let s3 = FakeS3::start().await;
    let timeouts = StoreTimeouts { attempts: 3, ..StoreTimeouts::default() };
    let store = Store::connect(&StoreSettings { timeouts, ..s3.settings() }).await.unwrap();
    s3.plan("PUT", Fault::LoseAnswer);
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::AlreadyThere));
    assert_eq!(s3.calls().iter().filter(|call| call.starts_with("PUT")).count(), 2);
}

#[tokio::test]
async fn an_upload_that_did_not_happen_is_an_error_to_try_again() {
    for (fault, kind) in [
        (Fault::Cut, StoreErrorKind::Connection),
        (Fault::Hang, StoreErrorKind::Timeout),
        (Fault::Answer(500, "InternalError"), StoreErrorKind::ServerFault),
        (Fault::Answer(503, "SlowDown"), StoreErrorKind::Throttled),
    ] {
        let s3 = FakeS3::start().await;
        let store = s3.store().await;
        let mut hurried = s3.settings();
        if matches!(fault, Fault::Hang) {
            hurried.timeouts.attempt = Duration::from_millis(200);
        }
        let hurried = Store::connect(&hurried).await.unwrap();
        s3.plan("PUT", fault.clone());
        let error = hurried.put(&key("b/0.png"), Bytes::from_static(BODY), options(BODY)).await.unwrap_err();
        assert!(error.kind() == kind && error.is_retryable(), "{fault:?}: {error:?}");
        assert!(s3.object("b/0.png").is_none());
        assert_eq!(
            store.put(&key("b/0.png"), Bytes::from_static(BODY), options(BODY)).await.unwrap(),
            PutOutcome::Stored
        );
    }
}

#[tokio::test]
async fn an_error_of_the_store_shows_its_code_and_no_secret() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    s3.plan("PUT", Fault::Answer(403, "AccessDenied"));
    let error = store.put(&key("b/0.png"), Bytes::from_static(BODY), options(BODY)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the store could not take `b/0.png`: access is denied (status 403, AccessDenied)"
    );
    assert!(error.needs_operator() && !error.is_retryable());
    assert_eq!(error.request_id(), Some("R1"));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "because");
    let printed = format!("{error:?} {store:?}");
    assert!(!printed.contains("s3cr3t") && !printed.contains("Signature"), "{printed}");
}

#[tokio::test]
async fn an_object_that_lost_bytes_in_the_store_is_found_out_and_replaced() {
    let s3 = FakeS3::with(Abilities { checksums: false, ..Abilities::default() }).await;
    let store = s3.store().await;
    s3.plan("PUT", Fault::LoseLastByte);
    assert_eq!(put(&store, BODY).await, Err(StoreErrorKind::Damaged));
    assert_eq!(stored(&s3).unwrap().len(), BODY.len() - 1);
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
    assert_eq!(stored(&s3).unwrap(), BODY);
}

#[tokio::test]
async fn an_answer_that_names_another_checksum_is_not_believed() {
    for verify in [Verify::Auto, Verify::Never] {
        let s3 = FakeS3::start().await;
        let store = Store::connect(&StoreSettings { verify, ..s3.settings() }).await.unwrap();
        s3.plan("PUT", Fault::WrongReceipt);
        assert_eq!(put(&store, BODY).await, Err(StoreErrorKind::Damaged));
    }
}

#[tokio::test]
async fn a_large_body_goes_in_parts_each_with_its_sum() {
    let s3 = FakeS3::start().await;
    let body = Bytes::from((0..40_000_000u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let store = Store::connect(&StoreSettings { multipart_above: 1_000_000, ..s3.settings() }).await.unwrap();
    let outcome = store.put(&key("b/0.png"), body.clone(), options(&body)).await.unwrap();
    assert_eq!(outcome, PutOutcome::Stored);
    let object = s3.object("b/0.png").unwrap();
    assert!(object.body == body, "the parts make the whole");
    assert_eq!(object.metadata["sha256"], Sha256Digest::of(&body).to_string());
    let parts: Vec<_> = s3.server.seen().into_iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|part| part.header("x-amz-checksum-sha256").is_some()));
    assert_eq!(
        store.put(&key("b/0.png"), body.clone(), options(&body)).await.unwrap(),
        PutOutcome::AlreadyThere
    );
    assert_eq!(s3.open_uploads(), 0);
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_leaves_none_behind() {
    let body = Bytes::from(vec![7; 20_000_000]);
    for (method, fault, kind) in [
        ("PUT", Fault::Answer(503, "SlowDown"), StoreErrorKind::Throttled),
        ("PUT", Fault::Cut, StoreErrorKind::Connection),
        ("COMPLETE", Fault::Answer(500, "InternalError"), StoreErrorKind::ServerFault),
    ] {
        let s3 = FakeS3::start().await;
        let store =
            Store::connect(&StoreSettings { multipart_above: 1_000_000, ..s3.settings() }).await.unwrap();
        s3.plan(method, fault);
        let error = store.put(&key("b/0.png"), body.clone(), options(&body)).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!((s3.open_uploads(), s3.object("b/0.png")), (0, None));
    }
}

#[tokio::test]
async fn an_upload_in_parts_that_is_given_up_midway_leaves_none_behind() {
    let s3 = FakeS3::start().await;
    let store = Store::connect(&StoreSettings { multipart_above: 1_000_000, ..s3.settings() }).await.unwrap();
    s3.plan("PUT", Fault::Hang);
    let body = Bytes::from(vec![7; 20_000_000]);
    let upload = {
        let (store, body) = (store.clone(), body.clone());
        tokio::spawn(async move { store.put(&key("b/0.png"), body.clone(), options(&body)).await })
    };
    // Not before the hanging part has come: it would hang the next upload.
    until("a part hangs", || s3.calls().iter().any(|call| call.starts_with("PUT"))).await;
    assert_eq!(s3.open_uploads(), 1);
    upload.abort();
    until("it is aborted", || s3.open_uploads() == 0).await;
    assert_eq!(s3.object("b/0.png"), None);
    assert_eq!(store.put(&key("b/0.png"), body.clone(), options(&body)).await.unwrap(), PutOutcome::Stored);
}

/// Waits for something that happens by itself.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after 10 s, still waiting until {what}");
}

#[tokio::test]
async fn a_full_store_waits_for_a_person_and_holds_nothing_half() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    s3.plan("PUT", Fault::Answer(507, "InsufficientStorage"));
    let error = store.put(&key("b/0.png"), Bytes::from_static(BODY), options(BODY)).await.unwrap_err();
    assert!(error.kind() == StoreErrorKind::Full && error.needs_operator(), "{error:?}");
    assert_eq!(stored(&s3), None);
    assert_eq!(put(&store, BODY).await, Ok(PutOutcome::Stored));
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_to_try_again() {
    let s3 = FakeS3::start().await;
    let mut settings = s3.settings();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    settings.endpoint = Some(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    drop(listener);
    let store = Store::connect(&settings).await.unwrap();
    let error = store.put(&key("b/0.png"), Bytes::from_static(BODY), options(BODY)).await.unwrap_err();
    assert!(error.is_retryable() && error.kind() == StoreErrorKind::Connection, "{error:?}");
}

#[tokio::test]
async fn an_upload_in_parts_whose_last_answer_was_lost_is_found() {
    let body = Bytes::from(vec![9; 20_000_000]);
    let s3 = FakeS3::start().await;
    let timeouts = StoreTimeouts { attempts: 3, ..StoreTimeouts::default() };
    let settings = StoreSettings { multipart_above: 1_000_000, timeouts, ..s3.settings() };
    let store = Store::connect(&settings).await.unwrap();
    s3.plan("COMPLETE", Fault::LoseAnswer);
    let outcome = store.put(&key("b/0.png"), body.clone(), options(&body)).await;
    assert_eq!(outcome.unwrap(), PutOutcome::Stored);
    assert!(s3.object("b/0.png").unwrap().body == body);
}

#[tokio::test]
async fn what_is_written_piece_by_piece_is_whole_or_not_there_whatever_its_length() {
    let s3 = FakeS3::start().await;
    let store = Store::connect(&s3.settings()).await.unwrap();
    let key = key("b/sku%2E1/0.png");
    let piece = vec![b'x'; 3 * 1024 * 1024 + 7];
    // Nothing, a little, one part to the byte, and more than two parts.
    for pieces in [0, 1, 5, 12] {
        let mut upload = store.put_pieces(&key, "application/x-ndjson");
        for _ in 0..pieces {
            upload.write(&piece).await.unwrap();
        }
        assert_eq!(upload.end().await.unwrap(), (pieces * piece.len()) as u64);
        assert_eq!(stored(&s3).unwrap(), piece.repeat(pieces), "{pieces}");
    }
    let whole = stored(&s3);
    // Given up on the way: what stood there stands, and no parts are left.
    let mut upload = store.put_pieces(&key, "application/x-ndjson");
    for _ in 0..7 {
        upload.write(&piece).await.unwrap();
    }
    drop(upload);
    until("it is given up", || s3.open_uploads() == 0).await;
    assert_eq!(stored(&s3), whole);
    s3.plan("COMPLETE", Fault::Answer(500, "InternalError"));
    let mut upload = store.put_pieces(&key, "application/x-ndjson");
    for _ in 0..7 {
        upload.write(&piece).await.unwrap();
    }
    assert_eq!(upload.end().await.unwrap_err().kind(), StoreErrorKind::ServerFault);
    until("it is given up", || s3.open_uploads() == 0).await;
    assert_eq!(stored(&s3), whole);
}
