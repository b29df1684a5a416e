//! Causes of errors, as text that is safe to print.
//!
//! The libraries below (HTTP, TLS, the S3 SDK) hold whole requests and answers in their errors, signed links and headers
//! among them, and show them with `{:?}`. So nothing of theirs is kept: each level's message is copied, without the query
//! of any link in it.

use std::{error::Error, fmt};

/// How many levels of a chain are kept, and how many characters of each. Our own guard against endless messages.
const LEVELS_MAX: usize = 8;
const MESSAGE_CHARS_MAX: usize = 400;

/// One level of an error chain, as text; `source` is the next.
#[derive(Clone, PartialEq, Eq)]
pub struct Cause {
    message: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    /// Copies the chain that starts at `error`. A level that only repeats the one above it is left out.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut messages: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(level) = next.filter(|_| messages.len() < LEVELS_MAX) {
            let message = clean(&level.to_string());
            if messages.last() != Some(&message) {
                messages.push(message);
            }
            next = level.source();
        }
        let mut source = None;
        while let Some(message) = messages.pop() {
            if messages.is_empty() {
                return Self { message, source };
            }
            source = Some(Box::new(Self { message, source }));
        }
        Self { message: String::new(), source: None }
    }

    /// A cause of a single level.
    #[must_use]
    pub fn text(message: &str) -> Self {
        Self { message: clean(message), source: None }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.message)?;
        match &self.source {
            Some(source) => write!(f, " <- {source:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Takes line ends, over-length and the query of every link out of a message.
fn clean(message: &str) -> String {
    let mut cleaned = String::new();
    for word in message.split_whitespace() {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        match word.find("://").and_then(|scheme| word[scheme..].find(['?', '#']).map(|at| scheme + at)) {
            Some(query) => {
                cleaned.push_str(&word[..query]);
                cleaned.push_str("?[redacted]");
            }
            None => cleaned.push_str(word),
        }
    }
    match cleaned.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => cleaned[..end].to_owned() + "…",
        None => cleaned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Level(&'static str, #[source] Option<Box<Level>>);

    #[test]
    fn each_level_of_a_chain_stands_once() {
        let deep = Level("refused", Some(Box::new(Level("tcp", Some(Box::new(Level("tcp", None)))))));
        let cause = Cause::of(&deep);
        assert_eq!(cause.to_string(), "refused");
        assert_eq!(cause.source().unwrap().to_string(), "tcp");
        assert!(cause.source().unwrap().source().is_none());
    }

    #[test]
    fn the_query_of_a_link_is_left_out_of_every_form() {
        let cause = Cause::of(&Level("error for url (https://h.example/1.png?Signature=s3cr3t) twice", None));
        assert_eq!(cause.to_string(), "error for url (https://h.example/1.png?[redacted] twice");
        assert!(!format!("{cause:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_long_message_is_cut() {
        assert_eq!(Cause::text(&"é".repeat(5_000)).to_string().chars().count(), MESSAGE_CHARS_MAX + 1);
    }
}
