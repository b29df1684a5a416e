//! Large uploads in parts.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    ChecksumMode, Operation, Store, StoreError, StoreErrorKind,
    put::{Receipt, Upload},
};
use crate::digest::Sha256Digest;

/// The size of a part; the last may be smaller.
///
/// Source: our own choice, between S3's least of 5 MiB and what is cheap to send again.
pub(super) const PART_BYTES: usize = 16 * 1024 * 1024;

/// Parts sent at once. Source: our own choice; a copy shares the line with the other copies of its worker.
const PARTS_AT_ONCE: usize = 3;

impl Store {
    /// Uploads in parts, each with its own sum. What fails is aborted, so that no parts stay behind unseen and paid for, and so is what
    /// is given up midway; those of a process that was killed need the bucket's rule for incomplete uploads.
    pub(super) async fn send_in_parts(
        &self,
        upload: &Upload,
        if_absent: bool,
    ) -> Result<Receipt, StoreError> {
        let upload_id = self.begin(upload, true).await?;
        let mut open = OpenUpload::new(self, &upload.key, &upload_id);
        let sent = match self.send_parts(upload, &upload_id).await {
            Ok(parts) => self.complete(upload, &upload_id, parts, if_absent).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &sent {
            // After an unknown outcome too: on an upload that was completed it does nothing.
            if let Err(left) = self.abort(&upload.key, &upload_id).await {
                tracing::warn!(
                    object.key = %upload.key,
                    "Parts of an upload that failed ({}) may be left in the bucket: {left}", error.code()
                );
            }
        }
        open.is_over();
        sent
    }

    /// Begins an upload, with our sum in the metadata where that is known.
    pub(super) async fn begin(&self, upload: &Upload, sum_known: bool) -> Result<String, StoreError> {
        let (encryption, encryption_key) = self.encryption();
        let answer = self
            .client()
            .create_multipart_upload()
            .bucket(self.bucket())
            .key(&upload.key)
            .content_type(&upload.options.content_type)
            .set_cache_control(upload.options.cache_control.clone())
            .set_metadata(sum_known.then(|| upload.metadata().collect()))
            .set_checksum_algorithm(self.with_sums().then_some(ChecksumAlgorithm::Sha256))
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .set_tagging(self.inner.tagging.clone())
            .send()
            .await
            .map_err(|error| StoreError::of_sdk(Operation::Put, Some(&upload.key), &error))?;
        answer.upload_id().map(str::to_owned).ok_or_else(|| upload.error(StoreErrorKind::ServerFault))
    }

    async fn send_parts(&self, upload: &Upload, upload_id: &str) -> Result<Vec<CompletedPart>, StoreError> {
        stream::iter(parts(&upload.body))
            .map(|(number, part)| self.send_part(upload, upload_id, number, part))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await
    }

    pub(super) async fn send_part(
        &self,
        upload: &Upload,
        upload_id: &str,
        number: i32,
        part: Bytes,
    ) -> Result<CompletedPart, StoreError> {
        let sum = self.with_sums().then(|| Sha256Digest::of(&part).to_base64());
        let bytes = part.len();
        let answer = self
            .client()
            .upload_part()
            .bucket(self.bucket())
            .key(&upload.key)
            .upload_id(upload_id)
            .part_number(number)
            .content_length(i64::try_from(bytes).unwrap_or(i64::MAX))
            .set_checksum_sha256(sum.clone())
            .body(ByteStream::from(part))
            .customize()
            .config_override(self.with_time_for(bytes as u64))
            .send()
            .await
            .map_err(|error| StoreError::of_sdk(Operation::Put, Some(&upload.key), &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag().map(str::to_owned))
            .set_checksum_sha256(sum)
            .build())
    }

    pub(super) async fn complete(
        &self,
        upload: &Upload,
        upload_id: &str,
        parts: Vec<CompletedPart>,
        if_absent: bool,
    ) -> Result<Receipt, StoreError> {
        let answer = self
            .client()
            .complete_multipart_upload()
            .bucket(self.bucket())
            .key(&upload.key)
            .upload_id(upload_id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .set_if_none_match(if_absent.then(|| "*".to_owned()))
            .send()
            .await
            .map_err(|error| StoreError::of_sdk(Operation::Put, Some(&upload.key), &error))?;
        // As a rule a sum of sums, which is no receipt: the object is then asked about.
        Ok(answer.checksum_sha256().and_then(|sum| Sha256Digest::parse_base64(sum).ok()))
    }

    async fn abort(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        let aborted = self
            .client()
            .abort_multipart_upload()
            .bucket(self.bucket())
            .key(key)
            .upload_id(upload_id)
            .send()
            .await;
        match aborted.map_err(|error| StoreError::of_sdk(Operation::Put, Some(key), &error)) {
            // No such upload: it was completed, or aborted, before.
            Err(error) if error.kind() != StoreErrorKind::LostUpload => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn with_sums(&self) -> bool {
        self.inner.settings.checksum == ChecksumMode::Sha256
    }
}

/// An upload that has begun and not ended. Dropped so, as by a worker that is told to stop, it is aborted behind the caller's back.
pub(super) struct OpenUpload {
    store: Store,
    key: String,
    id: Option<String>,
}

impl OpenUpload {
    pub(super) fn new(store: &Store, key: &str, id: &str) -> Self {
        Self { store: store.clone(), key: key.to_owned(), id: Some(id.to_owned()) }
    }

    /// Nothing of it has to be given up any more.
    pub(super) fn is_over(&mut self) {
        self.id = None;
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let (store, key) = (self.store.clone(), std::mem::take(&mut self.key));
        runtime.spawn(async move {
            if let Err(left) = store.abort(&key, &id).await {
                tracing::warn!(object.key = %key, "Parts of an upload that was given up may be left in the bucket: {left}");
            }
        });
    }
}

/// The body in numbered parts, counted from 1. An image has few: the byte limit of a download is far below 10,000 parts.
fn parts(body: &Bytes) -> impl Iterator<Item = (i32, Bytes)> + use<> {
    let body = body.clone();
    (1..).zip((0..body.len()).step_by(PART_BYTES)).map(move |(number, start)| {
        let end = body.len().min(start + PART_BYTES);
        (number, body.slice(start..end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_body_in_order_and_only_the_last_is_small() {
        for length in [1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 4 * PART_BYTES + 7] {
            let body = Bytes::from(vec![7; length]);
            let parts: Vec<_> = parts(&body).collect();
            assert_eq!(parts.iter().map(|(_, part)| part.len()).sum::<usize>(), length);
            assert!(parts[..parts.len() - 1].iter().all(|(_, part)| part.len() == PART_BYTES));
            assert_eq!(
                parts.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
                (1..=parts.len() as i32).collect::<Vec<_>>()
            );
        }
    }
}
