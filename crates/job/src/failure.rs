//! Why an attempt failed, in classes a person understands, and how often each class is tried again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Curve;

/// What kind of failure ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The prompt, an input or the result was refused by moderation, or an intellectual-property or intervention rule.
    Moderation,
    /// The request itself is wrong: a parameter, an input image, an unknown model.
    InvalidRequest,
    /// The service could not fetch an input image.
    InputDownload,
    /// A fault inside the service.
    Service,
    /// The service had no result after its own limit of 3 h.
    ServiceTimeout,
    /// The connection to the service failed before anything was sent, again and again.
    Transport,
    /// A person ended it.
    ByPerson,
    /// This worker could not prepare the job: an input in S3 is gone, its record cannot be read.
    Local,
}

impl FailureClass {
    /// Every class, for tables and help.
    pub const ALL: [Self; 8] = [
        Self::Moderation,
        Self::InvalidRequest,
        Self::InputDownload,
        Self::Service,
        Self::ServiceTimeout,
        Self::Transport,
        Self::ByPerson,
        Self::Local,
    ];

    /// The stable name that stands in records and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moderation => "moderation",
            Self::InvalidRequest => "invalid_request",
            Self::InputDownload => "input_download",
            Self::Service => "service",
            Self::ServiceTimeout => "service_timeout",
            Self::Transport => "transport",
            Self::ByPerson => "by_person",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No failure class has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no failure class is called `{0}`")]
pub struct UnknownClass(String);

impl FromStr for FailureClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

/// A failed attempt: its class, and the service's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub class: FailureClass,
    /// The service's code, such as `DataInspectionFailed`; ours where the service gave none.
    pub code: String,
    /// The service's message.
    pub message: String,
    /// The service's id of the request that told us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// An answer that proves that nothing was created and says nothing about the job. It spends no attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The service's code, such as `Throttling.RateQuota`; ours where there was no answer.
    pub code: String,
    /// The service's message, or what went wrong here.
    pub message: String,
    /// The service's id of the request that told us.
    pub request_id: Option<String>,
    /// How long the service asked us to wait.
    pub retry_after: Option<Duration>,
    /// Whether the account is held back in place of the job: then the job waits for nothing else, and keeps its turn.
    pub account_waits: bool,
}

impl Refusal {
    /// A refusal that the service did not word: nothing was asked of it, or it could not be reached.
    pub fn ours(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            request_id: None,
            retry_after: None,
            account_waits: false,
        }
    }
}

/// How often a job is tried again after each class of failure, and how long it waits.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Retries after [`FailureClass::Transport`]. Default 5.
    pub transport: u8,
    /// Retries after [`FailureClass::Service`]. Default 3.
    pub service: u8,
    /// Retries after [`FailureClass::ServiceTimeout`]. Default 1: each costs up to 3 h.
    pub service_timeout: u8,
    /// Retries after [`FailureClass::InputDownload`]. Default 3.
    pub input_download: u8,
    /// The wait before a retry, and before a job that met a refusal is tried again.
    pub curve: Curve,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            transport: 5,
            service: 3,
            service_timeout: 1,
            input_download: 3,
            curve: Curve { first: Duration::from_secs(5), factor: 2.0, cap: Duration::from_secs(300) },
        }
    }
}

impl RetryPolicy {
    /// How many retries a failure of `class` allows.
    ///
    /// Moderation and invalid requests allow none: the same request gets the same answer. Each retry is a new task; failed
    /// tasks are free.
    pub fn retries(&self, class: FailureClass) -> u8 {
        match class {
            FailureClass::Transport => self.transport,
            FailureClass::Service => self.service,
            FailureClass::ServiceTimeout => self.service_timeout,
            FailureClass::InputDownload => self.input_download,
            FailureClass::Moderation
            | FailureClass::InvalidRequest
            | FailureClass::ByPerson
            | FailureClass::Local => 0,
        }
    }
}

/// How many retries a job has spent, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetriesSpent {
    /// After [`FailureClass::Transport`].
    pub transport: u8,
    /// After [`FailureClass::Service`].
    pub service: u8,
    /// After [`FailureClass::ServiceTimeout`].
    pub service_timeout: u8,
    /// After [`FailureClass::InputDownload`].
    pub input_download: u8,
}

impl RetriesSpent {
    /// Spends one retry if `policy` still has one for `class`, and returns how many of that class were spent before.
    pub(crate) fn spend(&mut self, class: FailureClass, policy: &RetryPolicy) -> Option<u8> {
        let spent = match class {
            FailureClass::Transport => &mut self.transport,
            FailureClass::Service => &mut self.service,
            FailureClass::ServiceTimeout => &mut self.service_timeout,
            FailureClass::InputDownload => &mut self.input_download,
            FailureClass::Moderation
            | FailureClass::InvalidRequest
            | FailureClass::ByPerson
            | FailureClass::Local => {
                return None;
            }
        };
        if *spent >= policy.retries(class) {
            return None;
        }
        *spent += 1;
        Some(*spent - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_name_that_reads_back() {
        for class in FailureClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }

    #[test]
    fn retries_are_counted_by_class_and_end() {
        let policy = RetryPolicy { service: 2, ..RetryPolicy::default() };
        let mut spent = RetriesSpent::default();
        assert_eq!(spent.spend(FailureClass::Service, &policy), Some(0));
        assert_eq!(spent.spend(FailureClass::Service, &policy), Some(1));
        assert_eq!(spent.spend(FailureClass::Service, &policy), None);
        assert_eq!(spent.spend(FailureClass::InputDownload, &policy), Some(0));
        assert_eq!(spent.spend(FailureClass::Moderation, &policy), None);
    }
}
