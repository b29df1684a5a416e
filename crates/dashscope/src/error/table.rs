//! Every documented error code with its class, and whether it proves that no task was created.
//!
//! Sources: Model Studio's "Error messages" and "Rate limits", and what clients of the service have seen. Codes are compared
//! without case, `_`, `-` and spaces, so that the aliases of the OpenAI-like surface (`invalid_api_key`) fall on the same row.

use super::{AccountFault, ErrorClass, Throttle};

/// What a row says of a create call that was answered with its code under HTTP 400 or 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Nothing was created, for this code only.
    Code,
    /// Nothing was created, for this code and those that begin with it and a dot.
    Family,
    /// It may have been created.
    No,
}

struct Row {
    code: &'static str,
    class: ErrorClass,
    proof: Proof,
}

const fn row(code: &'static str, class: ErrorClass, proof: Proof) -> Row {
    Row { code, class, proof }
}

const fn throttled(kind: Throttle) -> ErrorClass {
    ErrorClass::Throttled { kind }
}

const fn account(kind: AccountFault) -> ErrorClass {
    ErrorClass::AccountFault { kind }
}

use ErrorClass::{
    AccessDenied, Capacity, InputDownload, InvalidRequest, ModelNotOpened, Moderation, NotCancellable,
    NotFound, ServiceFault, ServiceTimeout, Transport,
};
use Proof::{Code, Family, No};

/// The codes in the comparable form of [`normal`]. A code that is not here falls back on the row of its longest prefix up to
/// a dot, then on the status.
const ROWS: &[Row] = &[
    // Faults of the request.
    row("invalidparameter", InvalidRequest, Family),
    row("invalidparameter.datainspection", InputDownload, Code),
    row("invalidparametererror", InvalidRequest, Code),
    row("invalidurl", InvalidRequest, Family),
    row("invalidurl.connectionrefused", InputDownload, Code),
    row("invalidurl.timeout", InputDownload, Code),
    row("badrequest", InvalidRequest, Family),
    row("badrequest.inputdownloadfailed", InputDownload, Code),
    row("invalidimage", InvalidRequest, Family),
    row("invalidimageformat", InvalidRequest, Family),
    row("invalidimageresolution", InvalidRequest, Family),
    row("invalidfile", InvalidRequest, Family),
    row("conflict", InvalidRequest, No),
    row("internalerror.algo.invalidparameter", InvalidRequest, Code),
    // The provider's content rules.
    row("datainspectionfailed", Moderation, Code),
    row("ipinfringementsuspect", Moderation, Code),
    row("faqruleblocked", Moderation, Code),
    row("customroleblocked", Moderation, Code),
    // The account.
    row("invalidapikey", account(AccountFault::Key), Code),
    row("notauthorized", account(AccountFault::Workspace), Code),
    row("bailiangateway.workspace.notauthorised", account(AccountFault::Workspace), Code),
    row("workspacenotfound", account(AccountFault::Workspace), Code),
    row("arrearage", account(AccountFault::Overdue), Code),
    row("prepaidbilloverdue", account(AccountFault::Overdue), Code),
    row("postpaidbilloverdue", account(AccountFault::Overdue), Code),
    row("commoditynotpurchased", account(AccountFault::Plan), Code),
    // The model.
    row("accessdenied.unpurchased", ModelNotOpened, Code),
    row("model.accessdenied", ModelNotOpened, Code),
    row("workspace.accessdenied", ModelNotOpened, Code),
    row("app.accessdenied", ModelNotOpened, Code),
    row("endpoint.accessdenied", ModelNotOpened, Code),
    row("allocationquota.freetieronly", ModelNotOpened, Code),
    row("modelnotfound", ModelNotOpened, Code),
    // The call.
    row("accessdenied", AccessDenied, Family),
    row("notfound", NotFound, Code),
    row("unsupportedoperation", NotCancellable, Code),
    // Limits.
    row("throttling", throttled(Throttle::Rate), Family),
    row("throttling.ratequota", throttled(Throttle::Rate), Code),
    row("limitrequests", throttled(Throttle::Rate), Code),
    row("throttling.burstrate", throttled(Throttle::Burst), Code),
    row("limitburstrate", throttled(Throttle::Burst), Code),
    row("throttling.concurrency", throttled(Throttle::Concurrency), Code),
    row("throttling.allocationquota", throttled(Throttle::Quota), Code),
    row("insufficientquota", throttled(Throttle::Quota), Code),
    row("resourceexhausted", Capacity, No),
    // The service.
    row("internalerror", ServiceFault, No),
    row("internalerror.algo", ServiceFault, No),
    row("internalerror.upload", ServiceFault, No),
    row("internalerror.fileupload", ServiceFault, No),
    row("internalerror.timeout", ServiceTimeout, No),
    row("systemerror", ServiceFault, No),
    row("modelservicefailed", ServiceFault, No),
    row("rewritefailed", ServiceFault, No),
    row("requesttimeout", ServiceFault, No),
    row("responsetimeout", ServiceFault, No),
    row("modelservingerror", ServiceFault, No),
    row("modelunavailable", Capacity, No),
    row("serviceunavailable", Capacity, No),
    row("gatewaytimeout", Transport, No),
    row("clientdisconnect", Transport, No),
    row("apiconnectionerror", Transport, No),
    row("serviceunavailableerror", Transport, No),
];

