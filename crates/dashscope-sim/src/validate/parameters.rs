//! The `parameters` object. Source of every bound: the API page, the field of the same name.
//!
//! A field that is null counts as absent, and unknown fields are tolerated, as the official SDK sends both.

use serde_json::{Map, Value};

use super::image::ImageFacts;
use super::size::Size;
use crate::model::Model;
use crate::refusal::Refusal;

/// Most boxes on one image. Source: `bbox_list`.
const BOXES_MAX: usize = 2;
/// Fewest and most colours. Source: `color_palette`.
const COLOURS: std::ops::RangeInclusive<usize> = 3..=10;
/// The sum of all colour ratios, in hundredths of a percent. Source: `color_palette`, `ratio`.
const RATIO_SUM: u32 = 10_000;
/// Largest seed. Source: `seed`.
const SEED_MAX: u64 = 2_147_483_647;

/// Checked parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) size: Size,
    /// Images asked for: 1 to 4, or 1 to 12 in a set.
    pub(crate) n: u8,
    /// Whether an image set was asked for.
    pub(crate) sequential: bool,
    /// Per image its boxes: left, top, right, bottom.
    boxes: Vec<Vec<[u64; 4]>>,
}

impl Parameters {
    /// Reads the object for a call with so many images.
    pub(super) fn read(parameters: Option<&Value>, model: Model, images: usize) -> Result<Self, Refusal> {
        let none = Map::new();
        let fields = match parameters {
            None | Some(Value::Null) => &none,
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(Refusal::parameter("parameters must be an object")),
        };
        let get = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let flag = |name: &str| match get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Refusal::parameter(format!("{name} must be true or false"))),
        };

        let sequential = flag("enable_sequential")?.unwrap_or(false);
        flag("watermark")?;
        flag("thinking_mode")?;
        let plain = images == 0 && !sequential;
        let size = match get("size") {
            None => Size::DEFAULT,
            Some(Value::String(text)) => Size::read(text, model, plain)?,
            Some(_) => return Err(Refusal::parameter("size must be a text")),
        };
        if let Some(seed) = get("seed")
            && seed.as_u64().is_none_or(|seed| seed > SEED_MAX)
        {
            return Err(Refusal::parameter(format!("seed must be in [0, {SEED_MAX}]")));
        }
        if let Some(palette) = get("color_palette") {
            if sequential {
                return Err(Refusal::parameter(
                    "color_palette is not supported when enable_sequential is true",
                ));
            }
            check_palette(palette)?;
        }
        let boxes = get("bbox_list").map(|list| read_boxes(list, images)).transpose()?.unwrap_or_default();
        Ok(Self { size, n: read_n(get("n"), sequential)?, sequential, boxes })
    }

    /// Checks that the boxes of the image at `index` lie inside it.
    pub(super) fn check_boxes_inside(&self, index: usize, image: &ImageFacts) -> Result<(), Refusal> {
        let (width, height) = (u64::from(image.width), u64::from(image.height));
        let boxes = self.boxes.get(index).map_or(&[][..], Vec::as_slice);
        match boxes.iter().all(|&[_, _, right, bottom]| right <= width && bottom <= height) {
            true => Ok(()),
            false => {
                Err(Refusal::parameter(format!("bbox_list of image {} lies outside the image", index + 1)))
            }
        }
    }
}

/// Defaults 4 and 12. Source: `n`.
fn read_n(n: Option<&Value>, sequential: bool) -> Result<u8, Refusal> {
    let max = if sequential { 12 } else { 4 };
    let Some(n) = n else { return Ok(max) };
    match n.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=max).contains(n)) {
        Some(n) => Ok(n),
        None => Err(Refusal::parameter(format!("num_images_per_prompt must be in [1, {max}]"))),
    }
}

