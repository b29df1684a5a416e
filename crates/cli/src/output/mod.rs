//! What a command says: answers on stdout, the rest on stderr.

pub(crate) mod account;
pub(crate) mod batch;
pub(crate) mod budget;
pub(crate) mod copies;
pub(crate) mod cost;
pub(crate) mod doubt;
pub(crate) mod eta;
pub(crate) mod job;
pub(crate) mod leftovers;
pub(crate) mod limits;
pub(crate) mod pace;
pub(crate) mod pauses;
pub(crate) mod progress;
pub(crate) mod schedule;
pub(crate) mod since;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod unreadable;
pub(crate) mod waiting;
pub(crate) mod webhooks;
pub(crate) mod words;

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::failure::{Failure, OrFail as _};

/// Where answers go, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whether a program reads stdout.
    pub(crate) json: bool,
    /// Whether a person sees stdout.
    pub(crate) stdout_is_terminal: bool,
    /// Whether a person sees stderr.
    pub(crate) stderr_is_terminal: bool,
}

impl Output {
    /// For this process.
    pub(crate) fn of_process(json: bool) -> Self {
        Self {
            json,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Prints an answer. Ends in a line end.
    ///
    /// # Errors
    ///
    /// Stdout cannot be written. That its reader has gone, as of `| head`, is no error.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        match write!(stdout, "{text}{end}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).or_fail("failed to write to stdout")
            }
            _ => Ok(()),
        }
    }

    /// Prints an answer for programs: indented where a person looks at it, else on one line.
    ///
    /// # Errors
    ///
    /// As [`Self::print`].
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.stdout_is_terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.print(&text.or_fail("failed to write JSON")?)
    }

    /// Asks something, on stderr: the answer is typed on the same line.
    pub(crate) fn ask(&self, text: &str) {
        let _ = write!(io::stderr(), "{text} ");
    }

    /// Says something beside the answer, on stderr.
    pub(crate) fn note(&self, text: &str) {
        // Nobody can be told that stderr is gone.
        let _ = writeln!(io::stderr(), "{text}");
    }
}
