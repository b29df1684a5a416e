//! Removes what a replaced job's former images have left under its keys: a job that asked for four images and asks for one now has one.
//!
//! Only objects that the manifest of this same job names, at the places where the job's images stand, and only once all of the new task's
//! images are in theirs. A place whose new image was lost keeps the old one. Refreshes have versions, and `publish` for this. May be repeated
//! after a crash: the manifest that names them is replaced behind it.

use job::{Job, ObjectKey, Outcome, Published};
use tracing::warn;

use super::former::{self, Former, NotNow, former};
use super::keys::Keys;
use crate::env::Env;
use crate::ports::Lease;

/// Deletes the objects of former tasks that have no successor.
pub(super) async fn remove(
    env: &Env,
    job: &Job,
    keys: &Keys<'_>,
    outcome: &Outcome,
    lease: &dyn Lease,
) -> Result<(), NotNow> {
    if job.replaced_after == 0 || keys.refresh().is_some() {
        return Ok(());
    }
    let former = match former(env, job, keys).await? {
        Former::Known(former) => former,
        // The job's own manifest is about to be written over it.
        Former::Unreadable { key, code, reason } => {
            warn!(job.id = %job.id, object.key = %key, code, "`{key}` cannot be read, and what job {} had before is left as it is: {reason}", job.id);
            return Ok(());
        }
    };
    for (key, sha256) in outlived(job, keys, &former, outcome) {
        // What is old to a worker that slept may be new by now.
        if lease.age_of_renewal().is_none() {
            return Err(NotNow::NotOurs);
        }
        former::remove(env, job, &key, sha256).await?;
    }
    Ok(())
}

/// The keys that the job's former task has filled and this one has no image for, each with the sum of what it put there.
fn outlived<'a>(
    job: &Job,
    keys: &Keys<'_>,
    former: &'a Published,
    outcome: &Outcome,
) -> Vec<(ObjectKey, &'a str)> {
    // A manifest is only a text in a bucket: nothing but the job's own keys is deleted for what it says.
    if former.job.as_deref() != Some(job.id.to_string().as_str()) {
        return Vec::new();
    }
    let has_successor = |index: u8| outcome.images.iter().any(|image| image.index == index);
    former
        .keys
        .iter()
        .filter(|image| !has_successor(image.index))
        .map(|image| (keys.home(image.index), image))
        .filter(|(home, image)| home.as_str() == image.key)
        .map(|(home, image)| (home, image.sha256.as_str()))
        .collect()
}
