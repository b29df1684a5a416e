//! One worker's way to the provider's twin: [`ImageApi`], with what can go wrong on the way.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dashscope::error::{ApiError, ErrorClass, Throttle};
use dashscope::request::OssUri;
use dashscope::response::{
    ListedTask, Output, Quota, QuotaLimit, QuotaPage, ResultImage, TaskPage, TaskReport, Usage,
};
use dashscope::{ImageRequest, Model, TaskStatus};
use job::{AccountName, TaskId, Timestamp};

use super::{Fate, KEPT_FOR, Provider};
use crate::ports::{Answer, CallFault, CreateFault, Created, Gate, ImageApi};
use crate::testing::fault::{Act, Faults, Hook};
use crate::testing::process::Process;

/// Rows on a page of the list.
const PAGE: usize = 100;

/// [`ImageApi`] at a [`Provider`], for one worker.
pub(crate) struct TwinApi {
    pub(crate) provider: Arc<Provider>,
    pub(crate) process: Arc<Process>,
    pub(crate) faults: Arc<Faults>,
}

impl TwinApi {
    fn now(&self) -> Timestamp {
        self.provider.time.now()
    }

    /// Half of the way there and back.
    async fn half_way(&self) -> Duration {
        self.process.runs().await;
        let half = self.provider.draw(&self.provider.habits.latency) / 2;
        tokio::time::sleep(half).await;
        half
    }

    async fn back(&self, half: Duration) {
        tokio::time::sleep(half).await;
        self.process.runs().await;
    }

    /// The client waits for an answer that does not come.
    async fn time_out(&self) -> CreateFault {
        tokio::time::sleep(self.provider.habits.create_timeout).await;
        self.process.runs().await;
        unknown("timeout")
    }
}

fn unknown(cause: &str) -> CreateFault {
    CreateFault::Unknown { cause: cause.to_owned() }
}

fn refusal(http_status: u16, class: ErrorClass, code: &str) -> Answer {
    Answer {
        http_status,
        class,
        code: code.to_owned(),
        message: "the twin was told to say so".to_owned(),
        request_id: None,
        retry_after: None,
    }
}

#[async_trait]
impl ImageApi for TwinApi {
    async fn create(
        &self,
        _: &AccountName,
        request: &ImageRequest,
        gate: Gate,
    ) -> Result<Created, CreateFault> {
        // The connection.
        let half = self.half_way().await;
        self.process.runs().await;
        gate.go().await.map_err(CreateFault::Withheld)?;
        let act = self.faults.at(Hook::Create);
        match &act {
            Some(Act::NoConnection) => {
                return Err(CreateFault::NotConnected { message: "no connection".to_owned() });
            }
            Some(Act::Crash) => self.process.kill(),
            Some(Act::Pause(pause)) => self.process.pause(*pause),
            _ => {}
        }
        // Between the gate and the wire: the one gap that nothing closes.
        self.process.runs().await;
        let sent = self.now();
        let take = |at| self.provider.take(request.prompt.expose(), request.n.into(), at);
        match act {
            Some(Act::Refuse) => {
                self.back(half).await;
                let class = ErrorClass::Throttled { kind: Throttle::Rate };
                return Err(CreateFault::Refused(refusal(429, class, "Throttling.RateQuota")));
            }
            Some(Act::Reject) => {
                self.back(half).await;
                let refusal = refusal(400, ErrorClass::Moderation, "DataInspectionFailed");
                return Err(CreateFault::Refused(refusal));
            }
            Some(Act::Lose) => return Err(self.time_out().await),
            Some(Act::LoseAnswer) => {
                take(sent + half);
                return Err(self.time_out().await);
            }
            Some(Act::Gateway502) => {
                take(sent + half);
                self.back(half).await;
                return Err(unknown("http_502"));
            }
            Some(Act::Late(late)) => {
                let late = self.provider.draw(&late);
                take(sent + late);
                self.back(half).await;
                return Err(unknown("no_answer"));
            }
            _ => {}
        }
        let task = take(sent + half);
        if act == Some(Act::CrashAfter) {
            self.process.kill();
        }
        self.back(half * 2).await;
        // A process that stood still finds its answer, or its timeout, first.
        let waited = Duration::try_from(self.now().duration_since(sent)).unwrap_or_default();
        if waited > self.provider.habits.create_timeout && self.provider.chance() < 0.5 {
            return Err(unknown("timeout"));
        }
        Ok(Created { task, request_id: None })
    }

