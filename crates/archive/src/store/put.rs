//! Uploads, and what becomes of those whose outcome is not known.

use std::sync::atomic::Ordering;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ServerSideEncryption, StorageClass},
};
use bytes::Bytes;
use job::ObjectKey;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    ChecksumMode, ConditionalPut, Operation, SHA256_METADATA, Sse, Store, StoreError, StoreErrorKind, Verify,
    compare::Resemblance,
};
use crate::{cause::Cause, digest::Sha256Digest};

/// The most user metadata, names and values together.
///
/// Source: Amazon S3 user guide, "User-defined object metadata" (2 KB).
/// Applies to: [`PutOptions::metadata`], with our own entry for the sum.
pub const METADATA_BYTES_MAX: usize = 2 * 1024;

/// What goes with an upload.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// The media type, such as `image/png`.
    pub content_type: String,
    /// User metadata. Values may be any text: what HTTP cannot carry is percent-encoded. The sum is added.
    pub metadata: Vec<(String, String)>,
    /// The `Cache-Control` of the object.
    pub cache_control: Option<String>,
    /// The sum of the body, made by the caller while it had the bytes in hand.
    pub sha256: Sha256Digest,
    /// What to do about an object that stands at the key.
    pub existing: Existing,
}

/// What to do about a different object that stands at the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Keep it, and fail with [`StoreErrorKind::Occupied`]: so a worker that was asleep cannot put an old image over a newer
    /// one. It is as good as the store's conditional uploads are.
    #[default]
    Keep,
    /// Replace it.
    Replace,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was written.
    Stored,
    /// The very same object was there already.
    AlreadyThere,
}

/// One upload, with everything the calls need.
pub(super) struct Upload {
    /// With the prefix.
    pub(super) key: String,
    pub(super) body: Bytes,
    pub(super) options: PutOptions,
}

/// The sum that the store's answer to an upload repeats, if it does, and if it is one over the whole object.
pub(super) type Receipt = Option<Sha256Digest>;

impl Store {
    /// Stores `body` under `key`, and returns once the store holds it.
    ///
    /// The call may be repeated, after a crash or by two workers at once: the same bytes under the same key end in
    /// [`PutOutcome::AlreadyThere`]. An object that was written as this one but lost bytes on the way is replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreErrorKind::Occupied`] if a different object stands there and is to be kept.
    pub async fn put(
        &self,
        key: &ObjectKey,
        body: Bytes,
        options: PutOptions,
    ) -> Result<PutOutcome, StoreError> {
        let keep = options.existing == Existing::Keep;
        let upload = Upload { key: self.full_key(key), body, options };
        upload.check_metadata()?;
        if keep && !self.sends_conditions() {
            match self.resemblance_of(&upload).await? {
                Some(Resemblance::Same) => return Ok(PutOutcome::AlreadyThere),
                Some(Resemblance::Other) => return Err(upload.error(StoreErrorKind::Occupied)),
                Some(Resemblance::Damaged) | None => {}
            }
        }
        match self.send(&upload, keep && self.sends_conditions()).await {
            Ok(receipt) => self.confirm(&upload, receipt).await.map(|()| PutOutcome::Stored),
            Err(error) => self.settle(&upload, error).await,
        }
    }

    /// Finds out what an upload without a clean answer came to.
    async fn settle(&self, upload: &Upload, error: StoreError) -> Result<PutOutcome, StoreError> {
        match error.kind() {
            // Also after a try of the SDK's whose answer was lost: its next try meets the object it has written itself.
            StoreErrorKind::Precondition => match self.resemblance_of(upload).await? {
                Some(Resemblance::Same) => Ok(PutOutcome::AlreadyThere),
                Some(Resemblance::Other) => Err(upload.error(StoreErrorKind::Occupied)),
                Some(Resemblance::Damaged) => self.send_over(upload).await,
                // Deleted in between: the next try will find the place empty.
                None => Err(upload.error(StoreErrorKind::Conflict)),
            },
            StoreErrorKind::NotImplemented if self.sends_conditions() => {
                self.inner.conditions_unknown.store(true, Ordering::Relaxed);
                tracing::warn!(
                    bucket = self.bucket(),
                    "The store does not know conditional uploads; objects are asked about before they are written"
                );
                Box::pin(self.put_again(upload)).await
            }
            _ if error.may_have_happened() => match self.resemblance_of(upload).await {
                Ok(Some(Resemblance::Same)) => Ok(PutOutcome::Stored),
                // The first error says more than what came of asking.
                Ok(_) | Err(_) => Err(error),
            },
            _ => Err(error),
        }
    }

    /// Once more, after the store turned out not to know conditions.
    async fn put_again(&self, upload: &Upload) -> Result<PutOutcome, StoreError> {
        if upload.options.existing == Existing::Keep {
            match self.resemblance_of(upload).await? {
                Some(Resemblance::Same) => return Ok(PutOutcome::AlreadyThere),
                Some(Resemblance::Other) => return Err(upload.error(StoreErrorKind::Occupied)),
                Some(Resemblance::Damaged) | None => {}
            }
        }
        self.send_over(upload).await
    }

    /// Writes without a condition.
    async fn send_over(&self, upload: &Upload) -> Result<PutOutcome, StoreError> {
        let receipt = self.send(upload, false).await?;
        self.confirm(upload, receipt).await.map(|()| PutOutcome::Stored)
    }

