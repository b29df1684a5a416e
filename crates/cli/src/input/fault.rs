//! What is wrong with a line, said so that a person can mend it. No prompt, link or image is repeated.

use std::fmt;

use dashscope::Violation;
use serde::Serialize;

use crate::output::words::counted;

/// One fault of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// The line in the input, from 1.
    pub(crate) line: u64,
    /// The line's `custom_id`, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom_id: Option<String>,
    /// The path of the field, such as `color_palette[3].ratio`; absent where the line as a whole is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// What stood there, shortened; of texts that may be private only their measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// What is allowed, or what is wrong.
    pub(crate) rule: String,
    /// What to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A fault of the line as a whole.
    pub(crate) fn of_line(line: u64, rule: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            line,
            custom_id: None,
            field: None,
            value: None,
            rule: rule.into(),
            hint: hint.map(str::to_owned),
        }
    }

    /// A fault of a field.
    pub(crate) fn of_field(line: u64, custom_id: Option<String>, violation: Violation) -> Self {
        let Violation { field, value, rule, hint } = violation;
        Self { line, custom_id, field: Some(field), value: Some(value), rule, hint }
    }

    /// The same without the line, for prompts that came by flag.
    pub(crate) fn without_place(&self) -> String {
        let mut text = match (&self.field, &self.value) {
            (Some(field), Some(value)) => format!("`{field}` is {value}, but {}", self.rule),
            _ => self.rule.clone(),
        };
        if let Some(hint) = &self.hint {
            text.push_str(&format!(" ({hint})"));
        }
        text
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(custom_id) = &self.custom_id {
            // What controls a terminal stays out of it.
            let shown = |character: char| if character.is_control() { ' ' } else { character };
            let short: String = custom_id.chars().take(40).map(shown).collect();
            write!(f, " ({short})")?;
        }
        write!(f, ": {}", self.without_place())
    }
}

/// A field that must be something else. Text is named by its length, since it may be private.
pub(crate) fn wrong_type(field: impl Into<String>, value: &serde_json::Value, wanted: &str) -> Violation {
    use serde_json::Value;
    let shown = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("a text of {}", counted(text.chars().count() as u64, "character")),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
    };
    Violation::new(field, shown, format!("it must be {wanted}"))
}
