//! The kinds of trouble.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What kind of trouble an error of the service is. Serde writes its short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[non_exhaustive]
pub enum ErrorClass {
    /// The prompt, an input or the result was held back by the provider's content rules.
    Moderation,
    /// Something in the request is not allowed; the same request will fail again.
    InvalidRequest,
    /// The service could not fetch an input image: its host, its link or its signature.
    InputDownload,
    /// Something went wrong on the service's side while the task was worked on.
    ServiceFault,
    /// The service gave up on a task after its own three hours.
    ServiceTimeout,
    /// The service has no room at the moment.
    Capacity,
    /// The account sends too much.
    Throttled {
        /// Of what.
        kind: Throttle,
    },
    /// Nothing will work with this account until a person acts.
    AccountFault {
        /// What is the matter with it.
        kind: AccountFault,
    },
    /// This model is not open to this account, or not known in this region. Other models may work.
    ModelNotOpened,
    /// The call itself is not allowed: a permission, or a header where it must not be. It says nothing about the job.
    AccessDenied,
    /// What was asked for does not exist.
    NotFound,
    /// The task is not PENDING any more.
    NotCancellable,
    /// The call broke on its way through the provider's gateway; what became of it is not known.
    Transport,
    /// A code that is in no list, with a status that does not help.
    Unknown,
}

/// Which limit an account ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Throttle {
    /// Calls per second or minute.
    Rate,
    /// Calls grew too fast, though their number is allowed.
    Burst,
    /// Tasks at once.
    Concurrency,
    /// An allotment is used up: for moments, or for days if it belongs to a plan.
    Quota,
}

/// What is the matter with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountFault {
    /// The key is missing, wrong, or belongs to another region.
    Key,
    /// A bill is overdue.
    Overdue,
    /// What the calls need was not bought.
    Plan,
    /// The workspace is not known or not permitted.
    Workspace,
}

impl ErrorClass {
    /// Every class, for tables and settings.
    pub const ALL: [Self; 20] = [
        Self::Moderation,
        Self::InvalidRequest,
        Self::InputDownload,
        Self::ServiceFault,
        Self::ServiceTimeout,
        Self::Capacity,
        Self::Throttled { kind: Throttle::Rate },
        Self::Throttled { kind: Throttle::Burst },
        Self::Throttled { kind: Throttle::Concurrency },
        Self::Throttled { kind: Throttle::Quota },
        Self::AccountFault { kind: AccountFault::Key },
        Self::AccountFault { kind: AccountFault::Overdue },
        Self::AccountFault { kind: AccountFault::Plan },
        Self::AccountFault { kind: AccountFault::Workspace },
        Self::ModelNotOpened,
        Self::AccessDenied,
        Self::NotFound,
        Self::NotCancellable,
        Self::Transport,
        Self::Unknown,
    ];

