//! How a command fails: what went wrong, what to try, and the exit code.
//!
//! Every command returns `Result<ExitCode, Failure>`. Nothing here prints: [`crate::report`] does.

use std::error::Error;
use std::fmt;

use crate::exit_code;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong, with its causes. `Display` of each level says this level only.
    pub(crate) error: anyhow::Error,
    /// What belongs to the error and is not a cause: one line each, such as the faults of an input file.
    pub(crate) details: Vec<String>,
    /// What to try.
    pub(crate) hint: Option<String>,
    /// See [`exit_code`].
    pub(crate) exit_code: u8,
}

impl Failure {
    /// A failure with the exit code 1 and without a hint.
    pub(crate) fn new(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), details: Vec::new(), hint: None, exit_code: exit_code::FAILED }
    }

    /// A failure that is said in one sentence.
    pub(crate) fn message(text: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::new(anyhow::Error::msg(text))
    }

    /// What went wrong with its causes, in one line.
    pub(crate) fn chain(&self) -> String {
        let mut said: Vec<String> = self.error.chain().map(ToString::to_string).collect();
        // Some libraries repeat their source in their own message.
        said.dedup();
        said.join(": ")
    }

    /// The same under another exit code.
    pub(crate) fn exit(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    /// The same with something to try.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with lines that belong to it.
    pub(crate) fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// The same, said from further away: `context` becomes the message and the message a cause.
    pub(crate) fn context(mut self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(context);
        self
    }
}

/// Turns the error of a library into a failure with its context.
pub(crate) trait OrFail<T> {
    /// Fails with `context` as the message and the error as its cause.
    fn or_fail(self, context: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure>;
}

impl<T, E: Error + Send + Sync + 'static> OrFail<T> for Result<T, E> {
    fn or_fail(self, context: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(error).context(context))
    }
}
