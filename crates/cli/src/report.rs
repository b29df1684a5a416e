//! Prints a failure: what, why, what belongs to it, what to try.
//!
//! ```text
//! error: failed to start the worker
//!   caused by: Redis at 127.0.0.1:6379 cannot be reached
//!   caused by: connection refused
//!
//! hint: is Redis running there? `IMAGEMILL_REDIS_URL` or `redis.url` says where it is
//! ```

use std::fmt::Write as _;

use crate::failure::Failure;

/// The failure as it is written to stderr, with a line end.
pub(crate) fn render(failure: &Failure) -> String {
    let mut text = format!("error: {}\n", failure.error);
    let mut last = failure.error.to_string();
    for cause in failure.error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their source in their own message.
        if cause != last {
            let _ = writeln!(text, "  caused by: {cause}");
        }
        last = cause;
    }
    for detail in &failure.details {
        let _ = writeln!(text, "  {detail}");
    }
    if let Some(hint) = &failure.hint {
        let _ = write!(text, "\nhint: {hint}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::OrFail as _;

    #[test]
    fn a_failure_says_what_why_and_what_to_try() {
        let error = std::io::Error::other("connection refused");
        let failure = Err::<(), _>(error).or_fail("Redis at 127.0.0.1:6379 cannot be reached").unwrap_err();
        let failure = failure.context("failed to start the worker").hint("is Redis running there?");
        insta::assert_snapshot!(render(&failure), @r"
        error: failed to start the worker
          caused by: Redis at 127.0.0.1:6379 cannot be reached
          caused by: connection refused

        hint: is Redis running there?
        ");
    }

    #[test]
    fn lines_that_belong_to_a_failure_stand_below_it() {
        let failure =
            Failure::message("2 lines cannot be used").details(vec!["line 1: a".into(), "line 2: b".into()]);
        insta::assert_snapshot!(render(&failure), @r"
        error: 2 lines cannot be used
          line 1: a
          line 2: b
        ");
    }
}
