//! Copies within the bucket, made by the store itself.

use aws_sdk_s3::types::ChecksumAlgorithm;
use job::ObjectKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    ChecksumMode, ObjectFacts, Operation, Store, StoreError, StoreErrorKind, Verify, compare::Resemblance,
};
use crate::digest::Sha256Digest;

/// What is encoded in the name of the object to copy: all but the unreserved characters and the slash.
const IN_COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl Store {
    /// Copies the object at `from` over whatever stands at `to`, if it is the object of the sum `expect`, and makes sure that
    /// the copy is it too. Metadata and tags go along.
    ///
    /// The call may be repeated: if `to` is that object already, nothing is done, even if `from` is gone by then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreErrorKind::NoSuchObject`] if there is nothing to copy, [`StoreErrorKind::Damaged`] if `from` or
    /// the copy is not the object that was meant.
    pub async fn copy_within(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        expect: Sha256Digest,
    ) -> Result<(), StoreError> {
        let (from, to) = (self.full_key(from), self.full_key(to));
        let target = self.head_full(&to).await?;
        let Some(source) = self.head_full(&from).await? else {
            return match target {
                Some(target) if target.resemblance(expect, target.bytes) == Resemblance::Same => Ok(()),
                _ => Err(StoreError::new(Operation::Copy, Some(&from), StoreErrorKind::NoSuchObject)),
            };
        };
        let same = |facts: &ObjectFacts| facts.resemblance(expect, source.bytes) == Resemblance::Same;
        if !same(&source) {
            return Err(StoreError::new(Operation::Copy, Some(&from), StoreErrorKind::Damaged));
        }
        if target.as_ref().is_some_and(same) {
            return Ok(());
        }
        let copied = self.copy(&from, &to, source.etag.as_deref()).await;
        let unsure = match &copied {
            Ok(sum) => self.inner.settings.verify == Verify::Always || *sum != Some(expect),
            Err(error) => error.may_have_happened(),
        };
        if unsure {
            match (self.head_full(&to).await, copied) {
                (Ok(Some(target)), _) if same(&target) => Ok(()),
                (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
                (Ok(_), Ok(_)) => Err(StoreError::new(Operation::Copy, Some(&to), StoreErrorKind::Damaged)),
            }
        } else {
            copied.map(|_| ())
        }
    }

    /// The sum that the store gives for the copy, if it does.
    async fn copy(
        &self,
        from: &str,
        to: &str,
        etag: Option<&str>,
    ) -> Result<Option<Sha256Digest>, StoreError> {
        let source = format!("{}/{from}", self.bucket());
        let (encryption, encryption_key) = self.encryption();
        let with_sums = self.inner.settings.checksum == ChecksumMode::Sha256;
        let answer = self
            .client()
            .copy_object()
            .bucket(self.bucket())
            .key(to)
            .copy_source(utf8_percent_encode(&source, IN_COPY_SOURCE).to_string())
            .set_copy_source_if_match(etag.map(str::to_owned))
            .set_checksum_algorithm(with_sums.then_some(ChecksumAlgorithm::Sha256))
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .send()
            .await
            .map_err(|error| StoreError::of_sdk(Operation::Copy, Some(to), &error))?;
        let sum = answer.copy_object_result().and_then(|result| result.checksum_sha256());
        Ok(sum.and_then(|sum| Sha256Digest::parse_base64(sum).ok()))
    }
}
