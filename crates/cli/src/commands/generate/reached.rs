//! How far a run got, for whoever interrupts it: what was sent, what is billed, what is saved.

use std::cell::RefCell;

use dashscope::{BaseUrl, TaskId};

use super::save::SavedImage;
use crate::exit_code;
use crate::failure::Failure;
use crate::output::words::counted;

/// How far a run got.
#[derive(Debug, Default)]
pub(super) struct Reached {
    stage: RefCell<Stage>,
    images: RefCell<Vec<SavedImage>>,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing was sent that costs.
    #[default]
    Nothing,
    /// The create is on the wire, and its outcome is not known.
    Sending,
    /// The task exists.
    Created(TaskId),
    /// The task succeeded; its images are being saved.
    Ended(TaskId),
}

impl Reached {
    /// The create goes out now.
    pub(super) fn sending(&self) {
        *self.stage.borrow_mut() = Stage::Sending;
    }

    /// It did not: for certain, nothing was sent.
    pub(super) fn not_sent(&self) {
        *self.stage.borrow_mut() = Stage::Nothing;
    }

    /// The task exists.
    pub(super) fn created(&self, task: &TaskId) {
        *self.stage.borrow_mut() = Stage::Created(task.clone());
    }

    /// The task succeeded.
    pub(super) fn ended(&self, task: &TaskId) {
        *self.stage.borrow_mut() = Stage::Ended(task.clone());
    }

    /// An image is on disk.
    pub(super) fn saved(&self, image: SavedImage) {
        self.images.borrow_mut().push(image);
    }

    /// The images that are on disk.
    pub(super) fn images(&self) -> Vec<SavedImage> {
        self.images.borrow().clone()
    }

    /// What an interruption leaves behind.
    pub(super) fn interrupted(&self, base_url: &BaseUrl) -> Failure {
        let failure = match &*self.stage.borrow() {
            Stage::Nothing => Failure::message("interrupted; no task was created"),
            Stage::Sending => {
                Failure::message("interrupted while the task was being created").hint(LOOK_FIRST)
            }
            Stage::Created(task) => {
                let text = format!("interrupted; task {task} goes on at DashScope, and is billed");
                Failure::message(text).hint(links_of(base_url, task))
            }
            Stage::Ended(task) => {
                let images = self.images.borrow();
                let saved = counted(images.len() as u64, "image");
                let text = format!("interrupted; task {task} is done and billed, and {saved} of it saved");
                let paths = images.iter().map(|image| image.path.clone()).collect();
                Failure::message(text).details(paths).hint(links_of(base_url, task))
            }
        };
        failure.exit(exit_code::INTERRUPTED)
    }
}

/// What to do where nobody knows whether a task was created.
pub(super) const LOOK_FIRST: &str =
    "a task may exist and be billed: look at the account's tasks before you try again";

/// How the images of a task can still be had.
pub(super) fn links_of(base_url: &BaseUrl, task: &TaskId) -> String {
    format!(
        "for 24 h the service keeps its images: `GET {base_url}/tasks/{task}` with the account's key names their links"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_says_what_is_billed_what_is_saved_and_how_the_rest_can_be_had() {
        let (reached, base_url) =
            (Reached::default(), dashscope::base_url::SINGAPORE.parse::<BaseUrl>().unwrap());
        let said = || {
            let failure = reached.interrupted(&base_url);
            assert_eq!(failure.exit_code, exit_code::INTERRUPTED);
            crate::report::render(&failure)
        };
        insta::assert_snapshot!(said(), @"error: interrupted; no task was created");
        reached.sending();
        insta::assert_snapshot!(said(), @r"
        error: interrupted while the task was being created

        hint: a task may exist and be billed: look at the account's tasks before you try again
        ");
        reached.not_sent();
        insta::assert_snapshot!(said(), @"error: interrupted; no task was created");
        let task: TaskId = "t-1".parse().unwrap();
        reached.created(&task);
        insta::assert_snapshot!(said(), @r"
        error: interrupted; task t-1 goes on at DashScope, and is billed

        hint: for 24 h the service keeps its images: `GET https://dashscope-intl.aliyuncs.com/api/v1/tasks/t-1` with the account's key names their links
        ");
        reached.ended(&task);
        reached.saved(SavedImage::at("tree-0.png"));
        insta::assert_snapshot!(said(), @r"
        error: interrupted; task t-1 is done and billed, and 1 image of it saved
          tree-0.png

        hint: for 24 h the service keeps its images: `GET https://dashscope-intl.aliyuncs.com/api/v1/tasks/t-1` with the account's key names their links
        ");
    }
}
