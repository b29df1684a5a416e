//! Objects in an S3 bucket.
//!
//! Owns the S3 client and the knowledge of where stores differ. Uploads are `Bytes` with a sum made beforehand, in one PUT:
//! a streamed body would go out as `aws-chunked`, which several stores refuse or store wrongly. An upload whose outcome is
//! unknown is settled by asking the store what it holds. Nothing here decides what a key means. Driven by
//! [`crate::Archiver`] and by the worker.

mod compare;
mod connect;
mod copy;
mod error;
mod kind;
mod multipart;
mod put;
mod read;
mod settings;
mod stream;

use std::{fmt, sync::Arc, sync::atomic::AtomicBool};

use aws_sdk_s3::{Client, config::timeout::TimeoutConfig};
use job::ObjectKey;

pub use self::{
    compare::{ObjectFacts, SHA256_METADATA},
    connect::ConnectError,
    error::StoreError,
    kind::{Operation, StoreErrorKind},
    put::{Existing, METADATA_BYTES_MAX, PutOptions, PutOutcome},
    read::{ObjectSummary, PRESIGN_MAX},
    settings::{
        ChecksumMode, ConditionalPut, Credentials, MULTIPART_ABOVE_BYTES, SecretText, Sse, StoreSettings,
        StoreTimeouts, Verify,
    },
    stream::PieceUpload,
};

/// A bucket, or the part of it below a prefix. Clones share connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    settings: StoreSettings,
    /// Empty, or ending in a slash.
    prefix: String,
    /// The tags as the header carries them.
    tagging: Option<String>,
    /// Set once the store has answered that it does not know conditional uploads.
    conditions_unknown: AtomicBool,
}

impl Store {
    /// The key as the store knows it.
    fn full_key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.inner.prefix)
    }

    fn bucket(&self) -> &str {
        &self.inner.settings.bucket
    }

    fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The SDK's settings for one call whose body has `bytes`.
    fn with_time_for(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        let timeouts = &self.inner.settings.timeouts;
        aws_sdk_s3::config::Builder::new().timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(timeouts.connect)
                .operation_attempt_timeout(timeouts.attempt_for(bytes))
                .build(),
        )
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("bucket", &self.inner.settings.bucket)
            .field("prefix", &self.inner.prefix)
            .finish_non_exhaustive()
    }
}
