//! A line that holds DashScope's own request body, as it is or with what files for OpenAI's batches have beside it. Pure.

use dashscope::Violation;
use dashscope::request::{BodyParts, Parameters, unknown_fields};
use serde_json::{Map, Value};

use super::line::{COMMON, Defaults, OWN, PASSED_OVER, Read, short, text};
use super::template::Template;

/// What a line with a body may also have, as files for OpenAI's batches do.
const BESIDE_BODY: [&str; 2] = ["method", "url"];

/// How an address of the service ends that takes such a body.
const PATHS: [&str; 2] =
    ["/services/aigc/image-generation/generation", "/services/aigc/multimodal-generation/generation"];

/// Reads the request of such a line.
pub(super) fn read(
    line: &Map<String, Value>,
    defaults: &Defaults,
    prompts: Option<&Template>,
    found: &mut Vec<Violation>,
) -> Read {
    if prompts.is_some() {
        let rule = "a body has its own prompt, and --template would make another";
        found.push(Violation::new("body", "beside --template", rule));
    }
    beside_body(line, found);
    for name in OWN.iter().chain(&Parameters::NAMES).filter(|name| line.contains_key(**name)) {
        let rule = "it must stand inside of `body`, where there is one";
        found.push(Violation::new(*name, "beside `body`", rule));
    }
    let known: Vec<&str> = COMMON
        .iter()
        .copied()
        .chain(["body"])
        .chain(BESIDE_BODY)
        .chain(OWN)
        .chain(Parameters::NAMES)
        .collect();
    unknown_fields(line, "", &known, found);
    found.retain(|fault| fault.field != PASSED_OVER);
    let value = line.get("body")?;
    match BodyParts::read(value) {
        Ok(parts) => {
            let mut request = defaults.request(parts.model, parts.prompt);
            parts.parameters.apply_to(&mut request);
            let images = parts.images.into_iter().map(|(at, text)| (inside_body(&at), text)).collect();
            Some((request, images))
        }
        Err(violations) => {
            found.extend(violations.into_vec().into_iter().map(|mut violation| {
                violation.field = inside_body(&violation.field);
                violation
            }));
            None
        }
    }
}

/// A method and an address say nothing that the body and the settings do not; they are looked at, so that nobody takes it for a way to
/// send other requests.
fn beside_body(line: &Map<String, Value>, found: &mut Vec<Violation>) {
    if let Some(method) = text(line, "method", found)
        && method != "POST"
    {
        found.push(Violation::new("method", short(method), "it must be `POST`, if it is there"));
    }
    if let Some(url) = text(line, "url", found)
        && !PATHS.iter().any(|path| url.ends_with(path))
    {
        let rule = "it must be the address of DashScope's image generation, if it is there";
        let hint = "the body of another service is none for this one: write its prompt, model, size and n as fields of the line";
        found.push(Violation::new("url", short(url), rule).with_hint(hint));
    }
}

fn inside_body(field: &str) -> String {
    if field == "body" { field.to_owned() } else { format!("body.{field}") }
}

/// The path of a field of the request in the line that it came from.
pub(crate) fn path_in_line(field: &str, from_body: bool) -> String {
    if !from_body || field.starts_with("body") {
        field.to_owned()
    } else if field == "model" {
        "body.model".to_owned()
    } else if field == "prompt" || field == "images" {
        "body.input.messages[0].content".to_owned()
    } else {
        format!("body.parameters.{field}")
    }
}
