//! The provider's names for things: tasks and workspaces.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest task id that is accepted, in bytes.
///
/// Source: our own guard; the service's ids are UUIDs of 36 bytes. It is generous, since refusing the id of a paid task
/// would lose the task.
/// Applies to: [`TaskId::new`].
pub const TASK_ID_BYTES_MAX: usize = 256;

/// The longest workspace id, in bytes.
///
/// Source: the official Python SDK 2.0.2.
/// Applies to: [`WorkspaceId::new`].
pub const WORKSPACE_ID_BYTES_MAX: usize = 64;

/// DashScope's id of one asynchronous task: any visible ASCII text of 1 to [`TASK_ID_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

impl TaskId {
    /// Accepts an id as the service gave it.
    ///
    /// # Errors
    ///
    /// The text is empty, too long, or holds a character that is not visible ASCII.
    pub fn new(id: String) -> Result<Self, InvalidId> {
        checked(id, "task id", TASK_ID_BYTES_MAX, |byte| byte.is_ascii_graphic()).map(Self)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a workspace, sent along to act in it on a shared host: a letter or digit, then letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceId(String);

impl WorkspaceId {
    /// Accepts a workspace id as the console shows it.
    ///
    /// # Errors
    ///
    /// The text is empty, longer than [`WORKSPACE_ID_BYTES_MAX`], or holds another character.
    pub fn new(id: String) -> Result<Self, InvalidId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let id = checked(id, "workspace id", WORKSPACE_ID_BYTES_MAX, allowed)?;
        if id.starts_with(['_', '-']) {
            return Err(InvalidId { what: "workspace id", rule: "does not begin with a letter or digit" });
        }
        Ok(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(
    id: String,
    what: &'static str,
    bytes_max: usize,
    allowed: impl Fn(u8) -> bool,
) -> Result<String, InvalidId> {
    let refuse = |rule| Err(InvalidId { what, rule });
    if id.is_empty() {
        refuse("is empty")
    } else if id.len() > bytes_max {
        refuse("is too long")
    } else if !id.bytes().all(allowed) {
        refuse("holds a character that no such id has")
    } else {
        Ok(id)
    }
}

/// Why a text is not an id. The text itself is not repeated: it came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {what} {rule}")]
pub struct InvalidId {
    /// Which kind of id.
    pub what: &'static str,
    /// What is wrong with it.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(id: &str) -> Result<Self, Self::Err> {
                Self::new(id.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(id: String) -> Result<Self, Self::Error> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

text_id!(TaskId WorkspaceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_is_any_visible_text_up_to_its_longest() {
        assert_eq!("a81ee7cb-014c-473d-b842-76e98311cxxx".parse::<TaskId>().unwrap().to_string().len(), 36);
        assert!(TaskId::new("x".repeat(TASK_ID_BYTES_MAX)).is_ok());
        assert!(TaskId::new("x".repeat(TASK_ID_BYTES_MAX + 1)).is_err());
        for text in ["", "a b", "a\n", "é"] {
            assert!(text.parse::<TaskId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_workspace_id_has_the_syntax_of_the_official_sdk() {
        for text in ["llm-abc_1", "0", &"a".repeat(WORKSPACE_ID_BYTES_MAX)] {
            assert!(text.parse::<WorkspaceId>().is_ok(), "{text:?}");
        }
        for text in ["", "-a", "_a", "a.b", "a b", &"a".repeat(WORKSPACE_ID_BYTES_MAX + 1)] {
            assert!(text.parse::<WorkspaceId>().is_err(), "{text:?}");
        }
    }
}