fn check_palette(palette: &Value) -> Result<(), Refusal> {
    let colours = palette.as_array().map_or(&[][..], Vec::as_slice);
    if !COLOURS.contains(&colours.len()) {
        return Err(Refusal::parameter("color_palette must have 3 to 10 colors"));
    }
    let mut sum = 0;
    for colour in colours {
        let hex = colour.get("hex").and_then(Value::as_str).unwrap_or_default();
        let digits = hex.strip_prefix('#').unwrap_or_default();
        if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Refusal::parameter("color_palette.hex must be of the form #RRGGBB"));
        }
        let ratio = colour.get("ratio").and_then(Value::as_str).and_then(hundredths);
        sum += ratio.ok_or_else(|| {
            Refusal::parameter("color_palette.ratio must be a percentage with two decimals")
        })?;
    }
    match sum {
        RATIO_SUM => Ok(()),
        _ => Err(Refusal::parameter("the sum of color_palette.ratio must be 100.00%")),
    }
}

/// `"23.51%"` as 2351.
fn hundredths(ratio: &str) -> Option<u32> {
    let (whole, decimals) = ratio.strip_suffix('%')?.split_once('.')?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || whole.len() > 3 || !plain(decimals) || decimals.len() != 2 {
        return None;
    }
    Some(whole.parse::<u32>().ok()? * 100 + decimals.parse::<u32>().ok()?)
}

fn read_boxes(list: &Value, images: usize) -> Result<Vec<Vec<[u64; 4]>>, Refusal> {
    let Some(list) = list.as_array() else {
        return Err(Refusal::parameter("bbox_list must be a list"));
    };
    if list.len() != images {
        return Err(Refusal::parameter("the length of bbox_list must match the number of input images"));
    }
    list.iter().map(read_boxes_of_image).collect()
}

fn read_boxes_of_image(boxes: &Value) -> Result<Vec<[u64; 4]>, Refusal> {
    let Some(boxes) = boxes.as_array() else {
        return Err(Refusal::parameter("bbox_list must have one list per image"));
    };
    if boxes.len() > BOXES_MAX {
        return Err(Refusal::parameter(format!(
            "a single image supports a maximum of {BOXES_MAX} bounding boxes"
        )));
    }
    boxes
        .iter()
        .map(|one| read_box(one).ok_or_else(|| Refusal::parameter("a bounding box must be [x1, y1, x2, y2]")))
        .collect()
}

