//! From the bytes of a create call to an [`Order`], by the limits that the API page documents.
//!
//! Written from the page alone and over untyped JSON: no type is shared with any client, so that a misreading of the page
//! cannot sit on both sides. Pure. Images behind links are looked at by the server, which then calls
//! [`Order::settle_size`]. Section names below are those of the API page.

mod image;
mod parameters;
mod size;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub(crate) use image::{BYTES_MAX, ImageFacts, ImageRef};
pub(crate) use parameters::Parameters;

use crate::model::Model;
use crate::refusal::Refusal;

/// Longest prompt in characters; the rest is cut without a word. Source: `text`.
pub(crate) const PROMPT_CHARS_MAX: usize = 5_000;
/// Most input images. Source: `image`, "Image quantity limits".
pub(crate) const IMAGES_MAX: usize = 9;

/// A create call that is within every limit that can be checked without looking behind links.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) model: Model,
    /// As the model sees it: at most [`PROMPT_CHARS_MAX`] characters.
    pub(crate) prompt: String,
    /// Whether anything was cut from the prompt.
    pub(crate) prompt_cut: bool,
    /// SHA-256 of the prompt as it was sent.
    pub(crate) prompt_sha256: [u8; 32],
    pub(crate) images: Vec<ImageRef>,
    pub(crate) parameters: Parameters,
    /// Digest of all that shapes the result: model, prompt, parameters, number of images. Links are left out, since a
    /// presigned one differs in every run.
    pub(crate) identity: [u8; 32],
}

impl Order {
    /// Reads and checks the body of a create call.
    ///
    /// # Errors
    /// The service's refusal, for the first rule that is broken.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return Err(Refusal::parameter("Request body format invalid, it must be a JSON object."));
        };
        let model = read_model(body.get("model"))?;
        let (texts, images) = read_content(body.get("input"))?;
        let sent = read_text(&texts)?;
        let parameters = Parameters::read(body.get("parameters"), model, images.len())?;

        let prompt: String = sent.chars().take(PROMPT_CHARS_MAX).collect();
        let mut identity = Sha256::new();
        identity.update(model.name());
        identity.update(prompt.as_bytes());
        identity.update([images.len() as u8]);
        identity.update(serde_json::to_vec(&body.get("parameters")).unwrap_or_default());
        Ok(Self {
            model,
            prompt_cut: prompt.len() < sent.len(),
            prompt,
            prompt_sha256: Sha256::digest(sent.as_bytes()).into(),
            images,
            parameters,
            identity: identity.finalize().into(),
        })
    }

    /// Checks the images that could be looked at, and says how large the output will be.
    ///
    /// `facts` has one entry per image of the order, in order; `None` where nothing is known.
    ///
    /// # Errors
    /// The service's refusal for the first image or box that is out of bounds.
    pub(crate) fn settle_size(&self, facts: &[Option<ImageFacts>]) -> Result<(u32, u32), Refusal> {
        for (index, known) in facts.iter().enumerate() {
            if let Some(known) = known {
                known.check(index)?;
                self.parameters.check_boxes_inside(index, known)?;
            }
        }
        let last = facts.last().copied().flatten();
        Ok(self.parameters.size.pixels(last.map(|image| (image.width, image.height))))
    }
}

fn read_model(model: Option<&Value>) -> Result<Model, Refusal> {
    let Some(name) = model.and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Err(Refusal::parameter(
            "Required parameter(model) missing or invalid, please check the request parameters.",
        ));
    };
    Model::parse(name).ok_or_else(|| {
        // A model of another family exists, only not at this path; the service calls that a wrong address.
        match ["wan", "qwen", "z-image", "flux"].iter().any(|family| name.starts_with(family)) {
            true => Refusal::parameter("url error, please check url!"),
            false => Refusal::unknown_model(),
        }
    })
}