/// What kind of trouble this is. `http_status` is `None` for the result of a task, whose errors come under 200.
///
/// ```
/// use dashscope::error::{ErrorClass, Throttle, classify};
///
/// assert_eq!(classify(None, "DataInspectionFailed", ""), ErrorClass::Moderation);
/// assert_eq!(classify(Some(429), "BrandNew", ""), ErrorClass::Throttled { kind: Throttle::Rate });
/// ```
#[must_use]
pub fn classify(http_status: Option<u16>, code: &str, message: &str) -> ErrorClass {
    match find(code) {
        Some((row, _)) => by_message(http_status, row, message),
        None => by_status(http_status),
    }
}

/// Whether this answer to a create call proves that no task was created: a refusal by its status, or under 400 or 200 by
/// a code that is known to refuse. Everything else is open, unknown codes too.
///
/// `code` must come from a body that was read: with an empty one nothing is proved.
#[must_use]
pub fn proves_no_task(http_status: u16, code: &str) -> bool {
    match http_status {
        401 | 403 | 404 | 413 | 429 => !code.is_empty(),
        200 | 400 => find(code).is_some_and(|(row, exact)| match row.proof {
            Code => exact,
            Family => true,
            No => false,
        }),
        _ => false,
    }
}

/// The row of a code, and whether it is the code's own; else the row of its longest known prefix up to a dot.
fn find(code: &str) -> Option<(&'static Row, bool)> {
    let code = normal(code);
    let mut prefix = code.as_str();
    loop {
        if let Some(row) = ROWS.iter().find(|row| row.code == prefix) {
            return Some((row, prefix.len() == code.len()));
        }
        (prefix, _) = prefix.rsplit_once('.')?;
    }
}

fn normal(code: &str) -> String {
    code.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect()
}

/// The few codes that stand for different troubles, told apart by what the message speaks of.
fn by_message(http_status: Option<u16>, row: &Row, message: &str) -> ErrorClass {
    let message = message.to_ascii_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match row.code {
        // An input that could not be fetched, or whose signature has run out, comes as a faulty parameter too.
        "invalidparameter" | "invalidparametererror" | "invalidurl" => {
            let fetch = speaks_of(&["download"]);
            let signature =
                speaks_of(&["authoriz", "authoris", "permission"]) && speaks_of(&["media", "image", "url"]);
            if fetch || signature { InputDownload } else { row.class }
        }
        "modelservingerror" if http_status == Some(503) || speaks_of(&["capacity", "overload"]) => Capacity,
        _ => row.class,
    }
}

fn by_status(http_status: Option<u16>) -> ErrorClass {
    match http_status {
        Some(401) => account(AccountFault::Key),
        Some(403) => AccessDenied,
        Some(404) => NotFound,
        Some(413 | 415 | 422) => InvalidRequest,
        Some(429) => throttled(Throttle::Rate),
        Some(503) => Capacity,
        Some(408 | 499 | 502 | 504) => Transport,
        Some(500..) => ServiceFault,
        _ => ErrorClass::Unknown,
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