/// Four pixel coordinates from 0, the second corner right of and below the first.
fn read_box(corners: &Value) -> Option<[u64; 4]> {
    let corners: Vec<u64> = corners.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?;
    let corners: [u64; 4] = corners.try_into().ok()?;
    let [left, top, right, bottom] = corners;
    (left < right && top < bottom).then_some(corners)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(parameters: &Value, images: usize) -> bool {
        Parameters::read(Some(parameters), Model::Pro, images).is_ok()
    }

    fn palette(ratios: &[&str]) -> Value {
        let colours: Vec<Value> =
            ratios.iter().map(|ratio| json!({ "hex": "#C2D1E6", "ratio": ratio })).collect();
        json!({ "color_palette": colours })
    }

    #[test]
    fn n_is_one_to_four_and_one_to_twelve_in_a_set() {
        for (sequential, max) in [(false, 4), (true, 12)] {
            let n = |n: Value| json!({ "enable_sequential": sequential, "n": n });
            for (value, ok) in
                [(json!(0), false), (json!(1), true), (json!(max), true), (json!(max + 1), false)]
            {
                assert_eq!(fits(&n(value.clone()), 0), ok, "{value}");
            }
            for value in [json!(-1), json!("1"), json!(1.5)] {
                assert!(!fits(&n(value.clone()), 0), "{value}");
            }
        }
    }

    #[test]
    fn without_n_the_service_makes_four_images_and_twelve_in_a_set() {
        let n = |parameters: &Value| Parameters::read(Some(parameters), Model::Pro, 0).unwrap().n;
        assert_eq!(n(&json!({})), 4);
        assert_eq!(n(&json!({ "n": null })), 4);
        assert_eq!(n(&json!({ "enable_sequential": true })), 12);
    }

    #[test]
    fn a_seed_is_at_most_two_to_the_31_minus_one() {
        assert!(fits(&json!({ "seed": 0 }), 0));
        assert!(fits(&json!({ "seed": 2_147_483_647u64 }), 0));
        assert!(!fits(&json!({ "seed": 2_147_483_648u64 }), 0));
        assert!(!fits(&json!({ "seed": -1 }), 0));
    }

    #[test]
    fn a_palette_has_three_to_ten_colours_that_sum_to_a_hundred() {
        assert!(fits(&palette(&["33.33%", "33.33%", "33.34%"]), 0));
        assert!(!fits(&palette(&["33.33%", "33.33%", "33.33%"]), 0));
        assert!(!fits(&palette(&["50.00%", "50.00%"]), 0));
        assert!(fits(&palette(&["10.00%"; 10]), 0));
        assert!(!fits(&palette(&["9.00%"; 11]), 0));
    }

    #[test]
    fn a_colour_is_six_hex_digits_and_a_share_with_two_decimals() {
        for ratio in ["33.3%", "33.333%", "33.33", "33%", "+3.33%", "-3.33%", ".33%", ""] {
            assert!(!fits(&palette(&[ratio, "33.33%", "33.34%"]), 0), "{ratio}");
        }
        for hex in ["C2D1E6", "#C2D1E", "#C2D1E67", "#GGGGGG", ""] {
            let mut parameters = palette(&["33.33%", "33.33%", "33.34%"]);
            parameters["color_palette"][0]["hex"] = json!(hex);
            assert!(!fits(&parameters, 0), "{hex}");
        }
    }

    #[test]
    fn a_palette_is_not_for_sets() {
        let mut parameters = palette(&["33.33%", "33.33%", "33.34%"]);
        parameters["enable_sequential"] = json!(true);
        assert!(!fits(&parameters, 0));
    }

    #[test]
    fn boxes_are_one_list_per_image_with_at_most_two_each() {
        let boxes = |list: Value| json!({ "bbox_list": list });
        assert!(fits(&boxes(json!([[], [[989, 515, 1138, 681]]])), 2));
        assert!(!fits(&boxes(json!([[[989, 515, 1138, 681]]])), 2));
        assert!(fits(&boxes(json!([[[0, 0, 12, 12], [25, 25, 100, 100]]])), 1));
        assert!(!fits(&boxes(json!([[[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]])), 1));
        for wrong in [
            json!([0, 0, 0, 5]),
            json!([0, 5, 5, 5]),
            json!([-1, 0, 5, 5]),
            json!([0, 0, 5]),
            json!([0, 0, 5, 5.5]),
        ] {
            assert!(!fits(&boxes(json!([[wrong]])), 1), "{wrong}");
        }
    }

    #[test]
    fn a_box_may_touch_the_edge_of_its_image_and_not_cross_it() {
        let within = |right: u64, bottom: u64| {
            let parameters = json!({ "bbox_list": [[[0, 0, right, bottom]]] });
            let parameters = Parameters::read(Some(&parameters), Model::Pro, 1).unwrap();
            let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x2c\0\0\x01\x90\x08\x02".to_vec();
            png.extend([0; 16]);
            parameters.check_boxes_inside(0, &ImageFacts::read(&png).unwrap()).is_ok()
        };
        assert!(within(300, 400));
        assert!(!within(301, 400));
        assert!(!within(300, 401));
    }

    #[test]
    fn flags_are_booleans_and_unknown_fields_pass() {
        assert!(fits(&json!({ "watermark": true, "thinking_mode": false, "is_async": true }), 0));
        for name in ["watermark", "thinking_mode", "enable_sequential"] {
            assert!(!fits(&json!({ name: "true" }), 0), "{name}");
        }
    }
}
