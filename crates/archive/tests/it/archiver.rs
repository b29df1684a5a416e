//! From a link to an object, over loopback.

use crate::support::{
    Reply, Server, answer, image,
    s3::{FakeS3, Fault},
};
use archive::{
    Archiver, ByteBudget, CopyError, CopyOptions, DownloadSettings, Downloader, FetchError, ResultHosts,
    Sha256Digest, StoredImage,
};
use job::ObjectKey;

async fn archiver(s3: &FakeS3) -> (Archiver, ByteBudget) {
    let hosts = ResultHosts::none().allow("127.0.0.1").unwrap();
    let downloader = Downloader::new(DownloadSettings { hosts, ..DownloadSettings::default() }).unwrap();
    let budget = ByteBudget::new(1024 * 1024);
    (Archiver::new(downloader, s3.store().await, budget.clone()), budget)
}

fn key() -> ObjectKey {
    ObjectKey::parse("b/sku/0.png").unwrap()
}

async fn source(reply: Reply) -> Server {
    Server::start(move |_| reply.clone()).await
}

#[tokio::test]
async fn an_image_is_copied_once_and_found_the_second_time() {
    let file = image(64, 48, 1);
    let s3 = FakeS3::start().await;
    let (archiver, budget) = archiver(&s3).await;
    let source = source(answer(200, &[], &file)).await;
    let link = source.link("/1.png?Signature=x");
    let options = CopyOptions { metadata: vec![("task-id".into(), "t1".into())], ..CopyOptions::default() };
    let image = archiver.copy(&link, &key(), options.clone()).await.unwrap();
    let sha256 = Sha256Digest::of(&file);
    let expected = StoredImage {
        key: key(),
        bytes: file.len() as u64,
        sha256,
        width: 64,
        height: 48,
        already_there: false,
    };
    assert_eq!(image, expected);
    let object = s3.object("b/sku/0.png").unwrap();
    assert_eq!((object.body, object.content_type.as_str()), (file, "image/png"));
    assert_eq!(
        (object.metadata["task-id"].as_str(), &object.metadata["sha256"]),
        ("t1", &sha256.to_string())
    );
    let again = archiver.copy(&link, &key(), options).await.unwrap();
    assert_eq!(again, StoredImage { already_there: true, ..expected });
    assert_eq!(budget.free_bytes(), budget.total_bytes());
    let json = serde_json::to_string(&again).unwrap();
    assert_eq!(serde_json::from_str::<StoredImage>(&json).unwrap(), again);
}

#[tokio::test]
async fn nothing_is_stored_of_what_is_not_a_whole_image() {
    let file = image(64, 48, 2);
    let s3 = FakeS3::start().await;
    let (archiver, _) = archiver(&s3).await;
    for (body, code) in [(&file[..file.len() - 1], "image_cut"), (b"<html>", "not_png"), (b"", "not_png")] {
        let source = source(answer(200, &[], body)).await;
        let error = archiver.copy(&source.link("/1.png"), &key(), CopyOptions::default()).await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable(), error.needs_fresh_link()), (code, true, false));
    }
    let expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired.</Message></Error>";
    let source = source(answer(403, &[], expired)).await;
    let error = archiver.copy(&source.link("/1.png"), &key(), CopyOptions::default()).await.unwrap_err();
    assert!(matches!(error, CopyError::Fetch(FetchError::LinkExpired)));
    assert!(error.needs_fresh_link() && !error.is_retryable());
    assert!(s3.calls().is_empty());
}

#[tokio::test]
async fn a_store_that_is_shut_is_told_from_one_that_stumbles() {
    let s3 = FakeS3::start().await;
    let (archiver, budget) = archiver(&s3).await;
    let source = source(answer(200, &[], &image(8, 8, 3))).await;
    let link = source.link("/1.png");
    for (fault, retryable, operator) in
        [(Fault::Answer(503, "SlowDown"), true, false), (Fault::Answer(403, "AccessDenied"), false, true)]
    {
        s3.plan("PUT", fault);
        let error = archiver.copy(&link, &key(), CopyOptions::default()).await.unwrap_err();
        assert_eq!((error.is_retryable(), error.needs_operator()), (retryable, operator));
        assert!(!error.needs_fresh_link());
        assert_eq!(budget.free_bytes(), budget.total_bytes());
    }
    assert!(archiver.copy(&link, &key(), CopyOptions::default()).await.is_ok());
}
