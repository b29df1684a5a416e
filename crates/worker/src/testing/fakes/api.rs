//! The provider's twin: it gives the answers that it was told, in order, and counts what it was asked.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use dashscope::request::OssUri;
use dashscope::response::{QuotaPage, TaskPage, TaskReport};
use dashscope::{ImageInput, ImageRequest, Model, TaskStatus};
use job::{AccountName, TaskId};
use tokio::sync::Notify;

use crate::ports::{CallFault, CreateFault, Created, Gate, ImageApi};

/// What a create does once its gate let it pass.
pub(crate) enum CreateAct {
    /// Answers.
    Answer(Result<&'static str, CreateFault>),
    /// Answers with this task once it is released.
    Hang(&'static str),
}

#[derive(Default)]
pub(crate) struct FakeApi {
    creates: Mutex<VecDeque<CreateAct>>,
    fetches: Mutex<VecDeque<Result<TaskReport, CallFault>>>,
    pages: Mutex<VecDeque<Result<TaskPage, CallFault>>>,
    quotas: Mutex<VecDeque<Result<QuotaPage, CallFault>>>,
    cancels: Mutex<VecDeque<Result<(), CallFault>>>,
    log: Mutex<Vec<String>>,
    sent: Mutex<Vec<Vec<ImageInput>>>,
    /// Whether connections take for ever.
    pub(crate) no_connection: Mutex<bool>,
    /// Rung when a create passed its gate.
    pub(crate) passed: Notify,
    /// Releases one hanging create.
    pub(crate) release: Notify,
}

impl FakeApi {
    pub(crate) fn on_create(&self, act: CreateAct) {
        self.creates.lock().unwrap().push_back(act);
    }

    pub(crate) fn on_fetch(&self, answer: Result<TaskReport, CallFault>) {
        self.fetches.lock().unwrap().push_back(answer);
    }

    pub(crate) fn on_list(&self, answer: Result<TaskPage, CallFault>) {
        self.pages.lock().unwrap().push_back(answer);
    }

    pub(crate) fn on_cancel(&self, answer: Result<(), CallFault>) {
        self.cancels.lock().unwrap().push_back(answer);
    }

    pub(crate) fn on_quotas(&self, answer: Result<QuotaPage, CallFault>) {
        self.quotas.lock().unwrap().push_back(answer);
    }

    /// The calls, in order: a create only if it was sent.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The inputs of the creates that were sent.
    pub(crate) fn sent(&self) -> Vec<Vec<ImageInput>> {
        self.sent.lock().unwrap().clone()
    }

    fn note(&self, call: String) {
        self.log.lock().unwrap().push(call);
    }
}

#[async_trait]
impl ImageApi for FakeApi {
    async fn create(
        &self,
        _: &AccountName,
        request: &ImageRequest,
        gate: Gate,
    ) -> Result<Created, CreateFault> {
        let never_connects = *self.no_connection.lock().unwrap();
        if never_connects {
            self.passed.notify_one();
            std::future::pending::<()>().await;
        }
        gate.go().await.map_err(CreateFault::Withheld)?;
        self.note("create".to_owned());
        self.sent.lock().unwrap().push(request.images.clone());
        self.passed.notify_one();
        let act = self.creates.lock().unwrap().pop_front().expect("no answer is scripted for this create");
        let answer = match act {
            CreateAct::Answer(answer) => answer,
            CreateAct::Hang(task) => {
                self.release.notified().await;
                Ok(task)
            }
        };
        answer.map(|task| Created { task: task.parse().unwrap(), request_id: None })
    }

    async fn fetch(&self, _: &AccountName, task: &TaskId) -> Result<TaskReport, CallFault> {
        self.note(format!("fetch {task}"));
        self.fetches.lock().unwrap().pop_front().expect("no answer is scripted for this query")
    }

    async fn list(&self, _: &AccountName, _: Model, page: u32) -> Result<TaskPage, CallFault> {
        self.note(format!("list {page}"));
        self.pages.lock().unwrap().pop_front().expect("no answer is scripted for this page")
    }

    async fn cancel(&self, _: &AccountName, task: &TaskId) -> Result<(), CallFault> {
        self.note(format!("cancel {task}"));
        self.cancels.lock().unwrap().pop_front().unwrap_or(Ok(()))
    }

    async fn quotas(&self, _: &AccountName, model: Model) -> Result<QuotaPage, CallFault> {
        self.note(format!("quotas {model}"));
        self.quotas.lock().unwrap().pop_front().expect("no answer is scripted for this question")
    }

    async fn upload(
        &self,
        _: &AccountName,
        _: Model,
        body: Bytes,
        ending: &str,
    ) -> Result<OssUri, CallFault> {
        self.note(format!("upload {} bytes of {ending}", body.len()));
        Ok(OssUri::new("oss://dir/in.png".to_owned()).unwrap())
    }
}

/// A report of a task in this state, without anything else.
pub(crate) fn report(status: TaskStatus) -> TaskReport {
    TaskReport {
        task_id: None,
        status,
        request_id: Some("r-1".to_owned()),
        submitted_at: None,
        scheduled_at: None,
        ended_at: None,
        output: dashscope::response::Output::default(),
        usage: None,
        failure: None,
    }
}
