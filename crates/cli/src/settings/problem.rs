//! What is wrong with a setting, and where it was set.

use std::fmt;

use super::document::Position;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The settings file.
    File {
        /// The file as the user named it.
        file: String,
        /// The place in it.
        at: Position,
    },
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
    /// Nowhere: something is missing, or several settings contradict each other.
    Settings,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, at } => write!(f, "{file}:{}:{}", at.line, at.column),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Settings => f.write_str("settings"),
        }
    }
}

/// One thing that is wrong. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) place: Place,
    /// What.
    pub(crate) what: String,
    /// What was probably meant.
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// Settings that do not go together, or one that is missing.
    pub(crate) fn of_settings(what: impl Into<String>) -> Self {
        Self { place: Place::Settings, what: what.into(), hint: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
