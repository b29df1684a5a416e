//! Images that were asked for and that the task does not even name. Pure, but for a line in the log.

use dashscope::ImageRequest;
use job::{ImageState, Job, Outcome, OutcomeImage};
use tracing::warn;

/// The code of an image that was never made.
const NOT_MADE: &str = "not_made";

/// Writes down, with the reason, each image that `request` asks for and the task does not bring.
///
/// Of a set, the service itself decides how many images it has: there, none is missing.
pub(super) fn note(job: &Job, request: &ImageRequest, outcome: &mut Outcome) {
    let named = outcome.images.len();
    if request.enable_sequential || named == 0 || named >= usize::from(request.n) {
        return;
    }
    let reason = format!(
        "the task brought {named} of the {} images that were asked for, and bills {}",
        request.n, outcome.billed
    );
    warn!(job.id = %job.id, task.id = %outcome.task, "Job {} gets fewer images than it asked for: {reason}", job.id);
    let choices = outcome.images.iter().map(|image| image.choice).max().unwrap_or(0);
    let first = u8::try_from(named).unwrap_or(u8::MAX);
    outcome.images.extend((first..request.n).zip(1..).map(|(index, behind)| OutcomeImage {
        index,
        choice: choices.saturating_add(behind),
        item: 0,
        state: ImageState::Lost { code: NOT_MADE.to_owned(), reason: reason.clone() },
    }));
}
