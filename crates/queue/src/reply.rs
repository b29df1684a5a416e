//! Reads the nested answers of the scripts.

use std::time::Duration;

use redis::Value;

use crate::error::QueueError;
use crate::record::Fields;

/// What is left of an answer, read from the front.
pub(crate) struct Reply {
    call: &'static str,
    items: std::vec::IntoIter<Value>,
}

impl Reply {
    pub(crate) fn new(call: &'static str, value: Value) -> Result<Self, QueueError> {
        match value {
            Value::Array(items) => Ok(Self { call, items: items.into_iter() }),
            other => {
                Err(QueueError::Reply { call, problem: format!("a list was expected, not {}", kind(&other)) })
            }
        }
    }

    fn wrong(&self, problem: impl Into<String>) -> QueueError {
        QueueError::Reply { call: self.call, problem: problem.into() }
    }

    fn next(&mut self) -> Result<Value, QueueError> {
        self.items.next().ok_or_else(|| self.wrong("it is too short"))
    }

    pub(crate) fn text(&mut self) -> Result<String, QueueError> {
        match self.next()? {
            Value::BulkString(bytes) => {
                String::from_utf8(bytes).map_err(|_| self.wrong("a text is not UTF-8"))
            }
            Value::SimpleString(text) => Ok(text),
            Value::Int(number) => Ok(number.to_string()),
            Value::Nil => Ok(String::new()),
            other => Err(self.wrong(format!("a text was expected, not {}", kind(&other)))),
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64, QueueError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.wrong(format!("a number was expected, not {text:?}")))
    }

    /// The next item as a wait in ms: negative means that nothing is known to come.
    pub(crate) fn wait(&mut self) -> Result<Wait, QueueError> {
        Ok(match self.int()? {
            ms if ms < 0 => Wait::Unknown,
            ms => Wait::For(Duration::from_millis(ms.unsigned_abs())),
        })
    }

    pub(crate) fn list(&mut self) -> Result<Option<Reply>, QueueError> {
        match self.items.next() {
            None => Ok(None),
            Some(value) => Reply::new(self.call, value).map(Some),
        }
    }

    /// All that is left, as field and value in turn.
    pub(crate) fn fields(mut self) -> Result<Fields, QueueError> {
        let mut fields = Fields::with_capacity(self.items.len() / 2);
        while self.items.len() > 0 {
            let field = self.text()?;
            fields.insert(field, self.text()?);
        }
        Ok(fields)
    }

    /// All that is left, as texts.
    pub(crate) fn texts(mut self) -> Result<Vec<String>, QueueError> {
        let mut texts = Vec::with_capacity(self.items.len());
        while self.items.len() > 0 {
            texts.push(self.text()?);
        }
        Ok(texts)
    }
}

/// When to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// After this; zero means that there may be more now.
    For(Duration),
    /// Nothing is known to come: on the next hint, or after the idle interval.
    Unknown,
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "a list",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a text",
        _ => "something else",
    }
}
