//! The prompt: text that may be private, and is never printed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the image is to show, in words.
///
/// Any text can be one; whether the service takes it is for `ImageRequest::check` to say, together with all else that is
/// wrong. `Debug` shows the length only, and there is no `Display`.
///
/// ```
/// let prompt = dashscope::Prompt::from("a lighthouse at dusk");
/// assert_eq!(format!("{prompt:?}"), "Prompt(20 characters)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prompt(String);

impl Prompt {
    /// The whole text. Keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its length as the service counts it: in Unicode scalar values.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }

    /// Whether there is nothing but white space in it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({} characters)", self.chars())
    }
}
