//! What is wrong with a request, said so that a person can mend it.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The longest value that is repeated in a message, in characters.
const VALUE_CHARS_MAX: usize = 40;

/// One broken rule: which field, what stood there, what the rule is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The path of the field, as in `color_palette[3].ratio`.
    pub field: String,
    /// What stood there, shortened; of a prompt, a link or an image only its measure.
    pub value: String,
    /// What is allowed.
    pub rule: String,
    /// What to try, where it can be guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Violation {
    /// A broken rule without a hint.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, rule: impl Into<String>) -> Self {
        Self { field: field.into(), value: shorten(&value.to_string()), rule: rule.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a hint, if there is one.
    #[must_use]
    pub(crate) fn with_hint_if(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.with_hint(hint),
            None => self,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, but {}", self.field, self.value, self.rule)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All broken rules of one request, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Nothing when `found` is empty, else all of it.
    ///
    /// # Errors
    ///
    /// `found`, if there is any.
    pub fn none_or(found: Vec<Violation>) -> Result<(), Self> {
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }

    /// Every one, in the order of the fields.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    /// Every one, to keep.
    #[must_use]
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self(vec![violation])
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

/// Something allowed that does not do what it seems to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The path of the field.
    pub field: String,
    /// What it will not do, and why.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.text)
    }
}

/// Cuts a text at [`VALUE_CHARS_MAX`] characters and takes line ends and control characters out of it.
fn shorten(text: &str) -> String {
    let mut short: String =
        text.chars().take(VALUE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(VALUE_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// A JSON value by its kind: what a text says is not repeated, since it may be a prompt or a link that went astray.
pub(crate) fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text_of(text),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
    }
}

fn text_of(text: &str) -> String {
    match text.chars().count() {
        1 => "a text of 1 character".to_owned(),
        number => format!("a text of {number} characters"),
    }
}

/// A short text from a small vocabulary (a size, a model, a colour) in quotes; by its kind if it looks like a link.
pub(crate) fn quoted(text: &str) -> String {
    if text.contains("://") || text.contains(';') || text.chars().count() > VALUE_CHARS_MAX {
        text_of(text)
    } else {
        format!("`{text}`")
    }
}

/// Says of a JSON value that it has the wrong type.
pub(crate) fn wrong_type(field: String, value: &Value, wanted: &str) -> Violation {
    Violation::new(field, kind_of(value), format!("it must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_reads_as_one_sentence() {
        let violation =
            Violation::new("n", 5, "it must be 1 to 4").with_hint("up to 12 with `enable_sequential`");
        let text = "`n` is 5, but it must be 1 to 4 (up to 12 with `enable_sequential`)";
        assert_eq!(violation.to_string(), text);
        let two = Violations::none_or(vec![violation.clone(), violation]).unwrap_err();
        assert_eq!(two.to_string(), format!("{text}; {text}"));
    }

    #[test]
    fn a_long_value_is_cut_and_kept_on_one_line() {
        let violation = Violation::new("size", "a\nb".to_owned() + &"x".repeat(100), "");
        assert_eq!(violation.value, format!("a b{}…", "x".repeat(37)));
    }

    #[test]
    fn texts_that_may_be_private_are_named_by_their_length() {
        assert_eq!(kind_of(&"a prompt".into()), "a text of 8 characters");
        assert_eq!(quoted("https://h/?Signature=s"), "a text of 22 characters");
        assert_eq!(quoted("2k"), "`2k`");
    }
}
