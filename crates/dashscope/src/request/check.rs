//! The check of a whole request against every documented limit.

use super::{BoundingBox, ImageInput, ImageRequest, Scenario, Size, Violation, Violations, Warning};
use crate::inspect::{DataUriError, ImageFacts, ImageFault, ratio_allowed};
use crate::limits::{
    ASPECT_RATIO_MAX, BOXES_PER_IMAGE_MAX, IMAGES, IMAGES_SET, INPUT_IMAGES_MAX, INPUT_SIDE_PIXELS,
    OUTPUT_PIXELS_MAX, OUTPUT_PIXELS_MAX_PRO_TEXT, OUTPUT_PIXELS_MIN, PALETTE_COLORS,
    PALETTE_TOTAL_HUNDREDTHS, PROMPT_CHARS_MAX, SEED_MAX,
};
use crate::{Model, request::Ratio};

impl ImageRequest {
    /// Checks everything that can be known without fetching anything. Images inside data URIs are looked at, links are not.
    ///
    /// # Errors
    ///
    /// Every rule the request breaks, in the order of its fields.
    pub fn check(&self) -> Result<Vec<Warning>, Violations> {
        let mut found = Vec::new();
        self.check_prompt(&mut found);
        let facts = self.check_images(&mut found);
        self.check_size(&mut found);
        self.check_n(&mut found);
        self.check_boxes(&facts, &mut found);
        self.check_palette(&mut found);
        self.check_seed(&mut found);
        Violations::none_or(found)?;
        Ok(self.warnings())
    }

    fn check_prompt(&self, found: &mut Vec<Violation>) {
        let chars = self.prompt.chars();
        if self.prompt.is_blank() {
            found.push(Violation::new("prompt", "empty", "it must say what the image is to show"));
        } else if chars > PROMPT_CHARS_MAX {
            let rule = format!("{PROMPT_CHARS_MAX} characters are the most");
            let hint = "the service would cut the rest without a word";
            found.push(Violation::new("prompt", format!("{chars} characters long"), rule).with_hint(hint));
        }
    }

    /// What is known of each input; `None` for what is not at hand or not acceptable.
    fn check_images(&self, found: &mut Vec<Violation>) -> Vec<Option<ImageFacts>> {
        if self.images.len() > INPUT_IMAGES_MAX {
            let rule = format!("{INPUT_IMAGES_MAX} input images are the most");
            found.push(Violation::new("images", format!("a list of {}", self.images.len()), rule));
        }
        let look = |(index, input): (usize, &ImageInput)| match input {
            ImageInput::Link(_) | ImageInput::Temporary(_) => None,
            ImageInput::Data(uri) => {
                uri.inspect().map_err(|fault| found.push(data_violation(index, uri, &fault))).ok()
            }
        };
        self.images.iter().enumerate().map(look).collect()
    }

    fn check_size(&self, found: &mut Vec<Violation>) {
        let four_k = self.model == Model::Wan27ImagePro && self.scenario() == Scenario::TextToImage;
        let pixels_max = if four_k { OUTPUT_PIXELS_MAX_PRO_TEXT } else { OUTPUT_PIXELS_MAX };
        let hint = (!four_k).then(|| match self.model {
            Model::Wan27Image => "`wan2.7-image-pro` makes more, from text and not as a set".to_owned(),
            Model::Wan27ImagePro => "more is possible only from text, and not as a set".to_owned(),
        });
        let value = format!("`{}`", self.size);
        match self.size {
            Size::K1 | Size::K2 => {}
            Size::K4 if four_k => {}
            Size::K4 => {
                let rule = format!("`1K` and `2K` are possible with `{}` here", self.model);
                found.push(Violation::new("size", value, rule).with_hint_if(hint));
            }
            Size::Pixels { width, height } => {
                let pixels = self.size.pixels();
                if pixels < OUTPUT_PIXELS_MIN || pixels > pixels_max {
                    let rule = format!(
                        "width × height must be {OUTPUT_PIXELS_MIN} (768 × 768) to {pixels_max} ({side} × {side}), and is {pixels}",
                        side = pixels_max.isqrt()
                    );
                    let hint = hint.filter(|_| pixels > pixels_max);
                    found.push(Violation::new("size", &value, rule).with_hint_if(hint));
                }
                if !ratio_allowed(width, height) {
                    let rule =
                        format!("its ratio must be within 1:{ASPECT_RATIO_MAX} and {ASPECT_RATIO_MAX}:1");
                    found.push(Violation::new("size", &value, rule));
                }
            }
        }
    }

    fn check_n(&self, found: &mut Vec<Violation>) {
        let allowed = if self.enable_sequential { IMAGES_SET } else { IMAGES };
        if allowed.contains(&self.n) {
            return;
        }
        let rule = format!("it must be {} to {}", allowed.start(), allowed.end());
        let set = !self.enable_sequential && IMAGES_SET.contains(&self.n);
        let hint = set.then_some("up to 12 images are possible as a set, with `enable_sequential`");
        found.push(Violation::new("n", self.n, rule).with_hint_if(hint));
    }

