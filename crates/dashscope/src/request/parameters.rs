//! The parameters of a request, read strictly from JSON.

use serde_json::{Map, Value};

use super::fields::{join, missing, present, unknown_fields};
use super::violation::{quoted, wrong_type};
use super::{BoundingBox, ImageRequest, PaletteColor, Size, Violation};
use crate::limits::{IMAGES, IMAGES_SET, SEED_MAX};

/// `parameters` of a body, each where it is present. The same names stand in a job's line, so that both are read by
/// [`Parameters::read`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// `size`.
    pub size: Option<Size>,
    /// `n`.
    pub n: Option<u8>,
    /// `enable_sequential`.
    pub enable_sequential: Option<bool>,
    /// `thinking_mode`.
    pub thinking_mode: Option<bool>,
    /// `bbox_list`.
    pub bbox_list: Option<Vec<Vec<BoundingBox>>>,
    /// `color_palette`.
    pub color_palette: Option<Vec<PaletteColor>>,
    /// `watermark`.
    pub watermark: Option<bool>,
    /// `seed`.
    pub seed: Option<u32>,
}

impl Parameters {
    /// The names of all parameters.
    pub const NAMES: [&'static str; 8] = [
        "size",
        "n",
        "enable_sequential",
        "thinking_mode",
        "bbox_list",
        "color_palette",
        "watermark",
        "seed",
    ];

    /// Reads the parameters among the fields of `object`, whose path is `at` (empty at the top). Other fields are left to
    /// the caller, who knows which there may be: see [`unknown_fields`]. What cannot be read is
    /// added to `found`, and absent in the answer.
    pub fn read(object: &Map<String, Value>, at: &str, found: &mut Vec<Violation>) -> Self {
        let mut read = Reader { object, at, found };
        Self {
            size: read.size(),
            n: read.n(),
            enable_sequential: read.flag("enable_sequential"),
            thinking_mode: read.flag("thinking_mode"),
            bbox_list: read.boxes(),
            color_palette: read.palette(),
            watermark: read.flag("watermark"),
            seed: read.seed(),
        }
    }

    /// Puts every parameter that is present into `request`.
    pub fn apply_to(self, request: &mut ImageRequest) {
        request.size = self.size.unwrap_or(request.size);
        request.n = self.n.unwrap_or(request.n);
        request.enable_sequential = self.enable_sequential.unwrap_or(request.enable_sequential);
        request.thinking_mode = self.thinking_mode.or(request.thinking_mode);
        request.bbox_list = self.bbox_list.or_else(|| request.bbox_list.take());
        request.color_palette = self.color_palette.or_else(|| request.color_palette.take());
        request.watermark = self.watermark.or(request.watermark);
        request.seed = self.seed.or(request.seed);
    }
}

/// Reads one parameter after the other and notes what is wrong with it.
struct Reader<'a> {
    object: &'a Map<String, Value>,
    at: &'a str,
    found: &'a mut Vec<Violation>,
}

impl Reader<'_> {
    fn refuse<T>(&mut self, violation: Violation) -> Option<T> {
        self.found.push(violation);
        None
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        match present(self.object, name)? {
            Value::Bool(flag) => Some(*flag),
            other => self.refuse(wrong_type(join(self.at, name), other, "true or false")),
        }
    }

    fn size(&mut self) -> Option<Size> {
        let field = join(self.at, "size");
        match present(self.object, "size")? {
            Value::String(text) => match text.parse::<Size>() {
                Ok(size) => Some(size),
                Err(error) => {
                    let rule = "a size is `1K`, `2K`, `4K`, or width and height in pixels as in `1024*768`";
                    let hint = error.meant.map(|size| format!("did you mean `{size}`?"));
                    self.refuse(Violation::new(field, quoted(text), rule).with_hint_if(hint))
                }
            },
            other => self.refuse(wrong_type(field, other, "a text such as `2K` or `1024*768`")),
        }
    }

    fn n(&mut self) -> Option<u8> {
        let value = present(self.object, "n")?;
        let number = value.as_u64().and_then(|n| u8::try_from(n).ok());
        number.or_else(|| {
            let wanted = format!(
                "a whole number, {} to {} or with `enable_sequential` to {}",
                IMAGES.start(),
                IMAGES.end(),
                IMAGES_SET.end()
            );
            self.refuse(wrong_type(join(self.at, "n"), value, &wanted))
        })
    }

    fn seed(&mut self) -> Option<u32> {
        let value = present(self.object, "seed")?;
        let number = value.as_u64().and_then(|seed| u32::try_from(seed).ok());
        number.or_else(|| {
            let wanted = format!("a whole number from 0 to {SEED_MAX}");
            self.refuse(wrong_type(join(self.at, "seed"), value, &wanted))
        })
    }

    fn boxes(&mut self) -> Option<Vec<Vec<BoundingBox>>> {
        let field = join(self.at, "bbox_list");
        let value = present(self.object, "bbox_list")?;
        let rule = "a list with one list of boxes for each input image";
        let Value::Array(lists) = value else {
            return self.refuse(wrong_type(field, value, rule));
        };
        let mut all = Vec::with_capacity(lists.len());
        for (image, list) in lists.iter().enumerate() {
            let Value::Array(boxes) = list else {
                self.found.push(wrong_type(format!("{field}[{image}]"), list, "a list of boxes"));
                continue;
            };
            let mut of_image = Vec::with_capacity(boxes.len());
            for (position, bbox) in boxes.iter().enumerate() {
                match serde_json::from_value::<[u32; 4]>(bbox.clone()) {
                    Ok(corners) => of_image.push(corners.into()),
                    Err(_) => {
                        let wanted = "four whole numbers from 0, [x1, y1, x2, y2]";
                        self.found.push(wrong_type(format!("{field}[{image}][{position}]"), bbox, wanted));
                    }
                }
            }
            all.push(of_image);
        }
        Some(all)
    }

    fn palette(&mut self) -> Option<Vec<PaletteColor>> {
        let field = join(self.at, "color_palette");
        let value = present(self.object, "color_palette")?;
        let Value::Array(colors) = value else {
            return self.refuse(wrong_type(field, value, "a list of colours"));
        };
        let read = |(index, color)| self.color(&format!("{field}[{index}]"), color);
        let read: Vec<_> = colors.iter().enumerate().map(read).collect();
        read.into_iter().collect()
    }

    fn color(&mut self, at: &str, color: &Value) -> Option<PaletteColor> {
        let Value::Object(fields) = color else {
            return self.refuse(wrong_type(at.to_owned(), color, "an object with `hex` and `ratio`"));
        };
        unknown_fields(fields, at, &["hex", "ratio"], self.found);
        let hex = self.text(fields, at, "hex", "a text such as `#C2D1E6`");
        let ratio = self.text(fields, at, "ratio", "a text such as `23.51%`");
        Some(PaletteColor { hex: hex?, ratio: ratio? })
    }

    /// A required field of a colour: a text that is read as a `T`.
    fn text<T>(&mut self, fields: &Map<String, Value>, at: &str, name: &str, wanted: &str) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let field = join(at, name);
        match present(fields, name) {
            Some(Value::String(text)) => match text.parse() {
                Ok(value) => Some(value),
                Err(error) => self.refuse(Violation::new(field, quoted(text), error.to_string())),
            },
            Some(other) => self.refuse(wrong_type(field, other, wanted)),
            None => self.refuse(missing(field)),
        }
    }
}
