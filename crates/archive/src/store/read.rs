//! Everything about objects but writing them.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::{presigning::PresigningConfig, types::ChecksumMode as AskFor};
use bytes::{Bytes, BytesMut};
use dashscope::ImageUrl;
use jiff::Timestamp;
use job::ObjectKey;

use super::{ChecksumMode, ObjectFacts, Operation, SHA256_METADATA, Store, StoreError, StoreErrorKind};
use crate::{cause::Cause, digest::Sha256Digest};

/// The longest life of a presigned link.
///
/// Source: Amazon S3 user guide, "Download and upload objects with presigned URLs" (7 days with Signature Version 4).
/// Applies to: [`Store::presign_get`]. Links made with temporary credentials die with these.
pub const PRESIGN_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The most keys in one page of a list. Source: Amazon S3 API reference, ListObjectsV2.
const PAGE_KEYS_MAX: usize = 1000;

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSummary {
    /// Its key, without the store's prefix. A text, since other writers may name objects as they please.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Its entity tag.
    pub etag: Option<String>,
    /// When it was last written, by the store's clock.
    pub written_at: Option<Timestamp>,
}

impl Store {
    /// Asks whether the bucket is there and open to us. On AWS this takes the right to list it.
    ///
    /// # Errors
    ///
    /// [`StoreError`], most often one that [`StoreError::needs_operator`].
    pub async fn check_bucket(&self) -> Result<(), StoreError> {
        match self.client().head_bucket().bucket(self.bucket()).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::of_sdk(Operation::CheckBucket, Some(self.bucket()), &error)),
        }
    }

    /// What the store says about an object; `None` if there is none. (A missing bucket looks the same: a HEAD has no body.)
    ///
    /// # Errors
    ///
    /// [`StoreError`]. AWS answers 403 for a missing object to those who may not list the bucket.
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectFacts>, StoreError> {
        self.head_full(&self.full_key(key)).await
    }

    pub(super) async fn head_full(&self, key: &str) -> Result<Option<ObjectFacts>, StoreError> {
        let with_sums = self.inner.settings.checksum == ChecksumMode::Sha256;
        let answer = self
            .client()
            .head_object()
            .bucket(self.bucket())
            .key(key)
            .set_checksum_mode(with_sums.then_some(AskFor::Enabled))
            .send()
            .await;
        let answer = match answer.map_err(|error| StoreError::of_sdk(Operation::Head, Some(key), &error)) {
            Ok(answer) => answer,
            Err(error) if error.kind() == StoreErrorKind::NoSuchObject => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata: std::collections::BTreeMap<String, String> = answer
            .metadata()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        let checked_sha256 = answer.checksum_sha256().and_then(|sum| Sha256Digest::parse_base64(sum).ok());
        let claimed = metadata.get(SHA256_METADATA).and_then(|sum| sum.parse().ok());
        Ok(Some(ObjectFacts {
            bytes: count(answer.content_length()),
            sha256: checked_sha256.or(claimed),
            checked_sha256,
            etag: answer.e_tag().map(str::to_owned),
            content_type: answer.content_type().map(str::to_owned),
            metadata,
        }))
    }

    /// The bytes of an object; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreErrorKind::TooLarge`] for an object of more than `bytes_max`, as soon as that is known.
    pub async fn get(&self, key: &ObjectKey, bytes_max: u64) -> Result<Option<Bytes>, StoreError> {
        let key = self.full_key(key);
        let too_large = |bytes| {
            StoreError::new(Operation::Get, Some(&key), StoreErrorKind::TooLarge { bytes, bytes_max })
        };
        let answer = self
            .client()
            .get_object()
            .bucket(self.bucket())
            .key(&key)
            .customize()
            .config_override(self.with_time_for(bytes_max))
            .send()
            .await;
        let mut answer = match answer.map_err(|error| StoreError::of_sdk(Operation::Get, Some(&key), &error))
        {
            Ok(answer) => answer,
            Err(error) if error.kind() == StoreErrorKind::NoSuchObject => return Ok(None),
            Err(error) => return Err(error),
        };
        let stated = count(answer.content_length());
        if stated > bytes_max {
            return Err(too_large(stated));
        }
        let mut body = BytesMut::with_capacity(usize::try_from(stated).unwrap_or(0));
        while let Some(piece) = answer.body.next().await {
            let piece = piece.map_err(|error| {
                StoreError::new(Operation::Get, Some(&key), StoreErrorKind::Connection)
                    .with_cause(Cause::of(&error))
            })?;
            let bytes = (body.len() + piece.len()) as u64;
            if bytes > bytes_max {
                return Err(too_large(bytes));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Some(body.freeze()))
    }

    /// Deletes an object. Where there is none, that is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let key = self.full_key(key);
        let deleted = self.client().delete_object().bucket(self.bucket()).key(&key).send().await;
        match deleted.map_err(|error| StoreError::of_sdk(Operation::Delete, Some(&key), &error)) {
            Err(error) if error.kind() != StoreErrorKind::NoSuchObject => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Up to `max` objects whose keys begin with `prefix` and come after `after`, in the order of their keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<ObjectSummary>, StoreError> {
        let own = &self.inner.prefix;
        let prefix = format!("{own}{prefix}");
        let mut after = after.map(|after| format!("{own}{after}"));
        let mut found: Vec<ObjectSummary> = Vec::new();
        while found.len() < max {
            let page = self
                .client()
                .list_objects_v2()
                .bucket(self.bucket())
                .prefix(&prefix)
                .set_start_after(after.clone())
                .max_keys(i32::try_from((max - found.len()).min(PAGE_KEYS_MAX)).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| StoreError::of_sdk(Operation::List, Some(&prefix), &error))?;
            // Goes on by key and not by token: one way to page, which every store has, and which survives a restart.
            let last = page.contents().last().and_then(|object| object.key()).map(str::to_owned);
            found.extend(page.contents().iter().filter_map(|object| {
                let key = object.key()?;
                Some(ObjectSummary {
                    key: key.strip_prefix(own.as_str()).unwrap_or(key).to_owned(),
                    bytes: count(object.size()),
                    etag: object.e_tag().map(str::to_owned),
                    written_at: object.last_modified().and_then(|time| {
                        Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
                    }),
                })
            }));
            if last.is_none() || page.is_truncated() != Some(true) {
                break;
            }
            after = last;
        }
        found.truncate(max);
        Ok(found)
    }

    /// A link with which anyone can read the object until `now` + `ttl`, at most [`PRESIGN_MAX`]. The store is not called.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreErrorKind::Unsendable`] for a life that is too long.
    pub async fn presign_get(
        &self,
        key: &ObjectKey,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<ImageUrl, StoreError> {
        let key = self.full_key(key);
        let failed = |kind, cause| StoreError::new(Operation::Presign, Some(&key), kind).with_cause(cause);
        let config = PresigningConfig::builder()
            .start_time(SystemTime::from(now))
            .expires_in(ttl)
            .build()
            .map_err(|error| failed(StoreErrorKind::Unsendable, Cause::of(&error)))?;
        let request = self
            .client()
            .get_object()
            .bucket(self.bucket())
            .key(&key)
            .presigned(config)
            .await
            .map_err(|error| StoreError::of_sdk(Operation::Presign, Some(&key), &error))?;
        // Whoever opens the link sends a bare GET.
        if let Some((name, _)) = request.headers().find(|(name, _)| !name.eq_ignore_ascii_case("host")) {
            let text = format!("the link would need the header `{name}`");
            return Err(failed(StoreErrorKind::Unsendable, Cause::text(&text)));
        }
        ImageUrl::new(request.uri().to_owned())
            .map_err(|error| failed(StoreErrorKind::Unsendable, Cause::of(&error)))
    }
}

/// A length as the SDK gives it. Absent and negative ones do not occur in answers of a working store.
fn count(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}
