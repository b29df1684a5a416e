//! The answer to a query: where a task is, and what came of it.

use std::fmt;

use jiff::Timestamp;

use super::answer::{Answer, Fields, ReplyError};
use super::{TaskStatus, Usage};
use crate::error::{ApiError, ErrorClass};
use crate::{ImageUrl, TaskId};

/// One image of a result. Choice and item together name it: a link does not, since equal links were seen twice in a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultImage {
    /// Which of the choices, from 0.
    pub choice: usize,
    /// Which item of the choice's message, from 0.
    pub item: usize,
    /// Where it can be fetched, for about a day.
    pub url: ImageUrl,
    /// Why the model stopped; `stop` when it was done.
    pub finish_reason: Option<String>,
}

impl ResultImage {
    /// Whether the model was done with it. Where no reason is given, there is none to doubt it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.finish_reason.as_deref().is_none_or(|reason| reason.eq_ignore_ascii_case("stop"))
    }
}

/// One text of a result. `Debug` shows its length only: it may repeat the prompt.
#[derive(Clone, PartialEq, Eq)]
pub struct ResultText {
    /// Which of the choices, from 0.
    pub choice: usize,
    /// Which item of the choice's message, from 0.
    pub item: usize,
    /// The text.
    pub text: String,
}

impl fmt::Debug for ResultText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chars = self.text.chars().count();
        write!(f, "ResultText({}, {}: {chars} characters)", self.choice, self.item)
    }
}

/// One item of a result that should have been an image and cannot be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableItem {
    /// Which of the choices, from 0.
    pub choice: usize,
    /// Which item of the choice's message, from 0.
    pub item: usize,
    /// Why: the service's own reason for this item, or what is wrong with its link.
    pub reason: ApiError,
}

/// What a task or a synchronous call made, with the choices laid out flat: several images are either one choice each or
/// several items of one choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Images, in their order.
    pub images: Vec<ResultImage>,
    /// Texts, in their order.
    pub texts: Vec<ResultText>,
    /// What should have been an image and cannot be fetched.
    pub unusable: Vec<UnusableItem>,
    /// Whether the service calls the result finished.
    pub finished: Option<bool>,
}

impl Output {
    pub(super) fn read(output: Fields<'_>) -> Self {
        let mut all = Self { finished: output.flag("finished"), ..Self::default() };
        for (choice, value) in output.list("choices").unwrap_or_default().iter().enumerate() {
            let Some(fields) = Fields::of(value) else { continue };
            let finish_reason = fields.text("finish_reason");
            let content = fields.object("message").and_then(|message| message.list("content"));
            for (item, value) in content.unwrap_or_default().iter().enumerate() {
                let Some(fields) = Fields::of(value) else { continue };
                if let Some(link) = fields.text("image") {
                    all.put_image(choice, item, link, finish_reason.clone());
                } else if let Some(text) = fields.text("text") {
                    all.texts.push(ResultText { choice, item, text });
                }
            }
        }
        // Older models have one result for each image, with its own error where it failed.
        for (choice, value) in output.list("results").unwrap_or_default().iter().enumerate() {
            let Some(fields) = Fields::of(value) else { continue };
            if let Some(link) = fields.text("url") {
                all.put_image(choice, 0, link, None);
            } else if let Some(reason) = fields.error() {
                all.unusable.push(UnusableItem { choice, item: 0, reason });
            }
        }
        all
    }

    fn put_image(&mut self, choice: usize, item: usize, link: String, finish_reason: Option<String>) {
        match ImageUrl::new(link) {
            Ok(url) => self.images.push(ResultImage { choice, item, url, finish_reason }),
            Err(error) => {
                let reason = ApiError::new("UnusableLink", &error.to_string());
                self.unusable.push(UnusableItem { choice, item, reason });
            }
        }
    }
}

/// What the service says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReport {
    /// The id as the answer names it. An answer of status `Unknown` need not repeat the one that was asked for.
    pub task_id: Option<TaskId>,
    /// Where the task is.
    pub status: TaskStatus,
    /// The provider's id of this query.
    pub request_id: Option<String>,
    /// When the task was created.
    pub submitted_at: Option<Timestamp>,
    /// When work on it began.
    pub scheduled_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What it made; empty but for status `Succeeded`.
    pub output: Output,
    /// What it used; only with status `Succeeded`.
    pub usage: Option<Usage>,
    /// Why it failed.
    pub failure: Option<ApiError>,
}

impl TaskReport {
    /// Reads the body of an answer that came under a status of 200.
    ///
    /// The reason of a failure is taken from `output`, else from the top. The API page also shows a failed task as a bare
    /// error without any `output`: such an answer is a failed task if its class can only speak of a task (its content, its
    /// parameters, its inputs), and a refused query otherwise.
    ///
    /// # Errors
    ///
    /// The body is not an answer, says nothing of a status, or refuses the query.
    pub fn read(body: &[u8]) -> Result<Self, ReplyError> {
        let answer = Answer::read(body)?;
        let flat = answer.error();
        let output = answer.output();
        let status = output.and_then(|output| output.text("task_status")).map(TaskStatus::from);
        let about_a_task = |error: &ApiError| {
            let class = error.class();
            matches!(class, ErrorClass::Moderation | ErrorClass::InvalidRequest | ErrorClass::InputDownload)
        };
        let status = match (status, &flat) {
            (Some(status), _) => status,
            (None, Some(error)) if output.is_none() && about_a_task(error) => TaskStatus::Failed,
            (None, _) => return Err(answer.lacks("output.task_status")),
        };
        let inner = output.and_then(Fields::error);
        let time = |name| output.and_then(|output| output.time(name));
        Ok(Self {
            task_id: output.and_then(|output| TaskId::new(output.text("task_id")?).ok()),
            request_id: answer.request_id(),
            submitted_at: time("submit_time"),
            scheduled_at: time("scheduled_time"),
            ended_at: time("end_time"),
            output: output.map(Output::read).unwrap_or_default(),
            usage: answer
                .fields()
                .object("usage")
                .map(Usage::read)
                .filter(|_| status == TaskStatus::Succeeded),
            failure: inner.or(flat).filter(|_| status != TaskStatus::Succeeded),
            status,
        })
    }

    /// How many images are billed: what `usage` says, else what is there.
    #[must_use]
    pub fn billed_images(&self) -> u32 {
        let counted = self.usage.and_then(|usage| usage.image_count);
        counted.unwrap_or_else(|| u32::try_from(self.output.images.len()).unwrap_or(u32::MAX))
    }
}
