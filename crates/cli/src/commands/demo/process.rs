//! Shows each command before it runs.

use std::path::Path;

use anyhow::Context;
use tokio::process::Child;

use crate::commands::stand_ins::Binary;
use crate::exit_code;
use crate::failure::{Failure, OrFail};
use crate::output::Output;

/// Commands of this binary that are shown before they run.
pub(super) struct Commands {
    binary: Binary,
    out: Output,
}

impl Commands {
    pub(super) fn new(binary: Binary, out: Output) -> Self {
        Self { binary, out }
    }

    /// Shows a command and runs it to its end, on this terminal. Dropped before that, it is ended.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<(), Failure> {
        self.out.print(&format!("$ imagemill {}", arguments.join(" ")))?;
        let status =
            self.binary.command(arguments).status().await.or_fail("failed to run a command of the demo")?;
        self.out.print("")?;
        ended(arguments, status)
    }

    /// Shows a command and starts it, with its output in a file.
    pub(super) fn start(&self, arguments: &[&str], log: &Path) -> Result<Started, Failure> {
        self.out.print(&format!("$ imagemill {} &", arguments.join(" ")))?;
        let mut command = self.binary.command(arguments);
        let file = std::fs::File::create(log).or_fail("failed to make the worker's log")?;
        command.stderr(file.try_clone().or_fail("failed to make the worker's log")?).stdout(file);
        let child = command.spawn().context("failed to start a command of the demo").map_err(Failure::new)?;
        Ok(Started { child, arguments: arguments.iter().map(|&argument| argument.to_owned()).collect() })
    }
}

/// A command that runs beside the others.
pub(super) struct Started {
    child: Child,
    arguments: Vec<String>,
}

impl Started {
    /// Waits for its end.
    pub(super) async fn end(&mut self) -> Result<(), Failure> {
        let status = self.child.wait().await.or_fail("failed to wait for a command of the demo")?;
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        ended(&arguments, status)
    }
}

fn ended(arguments: &[&str], status: std::process::ExitStatus) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit_code::FAILED);
    Err(Failure::message(format!("`imagemill {}` ended with {status}", arguments.join(" "))).exit(code))
}
