//! Fresh links for images whose links died: the task is asked once more, while the provider still knows it.

use dashscope::TaskStatus;
use job::{ImageState, Job, Outcome};
use tracing::{debug, info};

use crate::env::Env;
use crate::permit::query_permit;
use crate::poll::{Reading, outcome};
use crate::silence::heed;

/// What the task says.
pub(crate) enum Links {
    /// It brought links, fresh ones perhaps.
    Fresh(Box<Outcome>),
    /// It could not be asked now, or did not say anything that helps.
    Later,
    /// The provider says that it does not know the task, though it should.
    Unknown,
    /// It is too old to be known.
    Forgotten,
}

/// Asks the job's task for its links.
pub(crate) async fn fresh_links(env: &Env, job: &Job) -> Links {
    let price = env.config.prices.per_image(job.model);
    let retention = env.config.rules.task_retention;
    let (Some(attempt), Some(reading)) =
        (job.state.attempt(), Reading::of(job, env.jobs.now(), retention, price))
    else {
        return Links::Forgotten;
    };
    let forgotten = reading.now >= reading.created_at + retention;
    if forgotten {
        return Links::Forgotten;
    }
    if query_permit(env, &attempt.account).await.is_err() {
        return Links::Later;
    }
    let answer = env.api.fetch(&attempt.account, reading.task).await;
    heed(env, &attempt.account, &answer).await;
    match answer {
        Ok(report) => match report.status {
            TaskStatus::Succeeded if !report.output.images.is_empty() => {
                info!(job.id = %job.id, task.id = %reading.task, "Task {} was asked again for links", reading.task);
                Links::Fresh(Box::new(outcome(report, reading)))
            }
            TaskStatus::Unknown => Links::Unknown,
            // It succeeded before, with images: anything else is a moment's confusion.
            _ => Links::Later,
        },
        Err(fault) => {
            debug!(task.id = %reading.task, "Task {} could not be asked for links: {fault}", reading.task);
            Links::Later
        }
    }
}

/// Gives every image that still waits the link that `fresh` has for it.
pub(crate) fn take_over(outcome: &mut Outcome, fresh: Outcome) {
    for image in &mut outcome.images {
        if !matches!(image.state, ImageState::Waiting { .. }) {
            continue;
        }
        let same = fresh.images.iter().find(|other| (other.choice, other.item) == (image.choice, image.item));
        if let Some(state @ ImageState::Waiting { .. }) = same.map(|other| other.state.clone()) {
            image.state = state;
        }
    }
}
