//! From a task's id to its report.

use std::time::Duration;

use dashscope::client::CallError;
use dashscope::response::TaskReport;
use dashscope::{TaskId, TaskStatus};
use job::{Asked, Rules, TaskPhase};
use rand::RngExt as _;

use super::advice::{hint_of, with_hint};
use super::caller::Caller;
use crate::app::App;
use crate::failure::Failure;
use crate::output::words::span;

/// Answers of UNKNOWN in a row after which the task is given up.
const UNKNOWNS_MAX: u32 = 5;

/// Asks for the task until it is final, and gives its report if it succeeded.
///
/// # Errors
///
/// It failed, nobody knows it, or it cannot be asked for.
pub(super) async fn follow(
    app: &App,
    caller: &Caller<'_>,
    task: &TaskId,
    rules: &Rules,
) -> Result<TaskReport, Failure> {
    let began = app.clock.elapsed();
    let (mut polls, mut unknowns, mut phase) = (0, 0, TaskPhase::Pending);
    let mut rng = app.rng();
    loop {
        let age = app.clock.elapsed().saturating_sub(began);
        tokio::time::sleep(rules.poll.wait(
            Asked { age, running_for: None, polls, phase },
            None,
            rng.random(),
        ))
        .await;
        caller.query_permit(app).await?;
        let report = match caller.client.fetch_task(task).await {
            Ok(report) => report,
            // The task is paid for: what may pass is waited out.
            Err(error) if error.is_retryable() => {
                tracing::warn!(task.id = %task, "A query for task {task} failed: {error}");
                if let Some(pause) = error.retry_after() {
                    tokio::time::sleep(pause.min(Duration::from_secs(60))).await;
                }
                polls += 1;
                continue;
            }
            Err(error) => return Err(query_failure(error, task)),
        };
        unknowns = if report.status == TaskStatus::Unknown { unknowns + 1 } else { 0 };
        match &report.status {
            TaskStatus::Succeeded => return Ok(report),
            TaskStatus::Failed | TaskStatus::Canceled => return Err(task_failure(task, &report)),
            TaskStatus::Unknown if unknowns >= UNKNOWNS_MAX => {
                return Err(Failure::message(format!("DashScope does not know task {task}")));
            }
            status => {
                phase = if *status == TaskStatus::Running { TaskPhase::Running } else { TaskPhase::Pending };
                tracing::info!(task.id = %task, "Task {task} is {status} after {}", span(age));
            }
        }
        polls += 1;
    }
}

fn query_failure(error: CallError, task: &TaskId) -> Failure {
    let hint = hint_of(error.class());
    let text = format!("failed to follow task {task}, which goes on at DashScope");
    with_hint(Failure::new(error).context(text), hint)
}

fn task_failure(task: &TaskId, report: &TaskReport) -> Failure {
    let text = format!("task {task} is {}; nothing is billed", report.status);
    match &report.failure {
        Some(error) => {
            let hint = hint_of(error.class());
            with_hint(Failure::new(error.clone()).context(text), hint)
        }
        None => Failure::message(text),
    }
}
