//! `[s3]`: where images go.

use std::path::PathBuf;

use archive::{ChecksumMode, ConditionalPut, Credentials, SecretText, Sse, StoreSettings, Verify};
use url::Url;

use super::layers::{Environment, section};
use super::problem::Problem;
use super::secret::{SecretError, SecretSource};
use super::value::{Bytes, Pairs, Setting, Whole, Wrong, choice, quoted};

section! {
    /// The bucket that images are copied into: AWS S3, or any store that speaks its protocol.
    S3Section {
        /// The bucket. It must exist.
        bucket: Option<String> = None, example "catalogue-images";
        /// The region. Without one, AWS's own files are asked; with an endpoint `us-east-1` is taken.
        region: Option<String> = None, env "AWS_REGION", env "AWS_DEFAULT_REGION", example "eu-central-1";
        /// The store's address, if it is not AWS.
        endpoint: Option<WebAddress> = None, env "AWS_ENDPOINT_URL_S3", env "AWS_ENDPOINT_URL",
            example "http://127.0.0.1:8333";
        /// Whether the bucket stands in the path (most stores one runs oneself) or in the host (AWS, OSS).
        /// Not set: in the path where there is an endpoint outside of amazonaws.com and aliyuncs.com.
        path_style: Option<bool> = None, example "true";
        /// What goes before every key.
        prefix: Option<String> = None, example "imagemill";
        /// `sha256`: each upload carries its sum, and the store refuses what does not match it.
        /// `when_required`: for stores that know no checksums; the sum is kept in the object's metadata.
        checksum: Checksum = Checksum::Sha256;
        /// `auto`: uploads ask the store not to replace another object, until it says that it does not know that. `off`.
        conditional_put: Conditional = Conditional::Auto;
        /// Whether an object is looked at after its upload: `auto` (where the store does not repeat the sum), `always`, `never`.
        verify: VerifyWhen = VerifyWhen::Auto;
        /// A PEM file of further certificates to trust.
        ca_file: Option<PathBuf> = None, example "/etc/ssl/store-ca.pem";
        /// Encryption by the store: `AES256` or `aws:kms`.
        sse: Option<Encryption> = None, example "aws:kms";
        /// The key of `aws:kms`; not set: the account's default.
        kms_key_id: Option<String> = None, example "alias/images";
        /// The storage class: one whose objects can be read at once.
        storage_class: Option<StorageClass> = None, example "STANDARD_IA";
        /// Tags for each object, at most 10.
        tags: Pairs = Pairs::default();
        /// Objects above this size are uploaded in parts.
        multipart_above: Bytes = Bytes(archive::MULTIPART_ABOVE_BYTES);
        /// How often a call is tried before its error counts.
        attempts: Whole<1, 20> = Whole(u64::from(archive::StoreTimeouts::default().attempts));
        /// A fixed key's public half. Not set: what AWS's own tools would use (variables, profiles, roles).
        access_key_id: Option<SecretSource> = None, example "{ env = \"STORE_KEY_ID\" }";
        /// Its secret half.
        secret_access_key: Option<SecretSource> = None, example "{ env = \"STORE_SECRET\" }";
        /// The token of temporary keys.
        session_token: Option<SecretSource> = None, example "{ env = \"STORE_TOKEN\" }";
    }
}

choice! {
    /// `s3.checksum`.
    Checksum {
        /// A sum with each upload.
        Sha256 = "sha256",
        /// What the protocol demands.
        WhenRequired = "when_required",
    }
}

choice! {
    /// `s3.conditional_put`.
    Conditional {
        /// Where the store knows it.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// `s3.verify`.
    VerifyWhen {
        /// Where the answer does not repeat the sum.
        Auto = "auto",
        /// Each time.
        Always = "always",
        /// Not at all.
        Never = "never",
    }
}

choice! {
    /// `s3.sse`.
    Encryption {
        /// With the store's own keys.
        Aes256 = "AES256",
        /// With keys of a key service.
        Kms = "aws:kms",
    }
}

/// Why the store cannot be used as set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreProblem {
    /// No bucket is named.
    #[error("no bucket is set")]
    NoBucket,
    /// A part of the fixed key cannot be had.
    #[error("`s3.{setting}` cannot be read")]
    Secret {
        /// Which part.
        setting: &'static str,
        /// Why.
        source: SecretError,
    },
}

