//! `[log]`: what is logged, and how.

use super::layers::section;
use super::value::{Setting, Wrong, choice, quoted};

section! {
    /// Logs go to stderr. No key, link or prompt is ever in them.
    LogSection {
        /// `text`, `json`, or `auto`: text.
        format: LogFormat = LogFormat::Auto;
        /// What is logged, in the syntax of Rust's `RUST_LOG`: `info`, or `warn,worker=debug`.
        /// Not set: `info` for workers, `warn` for everything else.
        filter: Option<LogFilter> = None, env "RUST_LOG", example "info";
    }
}

choice! {
    /// `log.format`.
    LogFormat {
        /// Text.
        Auto = "auto",
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Directives that `tracing` understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(pub(crate) String);

impl Setting for LogFilter {
    const WANTED: &'static str = "a filter such as \"info\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(Wrong::new("no filter", "it is written such as `info` or `warn,worker=debug`")),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}
