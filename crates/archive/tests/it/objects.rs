//! Copies, reading, lists, links, inputs and JSON against a small S3 in memory.

use std::time::Duration;

use crate::support::s3::{Abilities, FakeS3, Fault, Object};
use archive::{Existing, PutOptions, Sha256Digest, Store, StoreErrorKind, StoreSettings};
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

#[tokio::test]
async fn a_copy_within_the_bucket_is_checked_at_both_ends() {
    for checksums in [true, false] {
        let s3 = FakeS3::with(Abilities { checksums, ..Abilities::default() }).await;
        let store = s3.store().await;
        let (from, to) = (key("b/sku/~t 1%2E/0.png"), key("b/sku/0.png"));
        store.put(&from, Bytes::from_static(BODY), options(BODY)).await.unwrap();
        store.put(&to, Bytes::from_static(b"older"), options(b"older")).await.unwrap();
        let sum = Sha256Digest::of(BODY);
        store.copy_within(&from, &to, sum).await.unwrap();
        assert_eq!(s3.object("b/sku/0.png").unwrap().body, BODY);
        let facts = store.head(&to).await.unwrap().unwrap();
        assert!(facts.is(sum, BODY.len() as u64));
        // Again, and again after the first is gone.
        store.copy_within(&from, &to, sum).await.unwrap();
        store.delete(&from).await.unwrap();
        store.copy_within(&from, &to, sum).await.unwrap();
        let copies =
            s3.server.seen().iter().filter(|request| request.header("x-amz-copy-source").is_some()).count();
        assert_eq!(copies, 1);
    }
}

#[tokio::test]
async fn a_copy_of_the_wrong_object_or_of_none_is_refused() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    let (from, to) = (key("b/1.png"), key("b/0.png"));
    let meant = Sha256Digest::of(BODY);
    let error = store.copy_within(&from, &to, meant).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NoSuchObject);
    store.put(&from, Bytes::from_static(b"other"), options(b"other")).await.unwrap();
    let error = store.copy_within(&from, &to, meant).await.unwrap_err();
    assert_eq!((error.kind(), s3.object("b/0.png")), (StoreErrorKind::Damaged, None));
}

#[tokio::test]
async fn a_copy_whose_answer_was_lost_or_whose_bytes_were_is_looked_at() {
    let (from, to, sum) = (key("b/1.png"), key("b/0.png"), Sha256Digest::of(BODY));
    let s3 = FakeS3::with(Abilities { checksums: false, ..Abilities::default() }).await;
    let store = s3.store().await;
    store.put(&from, Bytes::from_static(BODY), options(BODY)).await.unwrap();
    s3.plan("PUT", Fault::LoseLastByte);
    assert_eq!(store.copy_within(&from, &to, sum).await.unwrap_err().kind(), StoreErrorKind::Damaged);
    s3.plan("PUT", Fault::LoseAnswer);
    store.copy_within(&from, &to, sum).await.unwrap();
    assert_eq!(s3.object("b/0.png").unwrap().body, BODY);
}

#[tokio::test]
async fn objects_are_read_back_under_a_limit() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    assert_eq!(store.get(&key("b/0.png"), 100).await.unwrap(), None);
    assert_eq!(store.head(&key("b/0.png")).await.unwrap(), None);
    store.put(&key("b/0.png"), Bytes::from_static(BODY), options(BODY)).await.unwrap();
    let size = BODY.len() as u64;
    assert_eq!(store.get(&key("b/0.png"), size).await.unwrap().unwrap(), BODY);
    let error = store.get(&key("b/0.png"), size - 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::TooLarge { bytes: size, bytes_max: size - 1 });
    let facts = store.head(&key("b/0.png")).await.unwrap().unwrap();
    assert_eq!((facts.bytes, facts.content_type.as_deref()), (size, Some("image/png")));
    assert_eq!(facts.metadata["job-id"], "01J");
    store.delete(&key("b/0.png")).await.unwrap();
    store.delete(&key("b/0.png")).await.unwrap();
    assert_eq!(store.head(&key("b/0.png")).await.unwrap(), None);
}

