//! The envelope every answer comes in.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::time::service_time;
use crate::error::ApiError;

/// Why a body is not the answer that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// It is not a JSON object: a page of a proxy, or cut off.
    #[error("the answer is not a JSON object")]
    NotJson,
    /// It has more bytes than are read.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLong {
        /// The most that is read.
        bytes_max: usize,
    },
    /// A field is missing without which the answer says nothing.
    #[error("the answer has no usable `{field}`")]
    Missing {
        /// Its path.
        field: &'static str,
    },
    /// It says no, though its status said yes.
    #[error("the service refused the call")]
    Refused {
        /// With this reason.
        source: ApiError,
    },
}

/// A body that is a JSON object.
#[derive(Debug)]
pub(crate) struct Answer(Map<String, Value>);

impl Answer {
    pub(crate) fn read(body: &[u8]) -> Result<Self, ReplyError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) | Err(_) => Err(ReplyError::NotJson),
        }
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields(&self.0)
    }

    /// The provider's id of the call. The SDKs' own records spell it the second way.
    pub(crate) fn request_id(&self) -> Option<String> {
        self.fields().text("request_id").or_else(|| self.fields().text("requestId"))
    }

    /// The flat error, if the answer has one: `code` and `message`, or an OpenAI-like `error` object.
    pub(crate) fn error(&self) -> Option<ApiError> {
        self.fields().error().or_else(|| {
            let nested = self.fields().object("error")?;
            nested.error().or_else(|| Some(ApiError::new(&nested.text("type")?, &nested.text("message")?)))
        })
    }

    pub(crate) fn output(&self) -> Option<Fields<'_>> {
        self.fields().object("output")
    }

    /// Why the answer lacks a field it must have: it says no, or it is not what it should be.
    pub(crate) fn lacks(&self, field: &'static str) -> ReplyError {
        match self.error() {
            Some(source) => ReplyError::Refused { source },
            None => ReplyError::Missing { field },
        }
    }
}

/// The fields of one object, read leniently: absent, null, empty and wrongly typed are all `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    pub(crate) fn object(self, name: &str) -> Option<Self> {
        self.0.get(name).and_then(Self::of)
    }

    pub(crate) fn list(self, name: &str) -> Option<&'a [Value]> {
        self.0.get(name).and_then(Value::as_array).map(Vec::as_slice)
    }

    pub(crate) fn text(self, name: &str) -> Option<String> {
        self.str(name).map(Cow::into_owned)
    }

    /// A text, or a number written as one; an empty text is none.
    fn str(self, name: &str) -> Option<Cow<'a, str>> {
        match self.0.get(name)? {
            Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    /// A count, whether it is written as a number or as a text.
    pub(crate) fn count(self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn flag(self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Value::as_bool)
    }

    pub(crate) fn time(self, name: &str) -> Option<Timestamp> {
        self.0.get(name).and_then(service_time)
    }

    /// `code` and `message`. A code that says success is none, and so is a message without a code.
    pub(crate) fn error(self) -> Option<ApiError> {
        let code =
            self.str("code").filter(|code| !matches!(code.as_ref(), "200" | "0" | "Success" | "OK"))?;
        Some(ApiError::new(&code, &self.str("message").unwrap_or_default()))
    }
}

/// The rows of a list, each where it is an object.
pub(super) fn rows(values: &[Value]) -> impl Iterator<Item = Option<Fields<'_>>> {
    values.iter().map(Fields::of)
}
