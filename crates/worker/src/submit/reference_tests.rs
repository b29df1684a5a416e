//! The service's table of errors, row by row: what happens to a job whose create, or whose task, got this answer.
//!
//! The rows are written by hand from the service's pages. The classes between are `dashscope`'s business; here stands what a user
//! sees in the end.

use dashscope::error::{classify, proves_no_task};
use job::{Event, Model, RetryPolicy};

use super::breakers::turns;
use super::table::{consequence, failure_class};
use crate::ports::{Answer, CreateFault, PausedCall, Turn};

const MODEL: Model = Model::Wan27Image;

/// What a create without a task comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Create {
    /// The job fails, or is tried again so often.
    Job(u8),
    /// Refused: the model's creates rest for a moment.
    Pause,
    /// Refused: the account's breaker opens.
    Account,
    /// Refused: the model's breaker opens.
    Model,
    /// Nobody knows: it is settled from evidence.
    Settle,
}

use Create::{Account, Job, Model as OfModel, Pause, Settle};

const DOWNLOAD: &str = "Download the media resource timed out during the data inspection process.";

/// Status, code, message, what a create comes to, and how often a task that failed so is made again.
const ROWS: &[(u16, &str, &str, Create, u8)] = &[
    (400, "InvalidParameter", "size is not permitted", Job(0), 0),
    (400, "InvalidParameter", DOWNLOAD, Job(3), 3),
    (400, "InvalidParameter.DataInspection", "", Job(3), 3),
    (400, "InvalidURL", "url error, please check url!", Job(0), 0),
    (400, "InvalidURL.ConnectionRefused", "", Job(3), 3),
    (400, "InvalidURL.Timeout", "", Job(3), 3),
    (400, "BadRequest.EmptyInput", "", Job(0), 0),
    (400, "BadRequest.EmptyParameters", "", Job(0), 0),
    (400, "BadRequest.EmptyModel", "", Job(0), 0),
    (400, "BadRequest.IllegalInput", "", Job(0), 0),
    (400, "BadRequest.UnsupportedFileFormat", "", Job(0), 0),
    (400, "BadRequest.TooLarge", "", Job(0), 0),
    (413, "BadRequest.TooLarge", "", Job(0), 0),
    (400, "BadRequest.ResourceNotExist", "", Job(0), 0),
    (400, "BadRequest.InputDownloadFailed", "", Job(3), 3),
    (400, "InvalidImage.FileFormat", "", Job(0), 0),
    (400, "InvalidImageFormat", "", Job(0), 0),
    (400, "InvalidImageResolution", "", Job(0), 0),
    (400, "InvalidFile.Resolution", "", Job(0), 0),
    (400, "DataInspectionFailed", "Output data may contain inappropriate content.", Job(0), 0),
    (400, "data_inspection_failed", "", Job(0), 0),
    (400, "IPInfringementSuspect", "", Job(0), 0),
    (400, "FaqRuleBlocked", "", Job(0), 0),
    (400, "CustomRoleBlocked", "", Job(0), 0),
    (400, "Arrearage", "", Account, 3),
    (400, "ClientDisconnect", "", Settle, 5),
    (400, "APIConnectionError", "", Settle, 5),
    (400, "ServiceUnavailableError", "", Settle, 5),
    (401, "InvalidApiKey", "", Account, 3),
    (401, "invalid_api_key", "", Account, 3),
    (401, "NOT AUTHORIZED", "", Account, 3),
    (403, "AccessDenied", "", Account, 3),
    (403, "AccessDenied.Unpurchased", "", OfModel, 3),
    (403, "Model.AccessDenied", "", OfModel, 3),
    (403, "Workspace.AccessDenied", "", OfModel, 3),
    (403, "App.AccessDenied", "", OfModel, 3),
    (403, "Endpoint.AccessDenied", "", OfModel, 3),
    (403, "AllocationQuota.FreeTierOnly", "", OfModel, 3),
    (404, "ModelNotFound", "", OfModel, 3),
    (404, "WorkSpaceNotFound", "", Account, 3),
    (404, "NotFound", "", OfModel, 3),
    (408, "RequestTimeOut", "", Settle, 3),
    (500, "RequestTimeOut", "", Settle, 3),
    (500, "ResponseTimeout", "", Settle, 3),
    (409, "Conflict", "", Settle, 0),
    (429, "Throttling", "", Pause, 3),
    (429, "Throttling.RateQuota", "", Pause, 3),
    (429, "limit_requests", "", Pause, 3),
    (429, "Throttling.BurstRate", "", Pause, 3),
    (429, "Throttling.Concurrency", "", Pause, 3),
    (429, "Throttling.AllocationQuota", "", Pause, 3),
    (400, "insufficient_quota", "", Pause, 3),
    (429, "ResourceExhausted", "", Pause, 3),
    (429, "CommodityNotPurchased", "", Account, 3),
    (429, "PrepaidBillOverdue", "", Account, 3),
    (429, "PostpaidBillOverdue", "", Account, 3),
    (500, "InternalError", "", Settle, 3),
    (500, "InternalError.Algo", "", Settle, 3),
    (500, "SystemError", "", Settle, 3),
    (500, "ModelServiceFailed", "", Settle, 3),
    (500, "RewriteFailed", "", Settle, 3),
    (400, "InternalError.Algo.InvalidParameter", "", Job(0), 0),
    (500, "InternalError.Algo.InvalidParameter", "", Settle, 0),
    (500, "InternalError.Upload", "", Settle, 3),
    (500, "InternalError.FileUpload", "", Settle, 3),
    (500, "InternalError.Timeout", "", Settle, 1),
    (503, "ModelUnavailable", "", Settle, 3),
    (503, "ServiceUnavailable", "", Settle, 3),
    (503, "ModelServingError", "", Settle, 3),
    (504, "GatewayTimeout", "", Settle, 5),
    (200, "BailianGateway.Workspace.NotAuthorised", "", Account, 3),
    // What no page names.
    (400, "BrandNew", "", Settle, 3),
    (401, "BrandNew", "", Account, 3),
    (429, "BrandNew", "", Pause, 3),
    (500, "BrandNew", "", Settle, 3),
];

