//! What stands under a job's keys from before: the manifest there, and images that have no successor.
//!
//! What lies in the way to it (the store is away, or refuses us) is waited for. What lies in the manifest itself (too long, no JSON, in an
//! archive class) is not: it would be met at every try. Nothing is deleted here but the very image that a manifest names. Driven by
//! [`super::publish`] for refreshes, and by [`super::outlived`] for replaced jobs.

use job::{Job, MANIFEST_BYTES_MAX, ObjectKey, Published};
use tracing::warn;

use super::keys::Keys;
use crate::env::Env;

/// What stands under the stable keys, by its manifest.
pub(super) enum Former {
    /// This; nothing at all where there is no manifest.
    Known(Box<Published>),
    /// A manifest that cannot be read until a person acts. It may be a newer job's, and name versions that nothing else knows.
    Unreadable {
        /// Where it stands.
        key: ObjectKey,
        /// A short stable code.
        code: &'static str,
        /// Why, for people.
        reason: String,
    },
}

/// Why there is nothing to go on with.
pub(super) enum NotNow {
    /// The store has to be tried again.
    Later,
    /// The lease is lost.
    NotOurs,
}

/// Looks at what stands under the stable keys.
pub(super) async fn former(env: &Env, job: &Job, keys: &Keys<'_>) -> Result<Former, NotNow> {
    let key = keys.manifest(&keys.stable(0));
    match env.archive.read(None, &key, MANIFEST_BYTES_MAX).await {
        Ok(None) => Ok(Former::Known(Box::default())),
        Ok(Some(bytes)) => Ok(match Published::parse(&bytes) {
            Ok(published) => Former::Known(Box::new(published)),
            Err(none) => Former::Unreadable { key, code: "no_manifest", reason: none.to_string() },
        }),
        Err(fault) if fault.of_object => {
            Ok(Former::Unreadable { key, code: fault.code, reason: fault.reason })
        }
        Err(fault) => {
            warn!(job.id = %job.id, object.key = %key, code = fault.code, "`{key}` cannot be read yet: {fault}");
            Err(NotNow::Later)
        }
    }
}

/// Deletes a former image that has no successor. What else stands at its key by now is somebody else's, and stays.
pub(super) async fn remove(env: &Env, job: &Job, key: &ObjectKey, sha256: &str) -> Result<(), NotNow> {
    // A copy onto itself is a look: the store is asked whether this is the image, and nothing is written.
    let removed = match env.archive.put_over(key, key, sha256).await {
        Ok(()) => env.archive.delete(key).await,
        other => other,
    };
    match removed {
        Ok(()) => Ok(()),
        // The manifest that is about to be written does not name it: nothing else would know of it.
        Err(fault) if fault.later => {
            warn!(job.id = %job.id, object.key = %key, code = fault.code, "`{key}` has no successor and is not deleted yet: {fault}");
            Err(NotNow::Later)
        }
        Err(fault) => {
            warn!(job.id = %job.id, object.key = %key, code = fault.code, "`{key}` has no successor and is left as it is: {fault}");
            Ok(())
        }
    }
}