impl S3Section {
    /// For the archive.
    ///
    /// # Errors
    ///
    /// No bucket is named, or a part of a fixed key cannot be had.
    pub(crate) fn settings(&self, environment: &Environment) -> Result<StoreSettings, StoreProblem> {
        let bucket = self.bucket.value.clone().ok_or(StoreProblem::NoBucket)?;
        let endpoint = self.endpoint.value.as_ref().map(|address| address.0.clone());
        let mut settings = StoreSettings::new(bucket);
        settings.path_style =
            self.path_style.value.unwrap_or_else(|| endpoint.as_ref().is_some_and(wants_path_style));
        settings.endpoint = endpoint;
        settings.region.clone_from(&self.region.value);
        settings.prefix = self.prefix.value.clone().unwrap_or_default();
        settings.checksum = match self.checksum.value {
            Checksum::Sha256 => ChecksumMode::Sha256,
            Checksum::WhenRequired => ChecksumMode::WhenRequired,
        };
        settings.conditional_put = match self.conditional_put.value {
            Conditional::Auto => ConditionalPut::Auto,
            Conditional::Off => ConditionalPut::Off,
        };
        settings.verify = match self.verify.value {
            VerifyWhen::Auto => Verify::Auto,
            VerifyWhen::Always => Verify::Always,
            VerifyWhen::Never => Verify::Never,
        };
        settings.ca_file.clone_from(&self.ca_file.value);
        settings.sse = self.sse.value.map(|sse| match sse {
            Encryption::Aes256 => Sse::Aes256,
            Encryption::Kms => Sse::Kms { key_id: self.kms_key_id.value.clone() },
        });
        settings.storage_class = self.storage_class.value.as_ref().map(|class| class.0.clone());
        settings.tags.clone_from(&self.tags.value.0);
        settings.multipart_above = self.multipart_above.value.0;
        settings.timeouts.attempts = self.attempts.value.small();
        settings.credentials = self.credentials(environment)?;
        Ok(settings)
    }

    fn credentials(&self, environment: &Environment) -> Result<Credentials, StoreProblem> {
        let read = |setting, source: &Option<SecretSource>| {
            source
                .as_ref()
                .map(|source| {
                    source.read(environment).map_err(|source| StoreProblem::Secret { setting, source })
                })
                .transpose()
        };
        let id = read("access_key_id", &self.access_key_id.value)?;
        let secret = read("secret_access_key", &self.secret_access_key.value)?;
        let token = read("session_token", &self.session_token.value)?;
        Ok(match (id, secret) {
            (Some(access_key_id), Some(secret)) => Credentials::Static {
                access_key_id,
                secret_access_key: SecretText::new(secret),
                session_token: token.map(SecretText::new),
            },
            _ => Credentials::Environment,
        })
    }

    /// Settings that do not go together.
    pub(crate) fn contradictions(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.access_key_id.value.is_some() != self.secret_access_key.value.is_some() {
            found.push(Problem::of_settings("`s3.access_key_id` and `s3.secret_access_key` go together"));
        }
        if self.kms_key_id.value.is_some() && self.sse.value != Some(Encryption::Kms) {
            found
                .push(Problem::of_settings("`s3.kms_key_id` has a meaning only with `s3.sse = \"aws:kms\"`"));
        }
        if self.tags.value.0.len() > 10 {
            found.push(Problem::of_settings("`s3.tags` has more than the 10 tags that an object may have"));
        }
        found
    }
}

fn wants_path_style(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    !["amazonaws.com", "aliyuncs.com"]
        .iter()
        .any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
}

/// An http or https address without user, password and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebAddress(pub(crate) Url);

impl Setting for WebAddress {
    const WANTED: &'static str = "an address such as \"https://host\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let Ok(url) = Url::parse(text) else {
            return Err(Wrong::new(
                "not an address",
                "it must look like `https://host` or `http://host:port`",
            ));
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            Err(Wrong::new(
                format_args!("a `{}` address", url.scheme()),
                "it must begin with http:// or https://",
            ))
        } else if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            Err(Wrong::new("an address with more in it", "it must have neither user, password nor query"))
        } else {
            Ok(Self(url))
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str().trim_end_matches('/')))
    }
}

/// A storage class whose objects can be read at once: they are checked, copied over stable keys, and fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageClass(String);

impl Setting for StorageClass {
    const WANTED: &'static str = "a storage class such as \"STANDARD_IA\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        // Source: Amazon S3 user guide, storage classes for archiving.
        if ["GLACIER", "DEEP_ARCHIVE"].contains(&text) {
            let hint =
                "images there cannot be read until somebody brings them back; those in `GLACIER_IR` can";
            return Err(Wrong::new(format_args!("the archive class {text}"), hint));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_that_one_runs_oneself_have_the_bucket_in_the_path() {
        for (endpoint, path_style) in [
            ("http://127.0.0.1:8333", true),
            ("https://minio.shop.example", true),
            ("https://s3.eu-central-1.amazonaws.com", false),
            ("https://oss-cn-beijing.aliyuncs.com", false),
            ("https://notaliyuncs.com", true),
        ] {
            assert_eq!(wants_path_style(&endpoint.parse().unwrap()), path_style, "{endpoint}");
        }
    }

    #[test]
    fn a_class_whose_objects_cannot_be_read_is_refused() {
        assert!(
            StorageClass::from_text("GLACIER").is_err() && StorageClass::from_text("DEEP_ARCHIVE").is_err()
        );
        assert!(StorageClass::from_text("GLACIER_IR").is_ok() && StorageClass::from_text("cold").is_ok());
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        let wrong = WebAddress::from_text("http://u:s3cret@h/").unwrap_err();
        assert!(!wrong.what.contains("s3cret"), "{wrong:?}");
        assert!(WebAddress::from_text("ftp://h").is_err());
        assert!(WebAddress::from_text("h:80").is_err());
    }
}
