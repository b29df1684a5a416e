//! The provider's temporary storage for input files: policies given out, files taken in.
//!
//! Keeps what is known of a file, never the file. Pure; the server parses the form.
//! Source: Model Studio, "Upload local files", and what the official Python SDK 2.0.2 sends.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::draw::Draw;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::validate::ImageFacts;

/// How long a policy may be used, in seconds. Source: `expire_in_seconds`.
pub(crate) const POLICY_S: i64 = 300;
/// The access key id that the storage shows.
pub(crate) const ACCESS_KEY_ID: &str = "LTAI5tSimulatedAccess0";

/// Policies and files.
#[derive(Debug)]
pub(crate) struct Uploads {
    seed: u64,
    issued: HashMap<String, Issued>,
    files: HashMap<String, File>,
    count: u64,
}

/// A policy that was given out.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) policy: String,
    pub(crate) signature: String,
    pub(crate) dir: String,
    model: Model,
    expires_ms: i64,
}

#[derive(Debug)]
struct File {
    facts: Option<ImageFacts>,
    model: Model,
    expires_ms: i64,
}

/// The fields of an upload form that matter.
#[derive(Debug, Default)]
pub(crate) struct UploadForm {
    pub(crate) fields: HashMap<String, String>,
    pub(crate) file: Option<Vec<u8>>,
}

/// Why the storage refuses an upload: status, code, text.
pub(crate) type StorageRefusal = (u16, &'static str, &'static str);

impl Uploads {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, issued: HashMap::new(), files: HashMap::new(), count: 0 }
    }

    /// Gives out a policy for one model.
    pub(crate) fn issue(&mut self, model: Model, now_ms: i64) -> Issued {
        self.issued.retain(|_, issued| issued.expires_ms > now_ms);
        self.count += 1;
        let number = self.count.to_be_bytes();
        let draw = |purpose| Draw::new(self.seed, purpose, &[&number]);
        let dir = format!(
            "dashscope-instant/{}/{}",
            &hex::encode(draw("upload dir").bytes())[..32],
            draw("upload").uuid()
        );
        let expires_ms = now_ms + POLICY_S * 1_000;
        let document = json!({ "expiration": expires_ms, "conditions": [["starts-with", "$key", dir]] });
        let policy = STANDARD.encode(document.to_string());
        let signature = STANDARD.encode(&draw("upload signature").bytes()[..20]);
        let issued = Issued { policy: policy.clone(), signature, dir, model, expires_ms };
        self.issued.insert(policy, issued.clone());
        issued
    }

    /// Takes a file in, if the form is what its policy allows. `kept_ms` is how long it will live.
    pub(crate) fn accept(
        &mut self,
        form: &UploadForm,
        now_ms: i64,
        kept_ms: i64,
    ) -> Result<(), StorageRefusal> {
        let field = |name: &str| form.fields.get(name).map_or("", String::as_str);
        let Some(issued) = self.issued.get(field("policy")) else {
            return Err((403, "AccessDenied", "Invalid according to Policy: unknown policy."));
        };
        if field("OSSAccessKeyId") != ACCESS_KEY_ID {
            return Err((
                403,
                "InvalidAccessKeyId",
                "The OSS Access Key Id you provided does not exist in our records.",
            ));
        }
        if field("Signature") != issued.signature {
            return Err((403, "SignatureDoesNotMatch", "The signature does not match."));
        }
        if issued.expires_ms <= now_ms {
            return Err((403, "AccessDenied", "Invalid according to Policy: Policy expired."));
        }
        let key = field("key");
        if !key.strip_prefix(issued.dir.as_str()).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
        {
            return Err((403, "AccessDenied", "Invalid according to Policy: Policy Condition failed: key."));
        }
        if field("x-oss-object-acl") != "private" || field("x-oss-forbid-overwrite") != "true" {
            return Err((
                403,
                "AccessDenied",
                "Invalid according to Policy: Policy Condition failed: x-oss fields.",
            ));
        }
        let Some(file) = &form.file else {
            return Err((400, "InvalidArgument", "POST requires exactly one file upload per request."));
        };
        if self.files.contains_key(key) {
            return Err((
                409,
                "FileAlreadyExists",
                "The object you specified already exists and can not be overwritten.",
            ));
        }
        let model = issued.model;
        let facts = ImageFacts::read(file);
        self.files.insert(key.to_owned(), File { facts, model, expires_ms: now_ms + kept_ms });
        Ok(())
    }

    /// What is known of an upload that an order of `model` refers to.
    pub(crate) fn facts(&self, key: &str, model: Model, now_ms: i64) -> Result<ImageFacts, Refusal> {
        match self.files.get(key) {
            Some(file) if file.expires_ms > now_ms && file.model == model => file
                .facts
                .ok_or_else(|| Refusal::parameter("the uploaded file is not a JPEG, PNG, BMP or WEBP file")),
            _ => {
                let message = "The oss:// resource does not exist, has expired, or belongs to another model.";
                Err(Refusal { code: "InvalidURL".to_owned(), ..Refusal::parameter(message) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(issued: &Issued, name: &str) -> UploadForm {
        let fields = [
            ("OSSAccessKeyId", ACCESS_KEY_ID),
            ("Signature", &issued.signature),
            ("policy", &issued.policy),
            ("key", &format!("{}/{name}", issued.dir)),
            ("x-oss-object-acl", "private"),
            ("x-oss-forbid-overwrite", "true"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x2c\0\0\x01\x90\x08\x02".to_vec();
        png.extend([0; 16]);
        UploadForm { fields, file: Some(png) }
    }

    #[test]
    fn an_upload_belongs_to_the_model_of_its_policy_and_dies_in_time() {
        let mut uploads = Uploads::new(7);
        let issued = uploads.issue(Model::Pro, 0);
        let form = form(&issued, "a.png");
        uploads.accept(&form, 1_000, 5_000).unwrap();
        let key = &form.fields["key"];
        assert_eq!(uploads.facts(key, Model::Pro, 5_999).unwrap().width, 300);
        assert!(uploads.facts(key, Model::Pro, 6_000).is_err());
        assert!(uploads.facts(key, Model::Standard, 1_000).is_err());
        assert!(uploads.facts("elsewhere/a.png", Model::Pro, 1_000).is_err());
    }

    #[test]
    fn the_same_name_cannot_be_written_twice() {
        let mut uploads = Uploads::new(7);
        let issued = uploads.issue(Model::Pro, 0);
        uploads.accept(&form(&issued, "a.png"), 0, 1_000).unwrap();
        assert_eq!(uploads.accept(&form(&issued, "a.png"), 0, 1_000).unwrap_err().1, "FileAlreadyExists");
        uploads.accept(&form(&issued, "b.png"), 0, 1_000).unwrap();
    }

    #[test]
    fn a_form_that_differs_from_its_policy_is_refused() {
        let mut uploads = Uploads::new(7);
        let issued = uploads.issue(Model::Pro, 0);
        for (field, value) in [
            ("policy", "x"),
            ("Signature", "x"),
            ("OSSAccessKeyId", "x"),
            ("key", "elsewhere/a.png"),
            ("x-oss-object-acl", "public-read"),
        ] {
            let mut form = form(&issued, "a.png");
            form.fields.insert(field.to_owned(), value.to_owned());
            assert!(uploads.accept(&form, 0, 1_000).is_err(), "{field}");
        }
        assert!(uploads.accept(&form(&issued, "a.png"), POLICY_S * 1_000, 1_000).is_err(), "expired");
    }
}
