//! Input images in the store: written at enqueue, linked to when a task is created.
//!
//! An input is named by its own sum, so the same file enqueued a thousand times is one object, and no key ever changes its
//! meaning. Driven by the commands that enqueue and by the worker's submit stage.

use std::time::Duration;

use bytes::Bytes;
use dashscope::ImageUrl;
use jiff::Timestamp;
use job::ObjectKey;

use crate::{
    digest::Sha256Digest,
    store::{Existing, PutOptions, Store, StoreError},
};

/// How long the provider may fetch an input after its task was created.
///
/// Source: task data live for 24 hours; a task that is still queued by then is over.
/// Applies to: [`Store::presign_input`].
pub const INPUT_LINK_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    /// Stores an input image under `inputs/<sha256>` and gives its key. If it is there already, nothing is sent.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn store_input(&self, body: Bytes, content_type: &str) -> Result<ObjectKey, StoreError> {
        let sha256 = Sha256Digest::of(&body);
        let key = input_key(sha256);
        let bytes = body.len() as u64;
        // Inputs repeat across the lines of a batch, and have up to 20 MB.
        if self.head(&key).await?.is_some_and(|facts| facts.is(sha256, bytes)) {
            return Ok(key);
        }
        let options = PutOptions {
            content_type: content_type.to_owned(),
            metadata: Vec::new(),
            cache_control: None,
            sha256,
            // What stands at this key and is not this file was damaged.
            existing: Existing::Replace,
        };
        self.put(&key, body, options).await?;
        Ok(key)
    }

    /// A link to an input, made when its task is created, that lives for [`INPUT_LINK_LIFE`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn presign_input(&self, key: &ObjectKey, now: Timestamp) -> Result<ImageUrl, StoreError> {
        self.presign_get(key, INPUT_LINK_LIFE, now).await
    }
}

/// The key of the input with this sum.
#[must_use]
pub fn input_key(sha256: Sha256Digest) -> ObjectKey {
    ObjectKey::parse(&format!("inputs/{sha256}"))
        .expect("hex digits behind a folder's name are an object key")
}
