//! The end of a job: its images in their places, its manifest beside them.

use job::{ImageState, Job, JobSpec, ObjectKey, Outcome};
use tracing::{error, warn};

use super::former::NotNow;
use super::keys::Keys;
use super::manifest;
use super::outlived;
use super::publish::{Publication, Replaced, replace, shown_already};
use crate::env::Env;
use crate::ports::{Lease, StoreFault};

/// How the end went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// Everything is in its place.
    Whole,
    /// The store has to be tried again.
    Later,
    /// The lease is lost: nothing may be put over anything any more.
    NotOurs,
}

/// Puts images that were written beside their keys over what stands there, publishes those of a refresh, removes
/// those of an earlier request that have no successor, and writes the manifest. May
/// be repeated.
pub(crate) async fn finish(
    env: &Env,
    job: &Job,
    spec: Option<&JobSpec>,
    keys: &Keys<'_>,
    outcome: &mut Outcome,
    lease: &dyn Lease,
) -> Finished {
    if let Some(refresh) = keys.refresh() {
        match shown_already(env, job, refresh, keys, outcome).await {
            Ok(None) => {}
            Ok(Some(shown)) => {
                *outcome = shown;
                return Finished::Whole;
            }
            Err(_) => return Finished::Later,
        }
    }
    // Until the end is whole, the record says where each image was written first: nothing else knows what is needless then.
    let mut placed = outcome.clone();
    let Ok(moved) = put_in_place(env, job, keys, &mut placed, lease).await else { return Finished::NotOurs };
    let Some(mut needless) = moved else { return Finished::Later };
    if placed.stored() == 0 {
        *outcome = placed;
        return Finished::Whole;
    }
    match outlived::remove(env, job, keys, &placed, lease).await {
        Ok(()) => {}
        Err(NotNow::Later) => return Finished::Later,
        Err(NotNow::NotOurs) => return Finished::NotOurs,
    }
    let (mut shown, mut versions, mut image_0) = (None, Vec::new(), keys.home(0));
    if let Some(refresh) = keys.refresh().filter(|_| placed.lost() == 0) {
        match replace(env, job, refresh, keys, &mut placed, lease).await {
            Replaced::Whole(publication) => {
                let Publication { shown: under_stable_keys, recorded, versions: kept, obsolete } =
                    *publication;
                (shown, versions, image_0) = (Some(under_stable_keys), kept, keys.stable(0));
                placed = recorded;
                needless.extend(obsolete);
            }
            // What it brought stays where it is, for whoever looks for it.
            Replaced::ByLater | Replaced::Unreadable | Replaced::Lost => {}
            Replaced::Later => return Finished::Later,
            Replaced::NotOurs => return Finished::NotOurs,
        }
    }
    if lease.age_of_renewal().is_none() {
        return Finished::NotOurs;
    }
    placed.unpublished = keys.refresh().is_some() && shown.is_none();
    let images = shown.as_ref().unwrap_or(&placed);
    let manifest = manifest::build(job, spec, images, &versions, &env.config.prices, env.jobs.now());
    match env.archive.put_json(&keys.manifest(&image_0), &manifest).await {
        Ok(()) => {}
        // A refresh goes by the manifest: with an old one beside new images the next tick would pay for them again.
        Err(fault) if fault.later || shown.is_some() => {
            warn!(job.id = %job.id, code = fault.code, "The manifest of job {} is not written yet: {fault}", job.id);
            return Finished::Later;
        }
        // The images are what was paid for.
        Err(fault) => {
            error!(job.id = %job.id, code = fault.code, "The manifest of job {} cannot be written: {fault}", job.id)
        }
    }
    *outcome = placed;
    for key in needless {
        if let Err(fault) = env.archive.delete(&key).await {
            warn!(job.id = %job.id, object.key = %key, code = fault.code, "`{key}` is needed no more and was not deleted: {fault}");
        }
    }
    Finished::Whole
}

/// The lease is lost.
struct NotOurs;

/// The keys that are no longer needed; `None` if the store has to be tried again.
async fn put_in_place(
    env: &Env,
    job: &Job,
    keys: &Keys<'_>,
    outcome: &mut Outcome,
    lease: &dyn Lease,
) -> Result<Option<Vec<ObjectKey>>, NotOurs> {
    let mut places = Vec::new();
    for image in &mut outcome.images {
        let ImageState::Stored(stored) = &image.state else { continue };
        let home = keys.home(image.index);
        if stored.key == home {
            continue;
        }
        // A worker that slept must not put an old image over a newer one.
        if lease.age_of_renewal().is_none() {
            return Err(NotOurs);
        }
        match env.archive.put_over(&stored.key, &home, &stored.sha256).await {
            Ok(()) => places.push((image.index, home)),
            Err(StoreFault { code, reason, later: true, .. }) => {
                warn!(job.id = %job.id, object.key = %home, code, "`{home}` is not in its place yet: {reason}");
                return Ok(None);
            }
            Err(StoreFault { code, reason, .. }) => {
                error!(job.id = %job.id, object.key = %home, code, "`{home}` cannot be put in its place: {reason}");
                image.state = ImageState::Lost { code: code.to_owned(), reason };
            }
        }
    }
    // Only now, all or none: until the last one is in place, the record still says where each was written first.
    let mut moved = Vec::new();
    for (index, home) in places {
        for image in outcome.images.iter_mut().filter(|image| image.index == index) {
            if let ImageState::Stored(stored) = &mut image.state {
                moved.push(std::mem::replace(&mut stored.key, home.clone()));
            }
        }
    }
    Ok(Some(moved))
}
