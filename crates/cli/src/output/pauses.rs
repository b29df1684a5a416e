//! What people have paused, as scripts and people see it.

use job::Timestamp;
use queue::{HandPause, PauseOf};
use serde::Serialize;

use super::words::relative;

/// A pause by a person.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HandPauseView {
    /// What is paused, in words: `everything`, `model wan2.7-image`, `account singapore`, `batch spring`.
    pub(crate) of: String,
    /// Who did it; empty if that is not known.
    pub(crate) by: String,
    /// Why; empty if nobody said.
    pub(crate) why: String,
    /// Since when.
    pub(crate) since: Timestamp,
}

impl From<&HandPause> for HandPauseView {
    fn from(pause: &HandPause) -> Self {
        Self { of: of_in_words(&pause.of), by: pause.by.clone(), why: pause.why.clone(), since: pause.since }
    }
}

impl HandPauseView {
    /// Who paused it, since when and why: what stands behind "paused".
    pub(crate) fn reason(&self, now: Timestamp) -> String {
        let by = if self.by.is_empty() { String::new() } else { format!(" by {}", self.by) };
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        format!("{}{by}{why}", relative(self.since, now))
    }

    /// A line of the status.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        format!("paused: {}, {}", self.of, self.reason(now))
    }
}

/// What is paused, in words.
pub(crate) fn of_in_words(of: &PauseOf) -> String {
    match of {
        PauseOf::All => "everything".to_owned(),
        PauseOf::Model(model) => format!("model {model}"),
        PauseOf::Account(account) => format!("account {account}"),
        PauseOf::ModelOnAccount(model, account) => format!("model {model} on account {account}"),
        PauseOf::Batch(batch) => format!("batch {batch}"),
    }
}
