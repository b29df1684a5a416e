//! One line as a job that is wanted: the fields that a line may have, and DashScope's own body. Pure.
//!
//! What can be read is read even where something else cannot, so that all faults of a line are said at once.

use dashscope::request::{Parameters, nearest_name, unknown_fields};
use dashscope::{ImageRequest, Model, Prompt, Size, Violation};
use job::{AccountName, CustomId, InvalidName, PinnedTo, Priority, RegionName, Timestamp};
use serde_json::{Map, Value};

use super::body;
use super::fault::wrong_type;
use super::template::Template;

/// What flags say for lines that do not say otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    /// The model.
    pub(crate) model: Model,
    /// The size.
    pub(crate) size: Option<Size>,
    /// Images; 1 where nobody says otherwise.
    pub(crate) n: Option<u8>,
    /// The seed.
    pub(crate) seed: Option<u32>,
    /// How urgent.
    pub(crate) priority: Option<Priority>,
    /// Where alone they may run.
    pub(crate) pinned_to: Option<PinnedTo>,
    /// Not to be started before.
    pub(crate) not_before: Option<Timestamp>,
}

impl Default for Defaults {
    /// The model that is cheaper and faster.
    fn default() -> Self {
        Self {
            model: Model::Wan27Image,
            size: None,
            n: None,
            seed: None,
            priority: None,
            pinned_to: None,
            not_before: None,
        }
    }
}

/// A job as a line asks for it, its images not yet looked at.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The user's own name for it.
    pub(crate) custom_id: Option<CustomId>,
    /// The request, without its images.
    pub(crate) request: ImageRequest,
    /// Path and text of each image. Texts may be links or whole images: keep them out of messages.
    pub(crate) images: Vec<(String, String)>,
    /// How urgent.
    pub(crate) priority: Priority,
    /// Where alone it may run.
    pub(crate) pinned_to: Option<PinnedTo>,
    /// Not to be started before.
    pub(crate) not_before: Option<Timestamp>,
    /// Whether the line held DashScope's own body.
    pub(crate) from_body: bool,
}

/// What a line may have whatever its form.
pub(super) const COMMON: [&str; 5] = ["custom_id", "priority", "account", "region", "not_before"];

/// What a line of `batch results --errors` says of the job that it was: passed over, so that the file can be enqueued once it is mended.
pub(super) const PASSED_OVER: &str = "error";

/// What a line without a body may have besides [`COMMON`] and the parameters.
pub(super) const OWN: [&str; 3] = ["prompt", "model", "images"];

/// The most images whose texts are looked at: what is more is refused by its number.
const IMAGES_READ_MAX: usize = 64;

/// Reads a line; `prompts` makes its prompt, where there is such a template. Faults are added to `found`; the answer is what could be
/// read, if that is enough to go on.
pub(crate) fn read(
    line: &Map<String, Value>,
    defaults: &Defaults,
    prompts: Option<&Template>,
    found: &mut Vec<Violation>,
) -> Option<Wanted> {
    let custom_id = text(line, "custom_id", found).and_then(|text| match CustomId::parse(text) {
        Ok(id) => Some(id),
        Err(error) => {
            found.push(Violation::new(
                "custom_id",
                format_args!("`{text}`"),
                format!("it must be {}", error.rule),
            ));
            None
        }
    });
    let priority = read_priority(line, found).or(defaults.priority).unwrap_or_default();
    let pinned_to = read_pinned_to(line, found).or_else(|| defaults.pinned_to.clone());
    let not_before = text(line, "not_before", found)
        .and_then(|text| match text.parse::<Timestamp>() {
            Ok(time) => Some(time),
            Err(_) => {
                let rule = "it must be a time with its zone, such as `2026-12-24T08:00:00Z`";
                found.push(Violation::new("not_before", format_args!("`{text}`"), rule));
                None
            }
        })
        .or(defaults.not_before);
    let from_body = line.get("body").is_some_and(|body| !body.is_null());
    let (request, images) = if from_body {
        body::read(line, defaults, prompts, found)
    } else {
        own(line, defaults, prompts, found)
    }?;
    Some(Wanted { custom_id, request, images, priority, pinned_to, not_before, from_body })
}

pub(super) type Read = Option<(ImageRequest, Vec<(String, String)>)>;

