//! What every bucket must do.

#![expect(clippy::unwrap_used, reason = "a statement that panics does not hold, and says where")]

use async_trait::async_trait;
use dashscope::ImageUrl;
use job::{ObjectKey, StoredImage};

use super::{Statement, statements};
use crate::ports::{CopyCure, CopyFault, ImageArchive};

/// A bucket under the statements, empty, and links to pictures.
#[async_trait]
pub trait ArchiveBench: Send + Sync {
    /// The port.
    fn archive(&self) -> &dyn ImageArchive;
    /// A link to a picture: to another one for each number, to the same for the same.
    async fn link(&self, number: u32) -> ImageUrl;
    /// A link whose end has come.
    async fn dead_link(&self) -> ImageUrl;
}

/// What is stated.
pub const ARCHIVE: &[Statement<dyn ArchiveBench>] = statements![
    a_copy_may_be_repeated_and_says_what_is_stored,
    another_picture_is_not_copied_over_one_that_is_there,
    a_picture_is_put_over_another_and_that_may_be_repeated,
    a_picture_that_is_gone_is_put_over_nothing,
    a_picture_that_is_another_is_put_over_nothing_now_or_later,
    what_is_not_there_can_be_deleted_and_not_be_read,
    what_is_larger_than_asked_for_is_not_read_and_lies_in_the_object,
    json_is_written_over_json,
    a_dead_link_wants_another_one,
];

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

async fn copy(bench: &dyn ArchiveBench, number: u32, name: &str) -> Result<StoredImage, CopyFault> {
    bench.archive().copy(&bench.link(number).await, &key(name), &[]).await
}

async fn size_of(bench: &dyn ArchiveBench, name: &str) -> Option<u64> {
    let body = bench.archive().read(None, &key(name), 1 << 30).await.unwrap();
    body.map(|body| body.len() as u64)
}

async fn a_copy_may_be_repeated_and_says_what_is_stored(bench: &dyn ArchiveBench) {
    let first = copy(bench, 1, "b/x/0.png").await.unwrap();
    assert_eq!((first.key.clone(), first.sha256.len()), (key("b/x/0.png"), 64));
    assert_eq!(copy(bench, 1, "b/x/0.png").await.unwrap(), first);
    assert_eq!(size_of(bench, "b/x/0.png").await, Some(first.bytes));
    assert_ne!(copy(bench, 2, "b/y/0.png").await.unwrap().sha256, first.sha256);
}

async fn another_picture_is_not_copied_over_one_that_is_there(bench: &dyn ArchiveBench) {
    let first = copy(bench, 1, "b/x/0.png").await.unwrap();
    let refused = copy(bench, 2, "b/x/0.png").await.unwrap_err();
    assert_eq!(refused.cure, CopyCure::Beside);
    assert_eq!(copy(bench, 1, "b/x/0.png").await.unwrap(), first);
}

async fn a_picture_is_put_over_another_and_that_may_be_repeated(bench: &dyn ArchiveBench) {
    copy(bench, 1, "b/x/0.png").await.unwrap();
    let second = copy(bench, 2, "b/x/0.t2.png").await.unwrap();
    let (from, to) = (key("b/x/0.t2.png"), key("b/x/0.png"));
    bench.archive().put_over(&from, &to, &second.sha256).await.unwrap();
    bench.archive().put_over(&from, &to, &second.sha256).await.unwrap();
    bench.archive().delete(&from).await.unwrap();
    bench.archive().put_over(&from, &to, &second.sha256).await.unwrap();
    let stored = copy(bench, 2, "b/x/0.png").await.unwrap();
    assert_eq!(stored.sha256, second.sha256);
    assert_eq!(size_of(bench, "b/x/0.t2.png").await, None);
}

async fn a_picture_that_is_gone_is_put_over_nothing(bench: &dyn ArchiveBench) {
    let first = copy(bench, 1, "b/x/0.png").await.unwrap();
    let second = copy(bench, 2, "b/x/0.t2.png").await.unwrap();
    bench.archive().delete(&key("b/x/0.t2.png")).await.unwrap();
    let gone = bench.archive().put_over(&key("b/x/0.t2.png"), &key("b/x/0.png"), &second.sha256).await;
    assert!(!gone.unwrap_err().later);
    assert_eq!(copy(bench, 1, "b/x/0.png").await.unwrap(), first);
}

async fn a_picture_that_is_another_is_put_over_nothing_now_or_later(bench: &dyn ArchiveBench) {
    let first = copy(bench, 1, "b/x/0.png").await.unwrap();
    copy(bench, 2, "b/x/0.t2.png").await.unwrap();
    let other = bench.archive().put_over(&key("b/x/0.t2.png"), &key("b/y/0.png"), &first.sha256).await;
    assert!(!other.unwrap_err().later);
    assert_eq!(size_of(bench, "b/y/0.png").await, None);
    // Onto itself it is a look.
    bench.archive().put_over(&key("b/x/0.png"), &key("b/x/0.png"), &first.sha256).await.unwrap();
}

async fn what_is_not_there_can_be_deleted_and_not_be_read(bench: &dyn ArchiveBench) {
    bench.archive().delete(&key("b/none/0.png")).await.unwrap();
    assert_eq!(size_of(bench, "b/none/0.png").await, None);
}

async fn what_is_larger_than_asked_for_is_not_read_and_lies_in_the_object(bench: &dyn ArchiveBench) {
    let stored = copy(bench, 1, "b/x/0.png").await.unwrap();
    let refused = bench.archive().read(None, &stored.key, stored.bytes - 1).await.unwrap_err();
    assert!(refused.of_object && !refused.later, "{refused:?}");
}

async fn json_is_written_over_json(bench: &dyn ArchiveBench) {
    let manifest = key("b/x/manifest.json");
    for number in [1, 2] {
        bench.archive().put_json(&manifest, &serde_json::json!({ "number": number })).await.unwrap();
        let body = bench.archive().read(None, &manifest, 1 << 20).await.unwrap().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["number"], number);
    }
}

async fn a_dead_link_wants_another_one(bench: &dyn ArchiveBench) {
    let link = bench.dead_link().await;
    let refused = bench.archive().copy(&link, &key("b/x/0.png"), &[]).await.unwrap_err();
    assert!(matches!(refused.cure, CopyCure::Expired | CopyCure::FreshLink), "{refused:?}");
    assert_eq!(size_of(bench, "b/x/0.png").await, None);
}
