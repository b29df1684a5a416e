//! The calls about tasks that exist, and about limits. None of them costs anything.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use tracing::Instrument as _;

use super::Client;
use super::call_error::{CallError, CancelTaskError, judge};
use super::transport::exchange;
use crate::error::ErrorClass;
use crate::response::{Answer, QuotaPage, ReplyError, SERVICE_ZONE, TaskPage, TaskReport};
use crate::{Model, TaskId, TaskStatus};

/// What may stand in a path as it is.
const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Which tasks to list. By default the first page of the last 24 hours, in the service's own page size of 10.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Which page, from 1.
    pub page_no: Option<u32>,
    /// How many tasks on a page. No most is documented.
    pub page_size: Option<u32>,
    /// Only tasks of this model.
    pub model: Option<Model>,
    /// Only tasks in this state.
    pub status: Option<TaskStatus>,
    /// Only tasks from this moment on; at most 24 h before `end`. To the second, written in UTC+8: the service does not say
    /// which zone it takes, so that a window had better be wide.
    pub start: Option<Timestamp>,
    /// Only tasks up to this moment.
    pub end: Option<Timestamp>,
}

impl ListQuery {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |time: &Timestamp| SERVICE_ZONE.to_datetime(*time).strftime("%Y%m%d%H%M%S").to_string();
        let all = [
            ("page_no", self.page_no.map(|number| number.to_string())),
            ("page_size", self.page_size.map(|number| number.to_string())),
            ("model_name", self.model.map(|model| model.to_string())),
            ("status", self.status.as_ref().map(TaskStatus::to_string)),
            ("start_time", self.start.as_ref().map(time)),
            ("end_time", self.end.as_ref().map(time)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl Client {
    /// Asks where a task is and what came of it.
    ///
    /// # Errors
    ///
    /// The query failed, which says nothing of the task: a failed task is a report.
    pub async fn fetch_task(&self, task_id: &TaskId) -> Result<TaskReport, CallError> {
        let span = tracing::debug_span!("dashscope.fetch_task", task.id = %task_id, http.status = tracing::field::Empty);
        async {
            let report = self.ask(Method::GET, &task_path(task_id), TaskReport::read).await?;
            if report.task_id.as_ref().is_some_and(|told| told != task_id) {
                tracing::warn!(told.id = ?report.task_id, "DashScope answered a query for task {task_id} with another id");
            }
            Ok(report)
        }
        .instrument(span)
        .await
    }

    /// Lists tasks of the account.
    ///
    /// # Errors
    ///
    /// The call failed. An answer without a list is an error, not an empty list.
    pub async fn list_tasks(&self, query: &ListQuery) -> Result<TaskPage, CallError> {
        let span = tracing::debug_span!(
            "dashscope.list_tasks",
            page_no = query.page_no,
            http.status = tracing::field::Empty
        );
        let request = self.call(&self.pooled, Method::GET, "/tasks").query(&query.parameters());
        self.answer(request, TaskPage::read).instrument(span).await
    }

    /// Cancels a task that is PENDING. That it is gone is only sure once a query says so.
    ///
    /// # Errors
    ///
    /// The task is past PENDING, or the call failed.
    pub async fn cancel_task(&self, task_id: &TaskId) -> Result<(), CancelTaskError> {
        let span = tracing::debug_span!("dashscope.cancel_task", task.id = %task_id, http.status = tracing::field::Empty);
        let path = task_path(task_id) + "/cancel";
        let accepted = |body: &[u8]| {
            let answer = Answer::read(body)?;
            answer.error().map_or(Ok(()), |source| Err(ReplyError::Refused { source }))
        };
        self.ask(Method::POST, &path, accepted).instrument(span).await.map_err(|source| match source {
            CallError::Refused { source } if source.class() == ErrorClass::NotCancellable => {
                CancelTaskError::NotCancellable { source }
            }
            source => CancelTaskError::Call { source },
        })
    }

    /// Asks for the limits of `model`, or of all. Not every host offers this.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn quotas(&self, model: Option<Model>) -> Result<QuotaPage, CallError> {
        let span = tracing::debug_span!("dashscope.quotas", http.status = tracing::field::Empty);
        let request = self.call(&self.pooled, Method::GET, "/quotas");
        let request = match model {
            Some(model) => request.query(&[("model", model.as_str())]),
            None => request,
        };
        self.answer(request, QuotaPage::read).instrument(span).await
    }

    async fn ask<T>(
        &self,
        method: Method,
        path: &str,
        read: impl FnOnce(&[u8]) -> Result<T, ReplyError>,
    ) -> Result<T, CallError> {
        self.answer(self.call(&self.pooled, method, path), read).await
    }

    pub(super) async fn answer<T>(
        &self,
        request: RequestBuilder,
        read: impl FnOnce(&[u8]) -> Result<T, ReplyError>,
    ) -> Result<T, CallError> {
        let reply = exchange(request.timeout(self.timeouts.query)).await?;
        judge(reply, read)
    }
}

fn task_path(task_id: &TaskId) -> String {
    format!("/tasks/{}", utf8_percent_encode(task_id.as_str(), PATH_PART))
}
