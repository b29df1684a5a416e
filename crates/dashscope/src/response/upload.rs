//! The answer to a request for leave to upload.

use std::fmt;

use super::answer::{Answer, ReplyError};

/// Leave to put files into the provider's temporary store for some minutes. `Debug` hides the signed parts.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadPolicy {
    /// What may be uploaded, signed.
    pub policy: String,
    /// The signature.
    pub signature: String,
    /// Where in the store the file must lie.
    pub upload_dir: String,
    /// The address to post the form to.
    pub upload_host: String,
    /// The store's id of the signer.
    pub oss_access_key_id: String,
    /// The access rule the form must repeat.
    pub x_oss_object_acl: String,
    /// The rule on overwriting the form must repeat.
    pub x_oss_forbid_overwrite: String,
    /// How long the leave lasts, in seconds.
    pub expire_in_seconds: Option<u64>,
    /// The largest file, in MB.
    pub max_file_size_mb: Option<u64>,
}

impl UploadPolicy {
    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// A part is missing: because the service refused, or because the body is something else.
    pub fn read(body: &[u8]) -> Result<Self, ReplyError> {
        let answer = Answer::read(body)?;
        let data = answer.fields().object("data").ok_or_else(|| answer.lacks("data"))?;
        let text = |name: &'static str| data.text(name).ok_or(ReplyError::Missing { field: name });
        let rule = |name: &'static str| {
            // Whether overwriting is forbidden is written as a text or as a flag.
            data.text(name)
                .or_else(|| data.flag(name).map(|flag| flag.to_string()))
                .ok_or(ReplyError::Missing { field: name })
        };
        Ok(Self {
            policy: text("policy")?,
            signature: text("signature")?,
            upload_dir: text("upload_dir")?,
            upload_host: text("upload_host")?,
            oss_access_key_id: text("oss_access_key_id")?,
            x_oss_object_acl: text("x_oss_object_acl")?,
            x_oss_forbid_overwrite: rule("x_oss_forbid_overwrite")?,
            expire_in_seconds: data.count("expire_in_seconds"),
            max_file_size_mb: data.count("max_file_size_mb"),
        })
    }
}

impl fmt::Debug for UploadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadPolicy")
            .field("upload_dir", &self.upload_dir)
            .field("upload_host", &self.upload_host)
            .field("expire_in_seconds", &self.expire_in_seconds)
            .field("max_file_size_mb", &self.max_file_size_mb)
            .finish_non_exhaustive()
    }
}
