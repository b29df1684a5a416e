//! Puts the images of a refresh under the stable keys of its item, once all of them are there.
//!
//! Every version of an item's images has a folder of its own, `versions/<job id>/`, beside the stable keys. A refresh is written there
//! first, and copied over the stable keys when it is whole; the manifest under these says which version they show, and which others are
//! kept. The job's own record names its version, where that is kept: the stable keys show another job's images some day. May be repeated
//! after a crash at any point: until the manifest is written, everything is done again, to the same end.

use job::{ImageState, Job, JobId, ObjectKey, Outcome, Published, Refresh, Timestamp, Version};
use tracing::{error, warn};

use super::former::{self, Former, NotNow, former};
use super::keys::Keys;
use crate::env::Env;
use crate::place::Place;
use crate::ports::{Lease, StoreFault};

/// How it went.
pub(crate) enum Replaced {
    /// The stable keys show the job's images.
    Whole(Box<Publication>),
    /// They show those of a later job, and go on to.
    ByLater,
    /// What they show is not known, and will not be until a person acts: nothing was replaced.
    Unreadable,
    /// An image of the job turned out to be lost: nothing was replaced.
    Lost,
    /// The store has to be tried again.
    Later,
    /// The lease is lost.
    NotOurs,
}

/// What the manifest has to say, and what is needed no more once it does.
pub(crate) struct Publication {
    /// What the task brought, under its stable keys: for the manifest.
    pub(crate) shown: Outcome,
    /// The same under the keys that stay the job's own for as long as any do: for its record.
    pub(crate) recorded: Outcome,
    /// The versions that are kept.
    pub(crate) versions: Vec<Version>,
    /// Objects to be deleted once the manifest is written.
    pub(crate) obsolete: Vec<ObjectKey>,
}

impl From<NotNow> for Replaced {
    fn from(not_now: NotNow) -> Self {
        match not_now {
            NotNow::Later => Self::Later,
            NotNow::NotOurs => Self::NotOurs,
        }
    }
}

/// What the task brought, for the job's record, if the stable keys show it already: after a crash behind the manifest. What is needed no
/// more is deleted once again, since nothing else knows of it by then.
pub(crate) async fn shown_already(
    env: &Env,
    job: &Job,
    refresh: &Refresh,
    keys: &Keys<'_>,
    outcome: &Outcome,
) -> Result<Option<Outcome>, Replaced> {
    if outcome.lost() > 0 || stored(outcome).next().is_none() {
        return Ok(None);
    }
    // [`replace`] says what follows from one that cannot be read.
    let Former::Known(former) = former(env, job, keys).await? else { return Ok(None) };
    let ours = former.job.as_deref() == Some(job.id.to_string().as_str());
    if !ours || former.task.as_deref() != Some(outcome.task.as_str()) {
        return Ok(None);
    }
    for (index, ..) in stored(outcome) {
        let home = (refresh.keep == 0).then(|| keys.home(index));
        let beside = Some(keys.beside(index)).filter(|beside| *beside != keys.home(index));
        for key in home.into_iter().chain(beside) {
            if let Err(fault) = env.archive.delete(&key).await {
                warn!(job.id = %job.id, object.key = %key, code = fault.code, "`{key}` is needed no more and was not deleted: {fault}");
            }
        }
    }
    Ok(Some(recorded(refresh, keys, outcome)))
}

/// Replaces what the stable keys show. All images of `outcome` are stored, at [`Keys::home`].
pub(crate) async fn replace(
    env: &Env,
    job: &Job,
    refresh: &Refresh,
    keys: &Keys<'_>,
    outcome: &mut Outcome,
    lease: &dyn Lease,
) -> Replaced {
    match try_replace(env, job, refresh, keys, outcome, lease).await {
        Ok(replaced) => replaced,
        Err(not_now) => not_now.into(),
    }
}

