//! Objects that are written piece by piece, in bounded memory, when their length is not known beforehand: a batch's manifest.
//!
//! What fits into one part goes out in one PUT, with its sum. More goes out in parts, each with its own sum, one after the other. What
//! stood at the key stands until the last part is there.

use aws_sdk_s3::types::CompletedPart;
use bytes::{Bytes, BytesMut};
use job::ObjectKey;

use super::multipart::{OpenUpload, PART_BYTES};
use super::put::Upload;
use super::{Existing, PutOptions, Store, StoreError, StoreErrorKind};
use crate::digest::Sha256Digest;

/// An object on its way. Dropped before its end, it is given up: nothing of it stays in the bucket.
pub struct PieceUpload {
    store: Store,
    key: ObjectKey,
    content_type: String,
    buffer: BytesMut,
    bytes: u64,
    parts: Option<Parts>,
}

struct Parts {
    upload: Upload,
    open: OpenUpload,
    id: String,
    done: Vec<CompletedPart>,
}

impl Store {
    /// Begins an object that will replace what stands at `key`.
    #[must_use]
    pub fn put_pieces(&self, key: &ObjectKey, content_type: &str) -> PieceUpload {
        PieceUpload {
            store: self.clone(),
            key: key.clone(),
            content_type: content_type.to_owned(),
            buffer: BytesMut::new(),
            bytes: 0,
            parts: None,
        }
    }
}

impl PieceUpload {
    /// Adds to it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the object is then given up.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(piece);
        self.bytes += piece.len() as u64;
        while self.buffer.len() > PART_BYTES {
            let part = self.buffer.split_to(PART_BYTES).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, body: Bytes) -> Result<(), StoreError> {
        if self.parts.is_none() {
            let upload = Upload {
                key: self.store.full_key(&self.key),
                body: Bytes::new(),
                options: self.options(Sha256Digest::of(b"")),
            };
            // Its sum is not known before it is over, so that it is no part of its metadata.
            let id = self.store.begin(&upload, false).await?;
            let open = OpenUpload::new(&self.store, &upload.key, &id);
            self.parts = Some(Parts { upload, open, id, done: Vec::new() });
        }
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let number = i32::try_from(parts.done.len() + 1).unwrap_or(i32::MAX);
        parts.done.push(self.store.send_part(&parts.upload, &parts.id, number, body).await?);
        Ok(())
    }

    fn options(&self, sha256: Sha256Digest) -> PutOptions {
        PutOptions {
            content_type: self.content_type.clone(),
            metadata: Vec::new(),
            cache_control: None,
            sha256,
            existing: Existing::Replace,
        }
    }

    /// Ends it, and returns its size in bytes once the store holds it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreErrorKind::Damaged`] if the store holds another number of bytes.
    pub async fn end(mut self) -> Result<u64, StoreError> {
        let rest = self.buffer.split().freeze();
        if self.parts.is_none() {
            let options = self.options(Sha256Digest::of(&rest));
            self.store.put(&self.key, rest, options).await?;
            return Ok(self.bytes);
        }
        self.send(rest).await?;
        let Some(parts) = self.parts.take() else { return Ok(self.bytes) };
        let Parts { upload, mut open, id, done } = parts;
        // An answer that was lost may have been a good one, and is an error all the same: the whole may be written again.
        self.store.complete(&upload, &id, done, false).await?;
        open.is_over();
        match self.store.head(&self.key).await? {
            Some(facts) if facts.bytes == self.bytes => Ok(self.bytes),
            _ => Err(upload.error(StoreErrorKind::Damaged)),
        }
    }
}
