//! Where a task is.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The state of a task at the provider. Read in either case and with either spelling of "cancelled"; a state that is not
/// known is kept as it came, and is not final.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum TaskStatus {
    /// Waits for its turn. It can be cancelled.
    Pending,
    /// Is being worked on. It can no longer be cancelled.
    Running,
    /// At least one image was made.
    Succeeded,
    /// No image was made, and nothing is billed.
    Failed,
    /// Was cancelled while it waited.
    Canceled,
    /// The service knows no such task: a foreign id, one older than 24 hours, or one so young that it is not seen yet.
    Unknown,
    /// A state that is in no list.
    Other(String),
}

impl TaskStatus {
    /// Whether the service will not change it any more. `Unknown` is not: see there.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Canceled => true,
            Self::Pending | Self::Running | Self::Unknown | Self::Other(_) => false,
        }
    }

    /// The service's own word for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
            Self::Unknown => "UNKNOWN",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for TaskStatus {
    fn from(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "PENDING" => Self::Pending,
            "RUNNING" => Self::Running,
            "SUCCEEDED" => Self::Succeeded,
            "FAILED" => Self::Failed,
            "CANCELED" | "CANCELLED" => Self::Canceled,
            "UNKNOWN" => Self::Unknown,
            _ => Self::Other(word.chars().take(64).collect()),
        }
    }
}

impl From<String> for TaskStatus {
    fn from(word: String) -> Self {
        word.as_str().into()
    }
}

impl From<TaskStatus> for String {
    fn from(status: TaskStatus) -> Self {
        status.as_str().to_owned()
    }
}

impl FromStr for TaskStatus {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(word.into())
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