    /// A short name for records, metrics and people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moderation => "moderation",
            Self::InvalidRequest => "invalid_request",
            Self::InputDownload => "input_download",
            Self::ServiceFault => "service_fault",
            Self::ServiceTimeout => "service_timeout",
            Self::Capacity => "capacity",
            Self::Throttled { kind: Throttle::Rate } => "throttled_rate",
            Self::Throttled { kind: Throttle::Burst } => "throttled_burst",
            Self::Throttled { kind: Throttle::Concurrency } => "throttled_concurrency",
            Self::Throttled { kind: Throttle::Quota } => "throttled_quota",
            Self::AccountFault { kind: AccountFault::Key } => "account_key",
            Self::AccountFault { kind: AccountFault::Overdue } => "account_overdue",
            Self::AccountFault { kind: AccountFault::Plan } => "account_plan",
            Self::AccountFault { kind: AccountFault::Workspace } => "account_workspace",
            Self::ModelNotOpened => "model_not_opened",
            Self::AccessDenied => "access_denied",
            Self::NotFound => "not_found",
            Self::NotCancellable => "not_cancellable",
            Self::Transport => "transport",
            Self::Unknown => "unknown",
        }
    }

    /// What it is, in words for whoever runs the jobs.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Moderation => "held back by the provider's content rules",
            Self::InvalidRequest => "the request is not allowed as it is",
            Self::InputDownload => "the provider could not fetch an input image",
            Self::ServiceFault => "something failed at the provider",
            Self::ServiceTimeout => "the provider gave up after three hours",
            Self::Capacity => "the provider has no room at the moment",
            Self::Throttled { kind: Throttle::Rate } => "too many calls for the account's limit",
            Self::Throttled { kind: Throttle::Burst } => "calls grew faster than the provider likes",
            Self::Throttled { kind: Throttle::Concurrency } => {
                "too many tasks at once for the account's limit"
            }
            Self::Throttled { kind: Throttle::Quota } => "the account's quota or plan is used up",
            Self::AccountFault { kind: AccountFault::Key } => {
                "the API key is missing, wrong or of another region"
            }
            Self::AccountFault { kind: AccountFault::Overdue } => "the account has an overdue bill",
            Self::AccountFault { kind: AccountFault::Plan } => {
                "the account has not bought what the call needs"
            }
            Self::AccountFault { kind: AccountFault::Workspace } => {
                "the workspace is unknown or not permitted"
            }
            Self::ModelNotOpened => "the model is not open to this account, or not in this region",
            Self::AccessDenied => "the account may not make this call",
            Self::NotFound => "the provider does not know what was asked for",
            Self::NotCancellable => "the task is past waiting and cannot be cancelled",
            Self::Transport => "the call broke on its way",
            Self::Unknown => "an error the provider does not document",
        }
    }

    /// Whether the same call could succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::InputDownload
            | Self::ServiceFault
            | Self::ServiceTimeout
            | Self::Capacity
            | Self::Throttled { .. }
            | Self::Transport => true,
            Self::Moderation
            | Self::InvalidRequest
            | Self::AccountFault { .. }
            | Self::ModelNotOpened
            | Self::AccessDenied
            | Self::NotFound
            | Self::NotCancellable
            | Self::Unknown => false,
        }
    }
}

impl ErrorClass {
    /// Whether it speaks of this one request, so that others of the account may do well meanwhile. The rest is trouble of the
    /// account, the model or the service, and no request is to blame for it.
    #[must_use]
    pub const fn concerns_the_request(self) -> bool {
        match self {
            Self::Moderation | Self::InvalidRequest | Self::InputDownload => true,
            Self::ServiceFault
            | Self::ServiceTimeout
            | Self::Capacity
            | Self::Throttled { .. }
            | Self::AccountFault { .. }
            | Self::ModelNotOpened
            | Self::AccessDenied
            | Self::NotFound
            | Self::NotCancellable
            | Self::Transport
            | Self::Unknown => false,
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<ErrorClass> for &'static str {
    fn from(class: ErrorClass) -> Self {
        class.as_str()
    }
}

impl FromStr for ErrorClass {
    type Err = UnknownErrorClass;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|class| class.as_str() == name).ok_or(UnknownErrorClass)
    }
}

impl TryFrom<String> for ErrorClass {
    type Error = UnknownErrorClass;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

/// A text that is not the short name of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such class of error")]
pub struct UnknownErrorClass;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_name_of_its_own_and_is_read_back_from_it() {
        for (index, class) in ErrorClass::ALL.into_iter().enumerate() {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(
                ErrorClass::ALL.iter().position(|other| other.as_str() == class.as_str()),
                Some(index)
            );
            let json = serde_json::to_string(&class).unwrap();
            assert_eq!(serde_json::from_str::<ErrorClass>(&json).unwrap(), class);
        }
        assert_eq!("".parse::<ErrorClass>(), Err(UnknownErrorClass));
    }

    #[test]
    fn no_class_that_a_person_must_mend_is_tried_again() {
        for class in ErrorClass::ALL {
            if matches!(
                class,
                ErrorClass::AccountFault { .. } | ErrorClass::ModelNotOpened | ErrorClass::Moderation
            ) {
                assert!(!class.is_retryable(), "{class}");
            }
        }
    }
}
