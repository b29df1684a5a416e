//! What has to be known about a store before it is used. Plain values with their defaults; nothing here connects.

use std::{fmt, path::PathBuf, time::Duration};

use url::Url;

/// A text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Who we are to the store.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// What AWS's own tools would use: the environment, profiles, web identity, container and instance roles.
    Environment,
    /// A fixed key.
    Static {
        /// The public half.
        access_key_id: String,
        /// The secret half.
        secret_access_key: SecretText,
        /// The token of temporary keys.
        session_token: Option<SecretText>,
    },
}

/// How uploads are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumMode {
    /// A SHA-256 made beforehand goes with each upload, and the store refuses what does not match it.
    Sha256,
    /// Only what the protocol demands, for stores that know no checksums; the sum is kept in the object's metadata alone.
    WhenRequired,
}

/// Whether an upload may ask the store not to replace an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionalPut {
    /// `If-None-Match: *` is sent, until the store answers that it does not know it. Some stores ignore it in silence.
    Auto,
    /// The store is asked beforehand whether the object is there: no protection against a race.
    Off,
}

/// Whether an object is looked at after its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Only when the store's answer does not repeat the checksum.
    Auto,
    /// Each time.
    Always,
    /// Not at all.
    Never,
}

/// Encryption that the store applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    /// With the store's own keys (`AES256`).
    Aes256,
    /// With keys of a key service (`aws:kms`).
    Kms {
        /// Which key; the account's default if absent.
        key_id: Option<String>,
    },
}

/// How long the store may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreTimeouts {
    /// For opening a connection. Default: 5 s.
    pub connect: Duration,
    /// For one try of a call, beyond what its bytes need. Default: 30 s.
    pub attempt: Duration,
    /// The slowest transfer that is waited for, in bytes per second: one try of an upload or download gets `attempt` and
    /// its bytes at this pace. Default: 128 KiB/s.
    pub bytes_per_second_min: u64,
    /// How often a call is tried in all before the error is given back. Default: 3.
    pub attempts: u32,
}

impl StoreTimeouts {
    /// The most that one try with a body of `bytes` may take.
    #[must_use]
    pub fn attempt_for(&self, bytes: u64) -> Duration {
        self.attempt + Duration::from_secs(bytes / self.bytes_per_second_min.max(1))
    }
}

impl Default for StoreTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            attempt: Duration::from_secs(30),
            bytes_per_second_min: 128 * 1024,
            attempts: 3,
        }
    }
}

/// Bodies above this size are uploaded in parts.
///
/// Source: our own choice. Nearly every result is far below (a 4096 x 4096 image has tens of MB), and one PUT is one call
/// with one checksum; S3 itself would take 5 GiB in one PUT.
/// Applies to: [`StoreSettings::multipart_above`].
pub const MULTIPART_ABOVE_BYTES: u64 = 64 * 1024 * 1024;

/// Where and how objects are stored.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The bucket, which must exist.
    pub bucket: String,
    /// The region. Without one, AWS's own variables and files are asked; then `us-east-1` if there is an endpoint.
    pub region: Option<String>,
    /// The store's address, if it is not AWS.
    pub endpoint: Option<Url>,
    /// Whether the bucket stands in the path (most stores one runs oneself) or in the host (AWS, OSS).
    pub path_style: bool,
    /// How uploads are protected.
    pub checksum: ChecksumMode,
    /// Whether the store is asked not to replace objects.
    pub conditional_put: ConditionalPut,
    /// Whether objects are looked at after the upload.
    pub verify: Verify,
    /// A PEM file of further certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// Put before every key, with a slash between; empty for none.
    pub prefix: String,
    /// Encryption by the store.
    pub sse: Option<Sse>,
    /// The storage class, such as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// Tags for each object, at most 10.
    pub tags: Vec<(String, String)>,
    /// How long the store may take.
    pub timeouts: StoreTimeouts,
    /// Bodies above this many bytes are uploaded in parts.
    pub multipart_above: u64,
    /// Who we are.
    pub credentials: Credentials,
}

impl StoreSettings {
    /// The defaults, for a bucket: AWS with the machine's own credentials, SHA-256, conditional uploads.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            path_style: false,
            checksum: ChecksumMode::Sha256,
            conditional_put: ConditionalPut::Auto,
            verify: Verify::Auto,
            ca_file: None,
            prefix: String::new(),
            sse: None,
            storage_class: None,
            tags: Vec::new(),
            timeouts: StoreTimeouts::default(),
            multipart_above: MULTIPART_ABOVE_BYTES,
            credentials: Credentials::Environment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed_with_the_settings() {
        let mut settings = StoreSettings::new("jobs");
        settings.credentials = Credentials::Static {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: SecretText::new("s3cr3t".to_owned()),
            session_token: Some(SecretText::new("t0k3n".to_owned())),
        };
        let printed = format!("{settings:?}");
        assert!(printed.contains("AKIDEXAMPLE") && printed.contains("[redacted]"));
        assert!(!printed.contains("s3cr3t") && !printed.contains("t0k3n"));
    }

    #[test]
    fn a_large_body_has_more_time() {
        let timeouts = StoreTimeouts::default();
        assert_eq!(timeouts.attempt_for(1024), Duration::from_secs(30));
        assert_eq!(timeouts.attempt_for(64 * 1024 * 1024), Duration::from_secs(30 + 512));
    }
}
