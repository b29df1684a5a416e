//! The kinds of trouble.

use std::fmt;

/// What kind of trouble an error of the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
