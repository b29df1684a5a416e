//! JSON beside the images. What is in it is decided by the worker; here it only becomes an object.

use bytes::Bytes;
use job::ObjectKey;
use serde::Serialize;

use crate::{
    cause::Cause,
    digest::Sha256Digest,
    store::{Existing, Operation, PutOptions, Store, StoreError, StoreErrorKind},
};

impl Store {
    /// Stores `value` as JSON, indented for people, and gives its sum. It replaces what stands at the key: a manifest is
    /// written anew when a job is refreshed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreErrorKind::Unsendable`] for a value that JSON cannot hold.
    pub async fn put_json<T: Serialize + Sync>(
        &self,
        key: &ObjectKey,
        value: &T,
    ) -> Result<Sha256Digest, StoreError> {
        let mut body = serde_json::to_vec_pretty(value).map_err(|error| {
            StoreError::new(Operation::Put, Some(key.as_str()), StoreErrorKind::Unsendable)
                .with_cause(Cause::of(&error))
        })?;
        body.push(b'\n');
        let sha256 = Sha256Digest::of(&body);
        let options = PutOptions {
            content_type: "application/json".to_owned(),
            metadata: Vec::new(),
            cache_control: None,
            sha256,
            existing: Existing::Replace,
        };
        self.put(key, Bytes::from(body), options).await?;
        Ok(sha256)
    }
}
