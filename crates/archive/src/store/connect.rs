//! From settings to a client. Opens no connection: [`Store::check_bucket`] does.

use std::{path::PathBuf, sync::Arc, sync::atomic::AtomicBool};

use aws_config::{environment::EnvironmentVariableRegionProvider, meta::region::RegionProviderChain};
use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use job::ObjectKey;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{ChecksumMode, Credentials, Inner, Store, StoreSettings};
use crate::{
    cause::Cause,
    tls::{self, CaFileError},
};

/// The most tags that an object may have. Source: Amazon S3 user guide, "Categorizing your storage using tags".
const TAGS_MAX: usize = 10;

/// The region named where none is known and there is an endpoint: stores that one runs oneself take this one.
const FALLBACK_REGION: &str = "us-east-1";

/// Why a store cannot be used as set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting has a value that no store takes.
    #[error("the store's setting `{setting}` {rule}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What it has to be.
        rule: &'static str,
    },
    /// The file of further certificates is of no use.
    #[error("the certificates in `{}` cannot be used", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CaFileError,
    },
    /// TLS cannot be set up.
    #[error("TLS for the store cannot be set up")]
    Tls {
        /// What the library says.
        source: Cause,
    },
    /// There is neither a region nor an endpoint.
    #[error("no region is set for the store, and neither the environment nor AWS's own files name one")]
    NoRegion,
}

impl Store {
    /// Makes a client from settings. Credentials of the environment are looked for when the first call needs them.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] for settings that no store takes.
    pub async fn connect(settings: &StoreSettings) -> Result<Self, ConnectError> {
        let prefix = checked_prefix(&settings.prefix)?;
        let tagging = checked_tags(&settings.tags)?;
        if settings.bucket.is_empty() || settings.bucket.contains('/') {
            return Err(ConnectError::Setting { setting: "bucket", rule: "must be a bucket's name" });
        }
        let ca_pem = match &settings.ca_file {
            None => None,
            Some(path) => Some(
                tls::read_ca_file(path)
                    .await
                    .map_err(|source| ConnectError::CaFile { path: path.clone(), source })?,
            ),
        };
        let http = tls::s3_http_client(ca_pem).map_err(|source| ConnectError::Tls { source })?;
        let config = configure(settings, http).await?;
        let client = Client::from_conf(config);
        let conditions_unknown = AtomicBool::new(false);
        let settings = settings.clone();
        Ok(Self { inner: Arc::new(Inner { client, settings, prefix, tagging, conditions_unknown }) })
    }
}

async fn configure(settings: &StoreSettings, http: SharedHttpClient) -> Result<Config, ConnectError> {
    let region = settings.region.clone().map(Region::new);
    let mut builder = match &settings.credentials {
        Credentials::Environment => {
            let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
            if region.is_some() || settings.endpoint.is_some() {
                // Without this the chain would ask the instance service of a cloud that we may not be in.
                let chain = RegionProviderChain::first_try(region)
                    .or_else(EnvironmentVariableRegionProvider::new())
                    .or_else(Region::new(FALLBACK_REGION));
                loader = loader.region(chain);
            }
            let shared = loader.load().await;
            if shared.region().is_none() {
                return Err(ConnectError::NoRegion);
            }
            Builder::from(&shared)
        }
        Credentials::Static { access_key_id, secret_access_key, session_token } => {
            let region = match (region, &settings.endpoint) {
                (Some(region), _) => region,
                (None, Some(_)) => Region::new(FALLBACK_REGION),
                (None, None) => return Err(ConnectError::NoRegion),
            };
            let credentials = aws_sdk_s3::config::Credentials::new(
                access_key_id,
                secret_access_key.expose(),
                session_token.as_ref().map(|token| token.expose().to_owned()),
                None,
                "settings",
            );
            Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(region)
                .credentials_provider(credentials)
                .http_client(http)
        }
    };
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    let timeouts = &settings.timeouts;
    Ok(builder
        .force_path_style(settings.path_style)
        // Our own sums are made beforehand and sent as headers, so the SDK never has to wrap a body into `aws-chunked`.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(match settings.checksum {
            ChecksumMode::Sha256 => ResponseChecksumValidation::WhenSupported,
            ChecksumMode::WhenRequired => ResponseChecksumValidation::WhenRequired,
        })
        .retry_config(RetryConfig::standard().with_max_attempts(timeouts.attempts.max(1)))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(timeouts.connect)
                .operation_attempt_timeout(timeouts.attempt)
                .build(),
        )
        .build())
}

/// Empty, or ending in one slash.
fn checked_prefix(prefix: &str) -> Result<String, ConnectError> {
    let trimmed = prefix.trim_end_matches('/');
    if trimmed.is_empty() {
        return Ok(String::new());
    }
    match ObjectKey::parse(trimmed) {
        Ok(key) => Ok(format!("{key}/")),
        Err(_) => Err(ConnectError::Setting {
            setting: "prefix",
            rule: "must be the start of an object key, without a leading slash",
        }),
    }
}

/// The tags as the header carries them: `a=1&b=2`, percent-encoded.
fn checked_tags(tags: &[(String, String)]) -> Result<Option<String>, ConnectError> {
    if tags.len() > TAGS_MAX {
        return Err(ConnectError::Setting { setting: "tags", rule: "must have at most 10 entries" });
    }
    if tags.iter().any(|(name, _)| name.is_empty()) {
        return Err(ConnectError::Setting { setting: "tags", rule: "must have no empty name" });
    }
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pairs: Vec<String> =
        tags.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    Ok((!pairs.is_empty()).then(|| pairs.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_in_one_slash_and_starts_with_none() {
        assert_eq!(checked_prefix("").unwrap(), "");
        assert_eq!(checked_prefix("/").unwrap(), "");
        assert_eq!(checked_prefix("shop").unwrap(), "shop/");
        assert_eq!(checked_prefix("shop/2026//").unwrap(), "shop/2026/");
        for prefix in ["/shop", "a/../b", "a//b"] {
            assert!(checked_prefix(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn tags_are_encoded_and_counted() {
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(checked_tags(&[]).unwrap(), None);
        assert_eq!(checked_tags(&[tag("a b", "1&2"), tag("c", "")]).unwrap().unwrap(), "a%20b=1%262&c=");
        assert!(checked_tags(&vec![tag("a", "b"); TAGS_MAX]).is_ok());
        assert!(checked_tags(&vec![tag("a", "b"); TAGS_MAX + 1]).is_err());
        assert!(checked_tags(&[tag("", "b")]).is_err());
    }

    #[tokio::test]
    async fn settings_that_no_store_takes_are_refused_before_anything_is_called() {
        let keys = Credentials::Static {
            access_key_id: "k".to_owned(),
            secret_access_key: super::super::SecretText::new("s".to_owned()),
            session_token: None,
        };
        let settings = StoreSettings { credentials: keys, ..StoreSettings::new("jobs") };
        assert!(matches!(Store::connect(&settings).await, Err(ConnectError::NoRegion)));
        let settings = StoreSettings { region: Some("eu-central-1".to_owned()), ..settings };
        assert!(Store::connect(&settings).await.is_ok());
        let no_bucket = StoreSettings { bucket: String::new(), ..settings.clone() };
        assert!(matches!(
            Store::connect(&no_bucket).await,
            Err(ConnectError::Setting { setting: "bucket", .. })
        ));
        let no_file = StoreSettings { ca_file: Some("/nonexistent/ca.pem".into()), ..settings };
        assert!(matches!(Store::connect(&no_file).await, Err(ConnectError::CaFile { .. })));
    }
}
