//! One round of copying: every image that still waits, a few at a time.

use std::time::Duration;

use dashscope::ImageUrl;
use futures::StreamExt as _;
use job::{ImageState, Job, JobState, ObjectKey, Outcome, StoredImage, Timestamp};
use tracing::{debug, error, warn};

use super::keys::Keys;
use crate::env::Env;
use crate::place::Place;
use crate::ports::{CopyCure, CopyFault};

/// How long after its link's end an image is still tried for: clocks differ.
const GRACE: Duration = Duration::from_secs(600);

/// Rounds between two questions for another link to an image that its host does not send whole. Source: ours.
const ANOTHER_LINK_EVERY: u16 = 8;

/// Rounds of an image that its host does not send whole, after which it is tried more rarely.
///
/// Source: ours; with the waits of `rules.archive` some five minutes, longer than a host's bad moment.
const PATIENT_AFTER: u16 = 10;

/// Which part of the time that is left such an image then waits, and how long at most. Source: ours; a hundred tries in a day.
const PATIENT_SHARE: u32 = 16;
const PATIENT_MAX: Duration = Duration::from_secs(900);

/// Whether a link is past its end by any clock.
fn overdue(deadline: Timestamp, now: Timestamp) -> bool {
    now > deadline + GRACE
}

/// How a round ended.
pub(crate) enum Round {
    /// The worker is going down; what was copied is noted.
    Stopped,
    /// Every image was tried once.
    Over {
        /// Those whose link is dead, or brings no image, and could be replaced by a fresh one.
        dead: Vec<Loss>,
        /// How long the next round has to wait at least.
        wait: Option<Duration>,
        /// Whether the store, or the host of the objects, asked for less, or did not answer in time.
        pushed_back: bool,
    },
}

/// An image that is lost, unless another link is found.
#[derive(Debug)]
pub(crate) struct Loss {
    at: usize,
    code: &'static str,
    reason: String,
    /// Whether the object's host said that the link is at its end, and did not just refuse it.
    expired: bool,
}

impl Loss {
    /// Whether the image's link, the fresh one where there is one, is past its end by any clock.
    fn is_overdue(&self, outcome: &Outcome, now: Timestamp) -> bool {
        match outcome.images.get(self.at).map(|image| &image.state) {
            Some(ImageState::Waiting { deadline, .. }) => overdue(*deadline, now),
            _ => true,
        }
    }

    /// Whether the image's link, the fresh one where there is one, is past its end, and whether it is for certain: by any clock,
    /// or by ours and its host's.
    pub(crate) fn is_past(&self, outcome: &Outcome, now: Timestamp) -> bool {
        let past = match outcome.images.get(self.at).map(|image| &image.state) {
            Some(ImageState::Waiting { deadline, .. }) => *deadline <= now,
            _ => true,
        };
        (self.expired && past) || self.is_overdue(outcome, now)
    }

    /// Whether no fresh link is to be had, now that the provider does not know the task any more. A link that is refused before
    /// its end may be taken again: hosts of objects have bad days.
    pub(crate) fn is_final(&self, outcome: &Outcome, now: Timestamp) -> bool {
        self.expired || self.is_overdue(outcome, now)
    }

    /// Says why the image is not copied yet.
    pub(crate) fn explain(&self, job: &Job, outcome: &Outcome) {
        let Some(image) = outcome.images.get(self.at) else { return };
        warn!(
            job.id = %job.id, image = image.index, code = self.code,
            "Image {} of job {} is not copied yet, and its task was asked for another link: {}", image.index, job.id, self.reason
        );
    }

    /// Gives the image up.
    pub(crate) fn apply(self, job: &Job, outcome: &mut Outcome) {
        let Some(image) = outcome.images.get_mut(self.at) else { return };
        // It was paid for.
        error!(
            job.id = %job.id, task.id = %outcome.task, image = image.index, code = self.code,
            "Image {} of job {} is lost: {}", image.index, job.id, self.reason
        );
        image.state = ImageState::Lost { code: self.code.to_owned(), reason: self.reason };
    }
}

