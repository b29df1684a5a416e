//! Code and message of an error, safe to store and to print.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ErrorClass, classify};

/// The longest code that is kept, in characters. Source: our own guard; the service's codes are far shorter.
const CODE_CHARS_MAX: usize = 128;
/// The longest message that is kept, in characters. Source: our own guard, enough for the longest documented one.
const MESSAGE_CHARS_MAX: usize = 500;

/// An error as the service words it: in the body of a refused call, or in the result of a failed task.
///
/// A message may repeat what it was about. Links in it are kept without their query, keys and embedded images are taken
/// out, and it is cut at 500 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts")]
pub struct ApiError {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Parts {
    code: String,
    #[serde(default)]
    message: String,
}

impl From<Parts> for ApiError {
    fn from(parts: Parts) -> Self {
        Self::new(&parts.code, &parts.message)
    }
}

impl ApiError {
    /// Keeps a code and the harmless part of a message.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: cut(&scrub(code), CODE_CHARS_MAX), message: cut(&scrub(message), MESSAGE_CHARS_MAX) }
    }

    /// The code, as in `InvalidParameter.DataInspection`. May be empty when only a message was given.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message; may be empty.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What it means in the result of a task, where there is no status of HTTP to go by.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        classify(None, &self.code, &self.message)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (code, "") => f.write_str(code),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

impl std::error::Error for ApiError {}

/// A direct answer of the service that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP. A refusal under 200 exists.
    pub http_status: u16,
    /// Code and message.
    pub error: ApiError,
    /// The provider's id of the call, which its support asks for.
    pub request_id: Option<String>,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// What it means.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        classify(Some(self.http_status), self.error.code(), self.error.message())
    }

    /// Whether it proves that the call created nothing.
    #[must_use]
    pub fn proves_no_task(&self) -> bool {
        super::proves_no_task(self.http_status, self.error.code())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}, {}", self.http_status, self.error)?;
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

fn cut(text: &str, chars_max: usize) -> String {
    let mut short: String = text.chars().take(chars_max).collect();
    if text.chars().nth(chars_max).is_some() {
        short.push('…');
    }
    short
}

/// Takes out of a text what could be used by whoever reads it.
pub(crate) fn scrub(text: &str) -> String {
    let ends_word = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`');
    text.split_inclusive(ends_word)
        .map(|piece| {
            let word = piece.trim_end_matches(ends_word);
            scrub_word(word) + &piece[word.len()..]
        })
        .map(|piece| piece.replace(|c: char| c.is_control(), " "))
        .collect()
}

fn scrub_word(word: &str) -> String {
    // ASCII only, so that positions in one are positions in the other.
    let lower = word.to_ascii_lowercase();
    let mut kept = word.len();
    let mut mark = "";
    let mut cut_at = |at: usize, with: &'static str| {
        if at < kept {
            (kept, mark) = (at, with);
        }
    };
    if let Some(scheme) = lower.find("://") {
        let host = scheme + "://".len();
        let host_end = lower[host..].find(['/', '?', '#']).map_or(lower.len(), |end| host + end);
        if lower[host..host_end].contains('@') {
            cut_at(host, "[redacted]");
        }
        if let Some(query) = lower[host..].find('?') {
            cut_at(host + query, "?[redacted]");
        }
    }
    if let Some(at) = lower.find(";base64,") {
        cut_at(at, ";base64,[redacted]");
    }
    for (at, _) in lower.match_indices("sk-") {
        let begins = !lower[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        if begins && word.len() - at > 8 {
            cut_at(at, "sk-[redacted]");
        }
    }
    format!("{}{mark}", &word[..kept])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_kept_without_queries_keys_and_images() {
        let cases = [
            (
                "Download https://h/1.png?Signature=SECRET timed out",
                "Download https://h/1.png?[redacted] timed out",
            ),
            ("url \"HTTP://h/1?SECRET\" bad", "url \"HTTP://h/1?[redacted]\" bad"),
            ("see https://user:SECRET@h/1?x", "see https://[redacted]"),
            ("Incorrect API key provided: sk-1234SECRET.", "Incorrect API key provided: sk-[redacted]"),
            ("(sk-1234SECRET", "(sk-[redacted]"),
            ("bad data:image/png;base64,SECRET", "bad data:image/png;base64,[redacted]"),
            ("ask-for risk-free sk-short", "ask-for risk-free sk-short"),
            ("num_images_per_prompt must be 1", "num_images_per_prompt must be 1"),
            ("two\nlines\u{1b}[0m", "two lines [0m"),
        ];
        for (message, kept) in cases {
            assert_eq!(ApiError::new("X", message).message(), kept);
        }
    }

    #[test]
    fn a_long_message_is_cut() {
        let error = ApiError::new("X", &"é".repeat(MESSAGE_CHARS_MAX + 1));
        assert_eq!(error.message().chars().count(), MESSAGE_CHARS_MAX + 1);
        assert!(error.message().ends_with('…'));
    }

    #[test]
    fn an_error_reads_as_code_and_message() {
        assert_eq!(ApiError::new("A", "b").to_string(), "A: b");
        assert_eq!(ApiError::new("A", "").to_string(), "A");
        assert_eq!(ApiError::new("", "b").to_string(), "b");
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic_and_no_query_survives(text in ".*", link in "https?://[a-z]{1,5}/[a-z]{0,5}\\?SECRET[a-zA-Z0-9%&=]*") {
            let kept = ApiError::new(&text, &format!("{text} {link} {text}"));
            let printed = format!("{kept} {kept:?}");
            prop_assert!(!printed.contains("SECRET"));
        }
    }
}