    fn check_boxes(&self, facts: &[Option<ImageFacts>], found: &mut Vec<Violation>) {
        let Some(lists) = &self.bbox_list else { return };
        if lists.len() != self.images.len() {
            let rule = format!("it must have one list for each of the {} input images", self.images.len());
            let hint = "an image without a box has an empty list";
            found.push(
                Violation::new("bbox_list", format!("a list of {}", lists.len()), rule).with_hint(hint),
            );
        }
        for (index, boxes) in lists.iter().enumerate() {
            found.extend(box_violations(index, boxes, facts.get(index).and_then(Option::as_ref)));
        }
    }

    fn check_palette(&self, found: &mut Vec<Violation>) {
        let Some(colors) = &self.color_palette else { return };
        let value = format!("a list of {}", colors.len());
        if self.enable_sequential {
            found.push(Violation::new(
                "color_palette",
                &value,
                "a set (`enable_sequential`) takes no palette",
            ));
        }
        if !PALETTE_COLORS.contains(&colors.len()) {
            let rule = format!("it must have {} to {} colours", PALETTE_COLORS.start(), PALETTE_COLORS.end());
            found.push(Violation::new("color_palette", &value, rule));
        }
        let total: u32 = colors.iter().map(|color| u32::from(color.ratio.hundredths())).sum();
        if total != PALETTE_TOTAL_HUNDREDTHS {
            let sum = format!("{}.{:02}%", total / 100, total % 100);
            let rule = format!("the ratios must add up to {}, and add up to {sum}", whole());
            found.push(Violation::new("color_palette", value, rule));
        }
    }

    fn check_seed(&self, found: &mut Vec<Violation>) {
        if let Some(seed) = self.seed.filter(|&seed| seed > SEED_MAX) {
            found.push(Violation::new("seed", seed, format!("it must be 0 to {SEED_MAX}")));
        }
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.thinking_mode.is_some() && self.scenario() != Scenario::TextToImage {
            warnings.push(Warning {
                field: "thinking_mode".to_owned(),
                text: "has no effect here: it works only without input images and not for sets".to_owned(),
            });
        }
        warnings
    }
}

/// The sum that the shares of a palette must reach, as the API writes it.
fn whole() -> String {
    u16::try_from(PALETTE_TOTAL_HUNDREDTHS)
        .ok()
        .and_then(Ratio::from_hundredths)
        .map_or_else(String::new, |r| r.to_string())
}

/// What is wrong with the boxes of the image at `index`: too many, without area, or outside of the image.
///
/// `facts` are those of the image where they are known; without them a box need only fit into the largest image allowed.
#[must_use]
pub fn box_violations(index: usize, boxes: &[BoundingBox], facts: Option<&ImageFacts>) -> Vec<Violation> {
    let mut found = Vec::new();
    if boxes.len() > BOXES_PER_IMAGE_MAX {
        let rule = format!("one image has at most {BOXES_PER_IMAGE_MAX} boxes");
        found.push(Violation::new(format!("bbox_list[{index}]"), format!("a list of {}", boxes.len()), rule));
    }
    let side_max = *INPUT_SIDE_PIXELS.end();
    let (width, height) = facts.map_or((side_max, side_max), |facts| (facts.width, facts.height));
    for (position, bbox) in boxes.iter().enumerate() {
        let mut refuse = |rule: String| {
            found.push(Violation::new(format!("bbox_list[{index}][{position}]"), bbox, rule));
        };
        if bbox.x1 >= bbox.x2 || bbox.y1 >= bbox.y2 {
            refuse("a box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2".to_owned());
        }
        if bbox.x2 > width || bbox.y2 > height {
            refuse(match facts {
                Some(_) => format!("it must lie within the image, which has {width}×{height} pixels"),
                None => format!("no input image has more than {side_max} pixels a side"),
            });
        }
    }
    found
}

/// What is wrong with the image at `index`, for whoever looked at it with [`inspect`](crate::inspect::inspect).
#[must_use]
pub fn image_violation(index: usize, image: &str, fault: &ImageFault) -> Violation {
    let hint = match fault {
        ImageFault::Alpha => Some("save it without an alpha channel, or as JPEG"),
        ImageFault::UnknownFormat => Some("convert it to JPEG or PNG"),
        ImageFault::Sides { .. } | ImageFault::TooLarge { .. } => Some("scale it"),
        _ => None,
    };
    Violation::new(format!("images[{index}]"), image, fault.to_string()).with_hint_if(hint)
}

fn data_violation(index: usize, uri: &crate::inspect::DataUri, fault: &DataUriError) -> Violation {
    match fault {
        DataUriError::Image { source } => image_violation(index, &uri.to_string(), source),
        other => Violation::new(format!("images[{index}]"), uri, other.to_string()),
    }
}