/// Tries every image that waits, and notes in `outcome` what became of it.
pub(crate) async fn copy_waiting(env: &Env, job: &Job, keys: &Keys<'_>, outcome: &mut Outcome) -> Round {
    let waiting: Vec<(usize, u8, ImageUrl, Timestamp)> = outcome
        .images
        .iter()
        .enumerate()
        .filter_map(|(at, image)| match &image.state {
            ImageState::Waiting { link, deadline } => Some((at, image.index, link.clone(), *deadline)),
            _ => None,
        })
        .collect();
    let mut copies = futures::stream::iter(waiting)
        .map(|(at, index, link, deadline)| async move {
            (at, deadline, copy_one(env, job, keys, index, &link).await)
        })
        .buffer_unordered(env.config.images_at_once);
    let (mut dead, mut damaged, mut others) = (Vec::new(), None::<Timestamp>, false);
    let mut pushed_back = false;
    loop {
        let next = tokio::select! {
            biased;
            // A copy may be dropped at any moment: the object is there whole or not at all.
            () = env.stop.cancelled() => return Round::Stopped,
            next = copies.next() => next,
        };
        let Some((at, deadline, copied)) = next else {
            let wait =
                damaged.filter(|_| !others).and_then(|deadline| patience(job, deadline, env.jobs.now()));
            return Round::Over { dead, wait, pushed_back };
        };
        let image = &mut outcome.images[at];
        match copied {
            Ok(stored) => {
                debug!(job.id = %job.id, image = image.index, object.key = %stored.key, bytes = stored.bytes, "Copied");
                image.state = ImageState::Stored(stored);
                env.places.pass(Place::ImageCopied).await;
            }
            Err(CopyFault { code, reason, cure }) => {
                let expired = cure == CopyCure::Expired;
                pushed_back |= cure == CopyCure::Fewer;
                let loss = Loss { at, code, reason, expired };
                match cure {
                    CopyCure::Damaged => {
                        damaged = Some(damaged.map_or(deadline, |first| first.min(deadline)))
                    }
                    _ => others = true,
                }
                match cure {
                    CopyCure::FreshLink | CopyCure::Expired => dead.push(loss),
                    CopyCure::Damaged if wants_another_link(job) => dead.push(loss),
                    CopyCure::Later | CopyCure::Fewer | CopyCure::Beside | CopyCure::Damaged
                        if !overdue(deadline, env.jobs.now()) =>
                    {
                        let reason = &loss.reason;
                        warn!(job.id = %job.id, image = image.index, code, "Image {} of job {} is not copied yet: {reason}", image.index, job.id);
                    }
                    _ => loss.apply(job, outcome),
                }
            }
        }
    }
}

/// Whether a task is asked again for an image that its host does not send whole: at the second failure, which is no blip, and at every
/// [`ANOTHER_LINK_EVERY`]th round after.
fn wants_another_link(job: &Job) -> bool {
    match job.state {
        JobState::Archiving { tries, refetches, .. } => {
            tries > 0 && (refetches == 0 || tries.is_multiple_of(ANOTHER_LINK_EVERY))
        }
        _ => false,
    }
}

/// How long a round waits at least when all that is left is damaged at its host, again and again: a share of the time that its links
/// have left. So it is tried to the end, and not downloaded a thousand times.
fn patience(job: &Job, deadline: Timestamp, now: Timestamp) -> Option<Duration> {
    let JobState::Archiving { tries, .. } = job.state else { return None };
    let left = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
    (tries >= PATIENT_AFTER).then(|| (left / PATIENT_SHARE).min(PATIENT_MAX))
}

async fn copy_one(
    env: &Env,
    job: &Job,
    keys: &Keys<'_>,
    index: u8,
    link: &ImageUrl,
) -> Result<StoredImage, CopyFault> {
    let tags = tags(job, index);
    let key: ObjectKey = keys.first(index);
    match env.archive.copy(link, &key, &tags).await {
        // Something else stands there, of an earlier life of this queue: it is replaced when the job ends, not before.
        Err(CopyFault { cure: CopyCure::Beside, .. }) if key == keys.home(index) => {
            env.archive.copy(link, &keys.beside(index), &tags).await
        }
        copied => copied,
    }
}

/// What the object itself says of its origin.
fn tags(job: &Job, index: u8) -> Vec<(String, String)> {
    let mut tags = vec![("job-id".to_owned(), job.id.to_string()), ("index".to_owned(), index.to_string())];
    if let JobState::Archiving { task, .. } = &job.state {
        tags.push(("task-id".to_owned(), task.to_string()));
    }
    if let Some(batch) = &job.batch {
        tags.push(("batch".to_owned(), batch.to_string()));
    }
    tags.push(("model".to_owned(), job.model.to_string()));
    tags
}