    async fn fetch(&self, _: &AccountName, id: &TaskId) -> Result<TaskReport, CallFault> {
        let half = self.half_way().await;
        let now = self.now();
        let act = self.faults.at(Hook::Fetch);
        let known =
            self.provider.task(id).filter(|task| task.exists(now) && now < task.created_at + KEPT_FOR);
        let report = match (act, known) {
            (Some(Act::SayUnknown), _) | (_, None) => report(TaskStatus::Unknown),
            (Some(Act::Lose | Act::LoseAnswer), _) => {
                self.back(half).await;
                return Err(CallFault::Unanswered { message: "the connection broke".to_owned() });
            }
            (Some(Act::Refuse), _) => {
                self.back(half).await;
                let class = ErrorClass::Throttled { kind: Throttle::Rate };
                return Err(CallFault::Refused(refusal(429, class, "Throttling")));
            }
            (Some(Act::Crash | Act::CrashAfter), _) => {
                self.process.kill();
                std::future::pending().await
            }
            (_, Some(task)) => {
                let status = task.status(now);
                let mut report = report(status.clone());
                report.submitted_at = Some(self.provider.by_its_clock(task.created_at));
                if status == TaskStatus::Succeeded {
                    report.ended_at = Some(self.provider.by_its_clock(task.ends_at));
                    let size = self.provider.habits.size;
                    report.usage = Some(Usage { image_count: Some(task.images), size, ..Usage::default() });
                    report.output.images = (0..task.images)
                        .map(|item| ResultImage {
                            choice: 0,
                            item: item as usize,
                            url: self.provider.link(&task.id, item, now),
                            finish_reason: None,
                        })
                        .collect();
                }
                if let (TaskStatus::Failed, Fate::Fails(code)) = (status, task.fate) {
                    report.failure = Some(ApiError::new(code, "the twin was told to fail"));
                }
                report
            }
        };
        self.back(half).await;
        Ok(report)
    }

    async fn list(&self, _: &AccountName, model: Model, page: u32) -> Result<TaskPage, CallFault> {
        let half = self.half_way().await;
        let now = self.now();
        let mut shown: Vec<_> = self.provider.tasks();
        shown.retain(|task| task.exists(now) && task.listed_at <= now && now < task.created_at + KEPT_FOR);
        shown.sort_by_key(|task| std::cmp::Reverse(task.created_at));
        let tasks = shown.iter().skip((page as usize).saturating_sub(1) * PAGE).take(PAGE);
        let tasks = tasks
            .map(|task| ListedTask {
                task_id: task.id.clone(),
                status: task.status(now),
                model_name: Some(model.to_string()),
                request_id: None,
                created_at: Some(self.provider.by_its_clock(task.created_at)),
                started_at: None,
                ended_at: None,
                api_key_id: None,
                region: None,
            })
            .collect();
        self.back(half).await;
        Ok(TaskPage {
            request_id: None,
            page_no: Some(page.into()),
            page_size: Some(PAGE as u64),
            total: Some(shown.len() as u64),
            total_pages: Some(shown.len().div_ceil(PAGE).max(1) as u64),
            tasks,
            unreadable: 0,
        })
    }

    async fn cancel(&self, _: &AccountName, task: &TaskId) -> Result<(), CallFault> {
        let half = self.half_way().await;
        let done = self.provider.cancel(task, self.now());
        self.back(half).await;
        if done {
            return Ok(());
        }
        Err(CallFault::Refused(refusal(400, ErrorClass::NotCancellable, "UnsupportedOperation")))
    }

    async fn quotas(&self, _: &AccountName, model: Model) -> Result<QuotaPage, CallFault> {
        let half = self.half_way().await;
        self.back(half).await;
        let (model, told) = (model.as_str().to_owned(), QuotaLimit::default());
        let quota = Quota { model, workspace_id: None, model_limit: Some(told), workspace_limit: None };
        Ok(QuotaPage { request_id: None, quotas: vec![quota] })
    }

    async fn upload(&self, _: &AccountName, _: Model, _: Bytes, _: &str) -> Result<OssUri, CallFault> {
        let half = self.half_way().await;
        self.back(half).await;
        OssUri::new("oss://dir/in.png".to_owned())
            .map_err(|_| CallFault::Unanswered { message: "the twin's address is none".to_owned() })
    }
}

/// A report without anything else.
fn report(status: TaskStatus) -> TaskReport {
    TaskReport {
        task_id: None,
        status,
        request_id: None,
        submitted_at: None,
        scheduled_at: None,
        ended_at: None,
        output: Output::default(),
        usage: None,
        failure: None,
    }
}
