//! The bucket behind the archive.

use std::collections::HashMap;
use std::time::Duration;

use archive::{
    Archiver, CopyError, CopyOptions, FetchError, Sha256Digest, Store, StoreError, StoreErrorKind,
    StoreSettings,
};
use async_trait::async_trait;
use bytes::Bytes;
use dashscope::ImageUrl;
use job::{ObjectKey, StoredImage, Timestamp};
use tokio::sync::Mutex;

use super::chain;
use crate::ports::{CopyCure, CopyFault, ImageArchive, StoreFault};

/// [`ImageArchive`] over S3.
pub struct BucketArchive {
    archiver: Archiver,
    /// How to reach the buckets that users name for inputs.
    inputs: Option<StoreSettings>,
    others: Mutex<HashMap<String, Store>>,
}

impl BucketArchive {
    /// The bucket that `archiver` writes to. Inputs in other buckets are read as `inputs` says, if it does.
    pub fn new(archiver: Archiver, inputs: Option<StoreSettings>) -> Self {
        Self { archiver, inputs, others: Mutex::default() }
    }

    /// The store of an input; connected when it is first needed.
    async fn store(&self, bucket: Option<&str>) -> Result<Store, StoreFault> {
        let Some(bucket) = bucket else { return Ok(self.archiver.store().clone()) };
        let mut others = self.others.lock().await;
        if let Some(store) = others.get(bucket) {
            return Ok(store.clone());
        }
        let Some(settings) = &self.inputs else {
            let reason = format!("this worker was not told how to read the bucket `{bucket}`");
            return Err(StoreFault { code: "store_unknown_bucket", reason, later: false, of_object: false });
        };
        let settings = StoreSettings { bucket: bucket.to_owned(), prefix: String::new(), ..settings.clone() };
        let store = Store::connect(&settings).await.map_err(|error| StoreFault {
            code: "store_connect",
            reason: chain(&error),
            later: true,
            of_object: false,
        })?;
        others.insert(bucket.to_owned(), store.clone());
        Ok(store)
    }
}

#[async_trait]
impl ImageArchive for BucketArchive {
    async fn copy(
        &self,
        link: &ImageUrl,
        key: &ObjectKey,
        tags: &[(String, String)],
    ) -> Result<StoredImage, CopyFault> {
        let options = CopyOptions { metadata: tags.to_vec(), ..CopyOptions::default() };
        self.archiver
            .copy(link, key, options)
            .await
            .map(StoredImage::from)
            .map_err(|error| copy_fault(&error))
    }

    async fn put_over(&self, from: &ObjectKey, to: &ObjectKey, sha256: &str) -> Result<(), StoreFault> {
        let expected: Sha256Digest = sha256.parse().map_err(|_| StoreFault {
            code: "bad_record",
            reason: format!("the sum recorded for `{from}` is none"),
            later: false,
            of_object: false,
        })?;
        let store = self.archiver.store();
        let Err(error) = store.copy_within(from, to, expected).await else { return Ok(()) };
        if error.kind() == StoreErrorKind::Damaged
            && let Ok(Some(there)) = store.head(from).await
            && there.sha256 != Some(expected)
        {
            // Somebody else has written there: it will be no other object by waiting.
            let reason = format!("another object than the one that was stored stands at `{from}`");
            return Err(StoreFault { code: "store_other_object", reason, later: false, of_object: false });
        }
        Err(store_fault(&error))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreFault> {
        self.archiver.store().delete(key).await.map_err(|error| store_fault(&error))
    }

    async fn put_json(&self, key: &ObjectKey, value: &serde_json::Value) -> Result<(), StoreFault> {
        self.archiver.store().put_json(key, value).await.map(|_| ()).map_err(|error| store_fault(&error))
    }

    async fn presign(
        &self,
        bucket: Option<&str>,
        key: &ObjectKey,
        life: Duration,
        now: Timestamp,
    ) -> Result<ImageUrl, StoreFault> {
        self.store(bucket).await?.presign_get(key, life, now).await.map_err(|error| store_fault(&error))
    }

    async fn read(
        &self,
        bucket: Option<&str>,
        key: &ObjectKey,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, StoreFault> {
        self.store(bucket).await?.get(key, bytes_max).await.map_err(|error| store_fault(&error))
    }
}

fn copy_fault(error: &CopyError) -> CopyFault {
    let cure = match error {
        CopyError::Store(store) if store.kind() == StoreErrorKind::Occupied => CopyCure::Beside,
        CopyError::Fetch(FetchError::LinkRefused { .. }) if !error.is_retryable() => CopyCure::None,
        CopyError::Fetch(FetchError::LinkExpired) => CopyCure::Expired,
        CopyError::Fetch(FetchError::NotPng { .. } | FetchError::Cut { .. }) => CopyCure::Damaged,
        _ if error.needs_fresh_link() => CopyCure::FreshLink,
        CopyError::Store(store)
            if matches!(store.kind(), StoreErrorKind::Throttled | StoreErrorKind::Timeout) =>
        {
            CopyCure::Fewer
        }
        CopyError::Fetch(FetchError::Unavailable { status: 429 | 503, .. } | FetchError::Timeout { .. }) => {
            CopyCure::Fewer
        }
        _ if error.is_retryable() || error.needs_operator() => CopyCure::Later,
        _ => CopyCure::None,
    };
    CopyFault { code: error.code(), reason: chain(error), cure }
}

pub(super) fn store_fault(error: &StoreError) -> StoreFault {
    StoreFault {
        code: error.code(),
        reason: chain(error),
        later: error.is_retryable() || error.needs_operator(),
        of_object: error.lies_in_object(),
    }
}