fn own(
    line: &Map<String, Value>,
    defaults: &Defaults,
    prompts: Option<&Template>,
    found: &mut Vec<Violation>,
) -> Read {
    let mut known: Vec<&str> =
        ["custom_id"].iter().chain(&OWN).chain(&Parameters::NAMES).chain(&COMMON[1..]).copied().collect();
    known.push("body");
    known.extend(prompts.iter().flat_map(|template| template.fields()).collect::<Vec<_>>());
    unknown_fields(line, "", &known, found);
    found.retain(|fault| fault.field != PASSED_OVER);
    let model = match text(line, "model", found) {
        None => defaults.model,
        Some(name) => name.parse().unwrap_or_else(|_| {
            let names = Model::ALL.map(Model::as_str);
            let rule = format!("it must be `{}` or `{}`", names[0], names[1]);
            let mut violation = Violation::new("model", short(name), rule);
            violation.hint = nearest_name(name, &names).map(|near| format!("did you mean `{near}`?"));
            found.push(violation);
            // The one that allows more: a size that only this one makes is not a second fault.
            Model::Wan27ImagePro
        }),
    };
    let prompt = match (line.get("prompt"), prompts) {
        (Some(value), Some(template)) if !value.is_null() && !template.takes("prompt") => {
            let rule = "the template makes the prompts";
            let violation = Violation::new("prompt", "beside --template", rule);
            found.push(violation.with_hint("put `{prompt}` into the template, or leave one of the two away"));
            None
        }
        (_, Some(template)) => template.fill(line, found).map(Prompt::from),
        (None | Some(Value::Null), None) => {
            found.push(Violation::new("prompt", "missing", "it is required"));
            None
        }
        (Some(Value::String(text)), None) => Some(Prompt::from(text.as_str())),
        (Some(other), None) => {
            found.push(wrong_type("prompt", other, "a text"));
            None
        }
    };
    let parameters = Parameters::read(line, "", found);
    let images = images(line, found);
    let mut request = defaults.request(model, prompt.clone().unwrap_or_else(|| Prompt::from("unreadable")));
    parameters.apply_to(&mut request);
    Some((request, images))
}

impl Defaults {
    pub(super) fn request(&self, model: Model, prompt: Prompt) -> ImageRequest {
        let mut request = ImageRequest::new(model, prompt);
        request.size = self.size.unwrap_or(request.size);
        request.n = self.n.unwrap_or(request.n);
        request.seed = self.seed;
        request
    }
}

/// A line that names either says all about it: the flag for the other does not apply to it.
fn read_pinned_to(line: &Map<String, Value>, found: &mut Vec<Violation>) -> Option<PinnedTo> {
    let account = name(line, "account", AccountName::parse, found);
    let region = name(line, "region", RegionName::parse, found);
    if account.is_some() && region.is_some() {
        let rule = "it must name one of the two, `account` or `region`";
        found.push(Violation::new("region", "beside `account`", rule));
    }
    account.map(PinnedTo::Account).or_else(|| region.map(PinnedTo::Region))
}

fn name<T>(
    line: &Map<String, Value>,
    field: &'static str,
    parse: fn(&str) -> Result<T, InvalidName>,
    found: &mut Vec<Violation>,
) -> Option<T> {
    parse(text(line, field, found)?)
        .map_err(|error| {
            let rule = format!("it must be {}", error.rule);
            found.push(Violation::new(field, format_args!("`{}`", error.value), rule));
        })
        .ok()
}

fn read_priority(line: &Map<String, Value>, found: &mut Vec<Violation>) -> Option<Priority> {
    let value = line.get("priority").filter(|value| !value.is_null())?;
    let priority =
        value.as_u64().and_then(|number| u8::try_from(number).ok()).and_then(|n| Priority::try_from(n).ok());
    if priority.is_none() {
        found.push(wrong_type("priority", value, "a whole number from 0 (first) to 9 (last)"));
    }
    priority
}

fn images(line: &Map<String, Value>, found: &mut Vec<Violation>) -> Vec<(String, String)> {
    let value = match line.get("images") {
        None | Some(Value::Null) => return Vec::new(),
        Some(value) => value,
    };
    let Value::Array(items) = value else {
        found.push(wrong_type("images", value, "a list of links, paths, s3:// objects or data URIs"));
        return Vec::new();
    };
    let mut images = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate().take(IMAGES_READ_MAX) {
        let field = format!("images[{index}]");
        match item {
            Value::String(text) => images.push((field, text.clone())),
            other => found.push(wrong_type(field, other, "a link, a path, an s3:// object or a data URI")),
        }
    }
    images
}

/// A text field; null counts as absent.
pub(super) fn text<'a>(
    line: &'a Map<String, Value>,
    name: &str,
    found: &mut Vec<Violation>,
) -> Option<&'a str> {
    match line.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => {
            let violation = wrong_type(name, other, "a text");
            found.push(if other.is_number() { violation.with_hint("put it into quotes") } else { violation });
            None
        }
    }
}

/// A text from a small vocabulary; by its length where it is none.
pub(super) fn short(text: &str) -> String {
    let chars = text.chars().count();
    if chars > 40 { format!("a text of {chars} characters") } else { format!("`{text}`") }
}
