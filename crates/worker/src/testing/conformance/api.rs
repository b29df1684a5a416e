//! What every provider must do, as far as the steps rely on it.

#![expect(clippy::unwrap_used, reason = "a statement that panics does not hold, and says where")]

use std::time::Duration;

use async_trait::async_trait;
use dashscope::response::TaskReport;
use dashscope::{ImageRequest, TaskStatus};
use job::{AccountName, TaskId};

use super::jobs::PICTURES;
use super::{Statement, statements};
use crate::ports::{CallFault, CreateFault, Gate, ImageApi, Withheld};

/// A provider under the statements. It processes one task at a time, or starts none at once: a second one waits for a while.
#[async_trait]
pub trait ApiBench: Send + Sync {
    /// The port.
    fn api(&self) -> &dyn ImageApi;
    /// Waits.
    async fn pass(&self, time: Duration);
}

/// What is stated.
pub const API: &[Statement<dyn ApiBench>] = statements![
    a_task_is_listed_and_brings_what_was_asked_for,
    a_shut_gate_sends_nothing,
    a_task_that_waits_can_be_cancelled_and_one_that_is_over_cannot,
    a_task_that_nobody_created_is_unknown,
    quotas_are_those_of_the_model_that_was_asked_about,
];

fn account() -> AccountName {
    AccountName::parse("main").unwrap()
}

async fn create(bench: &dyn ApiBench, images: u8) -> TaskId {
    let mut request = ImageRequest::new(PICTURES, "a lighthouse at dusk");
    request.n = images;
    bench.api().create(&account(), &request, Gate::now(|| Ok(()))).await.unwrap().task
}

/// The task once it is over.
async fn over(bench: &dyn ApiBench, task: &TaskId) -> TaskReport {
    for _ in 0..600 {
        let report = bench.api().fetch(&account(), task).await.unwrap();
        if report.status.is_final() {
            return report;
        }
        bench.pass(Duration::from_millis(100)).await;
    }
    panic!("task {task} does not end");
}

async fn listed(bench: &dyn ApiBench) -> Vec<TaskId> {
    let page = bench.api().list(&account(), PICTURES, 1).await.unwrap();
    assert_eq!((page.unreadable, page.total), (0, Some(page.tasks.len() as u64)));
    assert!(page.tasks.iter().all(|row| row.created_at.is_some()));
    page.tasks.into_iter().map(|row| row.task_id).collect()
}

async fn a_task_is_listed_and_brings_what_was_asked_for(bench: &dyn ApiBench) {
    assert!(listed(bench).await.is_empty());
    let task = create(bench, 2).await;
    assert_eq!(listed(bench).await, std::slice::from_ref(&task));
    let report = over(bench, &task).await;
    assert_eq!((report.status.clone(), report.billed_images()), (TaskStatus::Succeeded, 2));
    assert_eq!(report.output.images.len(), 2);
    assert!(report.output.images.iter().all(|image| image.url.expires_at().is_some()));
    assert!(report.submitted_at.is_some() && report.ended_at >= report.submitted_at);
    assert_eq!(listed(bench).await, [task], "it is listed when it is over as well");
}

async fn a_shut_gate_sends_nothing(bench: &dyn ApiBench) {
    let request = ImageRequest::new(PICTURES, "a lighthouse at dusk");
    let kept_back = bench.api().create(&account(), &request, Gate::now(|| Err(Withheld::TooLate))).await;
    assert_eq!(kept_back, Err(CreateFault::Withheld(Withheld::TooLate)));
    assert!(listed(bench).await.is_empty());
}

async fn a_task_that_waits_can_be_cancelled_and_one_that_is_over_cannot(bench: &dyn ApiBench) {
    let (first, second) = (create(bench, 1).await, create(bench, 1).await);
    bench.api().cancel(&account(), &second).await.unwrap();
    assert_eq!(over(bench, &second).await.status, TaskStatus::Canceled);
    assert_eq!(over(bench, &first).await.status, TaskStatus::Succeeded);
    let refused = bench.api().cancel(&account(), &first).await;
    assert!(matches!(refused, Err(CallFault::Refused(_))), "{refused:?}");
}

async fn a_task_that_nobody_created_is_unknown(bench: &dyn ApiBench) {
    let stranger: TaskId = "7574ee8f-38a3-4b1e-9280-11c33ab46e51".parse().unwrap();
    let report = bench.api().fetch(&account(), &stranger).await.unwrap();
    assert_eq!(report.status, TaskStatus::Unknown);
}

async fn quotas_are_those_of_the_model_that_was_asked_about(bench: &dyn ApiBench) {
    let page = bench.api().quotas(&account(), PICTURES).await.unwrap();
    let models: Vec<_> = page.quotas.iter().map(|quota| quota.model.as_str()).collect();
    assert_eq!(models, [PICTURES.as_str()]);
    assert!(page.quotas[0].model_limit.is_some());
}
