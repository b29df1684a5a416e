//! Uploads into the provider's temporary store that can be used again.
//!
//! Nine large inputs may take longer than one attempt may wait. What was uploaded for the first attempt is there for the next
//! one, and an input that a thousand jobs share is uploaded once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use archive::Sha256Digest;
use dashscope::request::OssUri;
use job::{AccountName, Model};

/// How long an upload is used: what it is used for may be PENDING for hours.
///
/// Source: ours; the provider keeps a file for 48 h, and a task for 24 h.
const USED_FOR: Duration = Duration::from_secs(20 * 3600);

/// The most uploads that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// An upload belongs to the account and to the model for which it was made.
type Key = (AccountName, Model, Sha256Digest);

/// Uploads by what was uploaded.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<Key, (OssUri, Duration)>>);

impl Uploads {
    /// The upload of these bytes, if one can still be used at `now` by the boot clock.
    pub(crate) fn find(
        &self,
        account: &AccountName,
        model: Model,
        sha256: Sha256Digest,
        now: Duration,
    ) -> Option<OssUri> {
        let uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (uri, made_at) = uploads.get(&(account.clone(), model, sha256))?;
        (now < *made_at + USED_FOR).then(|| uri.clone())
    }

    /// Forgets what was uploaded for an account.
    pub(crate) fn forget(&self, account: &AccountName) {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.retain(|(of, ..), _| of != account);
    }

    /// Remembers an upload.
    pub(crate) fn remember(
        &self,
        account: &AccountName,
        model: Model,
        sha256: Sha256Digest,
        uri: OssUri,
        now: Duration,
    ) {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.len() >= REMEMBERED_MAX {
            uploads.retain(|_, (_, made_at)| now < *made_at + USED_FOR);
            // All of them young: to forget costs no more than another upload.
            if uploads.len() >= REMEMBERED_MAX {
                uploads.clear();
            }
        }
        uploads.insert((account.clone(), model, sha256), (uri, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_used_again_for_the_same_account_model_and_bytes_until_it_is_old() {
        let uploads = Uploads::default();
        let (account, other) = (AccountName::parse("a").unwrap(), AccountName::parse("b").unwrap());
        let (sha256, uri) =
            (Sha256Digest::of(b"shoe"), OssUri::new("oss://dir/shoe.png".to_owned()).unwrap());
        let start = Duration::from_secs(100);
        uploads.remember(&account, Model::Wan27Image, sha256, uri.clone(), start);
        assert_eq!(uploads.find(&account, Model::Wan27Image, sha256, start), Some(uri));
        assert_eq!(uploads.find(&other, Model::Wan27Image, sha256, start), None);
        assert_eq!(uploads.find(&account, Model::Wan27ImagePro, sha256, start), None);
        assert_eq!(uploads.find(&account, Model::Wan27Image, Sha256Digest::of(b"boot"), start), None);
        assert_eq!(uploads.find(&account, Model::Wan27Image, sha256, start + USED_FOR), None);
    }
}
