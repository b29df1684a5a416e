//! Reading a DashScope body that somebody else wrote, strictly.

use serde_json::{Map, Value};

use super::fields::{join, list, missing, object, present, unknown_fields};
use super::violation::{quoted, wrong_type};
use super::{ImageInput, ImageRequest, Parameters, Prompt, Violation, Violations};
use crate::Model;

/// A body that was read, with what it said of `n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedBody {
    /// The request; its `n` is 1 where the body named none.
    pub request: ImageRequest,
    /// `n` as the body had it. The service would make 4 images, or 12 of a set, where it is absent: whoever reads a body
    /// decides whether that was meant.
    pub n: Option<u8>,
}

/// The parts of a body before its images are taken for something: for callers that know more kinds of image than the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyParts {
    /// The model.
    pub model: Model,
    /// The one text.
    pub prompt: Prompt,
    /// Path and text of each image, in their order. Keep the texts out of logs.
    pub images: Vec<(String, String)>,
    /// The parameters.
    pub parameters: Parameters,
}

impl ImageRequest {
    /// Reads DashScope's own body. Text and images may stand in any order; fields that the API page does not name are
    /// refused, since a slip in `n` or `size` would otherwise be paid for. Limits are for [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// Everything that cannot be read, each with its path.
    pub fn from_body(body: &Value) -> Result<ParsedBody, Violations> {
        let parts = BodyParts::read(body)?;
        let mut found = Vec::new();
        let mut images = Vec::with_capacity(parts.images.len());
        for (field, text) in parts.images {
            match ImageInput::parse(text) {
                Ok(image) => images.push(image),
                Err(error) => found.push(input_violation(field, &error)),
            }
        }
        Violations::none_or(found)?;
        let n = parts.parameters.n;
        let mut request = Self::new(parts.model, parts.prompt);
        request.images = images;
        parts.parameters.apply_to(&mut request);
        Ok(ParsedBody { request, n })
    }
}

impl BodyParts {
    /// Reads a body without judging its images.
    ///
    /// # Errors
    ///
    /// Everything that cannot be read, each with its path.
    pub fn read(body: &Value) -> Result<Self, Violations> {
        let mut found = Vec::new();
        let parts = read_parts(body, &mut found);
        Violations::none_or(found)?;
        // Each part that is missing has left a violation above.
        parts.ok_or_else(|| missing("body".to_owned()).into())
    }
}

fn read_parts(body: &Value, found: &mut Vec<Violation>) -> Option<BodyParts> {
    let Value::Object(body) = body else {
        found.push(wrong_type("body".to_owned(), body, "an object"));
        return None;
    };
    unknown_fields(body, "", &["model", "input", "parameters"], found);
    let model = read_model(body, found);
    let content = object(body, "", "input", found).and_then(|input| read_content(input, found));
    let parameters = match present(body, "parameters") {
        None => Parameters::default(),
        Some(Value::Object(fields)) => {
            unknown_fields(fields, "parameters", &Parameters::NAMES, found);
            Parameters::read(fields, "parameters", found)
        }
        Some(other) => {
            found.push(wrong_type("parameters".to_owned(), other, "an object"));
            return None;
        }
    };
    let (prompt, images) = content?;
    Some(BodyParts { model: model?, prompt, images, parameters })
}

fn read_model(body: &Map<String, Value>, found: &mut Vec<Violation>) -> Option<Model> {
    match present(body, "model") {
        Some(Value::String(name)) => match name.parse() {
            Ok(model) => return Some(model),
            Err(_) => found.push(model_violation("model".to_owned(), name)),
        },
        Some(other) => found.push(wrong_type("model".to_owned(), other, "a text")),
        None => found.push(missing("model".to_owned())),
    }
    None
}

/// Says that a model is not known, and which one was probably meant.
fn model_violation(field: String, name: &str) -> Violation {
    let names = Model::ALL.map(Model::as_str);
    let hint = super::nearest_name(name, &names).map(|near| format!("did you mean `{near}`?"));
    Violation::new(field, quoted(name), format!("it must be `{}` or `{}`", names[0], names[1]))
        .with_hint_if(hint)
}

fn read_content(
    input: &Map<String, Value>,
    found: &mut Vec<Violation>,
) -> Option<(Prompt, Vec<(String, String)>)> {
    unknown_fields(input, "input", &["messages"], found);
    let messages = list(input, "input", "messages", found)?;
    let [message] = messages else {
        let value = format!("a list of {}", messages.len());
        found.push(Violation::new("input.messages", value, "it must hold exactly one message"));
        return None;
    };
    let at = "input.messages[0]";
    let Value::Object(message) = message else {
        found.push(wrong_type(at.to_owned(), message, "an object"));
        return None;
    };
    unknown_fields(message, at, &["role", "content"], found);
    match present(message, "role") {
        Some(Value::String(role)) if role == "user" => {}
        Some(other) => found.push(wrong_type(join(at, "role"), other, "`user`")),
        None => found.push(missing(join(at, "role"))),
    }
    let items = list(message, at, "content", found)?;
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    let before = found.len();
    for (index, item) in items.iter().enumerate() {
        read_item(item, &format!("{at}.content[{index}]"), &mut texts, &mut images, found);
    }
    if texts.is_empty() && found.len() > before {
        return None; // the text may be the item that could not be read
    }
    let Ok([prompt]) = <[Prompt; 1]>::try_from(texts).map_err(|texts| {
        let rule = "it must hold exactly one text";
        found.push(Violation::new(
            format!("{at}.content"),
            format!("a list with {} texts", texts.len()),
            rule,
        ));
    }) else {
        return None;
    };
    Some((prompt, images))
}

fn read_item(
    item: &Value,
    at: &str,
    texts: &mut Vec<Prompt>,
    images: &mut Vec<(String, String)>,
    found: &mut Vec<Violation>,
) {
    let rule = "an object with either `text` or `image`";
    let Value::Object(fields) = item else {
        found.push(wrong_type(at.to_owned(), item, rule));
        return;
    };
    // Some tools write the type of an item beside it, as answers have it.
    let before = found.len();
    unknown_fields(fields, at, &["text", "image", "type"], found);
    let foreign = found.len() > before;
    match (present(fields, "text"), present(fields, "image")) {
        (Some(Value::String(text)), None) => texts.push(text.clone().into()),
        (None, Some(Value::String(image))) => images.push((join(at, "image"), image.clone())),
        (Some(other), None) => found.push(wrong_type(join(at, "text"), other, "a text")),
        (None, Some(other)) => found.push(wrong_type(join(at, "image"), other, "a text")),
        (None, None) if foreign => {} // refused above
        (Some(_), Some(_)) | (None, None) => found.push(wrong_type(at.to_owned(), item, rule)),
    }
}

/// Says what is wrong with the text of an image, down to the last cause.
fn input_violation(field: String, error: &super::ImageInputError) -> Violation {
    let rule = std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| cause.to_string());
    Violation::new(field, "not an image the API knows", rule)
}
