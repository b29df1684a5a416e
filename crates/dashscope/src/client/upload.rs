//! Files for the provider's temporary store.
//!
//! Two calls: leave from the API, then a form to the store. The key of the account goes to the API only.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use tracing::Instrument as _;

use super::Client;
use super::call_error::{BoxError, CallError};
use super::transport::{NoReply, exchange};
use crate::request::OssUri;
use crate::response::UploadPolicy;
use crate::{BaseUrl, ImageInput, Model};

impl Client {
    /// Asks for leave to upload files for `model`.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn upload_policy(&self, model: Model) -> Result<UploadPolicy, CallError> {
        let span =
            tracing::debug_span!("dashscope.upload_policy", %model, http.status = tracing::field::Empty);
        let query = [("action", "getPolicy"), ("model", model.as_str())];
        let request = self.call(&self.pooled, Method::GET, "/uploads").query(&query);
        self.answer(request, UploadPolicy::read).instrument(span).await
    }

    /// Puts a file where requests for `model` can use it, for 48 hours.
    ///
    /// `file_name` must be new: the store does not overwrite, and calls close to each other share a directory. The provider
    /// documents the store for the Beijing region, and not for production.
    ///
    /// # Errors
    ///
    /// The file was not stored, as far as this side knows. To try again is harmless under another name.
    pub async fn upload_file(
        &self,
        bytes: Bytes,
        file_name: &str,
        model: Model,
    ) -> Result<ImageInput, UploadError> {
        check_name(file_name)?;
        let policy = self.upload_policy(model).await.map_err(|source| UploadError::Policy { source })?;
        let span = tracing::debug_span!(
            "dashscope.upload_file",
            file.bytes = bytes.len(),
            http.status = tracing::field::Empty
        );
        self.put(&policy, bytes, file_name).instrument(span).await
    }

    async fn put(
        &self,
        policy: &UploadPolicy,
        bytes: Bytes,
        file_name: &str,
    ) -> Result<ImageInput, UploadError> {
        let size = bytes.len() as u64;
        let bytes_max = policy.max_file_size_mb.map(|mb| mb.saturating_mul(1024 * 1024));
        if let Some(bytes_max) = bytes_max.filter(|&bytes_max| size > bytes_max) {
            return Err(UploadError::TooLarge { bytes: size, bytes_max });
        }
        // The address comes from the answer: it may not lead from an encrypted API to a store in the clear.
        let host: BaseUrl = policy.upload_host.parse().map_err(|_| UploadError::Host)?;
        if self.base_url.is_https() && !host.is_https() {
            return Err(UploadError::Host);
        }
        let key = format!("{}/{file_name}", policy.upload_dir.trim_end_matches('/'));
        let uri = OssUri::new(format!("oss://{key}")).map_err(|_| UploadError::Host)?;
        let file = Part::stream_with_length(bytes, size).file_name(file_name.to_owned());
        // The store reads the fields in order and stops at the file.
        let form = Form::new()
            .text("OSSAccessKeyId", policy.oss_access_key_id.clone())
            .text("Signature", policy.signature.clone())
            .text("policy", policy.policy.clone())
            .text("key", key)
            .text("x-oss-object-acl", policy.x_oss_object_acl.clone())
            .text("x-oss-forbid-overwrite", policy.x_oss_forbid_overwrite.clone())
            .text("success_action_status", "200")
            .part("file", file);
        let request = self.pooled.post(host.as_str()).timeout(self.timeouts.upload).multipart(form);
        match exchange(request).await {
            Ok(reply) if reply.meta.is_success() => Ok(ImageInput::Temporary(uri)),
            Ok(reply) => Err(UploadError::Store {
                http_status: reply.meta.http_status,
                code: xml_code(&reply.body),
                retry_after: reply.meta.retry_after,
            }),
            Err(NoReply::Connect(source)) => Err(UploadError::NoAnswer { timed_out: false, source }),
            Err(NoReply::Broken { timed_out, source }) => Err(UploadError::NoAnswer { timed_out, source }),
            Err(NoReply::TooLong(meta)) => Err(UploadError::Store {
                http_status: meta.http_status,
                code: None,
                retry_after: meta.retry_after,
            }),
        }
    }
}

fn check_name(file_name: &str) -> Result<(), UploadError> {
    let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '\\' | '?' | '#');
    let good =
        (1..=128).contains(&file_name.len()) && file_name.chars().all(allowed) && !file_name.starts_with('.');
    if good { Ok(()) } else { Err(UploadError::FileName) }
}

/// The code in the store's error, which is XML.
fn xml_code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').take(64).collect())
}

/// Why a file is not in the temporary store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The name is not usable.
    #[error(
        "the file name has 1 to 128 bytes, without white space and slashes, and does not begin with a dot"
    )]
    FileName,
    /// There is no leave.
    #[error("no leave to upload")]
    Policy {
        /// Why.
        source: CallError,
    },
    /// The file is larger than the store takes.
    #[error("the file has {bytes} bytes, and the store takes {bytes_max}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The most.
        bytes_max: u64,
    },
    /// The service named an address that is not usable, or not encrypted.
    #[error("the service named an unusable address for the upload")]
    Host,
    /// The store says no.
    #[error("the store refused the file with HTTP {http_status}{}", code.as_ref().map_or_else(String::new, |code| format!(", {code}")))]
    Store {
        /// Its status.
        http_status: u16,
        /// Its code.
        code: Option<String>,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The store did not answer.
    #[error("no answer from the store")]
    NoAnswer {
        /// Whether the time limit ended the wait.
        timed_out: bool,
        /// The cause.
        source: BoxError,
    },
}

impl UploadError {
    /// Whether the same upload could succeed later, under another name.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Policy { source } => source.is_retryable(),
            Self::Store { http_status, .. } => matches!(http_status, 408 | 429 | 500..),
            Self::FileName | Self::TooLarge { .. } | Self::Host => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_one_harmless_part_of_a_key() {
        for name in ["car.png", "01J-x_y.webp", "图.png", &"x".repeat(128)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b.png", "../x", "a/b", "a\\b", ".x", "a?b", "a\n", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_code_is_found_in_the_stores_xml() {
        let xml = b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>x</Message></Error>";
        assert_eq!(xml_code(xml).as_deref(), Some("AccessDenied"));
        assert_eq!(xml_code(b"oops"), None);
        assert_eq!(xml_code(b"\xFF<Code>"), None);
    }

    #[tokio::test]
    async fn an_encrypted_api_does_not_lead_to_a_store_in_the_clear() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = crate::ApiKey::new("sk-x").unwrap();
        let client = Client::builder("https://127.0.0.1:1/".parse().unwrap(), key).build().unwrap();
        let policy = UploadPolicy {
            policy: "p".to_owned(),
            signature: "s".to_owned(),
            upload_dir: "dir".to_owned(),
            upload_host: "http://127.0.0.1:1".to_owned(),
            oss_access_key_id: "k".to_owned(),
            x_oss_object_acl: "private".to_owned(),
            x_oss_forbid_overwrite: "true".to_owned(),
            expire_in_seconds: None,
            max_file_size_mb: None,
        };
        let refused = client.put(&policy, "x".into(), "a.png").await.unwrap_err();
        assert!(matches!(refused, UploadError::Host), "{refused:?}");
    }
}
