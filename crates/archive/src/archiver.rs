//! From a link to a stored image: the one path by which results enter the bucket.
//!
//! Owns the order of steps: fetch, check, then store, with the bytes under the budget throughout. It never tries again, never
//! asks the provider and never decides a key. Driven by the worker's archive stage.

use dashscope::ImageUrl;
use job::ObjectKey;
use serde::{Deserialize, Serialize};

use crate::{
    budget::ByteBudget,
    digest::Sha256Digest,
    download::{Downloader, FetchError, FetchedImage},
    store::{Existing, PutOptions, PutOutcome, Store, StoreError},
};

/// The media type of every result. Source: the API page (results are PNG), and the check before each upload.
pub const IMAGE_CONTENT_TYPE: &str = "image/png";

/// Copies results into the store. Clones share everything.
#[derive(Debug, Clone)]
pub struct Archiver {
    downloader: Downloader,
    store: Store,
    budget: ByteBudget,
}

/// What goes with a copy.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// User metadata of the object, such as the job's id. The sum is added.
    pub metadata: Vec<(String, String)>,
    /// The `Cache-Control` of the object.
    pub cache_control: Option<String>,
    /// What to do about a different object at the key.
    pub existing: Existing,
}

/// An image in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// Its key, without the store's prefix.
    pub key: ObjectKey,
    /// Its size.
    pub bytes: u64,
    /// Its sum, made while it came in and given to the store with it.
    pub sha256: Sha256Digest,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// Whether the very same object stood there before this copy.
    pub already_there: bool,
}

impl From<StoredImage> for job::StoredImage {
    fn from(image: StoredImage) -> Self {
        let StoredImage { key, bytes, sha256, width, height, already_there: _ } = image;
        Self { key, bytes, sha256: sha256.to_string(), width, height }
    }
}

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// It could not be fetched; nothing was stored.
    #[error("the image could not be fetched")]
    Fetch(#[source] FetchError),
    /// It was fetched and could not be stored.
    #[error("the image could not be stored")]
    Store(#[source] StoreError),
}

impl CopyError {
    /// Whether the same copy, tried again later, could succeed without anybody's doing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
        }
    }

    /// Whether a new link to the same image could succeed where this one cannot.
    #[must_use]
    pub fn needs_fresh_link(&self) -> bool {
        match self {
            Self::Fetch(error) => error.needs_fresh_link(),
            Self::Store(_) => false,
        }
    }

    /// Whether the store is out of order until a person acts, and the image should wait for that.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::Fetch(_) => false,
            Self::Store(error) => error.needs_operator(),
        }
    }

    /// A short name for records and metrics. Kept stable: it is stored.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fetch(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

impl Archiver {
    /// Puts the parts together. All archivers of a process should share one budget.
    #[must_use]
    pub fn new(downloader: Downloader, store: Store, budget: ByteBudget) -> Self {
        Self { downloader, store, budget }
    }

    /// The store that images go to.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Copies the image behind `link` to `key`. The call may be repeated, and dropped at any moment: the object is there
    /// whole or not at all.
    ///
    /// # Errors
    ///
    /// [`CopyError`], which says whether to try again, whether a new link is needed, and whether a person is.
    pub async fn copy(
        &self,
        link: &ImageUrl,
        key: &ObjectKey,
        options: CopyOptions,
    ) -> Result<StoredImage, CopyError> {
        let fetched = self.downloader.fetch(link, &self.budget).await.map_err(CopyError::Fetch)?;
        // The reservation lives until the upload is over.
        let FetchedImage { body, facts, reservation: _reservation } = fetched;
        let options = PutOptions {
            content_type: IMAGE_CONTENT_TYPE.to_owned(),
            metadata: options.metadata,
            cache_control: options.cache_control,
            sha256: facts.sha256,
            existing: options.existing,
        };
        let outcome = self.store.put(key, body, options).await.map_err(CopyError::Store)?;
        tracing::debug!(
            object.key = %key, bytes = facts.bytes, width = facts.width, height = facts.height,
            already_there = outcome == PutOutcome::AlreadyThere,
            "An image of {} x {} pixels stands at `{key}`", facts.width, facts.height
        );
        Ok(StoredImage {
            key: key.clone(),
            bytes: facts.bytes,
            sha256: facts.sha256,
            width: facts.width,
            height: facts.height,
            already_there: outcome == PutOutcome::AlreadyThere,
        })
    }
}