/// The `text` and `image` items of the one message. Source: `messages`, `role`, `content`.
fn read_content(input: Option<&Value>) -> Result<(Vec<&Value>, Vec<ImageRef>), Refusal> {
    let Some(Value::Object(input)) = input else {
        return Err(Refusal::parameter(
            "Required parameter(input) missing or invalid, please check the request parameters.",
        ));
    };
    let Some(Value::Array(messages)) = input.get("messages") else {
        return Err(Refusal::parameter("Field required: input.messages"));
    };
    let [Value::Object(message)] = messages.as_slice() else {
        return Err(Refusal::parameter("input.messages must have exactly one message"));
    };
    if message.get("role").and_then(Value::as_str) != Some("user") {
        return Err(Refusal::parameter("input.messages.role must be user"));
    }
    let Some(Value::Array(content)) = message.get("content") else {
        return Err(Refusal::parameter("input.messages.content must be a list"));
    };
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for item in content {
        let (text, image) = (item.get("text"), item.get("image"));
        if text.is_none() && image.is_none() {
            return Err(Refusal::parameter("input.messages.content items must have text or image"));
        }
        texts.extend(text);
        if let Some(image) = image {
            images.push(ImageRef::read(image, images.len())?);
        }
    }
    if images.len() > IMAGES_MAX {
        return Err(Refusal::parameter(format!("the number of input images must be in [0, {IMAGES_MAX}]")));
    }
    Ok((texts, images))
}

fn read_text<'a>(texts: &[&'a Value]) -> Result<&'a str, Refusal> {
    let [text] = texts else {
        return Err(Refusal::parameter("input.messages.content must have exactly one text"));
    };
    match text.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text),
        _ => Err(Refusal::parameter("input.messages.content.text must be a text that is not empty")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn refused(body: &Value) -> Refusal {
        Order::read(body.to_string().as_bytes()).expect_err("the body should be refused")
    }

    pub(super) fn read(body: &Value) -> Order {
        Order::read(body.to_string().as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    fn body(content: Value) -> Value {
        json!({ "model": "wan2.7-image", "input": { "messages": [{ "role": "user", "content": content }] } })
    }

    #[test]
    fn a_prompt_of_5000_characters_is_kept_whole_and_one_more_is_cut_without_a_word() {
        let whole = read(&body(json!([{ "text": "汉".repeat(5_000) }])));
        assert!(!whole.prompt_cut);
        let cut = read(&body(json!([{ "text": "汉".repeat(5_001) }])));
        assert!(cut.prompt_cut);
        assert_eq!(cut.prompt, whole.prompt);
        assert_ne!(cut.prompt_sha256, whole.prompt_sha256, "the digest is of what was sent");
    }

    #[test]
    fn nine_images_are_taken_and_a_tenth_is_refused() {
        let with = |count: usize| {
            let mut content = vec![json!({ "text": "x" })];
            content.resize(count + 1, json!({ "image": "https://example.com/a.png" }));
            body(json!(content))
        };
        assert_eq!(read(&with(9)).images.len(), 9);
        assert!(refused(&with(10)).message.contains("[0, 9]"));
    }

    #[test]
    fn there_is_exactly_one_message_of_the_user_with_exactly_one_text() {
        let message = json!({ "role": "user", "content": [{ "text": "x" }] });
        let with = |messages: Value| json!({ "model": "wan2.7-image", "input": { "messages": messages } });
        read(&with(json!([message])));
        for wrong in [
            with(json!([])),
            with(json!([message, message])),
            with(json!([{ "role": "system", "content": [{ "text": "x" }] }])),
            with(json!([{ "role": "user", "content": "x" }])),
            body(json!([])),
            body(json!([{ "image": "https://example.com/a.png" }])),
            body(json!([{ "text": "x" }, { "text": "y" }])),
            body(json!([{ "text": " " }])),
            body(json!([{ "text": 5 }])),
            body(json!([{ "txt": "x" }])),
            json!({ "model": "wan2.7-image" }),
            json!([]),
        ] {
            let refusal = refused(&wrong);
            assert_eq!(
                (refusal.status.as_u16(), refusal.code.as_str()),
                (400, "InvalidParameter"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_unknown_model_is_not_found_and_one_of_another_path_is_a_wrong_address() {
        let with = |model: Value| json!({ "model": model, "input": { "messages": [] } });
        assert_eq!(refused(&with(json!("wan2.7-imagee-no"))).message, "url error, please check url!");
        let unknown = refused(&with(json!("dall-e-3")));
        assert_eq!((unknown.status.as_u16(), unknown.code.as_str()), (404, "ModelNotFound"));
        assert_eq!(refused(&with(json!(null))).status.as_u16(), 400);
    }

    #[test]
    fn the_identity_ignores_links_and_sees_everything_else() {
        let order =
            |image: &str, text: &str| read(&body(json!([{ "image": image }, { "text": text }]))).identity;
        let one = order("https://a.example/1.png?sig=1", "x");
        assert_eq!(one, order("https://a.example/1.png?sig=2", "x"));
        assert_ne!(one, order("https://a.example/1.png?sig=1", "y"));
    }
}
