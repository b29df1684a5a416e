//! Asking before money is spent a second time, or something is gone for good.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::Output;

/// Whether somebody agrees to spend what `question` says. `yes` is the answer that was given with the command.
///
/// # Errors
///
/// Nobody is there to say so: exit code 2.
pub(super) fn agree(out: Output, yes: bool, question: &str) -> Result<bool, Failure> {
    confirm(out, yes, question, "this costs money and nobody is there to ask: add --yes if that is agreed")
}

/// Whether somebody wants what `question` says. `hint` is for scripts, where nobody can be asked.
///
/// # Errors
///
/// As [`agree`].
pub(super) fn confirm(out: Output, yes: bool, question: &str, hint: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let failure = Failure::message(question.to_owned()).exit(exit_code::USAGE);
        return Err(failure.hint(hint));
    }
    out.ask(&format!("{question} Go on? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).or_fail("failed to read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