async fn try_replace(
    env: &Env,
    job: &Job,
    refresh: &Refresh,
    keys: &Keys<'_>,
    outcome: &mut Outcome,
    lease: &dyn Lease,
) -> Result<Replaced, NotNow> {
    let former = match former(env, job, keys).await? {
        Former::Known(former) => *former,
        Former::Unreadable { key, code, reason } => {
            error!(
                job.id = %job.id, object.key = %key, code,
                "The images of job {} replace none: what stands there now is not known, since `{key}` cannot be read: {reason}. Look at \
                 that object, and delete it to have the item made anew (where it is mended, a changed line or the rule `always` does that); \
                 the job's own images are kept as they are",
                job.id
            );
            return Ok(Replaced::Unreadable);
        }
    };
    let ours = job.id.to_string();
    if former.job.as_deref() != Some(&ours) && former.enqueued_at > Some(job.enqueued_at) {
        warn!(job.id = %job.id, "Job {} is older than the job whose images stand there already", job.id);
        return Ok(Replaced::ByLater);
    }
    if !all_there(env, job, outcome).await? {
        return Ok(Replaced::Lost);
    }
    let kept = match refresh.keep > 0 && former.job.as_deref() != Some(&ours) {
        true => keep_former(env, job, keys, &former).await?,
        false => None,
    };
    copy_over(env, job, keys, outcome, lease).await?;
    let shown = published(keys, outcome);
    let homes: Vec<ObjectKey> = stored(outcome).map(|(_, key, _)| key.clone()).collect();
    let own = (refresh.keep > 0).then(|| Version {
        job_id: ours.clone(),
        stored_at: env.jobs.now(),
        keys: homes.iter().map(ToString::to_string).collect(),
    });
    let obsolete = if own.is_none() { homes } else { Vec::new() };
    // What the former manifest names goes before it is replaced: after a crash it is known by nothing else.
    for (key, sha256) in beyond(keys, &former, &shown) {
        if lease.age_of_renewal().is_none() {
            return Err(NotNow::NotOurs);
        }
        former::remove(env, job, &key, sha256).await?;
    }
    let old = kept.into_iter().chain(former.versions).collect();
    let versions = prune(env, job, keys, own, old, refresh.keep, lease).await?;
    let recorded = recorded(refresh, keys, outcome);
    Ok(Replaced::Whole(Box::new(Publication { shown, recorded, versions, obsolete })))
}

pub(super) fn stored(outcome: &Outcome) -> impl Iterator<Item = (u8, &ObjectKey, &str)> {
    outcome.images.iter().filter_map(|image| match &image.state {
        ImageState::Stored(stored) => Some((image.index, &stored.key, stored.sha256.as_str())),
        _ => None,
    })
}

/// Whether every image stands at its own key. One that does not is noted as lost.
async fn all_there(env: &Env, job: &Job, outcome: &mut Outcome) -> Result<bool, NotNow> {
    let mut whole = true;
    for image in &mut outcome.images {
        let ImageState::Stored(stored) = &image.state else { continue };
        let key = stored.key.clone();
        // A copy onto itself is a look: the store is asked whether this is the image, and nothing is written.
        match env.archive.put_over(&key, &key, &stored.sha256).await {
            Ok(()) => {}
            Err(StoreFault { code, reason, later: true, .. }) => {
                warn!(job.id = %job.id, object.key = %key, code, "`{key}` cannot be looked at yet: {reason}");
                return Err(NotNow::Later);
            }
            Err(StoreFault { code, reason, .. }) => {
                error!(job.id = %job.id, object.key = %key, code, "`{key}` is not what was stored there: {reason}");
                image.state = ImageState::Lost { code: code.to_owned(), reason };
                whole = false;
            }
        }
    }
    Ok(whole)
}

async fn copy_over(
    env: &Env,
    job: &Job,
    keys: &Keys<'_>,
    outcome: &Outcome,
    lease: &dyn Lease,
) -> Result<(), NotNow> {
    for (index, home, sha256) in stored(outcome) {
        // A worker that slept must not put an old image over a newer one.
        if lease.age_of_renewal().is_none() {
            return Err(NotNow::NotOurs);
        }
        let stable = keys.stable(index);
        if let Err(fault) = env.archive.put_over(home, &stable, sha256).await {
            warn!(job.id = %job.id, object.key = %stable, code = fault.code, "`{stable}` is not replaced yet: {fault}");
            return Err(NotNow::Later);
        }
        env.places.pass(Place::ImageReplaced).await;
    }
    Ok(())
}

