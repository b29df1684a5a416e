//! Copies what a task brought into the bucket, before the links die.
//!
//! Owns the order of a round: copy what still waits; ask the task for fresh links where they died; when nothing waits any
//! more, put the images of a later task over the earlier ones, publish those of a refresh, write the manifest, and end the job. It never creates a task.
//! May be repeated after a crash at any point. Driven by the archive stage, once for each claim.

mod at_once;
mod copy;
mod copy_time;
mod finish;
mod former;
mod keys;
mod links;
mod manifest;
mod missing;
mod outlived;
mod publish;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use job::{Action, Event, ImageState, Job, JobState, Outcome, OutcomeImage, StateName, Timestamp};
use tracing::warn;

pub(crate) use self::at_once::CopiesAtOnce;
use self::at_once::RoundEnded;
use self::copy::{Loss, copy_waiting};
pub(crate) use self::copy_time::CopyTime;
use self::finish::{Finished, finish};
use self::keys::Keys;
use self::links::{Links, fresh_links};
use crate::clock::Clock;
use crate::env::Env;
use crate::place::Place;
use crate::ports::{JobsFault, Lease};

/// A claim for archive.
pub(crate) struct ArchiveClaim {
    /// The job, in `Archiving`.
    pub(crate) job: Job,
    /// What its task brought.
    pub(crate) outcome: Option<Outcome>,
    /// Its lease.
    pub(crate) lease: Arc<dyn Lease>,
    /// When it was claimed, by the boot clock.
    pub(crate) claimed_at: Duration,
}

/// One round for one claim.
pub(crate) async fn run(env: &Env, claim: ArchiveClaim) {
    let ArchiveClaim { job, outcome, lease, claimed_at } = claim;
    let JobState::Archiving { task, .. } = &job.state else {
        env.commit(&job, Event::GivenBack, None).await;
        return;
    };
    if job.next_action(env.jobs.now()) != Action::Archive {
        env.commit(&job, Event::GivenBack, None).await;
        return;
    }
    // Until its room is free again, so that what is counted is what the room is taken by.
    let mut under_way = UnderWay::begin(&env.copies_at_once, env.clock.clone());
    env.places.pass(Place::ArchiveClaimed).await;
    let (event, outcome) = match outcome.filter(|outcome| outcome.task == *task) {
        Some(outcome) => round(env, &job, outcome, &*lease, &mut under_way).await,
        None => tokio::select! {
            biased;
            () = env.stop.cancelled() => (Some(Event::GivenBack), None),
            found = without_outcome(env, &job) => found,
        },
    };
    if let Some(event) = event {
        env.places.pass(Place::RoundCopied).await;
        let written = env.commit(&job, event, outcome.as_ref()).await;
        if written.is_some_and(|written| written.job.state_name() == StateName::Succeeded) {
            env.copy_time.add(env.clock.elapsed().saturating_sub(claimed_at));
        }
        env.places.pass(Place::RoundSaved).await;
    }
    drop(lease);
}

/// The event of one round, with what is known afterwards; no event if the job is somebody else's now.
async fn round(
    env: &Env,
    job: &Job,
    mut outcome: Outcome,
    lease: &dyn Lease,
    under_way: &mut UnderWay<'_>,
) -> (Option<Event>, Option<Outcome>) {
    let spec = match env.jobs.spec(job.id).await {
        Ok(spec) => spec,
        Err(fault @ JobsFault::Away(_)) => {
            warn!(job.id = %job.id, error = &fault as &dyn std::error::Error, "Job {} cannot be copied now", job.id);
            return (Some(progress(job, &outcome)), None);
        }
        // The images matter more than the names that their user gave them.
        Err(fault) => {
            warn!(job.id = %job.id, error = &fault as &dyn std::error::Error, "The spec of job {} cannot be read", job.id);
            None
        }
    };
    let keys = Keys::new(&env.config.key_template, job, spec.as_ref());

    if let Some(spec) = &spec {
        missing::note(job, &spec.request, &mut outcome);
    }
    let before = bytes_stored(&outcome);
    let (dead, wait) = match copy_waiting(env, job, &keys, &mut outcome).await {
        copy::Round::Stopped => return (Some(Event::GivenBack), Some(outcome)),
        copy::Round::Over { dead, wait, pushed_back } => {
            under_way.ended =
                RoundEnded { bytes: bytes_stored(&outcome).saturating_sub(before), pushed_back };
            (dead, wait)
        }
    };
    if !dead.is_empty() {
        let links = tokio::select! {
            biased;
            () = env.stop.cancelled() => return (Some(Event::GivenBack), Some(outcome)),
            links = fresh_links(env, job) => links,
        };
        if let Some(event) = weigh(env, job, dead, links, &mut outcome) {
            return (Some(event), Some(outcome));
        }
    }
    if waiting(&outcome) {
        let event = match progress(job, &outcome) {
            Event::Copied { stored, lost, .. } => Event::Copied { stored, lost, retry_after: wait },
            other => other,
        };
        return (Some(event), Some(outcome));
    }
    match finish(env, job, spec.as_ref(), &keys, &mut outcome, lease).await {
        Finished::Whole => (Some(progress(job, &outcome)), Some(outcome)),
        Finished::Later => (Some(unfinished(job, &outcome)), Some(outcome)),
        Finished::NotOurs => (None, None),
    }
}