#[tokio::test]
async fn a_list_goes_over_pages_and_starts_where_it_is_told() {
    let s3 = FakeS3::start().await;
    for index in 0..7 {
        s3.put(&format!("shop/b/{index}.png"), Object { body: vec![0; index], ..Object::default() });
    }
    s3.put("shop/c/0.png", Object::default());
    s3.put("elsewhere/b/0.png", Object::default());
    let store = Store::connect(&StoreSettings { prefix: "shop/".to_owned(), ..s3.settings() }).await.unwrap();
    let keys = async |prefix, after, max| {
        let found = store.list(prefix, after, max).await.unwrap();
        found.into_iter().map(|object| object.key).collect::<Vec<_>>()
    };
    let all: Vec<String> = (0..7).map(|index| format!("b/{index}.png")).collect();
    assert_eq!(keys("b/", None, 100).await, all);
    assert_eq!(keys("b/", None, 3).await, all[..3]);
    assert_eq!(keys("b/", Some("b/2.png"), 3).await, all[3..6]);
    assert_eq!(keys("", None, 100).await.len(), 8);
    assert_eq!(keys("none", None, 100).await, Vec::<String>::new());
    let object = &store.list("b/6", None, 1).await.unwrap()[0];
    assert_eq!(
        (object.bytes, object.written_at.unwrap().to_string()),
        (6, "2026-04-01T12:00:00Z".to_owned())
    );
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_said_to_be() {
    let s3 = FakeS3::start().await;
    s3.store().await.check_bucket().await.unwrap();
    let wrong = StoreSettings { bucket: "other".to_owned(), ..s3.settings() };
    let wrong = Store::connect(&wrong).await.unwrap();
    assert_eq!(wrong.check_bucket().await.unwrap_err().kind(), StoreErrorKind::NoSuchBucket);
    let error = wrong.put(&key("b/0.png"), Bytes::from_static(BODY), options(BODY)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NoSuchBucket);
}

#[tokio::test]
async fn a_presigned_link_is_good_for_a_bare_get_and_tells_its_end() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    let now: jiff::Timestamp = "2026-04-01T12:00:00Z".parse().unwrap();
    let link = store.presign_input(&key("inputs/ab"), now).await.unwrap();
    assert_eq!(link.expires_at(), Some("2026-04-02T12:00:00Z".parse().unwrap()));
    let text = link.expose();
    assert!(text.starts_with(&format!("http://{}/jobs/inputs/ab?", s3.server.address())), "{text}");
    assert!(text.contains("X-Amz-SignedHeaders=host&"), "{text}");
    assert!(!format!("{link:?}").contains("X-Amz-Signature"));
    let again = store.presign_input(&key("inputs/ab"), now).await.unwrap();
    assert_eq!(again, link, "the same moment gives the same link");
    let error =
        store.presign_get(&key("x"), archive::PRESIGN_MAX + Duration::from_secs(1), now).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsendable);
    assert!(s3.calls().is_empty());
}

#[tokio::test]
async fn an_input_is_sent_once_however_often_it_is_used() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    let body = Bytes::from_static(b"a shoe");
    let first = store.store_input(body.clone(), "image/jpeg").await.unwrap();
    let again = store.store_input(body.clone(), "image/jpeg").await.unwrap();
    assert_eq!(first, again);
    assert_eq!(first.as_str(), format!("inputs/{}", Sha256Digest::of(&body)));
    assert_eq!(s3.calls().iter().filter(|call| call.starts_with("PUT")).count(), 1);
    assert_eq!(s3.object(first.as_str()).unwrap().content_type, "image/jpeg");
}

#[tokio::test]
async fn json_is_stored_for_people_and_replaced() {
    let s3 = FakeS3::start().await;
    let store = s3.store().await;
    for n in [1, 2] {
        let sum = store.put_json(&key("b/sku/manifest.json"), &serde_json::json!({ "n": n })).await.unwrap();
        let object = s3.object("b/sku/manifest.json").unwrap();
        assert_eq!(object.body, format!("{{\n  \"n\": {n}\n}}\n").as_bytes());
        assert_eq!((object.content_type.as_str(), sum), ("application/json", Sha256Digest::of(&object.body)));
    }
}
