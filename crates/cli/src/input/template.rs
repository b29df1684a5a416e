//! Prompts from a template: `studio photo of {name}, {colour}`, filled with the fields of each line. Pure.

use std::str::FromStr;

use dashscope::Violation;
use dashscope::request::nearest_name;
use serde_json::{Map, Value};

use super::fault::wrong_type;

/// A text with places for fields of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

/// Why a text is no template. Characters are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTemplate {
    /// `{` without `}`.
    #[error("`{{` at character {0} is not closed; write `{{{{` for a brace of the prompt")]
    Open(usize),
    /// `}` without `{`.
    #[error("`}}` at character {0} closes nothing; write `}}}}` for a brace of the prompt")]
    Closed(usize),
    /// `{}`.
    #[error("`{{}}` at character {0} names no field; write such as `{{name}}`")]
    Unnamed(usize),
    /// No field at all.
    #[error("it has no field such as `{{name}}`, so that every job would get the same prompt")]
    NoField,
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut chars = text.chars().zip(1..).peekable();
        while let Some((char, at)) = chars.next() {
            let doubled = matches!(char, '{' | '}') && chars.next_if(|(next, _)| *next == char).is_some();
            match char {
                '{' if !doubled => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some(('}', _)) => break,
                            None | Some(('{', _)) => return Err(InvalidTemplate::Open(at)),
                            Some((char, _)) => name.push(char),
                        }
                    }
                    let name = name.trim();
                    if name.is_empty() {
                        return Err(InvalidTemplate::Unnamed(at));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Field(name.to_owned()));
                }
                '}' if !doubled => return Err(InvalidTemplate::Closed(at)),
                char => plain.push(char),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        let template = Self { parts };
        if template.fields().next().is_none() { Err(InvalidTemplate::NoField) } else { Ok(template) }
    }
}

impl Template {
    /// The fields that it takes, in its order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether it takes this field.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.fields().any(|field| field == name)
    }

    /// The prompt of a line. What keeps it from being made is added to `found`: no value of a line is repeated.
    pub(crate) fn fill(&self, line: &Map<String, Value>, found: &mut Vec<Violation>) -> Option<String> {
        let (mut prompt, before) = (String::new(), found.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => prompt.push_str(text),
                Part::Field(name) => match line.get(name) {
                    Some(Value::String(text)) if !text.trim().is_empty() => prompt.push_str(text),
                    Some(Value::Number(number)) => prompt.push_str(&number.to_string()),
                    Some(Value::String(_)) => found.push(Violation::new(name, "empty", NEEDED)),
                    None | Some(Value::Null) => {
                        let names: Vec<&str> =
                            line.keys().filter(|key| *key != name).map(String::as_str).collect();
                        found.push(missing(name, &names));
                    }
                    Some(other) => found.push(wrong_type(name, other, "a text or a number for --template")),
                },
            }
        }
        (found.len() == before).then_some(prompt)
    }
}

/// What a field of the template must be.
const NEEDED: &str = "--template puts it into the prompt";

/// A field of the template that a line, or a header, does not have; `names` are those that it has.
pub(crate) fn missing(name: &str, names: &[&str]) -> Violation {
    let mut violation = Violation::new(name, "missing", NEEDED);
    violation.hint = nearest_name(name, names).map(|near| format!("did you mean `{{{near}}}`?"));
    violation
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fill(template: &str, line: Value) -> Result<String, String> {
        let mut found = Vec::new();
        let prompt = template.parse::<Template>().unwrap().fill(line.as_object().unwrap(), &mut found);
        prompt.ok_or_else(|| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn fields_of_a_line_stand_where_the_template_names_them() {
        let line = json!({"name": "shoe", "colour": "red", "size_eu": 42});
        let filled = fill("studio photo of {name}, { colour }, EU {size_eu}, {{not a field}}", line);
        assert_eq!(filled.unwrap(), "studio photo of shoe, red, EU 42, {not a field}");
        // What stands in a field is not looked at again.
        assert_eq!(fill("{name}", json!({"name": "{colour}"})).unwrap(), "{colour}");
    }

    #[test]
    fn what_cannot_be_filled_in_is_named_with_a_suggestion() {
        insta::assert_snapshot!(
            fill("{name}, {colur}, {tags}, {note}", json!({"name": " ", "colour": "red", "tags": ["a"], "note": null})).unwrap_err(), @r"
        `name` is empty, but --template puts it into the prompt
        `colur` is missing, but --template puts it into the prompt (did you mean `{colour}`?)
        `tags` is a list of 1, but it must be a text or a number for --template
        `note` is missing, but --template puts it into the prompt (did you mean `{name}`?)
        ");
    }

    #[test]
    fn each_kind_of_wrong_template_gives_a_clear_error() {
        let said = ["a {name", "a {na{me}", "a } b", "a {} b", "a { }", "all the same", "{{name}}", ""]
            .map(|text| text.parse::<Template>().unwrap_err().to_string());
        insta::assert_snapshot!(said.join("\n"), @r"
        `{` at character 3 is not closed; write `{{` for a brace of the prompt
        `{` at character 3 is not closed; write `{{` for a brace of the prompt
        `}` at character 3 closes nothing; write `}}` for a brace of the prompt
        `{}` at character 3 names no field; write such as `{name}`
        `{}` at character 3 names no field; write such as `{name}`
        it has no field such as `{name}`, so that every job would get the same prompt
        it has no field such as `{name}`, so that every job would get the same prompt
        it has no field such as `{name}`, so that every job would get the same prompt
        ");
    }

    proptest! {
        #[test]
        fn every_text_can_stand_around_a_field(before in ".*", value in "\\PC*[a-z]", after in ".*") {
            let escaped = |text: &str| text.replace('{', "{{").replace('}', "}}");
            let template = format!("{}{{x}}{}", escaped(&before), escaped(&after));
            prop_assert_eq!(fill(&template, json!({"x": value})).unwrap(), format!("{before}{value}{after}"));
        }
    }
}