/// What follows for images whose links are dead; no event if nothing waits for another link.
///
/// The images are paid for. As long as their links ought to live, a refusal is taken for one that passes, and the task is asked
/// again with each round: the waits between rounds grow.
fn weigh(env: &Env, job: &Job, dead: Vec<Loss>, links: Links, outcome: &mut Outcome) -> Option<Event> {
    let now = env.jobs.now();
    let fresh = matches!(links, Links::Fresh(_));
    let lost: fn(&Loss, &Outcome, Timestamp) -> bool = match links {
        Links::Fresh(fresh) => {
            links::take_over(outcome, *fresh);
            Loss::is_past
        }
        // It can be asked until it is forgotten.
        Links::Later => return Some(progress(job, outcome)),
        Links::Unknown | Links::Forgotten => Loss::is_final,
    };
    let (lost, hoped_for): (Vec<_>, Vec<_>) = dead.into_iter().partition(|loss| lost(loss, outcome, now));
    for loss in lost {
        loss.apply(job, outcome);
    }
    for loss in &hoped_for {
        loss.explain(job, outcome);
    }
    if hoped_for.is_empty() {
        return None;
    }
    let deadline = outcome.deadline().unwrap_or(now);
    Some(if fresh { Event::FreshLinks { deadline } } else { progress(job, outcome) })
}

/// A round that is under way, also when it is dropped.
struct UnderWay<'a> {
    copies: &'a CopiesAtOnce,
    clock: Arc<dyn Clock>,
    began: Duration,
    ended: RoundEnded,
}

impl<'a> UnderWay<'a> {
    fn begin(copies: &'a CopiesAtOnce, clock: Arc<dyn Clock>) -> Self {
        copies.begin();
        Self { copies, began: clock.elapsed(), clock, ended: RoundEnded { bytes: 0, pushed_back: false } }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.copies.end(self.ended, self.began, self.clock.elapsed());
    }
}

fn bytes_stored(outcome: &Outcome) -> u64 {
    let bytes = |image: &OutcomeImage| match &image.state {
        ImageState::Stored(stored) => stored.bytes,
        _ => 0,
    };
    outcome.images.iter().map(bytes).sum()
}

fn waiting(outcome: &Outcome) -> bool {
    outcome.images.iter().any(|image| matches!(image.state, ImageState::Waiting { .. }))
}

/// What the round brought. With nothing left to wait for, it ends the job.
fn progress(job: &Job, outcome: &Outcome) -> Event {
    let JobState::Archiving { images, .. } = job.state else { return Event::GivenBack };
    let (stored, lost) = (outcome.stored(), outcome.lost());
    if waiting(outcome) {
        return not_over(images, stored, lost);
    }
    // The document and the record were written together; should they differ all the same, nothing may be waited for.
    Event::Copied { stored, lost: lost.max(images.saturating_sub(stored)), retry_after: None }
}

/// The images are there, but not yet in their places: the last of them counts as stored when they are.
fn unfinished(job: &Job, outcome: &Outcome) -> Event {
    let JobState::Archiving { images, .. } = job.state else { return Event::GivenBack };
    not_over(images, outcome.stored().saturating_sub(1), outcome.lost())
}

/// A round after which something is still to be done: the counts may not end the job. What the task did not even name is lost in the
/// document and not among the record's `images`.
fn not_over(images: u8, stored: u8, lost: u8) -> Event {
    let lost = lost.min(images.saturating_sub(stored).saturating_sub(1));
    Event::Copied { stored, lost, retry_after: None }
}

/// The document of what the task brought is gone, or of another task: the task is asked again.
async fn without_outcome(env: &Env, job: &Job) -> (Option<Event>, Option<Outcome>) {
    warn!(job.id = %job.id, "What the task of job {} brought is not known here; the task is asked again", job.id);
    match fresh_links(env, job).await {
        Links::Fresh(outcome) => {
            let deadline = outcome.deadline().unwrap_or(env.jobs.now());
            (Some(Event::FreshLinks { deadline }), Some(*outcome))
        }
        // The images are paid for: one UNKNOWN before the time does not end the hope for them.
        Links::Later | Links::Unknown => {
            (Some(Event::Copied { stored: 0, lost: 0, retry_after: None }), None)
        }
        Links::Forgotten => (Some(Event::LinksDead), None),
    }
}
