//! `--missing`: new jobs for the images that ended jobs did not deliver.
//!
//! Never touches what is there, but for a line in the old job's history. The new job's id follows from the old one's name, so
//! that repeating the command enqueues nothing twice.

use futures::StreamExt as _;
use futures::stream;
use job::{Event, Job, JobSpec, JobState, Rules, images_missing, missing_spec};
use queue::{CHUNK_MAX, CommitError, EnqueueError, Enqueued, NewJob, Queue};

use super::{CALLS_AT_ONCE, Done};
use crate::app::queue_failure;
use crate::exit_code;
use crate::failure::Failure;

/// A job with missing images.
pub(super) struct Asked {
    pub(super) job: Job,
    /// How many are missing.
    pub(super) images: u8,
    /// Whether the job for them is there already.
    pub(super) is_there: bool,
    new: NewJob,
}

/// What is missing of some jobs.
#[derive(Default)]
pub(super) struct Looked {
    /// Those that can be asked for.
    pub(super) asked: Vec<Asked>,
    /// Jobs that refresh items: these show the images of one job, so that the missing ones alone are of no use to them.
    pub(super) refreshes: u64,
}

enum Found {
    Nothing,
    OfRefresh,
    Asked(Box<Asked>),
}

/// What is missing of `jobs`.
pub(super) async fn look(queue: &Queue, jobs: Vec<Job>) -> Result<Looked, Failure> {
    // Most jobs are whole, and their record says so.
    let suspects = jobs.into_iter().filter(|job| match job.state {
        JobState::Succeeded { partial, .. } => partial || job.stored < job.images_max,
        _ => true,
    });
    let found: Vec<Result<Found, Failure>> =
        stream::iter(suspects.map(|job| look_at(queue, job))).buffered(CALLS_AT_ONCE).collect().await;
    let mut looked = Looked::default();
    for found in found {
        match found? {
            Found::Nothing => {}
            Found::OfRefresh => looked.refreshes += 1,
            Found::Asked(asked) => looked.asked.push(*asked),
        }
    }
    Ok(looked)
}

async fn look_at(queue: &Queue, job: Job) -> Result<Found, Failure> {
    let failed = |error| queue_failure(error, "read a job");
    let Some(spec) = queue.spec(job.id).await.map_err(failed)? else { return Ok(Found::Nothing) };
    let outcome = queue.outcome(job.id).await.map_err(failed)?;
    let images = images_missing(&job, &spec, outcome.as_ref());
    if images == 0 {
        return Ok(Found::Nothing);
    }
    if spec.refresh.is_some() {
        return Ok(Found::OfRefresh);
    }
    let new = queue.new_job(missing_spec(&job, &spec, images));
    let is_there = queue.job(new.id).await.map_err(failed)?.is_some();
    Ok(Found::Asked(Box::new(Asked { job, images, is_there, new })))
}

/// Whether the job for an ended job's missing images is there: then the old one must not make them as well.
pub(super) async fn asked_before(queue: &Queue, job: &Job) -> Result<bool, Failure> {
    let failed = |error| queue_failure(error, "read a job");
    let Some(spec) = queue.spec(job.id).await.map_err(failed)? else { return Ok(false) };
    let spec: JobSpec = missing_spec(job, &spec, 1);
    Ok(queue.job(queue.new_job(spec).id).await.map_err(failed)?.is_some())
}

/// Enqueues a job for each of `jobs` of which images are missing.
pub(super) async fn ask(
    queue: &Queue,
    rules: &Rules,
    jobs: Vec<Job>,
    done: &mut Done,
) -> Result<(), Failure> {
    let looked = look(queue, jobs).await?;
    let asked: Vec<Asked> = looked.asked.into_iter().filter(|asked| !asked.is_there).collect();
    for chunk in asked.chunks(CHUNK_MAX) {
        let batch = chunk.first().and_then(|asked| asked.job.batch.as_ref());
        let new: Vec<NewJob> = chunk.iter().map(|asked| asked.new.clone()).collect();
        let enqueued = queue.enqueue(batch, &new).await.map_err(enqueue_failure)?;
        for (asked, became) in chunk.iter().zip(enqueued) {
            if became != Enqueued::New {
                // Somebody else was quicker, or it was there, ended, and was removed: it is not paid for again.
                done.moved_on += 1;
                continue;
            }
            done.retried += 1;
            let event = Event::MissingRequested { job: asked.new.id, images: asked.images };
            match queue.commit_unfenced(asked.job.id, event, rules).await {
                Ok(_) | Err(CommitError::Missing(_) | CommitError::Illegal(_)) => {}
                Err(CommitError::Queue(error)) => return Err(queue_failure(error, "note it at the old job")),
                Err(error) => return Err(Failure::new(error).context("failed to note it at the old job")),
            }
        }
    }
    Ok(())
}

fn enqueue_failure(error: EnqueueError) -> Failure {
    let failure = Failure::new(error).context("failed to enqueue the jobs").exit(exit_code::UNAVAILABLE);
    failure.hint("run the same command again: nothing is asked for twice")
}
