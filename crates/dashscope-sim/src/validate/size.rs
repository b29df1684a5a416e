//! The `size` parameter. Source of every bound: the API page, `size`.

use crate::model::Model;
use crate::refusal::Refusal;

/// Fewest pixels of an explicit size.
const PIXELS_MIN: u64 = 768 * 768;
const PIXELS_1K: u64 = 1_024 * 1_024;
const PIXELS_2K: u64 = 2_048 * 2_048;
const PIXELS_4K: u64 = 4_096 * 4_096;
/// Largest ratio of one side to the other.
pub(super) const RATIO_MAX: u64 = 8;

/// What size of output was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// `1K`, `2K` or `4K`: this many pixels, in the shape of the last input image.
    Nominal { pixels: u64 },
    /// `W*H`.
    Exact { width: u32, height: u32 },
}

impl Size {
    /// The default. Source: `size`, "2K (default)".
    pub(super) const DEFAULT: Self = Self::Nominal { pixels: PIXELS_2K };

    /// Reads the parameter for `model`. `plain` stands for "text-to-image": no input image and no image set.
    pub(super) fn read(text: &str, model: Model, plain: bool) -> Result<Self, Refusal> {
        let pixels_max = if model == Model::Pro && plain { PIXELS_4K } else { PIXELS_2K };
        let nominal = match text {
            "1K" => Some(PIXELS_1K),
            "2K" => Some(PIXELS_2K),
            "4K" => Some(PIXELS_4K),
            _ => None,
        };
        if let Some(pixels) = nominal {
            return match pixels <= pixels_max {
                true => Ok(Self::Nominal { pixels }),
                false => {
                    Err(Refusal::parameter("size 4K is only supported by wan2.7-image-pro for text-to-image"))
                }
            };
        }
        let sides = text.split_once('*').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        let Some((width, height)) = sides else {
            return Err(Refusal::parameter("size must be 1K, 2K, 4K or width*height"));
        };
        let pixels = u64::from(width) * u64::from(height);
        if !(PIXELS_MIN..=pixels_max).contains(&pixels) {
            return Err(Refusal::parameter(format!(
                "total pixels of size must be in [{PIXELS_MIN}, {pixels_max}]"
            )));
        }
        if !ratio_fits(width, height) {
            return Err(Refusal::parameter("aspect ratio of size must be in [1:8, 8:1]"));
        }
        Ok(Self::Exact { width, height })
    }

    /// Width and height of the output. `shape` is the width and height of the last input image, where known.
    pub(crate) fn pixels(self, shape: Option<(u32, u32)>) -> (u32, u32) {
        match self {
            Self::Exact { width, height } => (width, height),
            Self::Nominal { pixels } => {
                let (across, down) = shape.unwrap_or((1, 1));
                let side = |one: u32, other: u32| {
                    let exact = (pixels as f64 * f64::from(one) / f64::from(other)).sqrt();
                    (exact.floor() as u32).max(1)
                };
                (side(across, down), side(down, across))
            }
        }
    }
}

/// Whether neither side is more than eight times the other.
pub(super) fn ratio_fits(width: u32, height: u32) -> bool {
    let (width, height) = (u64::from(width), u64::from(height));
    width <= RATIO_MAX * height && height <= RATIO_MAX * width
}

/// A side in plain digits: no sign, no blanks.
fn side(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(text: &str, model: Model, plain: bool) -> bool {
        Size::read(text, model, plain).is_ok()
    }

    #[test]
    fn four_k_is_for_the_pro_model_and_text_to_image_only() {
        assert!(fits("4K", Model::Pro, true));
        assert!(!fits("4K", Model::Pro, false));
        assert!(!fits("4K", Model::Standard, true));
        for model in Model::ALL {
            assert!(fits("1K", model, false) && fits("2K", model, false));
        }
    }

    #[test]
    fn the_bounds_of_the_pixel_count_are_inside() {
        assert!(fits("768*768", Model::Standard, true));
        assert!(!fits("768*767", Model::Standard, true));
        assert!(fits("2048*2048", Model::Standard, true));
        assert!(!fits("2048*2049", Model::Standard, true));
        assert!(fits("4096*4096", Model::Pro, true));
        assert!(!fits("4096*4097", Model::Pro, true));
        assert!(!fits("2048*2049", Model::Pro, false));
    }

    #[test]
    fn one_to_eight_is_allowed_and_a_pixel_more_is_not() {
        assert!(fits("400*3200", Model::Standard, true));
        assert!(!fits("400*3201", Model::Standard, true));
        assert!(fits("3200*400", Model::Standard, true));
        assert!(!fits("3201*400", Model::Standard, true));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in
            ["", "2k", "3K", "1024x1024", "1024*", "*1024", "+1024*1024", "1024 * 1024", "1024*1024*2"]
        {
            assert!(!fits(text, Model::Pro, true), "{text}");
        }
    }

    #[test]
    fn a_nominal_size_takes_the_shape_of_the_last_image_and_is_square_without_one() {
        assert_eq!(Size::Nominal { pixels: PIXELS_4K }.pixels(None), (4_096, 4_096));
        assert_eq!(Size::DEFAULT.pixels(Some((1_600, 900))), (2_730, 1_536));
        assert_eq!(Size::Exact { width: 800, height: 900 }.pixels(Some((1, 2))), (800, 900));
    }

    proptest! {
        #[test]
        fn a_shaped_output_has_about_the_nominal_pixels_and_never_more(width in 240u32..8_000, height in 240u32..8_000) {
            prop_assume!(ratio_fits(width, height));
            let (across, down) = Size::DEFAULT.pixels(Some((width, height)));
            let pixels = u64::from(across) * u64::from(down);
            prop_assert!(pixels <= PIXELS_2K);
            prop_assert!(pixels * 100 >= PIXELS_2K * 99);
        }
    }
}
