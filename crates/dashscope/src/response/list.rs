//! The answer to a listing. It is flat, and its rows name neither links nor errors.

use jiff::Timestamp;

use super::TaskStatus;
use super::answer::{Answer, Fields, ReplyError, rows};
use crate::TaskId;

/// One task of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTask {
    /// Its id.
    pub task_id: TaskId,
    /// Where it is.
    pub status: TaskStatus,
    /// Its model's name; a list without a filter holds tasks of every model of the account.
    pub model_name: Option<String>,
    /// The provider's id of the call that created it.
    pub request_id: Option<String>,
    /// When it was created, by the provider's clock.
    pub created_at: Option<Timestamp>,
    /// When work on it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Which key created it, by the provider's number for it.
    pub api_key_id: Option<String>,
    /// Where it runs.
    pub region: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPage {
    /// The provider's id of the call.
    pub request_id: Option<String>,
    /// Which page this is, from 1.
    pub page_no: Option<u64>,
    /// How many tasks a page may hold.
    pub page_size: Option<u64>,
    /// How many tasks there are on all pages.
    pub total: Option<u64>,
    /// How many pages there are.
    pub total_pages: Option<u64>,
    /// The tasks of this page.
    pub tasks: Vec<ListedTask>,
    /// Rows that could not be read. With any of them the list is no proof that a task does not exist.
    pub unreadable: usize,
}

impl TaskPage {
    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// There is no `data` in it: because the service refused, or because the body is something else. A missing list is not
    /// an empty one.
    pub fn read(body: &[u8]) -> Result<Self, ReplyError> {
        let answer = Answer::read(body)?;
        let fields = answer.fields();
        let data = fields.list("data").ok_or_else(|| answer.lacks("data"))?;
        let tasks: Vec<_> = rows(data).filter_map(|row| row.and_then(read_row)).collect();
        Ok(Self {
            request_id: answer.request_id(),
            page_no: fields.count("page_no"),
            page_size: fields.count("page_size"),
            total: fields.count("total"),
            total_pages: fields.count("total_page"),
            unreadable: data.len() - tasks.len(),
            tasks,
        })
    }

    /// Whether pages follow this one. Where the service does not say, a full page is taken to be followed by another.
    #[must_use]
    pub fn has_more(&self) -> bool {
        match (self.page_no, self.total_pages, self.page_size) {
            (Some(page), Some(pages), _) => page < pages,
            (_, _, Some(size)) => size > 0 && (self.tasks.len() + self.unreadable) as u64 >= size,
            _ => false,
        }
    }
}

fn read_row(row: Fields<'_>) -> Option<ListedTask> {
    Some(ListedTask {
        task_id: TaskId::new(row.text("task_id")?).ok()?,
        status: row.text("status").or_else(|| row.text("task_status"))?.into(),
        model_name: row.text("model_name"),
        request_id: row.text("request_id"),
        created_at: row.time("gmt_create"),
        started_at: row.time("start_time"),
        ended_at: row.time("end_time"),
        api_key_id: row.text("api_key_id"),
        region: row.text("region"),
    })
}
