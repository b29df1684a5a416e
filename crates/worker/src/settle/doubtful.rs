//! Whether an adopted task looks like its job's. Pure.
//!
//! The provider's list shows no prompt, so a task is adopted by its time. What it brought says more: a task with more images, or
//! of another size, was somebody else's.

use dashscope::Size;
use job::{JobSpec, Outcome};

/// How much more or less pixels an image may have than was asked for.
///
/// Source: ours; the service rounds sides to its own steps, and an image that follows an input's ratio differs by some percent. The
/// size classes are factors of four apart.
const PIXELS_TOLERANCE: f64 = 1.6;

/// How much the ratio of sides may differ from the one that was asked for. Source: ours; rounding to steps of 16 pixels moves it by 3 %
/// at the smallest sides.
const RATIO_TOLERANCE: f64 = 1.1;

/// What does not fit, in words; `None` if the task may well be the job's.
pub(crate) fn doubt_of(spec: &JobSpec, outcome: &Outcome) -> Option<String> {
    let asked = &spec.request;
    let brought = outcome.images.len().max(outcome.billed.into());
    if brought > usize::from(asked.n) {
        return Some(format!("the adopted task brought {brought} images, the job asks for {}", asked.n));
    }
    let size = outcome.size.as_deref()?;
    let (width, height) = size.split_once('*')?;
    let (width, height): (f64, f64) = (width.parse().ok()?, height.parse().ok()?);
    let differs = |is: f64, should: f64, tolerance: f64| is > should * tolerance || is * tolerance < should;
    let other_pixels = differs(width * height, asked.size.pixels() as f64, PIXELS_TOLERANCE);
    let other_ratio = match asked.size {
        Size::Pixels { width: asked_width, height: asked_height } => {
            differs(width / height, f64::from(asked_width) / f64::from(asked_height), RATIO_TOLERANCE)
        }
        // A class has no ratio of its own where an input image gives it.
        _ => false,
    };
    (other_pixels || other_ratio)
        .then(|| format!("the adopted task brought images of {size}, the job asks for {}", asked.size))
}

#[cfg(test)]
mod tests {
    use dashscope::{ImageRequest, Model};

    use super::*;

    fn spec(n: u8, size: Size) -> JobSpec {
        let mut request = ImageRequest::new(Model::Wan27Image, "p");
        (request.n, request.size) = (n, size);
        JobSpec::new(request)
    }

    fn outcome(billed: u8, size: Option<&str>) -> Outcome {
        serde_json::from_value(serde_json::json!({
            "v": 1, "task": "t", "noticed_at": "2026-11-23T00:00:00Z", "billed": billed, "size": size, "images": [],
        }))
        .unwrap()
    }

    #[test]
    fn another_class_or_ratio_and_more_images_are_doubtful() {
        let pixels = |width, height| Size::Pixels { width, height };
        for (size, brought, doubtful) in [
            (Size::K2, "2048*2048", false),
            (Size::K2, "2688*1536", false),
            (Size::K2, "1024*1024", true),
            (Size::K1, "2048*2048", true),
            (Size::K4, "2048*2048", true),
            (pixels(1024, 1024), "1024*1024", false),
            (pixels(1020, 770), "1024*768", false),
            (pixels(1024, 1024), "2048*2048", true),
            (pixels(1280, 720), "720*1280", true),
        ] {
            assert_eq!(
                doubt_of(&spec(1, size), &outcome(1, Some(brought))).is_some(),
                doubtful,
                "{size} {brought}"
            );
        }
        assert_eq!(doubt_of(&spec(2, Size::K2), &outcome(2, None)), None);
        assert_eq!(
            doubt_of(&spec(1, Size::K2), &outcome(4, None)).unwrap(),
            "the adopted task brought 4 images, the job asks for 1"
        );
        assert_eq!(doubt_of(&spec(4, Size::K2), &outcome(1, None)), None, "a set may be shorter");
    }
}