fn create(status: u16, code: &str, message: &str) -> Create {
    let policy = RetryPolicy::default();
    let fault = match proves_no_task(status, code) {
        false => CreateFault::Unknown { cause: format!("http_{status}") },
        true => CreateFault::Refused(Answer {
            http_status: status,
            class: classify(Some(status), code, message),
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: None,
            retry_after: None,
        }),
    };
    let consequence = consequence(fault, None);
    let opened: Vec<PausedCall> = turns(consequence.finding.clone(), MODEL, false)
        .into_iter()
        .filter(|(_, turn)| matches!(turn, Turn::Open { .. }))
        .map(|(call, _)| call)
        .collect();
    let paused = consequence.rest.is_some();
    match (consequence.event, opened.as_slice(), paused) {
        (Event::Rejected(failure), [], false) => Job(policy.retries(failure.class)),
        (Event::Refused(_), [], true) => Pause,
        (Event::Refused(_), [PausedCall::Create], false) => Account,
        (Event::Refused(_), [PausedCall::CreateModel(MODEL)], false) => OfModel,
        (Event::NoAnswer { .. }, [], false) => Settle,
        other => panic!("{status} {code}: {other:?}"),
    }
}

#[test]
fn every_row_of_the_services_table_comes_to_what_it_should() {
    let policy = RetryPolicy::default();
    let mut wrong = Vec::new();
    for &(status, code, message, expected, retries) in ROWS {
        let found = create(status, code, message);
        // A failed task's code comes under HTTP 200, without a status of its own.
        let task = policy.retries(failure_class(classify(None, code, message)));
        if (found, task) != (expected, retries) {
            wrong.push(format!("{status} {code}: create {found:?}, task {task} retries"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