/// Images that stand under the stable keys and have no version of their own, such as those of a plain job, get one. Its entry names
/// those that are there.
async fn keep_former(
    env: &Env,
    job: &Job,
    keys: &Keys<'_>,
    former: &Published,
) -> Result<Option<Version>, NotNow> {
    let Some((id, stored_at)) = without_version(former) else { return Ok(None) };
    let mut there = Vec::new();
    for (index, image) in images_in_place(keys, former) {
        let (stable, kept) = (keys.stable(index), keys.version(&keys.stable(index), id));
        // The first is a look: after a crash the image may be there, and the stable key show the new one by now.
        for from in [&kept, &stable] {
            match env.archive.put_over(from, &kept, &image.sha256).await {
                Ok(()) => {
                    there.push(kept.to_string());
                    break;
                }
                // It is to be kept, and is paid for like the new one, which waits: a person can bring it back, or delete it.
                Err(fault) if fault.of_object => {
                    error!(
                        job.id = %job.id, object.key = %from, code = fault.code,
                        "The images of job {} wait to be shown: `{from}` is to be kept and cannot be copied: {fault}. Bring it back, or \
                         delete it",
                        job.id
                    );
                    return Err(NotNow::Later);
                }
                Err(fault) if fault.later => {
                    warn!(job.id = %job.id, object.key = %kept, code = fault.code, "`{kept}` is not kept yet: {fault}");
                    return Err(NotNow::Later);
                }
                // It is not what its manifest says: there is nothing to be kept.
                Err(fault) if *from == stable => {
                    warn!(job.id = %job.id, object.key = %stable, code = fault.code, "`{stable}` is replaced and not kept: {fault}");
                }
                Err(_) => {}
            }
        }
    }
    Ok((!there.is_empty()).then(|| Version { job_id: id.to_string(), stored_at, keys: there }))
}

/// The job and the time of a former publication that is no version yet.
fn without_version(former: &Published) -> Option<(JobId, Timestamp)> {
    let job = former.job.as_ref()?;
    if former.versions.iter().any(|version| version.job_id == *job) {
        return None;
    }
    Some((job.parse().ok()?, former.stored_at?))
}

fn images_in_place<'a>(
    keys: &'a Keys<'_>,
    former: &'a Published,
) -> impl Iterator<Item = (u8, &'a job::PublishedImage)> {
    let in_place = |image: &&job::PublishedImage| image.key == keys.stable(image.index).as_str();
    former.keys.iter().filter(in_place).map(|image| (image.index, image))
}

/// What the task brought, under the stable keys.
fn published(keys: &Keys<'_>, outcome: &Outcome) -> Outcome {
    under(outcome, |index| keys.stable(index))
}

/// What the task brought, under the keys of its version where that is kept.
fn recorded(refresh: &Refresh, keys: &Keys<'_>, outcome: &Outcome) -> Outcome {
    under(outcome, |index| if refresh.keep > 0 { keys.home(index) } else { keys.stable(index) })
}

fn under(outcome: &Outcome, key: impl Fn(u8) -> ObjectKey) -> Outcome {
    let mut moved = outcome.clone();
    for image in &mut moved.images {
        if let ImageState::Stored(stored) = &mut image.state {
            stored.key = key(image.index);
        }
    }
    moved
}

/// Stable keys of the former images that have no successor, each with the sum of that image: it had more of them.
fn beyond<'a>(keys: &'a Keys<'_>, former: &'a Published, images: &Outcome) -> Vec<(ObjectKey, &'a str)> {
    let indices: Vec<u8> = stored(images).map(|(index, ..)| index).collect();
    images_in_place(keys, former)
        .filter(|(index, _)| !indices.contains(index))
        .map(|(index, image)| (keys.stable(index), image.sha256.as_str()))
        .collect()
}

/// Deletes the versions beyond the newest `keep`. What cannot be deleted stays in the list, for the next time, and what names other objects
/// than its own for a person.
async fn prune(
    env: &Env,
    job: &Job,
    keys: &Keys<'_>,
    own: Option<Version>,
    mut old: Vec<Version>,
    keep: u8,
    lease: &dyn Lease,
) -> Result<Vec<Version>, NotNow> {
    old.retain(|version| version.job_id.parse().ok() != Some(job.id));
    let doomed = old.split_off(old.len().min(keep.into()));
    let mut versions: Vec<Version> = own.into_iter().chain(old).collect();
    for version in doomed {
        let Some(own) = keys_of(keys, &version) else {
            warn!(job.id = %job.id, "The old version {} names an object that is not of it: nothing of it is deleted, and it stays in the list", version.job_id);
            versions.push(version);
            continue;
        };
        let mut gone = true;
        for key in own {
            // What is old to a worker that slept may be the version that is shown by now.
            if lease.age_of_renewal().is_none() {
                return Err(NotNow::NotOurs);
            }
            if let Err(fault) = env.archive.delete(&key).await {
                warn!(job.id = %job.id, object.key = %key, code = fault.code, "The old version `{key}` was not deleted: {fault}");
                gone = false;
            }
        }
        if !gone {
            versions.push(version);
        }
    }
    Ok(versions)
}

/// The objects of a version, if all that it names are.
///
/// A manifest is only a text in a bucket: nothing but keys of this version is deleted for what it says.
fn keys_of(keys: &Keys<'_>, version: &Version) -> Option<Vec<ObjectKey>> {
    let id: JobId = version.job_id.parse().ok()?;
    version.keys.iter().map(|key| keys.in_version(key, id)).collect()
}
