//! The body of a create call, as DashScope documents it.

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{BoundingBox, ImageInput, ImageRequest, PaletteColor, Prompt, Size, Violations};
use crate::Model;

/// The wire's shape. It borrows everything: an image inside a data URI may have megabytes.
#[derive(Serialize)]
struct Body<'a> {
    model: Model,
    input: Input<'a>,
    parameters: Parameters<'a>,
}

#[derive(Serialize)]
struct Input<'a> {
    messages: [Message<'a>; 1],
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Content<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    Image(&'a str),
    Text(&'a Prompt),
}

#[derive(Serialize)]
struct Parameters<'a> {
    size: Size,
    n: u8,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enable_sequential: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_mode: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox_list: Option<&'a [Vec<BoundingBox>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color_palette: Option<&'a [PaletteColor]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
}

impl ImageRequest {
    /// The body as JSON: one message, in it first the images in their order, then the text. The service takes text and
    /// images in either order; the order among the images has a meaning and is kept.
    #[must_use]
    pub fn to_body(&self) -> Value {
        serde_json::to_value(self)
            .expect("a request is made of texts, numbers and lists, which JSON can hold")
    }

    /// The body as the bytes that are sent.
    #[must_use]
    pub fn to_body_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a request is made of texts, numbers and lists, which JSON can hold")
    }
}

impl Serialize for ImageRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let images = self.images.iter().map(ImageInput::expose).map(Content::Image);
        let message =
            Message { role: "user", content: images.chain([Content::Text(&self.prompt)]).collect() };
        let body = Body {
            model: self.model,
            input: Input { messages: [message] },
            parameters: Parameters {
                size: self.size,
                n: self.n,
                enable_sequential: self.enable_sequential,
                thinking_mode: self.thinking_mode,
                bbox_list: self.bbox_list.as_deref(),
                color_palette: self.color_palette.as_deref(),
                watermark: self.watermark,
                seed: self.seed,
            },
        };
        body.serialize(serializer).map_err(S::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ImageRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = Value::deserialize(deserializer)?;
        let parsed =
            Self::from_body(&body).map_err(|violations: Violations| serde::de::Error::custom(violations))?;
        Ok(parsed.request)
    }
}