    /// Makes sure, as the settings ask, that the store holds what was sent.
    async fn confirm(&self, upload: &Upload, receipt: Receipt) -> Result<(), StoreError> {
        let damaged = || upload.error(StoreErrorKind::Damaged);
        match (self.inner.settings.verify, receipt) {
            (_, Some(sum)) if sum != upload.options.sha256 => return Err(damaged()),
            (Verify::Never, _) | (Verify::Auto, Some(_)) => return Ok(()),
            (Verify::Auto, None) | (Verify::Always, _) => {}
        }
        match self.resemblance_of(upload).await? {
            Some(Resemblance::Same) => Ok(()),
            Some(Resemblance::Damaged | Resemblance::Other) | None => Err(damaged()),
        }
    }

    async fn send(&self, upload: &Upload, if_absent: bool) -> Result<Receipt, StoreError> {
        if upload.body.len() as u64 > self.inner.settings.multipart_above {
            self.send_in_parts(upload, if_absent).await
        } else {
            self.send_whole(upload, if_absent).await
        }
    }

    async fn send_whole(&self, upload: &Upload, if_absent: bool) -> Result<Receipt, StoreError> {
        let settings = &self.inner.settings;
        let bytes = upload.body.len();
        let (encryption, encryption_key) = self.encryption();
        let answer = self
            .client()
            .put_object()
            .bucket(self.bucket())
            .key(&upload.key)
            // In memory and with a known length: sent as it is, and again by the SDK if a try fails.
            .body(ByteStream::from(upload.body.clone()))
            .content_length(i64::try_from(bytes).unwrap_or(i64::MAX))
            .content_type(&upload.options.content_type)
            .set_cache_control(upload.options.cache_control.clone())
            .set_metadata(Some(upload.metadata().collect()))
            .set_checksum_sha256(
                (settings.checksum == ChecksumMode::Sha256).then(|| upload.options.sha256.to_base64()),
            )
            .set_if_none_match(if_absent.then(|| "*".to_owned()))
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .set_tagging(self.inner.tagging.clone())
            .customize()
            .config_override(self.with_time_for(bytes as u64))
            .send()
            .await
            .map_err(|error| StoreError::of_sdk(Operation::Put, Some(&upload.key), &error))?;
        Ok(answer.checksum_sha256().and_then(|sum| Sha256Digest::parse_base64(sum).ok()))
    }

    /// How what stands at the upload's key relates to it; `None` if nothing stands there.
    async fn resemblance_of(&self, upload: &Upload) -> Result<Option<Resemblance>, StoreError> {
        let facts = self.head_full(&upload.key).await?;
        Ok(facts.map(|facts| facts.resemblance(upload.options.sha256, upload.body.len() as u64)))
    }

    fn sends_conditions(&self) -> bool {
        self.inner.settings.conditional_put == ConditionalPut::Auto
            && !self.inner.conditions_unknown.load(Ordering::Relaxed)
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.inner.settings.storage_class.as_deref().map(StorageClass::from)
    }

    /// The kind of encryption, and the key for it.
    pub(super) fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.inner.settings.sse {
            None => (None, None),
            Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Sse::Kms { key_id }) => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
        }
    }
}

impl Upload {
    pub(super) fn error(&self, kind: StoreErrorKind) -> StoreError {
        StoreError::new(Operation::Put, Some(&self.key), kind)
    }

    /// The user metadata as it is sent, with our sum.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let sum = (SHA256_METADATA.to_owned(), self.options.sha256.to_string());
        self.options
            .metadata
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case(SHA256_METADATA))
            .map(|(name, value)| (name.to_ascii_lowercase(), header_text(value)))
            .chain([sum])
    }

    /// Stores disagree about what they do with too much of it; none keeps it.
    fn check_metadata(&self) -> Result<(), StoreError> {
        let bytes: usize = self.metadata().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > METADATA_BYTES_MAX {
            let text = format!("the metadata has {bytes} bytes, and {METADATA_BYTES_MAX} are the most");
            return Err(self.error(StoreErrorKind::Unsendable).with_cause(Cause::text(&text)));
        }
        Ok(())
    }
}

/// What a header cannot carry: control characters and all beyond ASCII; `%` too, so that the text can be read back.
const NOT_IN_HEADERS: &AsciiSet = &CONTROLS.add(b'%');

fn header_text(text: &str) -> String {
    utf8_percent_encode(text, NOT_IN_HEADERS).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(metadata: &[(&str, &str)]) -> Upload {
        Upload {
            key: "b/1/0.png".to_owned(),
            body: Bytes::from_static(b"png"),
            options: PutOptions {
                content_type: "image/png".to_owned(),
                metadata: metadata
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                cache_control: None,
                sha256: Sha256Digest::of(b"png"),
                existing: Existing::Keep,
            },
        }
    }

    #[test]
    fn metadata_is_made_fit_for_headers_and_always_holds_our_sum() {
        let upload = upload(&[("Job-Id", "01J"), ("custom-id", "鞋 50%\n"), ("SHA256", "not this")]);
        let sent: Vec<_> = upload.metadata().collect();
        let sum = Sha256Digest::of(b"png").to_string();
        let expected = [("job-id", "01J"), ("custom-id", "%E9%9E%8B 50%25%0A"), ("sha256", sum.as_str())];
        assert_eq!(sent, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn metadata_at_the_limit_is_sent_and_one_byte_more_is_refused() {
        let own = SHA256_METADATA.len() + 64;
        let longest = "x".repeat(METADATA_BYTES_MAX - own - 1);
        assert!(upload(&[("a", &longest)]).check_metadata().is_ok());
        let error = upload(&[("ab", &longest)]).check_metadata().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsendable);
    }
}
