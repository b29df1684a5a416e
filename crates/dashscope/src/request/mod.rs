//! Requests: what may be asked of the service, the check of every documented limit, and the body that is sent.
//!
//! Pure. A request is put together from typed parts ([`ImageRequest`]) or read from somebody's own DashScope body
//! ([`ImageRequest::from_body`]), then checked as a whole ([`ImageRequest::check`]), then written ([`ImageRequest::to_body`]).
//! Nothing here changes a request to make it fit: it is refused, with every reason at once.

mod bbox;
mod body;
mod check;
mod fields;
mod input;
mod palette;
mod parameters;
mod parse;
mod prompt;
mod size;
mod violation;

use serde::{Deserialize, Serialize};

pub use bbox::BoundingBox;
pub use check::{box_violations, image_violation};
pub use fields::{nearest_name, unknown_fields};
pub use input::{ImageInput, ImageInputError, OssUri};
pub use palette::{HexColor, InvalidHexColor, InvalidRatio, PaletteColor, Ratio};
pub use parameters::Parameters;
pub use parse::{BodyParts, ParsedBody};
pub use prompt::Prompt;
pub use size::{InvalidSize, Size};
pub use violation::{Violation, Violations, Warning};

use crate::Model;

/// One request for images, as the API understands it.
///
/// All parameters of the API page are here. The fields are open: any combination can be built, and [`check`](Self::check)
/// says what is wrong with it. Serde writes and reads DashScope's own body, not these fields; a body without `n` is read as
/// one for a single image.
///
/// ```
/// use dashscope::{ImageRequest, Model, Size};
///
/// let mut request = ImageRequest::new(Model::Wan27Image, "a lighthouse at dusk");
/// request.size = Size::K4;
/// let violations = request.check().unwrap_err();
/// assert_eq!(violations.as_slice()[0].field, "size");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRequest {
    /// The model that makes the images.
    pub model: Model,
    /// What they are to show.
    pub prompt: Prompt,
    /// Input images, at most nine. Their order is meaningful: the prompt may speak of "image 1", and the last one sets the
    /// ratio of the output.
    pub images: Vec<ImageInput>,
    /// The size of the output. Always sent.
    pub size: Size,
    /// How many images to make, each of which costs; of a set, the most. Always sent, and 1 unless set otherwise: the
    /// service's own default is 4, or 12 for a set.
    pub n: u8,
    /// Whether to make a set of images that belong together.
    pub enable_sequential: bool,
    /// Whether the model thinks first, which takes longer. `None` leaves it to the service, which does. It has an effect
    /// only on text-to-image.
    pub thinking_mode: Option<bool>,
    /// Where to edit: one list for each input image, in order, empty for an image without a box.
    pub bbox_list: Option<Vec<Vec<BoundingBox>>>,
    /// Colours to use, with their shares. Not for sets.
    pub color_palette: Option<Vec<PaletteColor>>,
    /// Whether to write "AI Generated" into the corner. `None` leaves it to the service, which does not.
    pub watermark: Option<bool>,
    /// Similar results for equal seeds, 0 to 2147483647.
    pub seed: Option<u32>,
}

impl ImageRequest {
    /// One image of 2K from this text, all else left to the service.
    pub fn new(model: Model, prompt: impl Into<Prompt>) -> Self {
        Self {
            model,
            prompt: prompt.into(),
            images: Vec::new(),
            size: Size::default(),
            n: 1,
            enable_sequential: false,
            thinking_mode: None,
            bbox_list: None,
            color_palette: None,
            watermark: None,
            seed: None,
        }
    }

    /// What kind of work this request asks for.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        let boxes = self.bbox_list.iter().flatten().any(|boxes| !boxes.is_empty());
        match (self.enable_sequential, self.images.is_empty()) {
            (false, true) => Scenario::TextToImage,
            (true, true) => Scenario::ImageSetFromText,
            (true, false) => Scenario::ImageSetFromImages,
            (false, false) if boxes => Scenario::InteractiveEdit,
            (false, false) => Scenario::Edit,
        }
    }

    /// The most images that can come of it, each of which is billed. Fewer is normal for a set, and can happen otherwise.
    #[must_use]
    pub fn expected_images_max(&self) -> u32 {
        self.n.into()
    }

    /// Whether an input lies in the provider's temporary store, so that the request needs one more header.
    #[must_use]
    pub fn needs_resolving(&self) -> bool {
        self.images.iter().any(ImageInput::needs_resolving)
    }
}

/// The kinds of work the API page tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Text in, images out.
    TextToImage,
    /// Text in, a set of images out.
    ImageSetFromText,
    /// Images and text in, a set of images out.
    ImageSetFromImages,
    /// Images and text in, edited images out.
    Edit,
    /// The same, with boxes that say where.
    InteractiveEdit,
}

impl Scenario {
    /// A short name for people and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TextToImage => "text_to_image",
            Self::ImageSetFromText => "image_set_from_text",
            Self::ImageSetFromImages => "image_set_from_images",
            Self::Edit => "edit",
            Self::InteractiveEdit => "interactive_edit",
        }
    }
}

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod boundary_tests;
