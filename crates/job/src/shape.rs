//! What decides how long a task takes, beside its model: the size of its images, and whether it makes a set of them.

use std::fmt;
use std::str::FromStr;

use dashscope::{ImageRequest, Size};

/// A class of sizes. What is measured for one image holds for those of the same class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    /// Up to 1024 × 1024 pixels in total.
    K1,
    /// Up to 2048 × 2048.
    K2,
    /// More.
    K4,
}

/// What a task makes.
///
/// ```
/// use job::Shape;
///
/// assert_eq!("2k+".parse::<Shape>().unwrap().to_string(), "2k+");
/// assert!("8k".parse::<Shape>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// How large its images are.
    pub size: SizeClass,
    /// Whether it makes more than one.
    pub several: bool,
}

/// No shape that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is none of 1k, 2k, 4k, with or without a `+`")]
pub struct UnknownShape;

impl Shape {
    /// The shape of what a request asks for.
    pub fn of(request: &ImageRequest) -> Self {
        let size = match request.size.pixels() {
            pixels if pixels <= Size::K1.pixels() => SizeClass::K1,
            pixels if pixels <= Size::K2.pixels() => SizeClass::K2,
            _ => SizeClass::K4,
        };
        Self { size, several: request.n > 1 }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.size {
            SizeClass::K1 => "1k",
            SizeClass::K2 => "2k",
            SizeClass::K4 => "4k",
        })?;
        if self.several { f.write_str("+") } else { Ok(()) }
    }
}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(text: &str) -> Result<Self, UnknownShape> {
        let (size, several) = text.strip_suffix('+').map_or((text, false), |size| (size, true));
        let size = match size {
            "1k" => SizeClass::K1,
            "2k" => SizeClass::K2,
            "4k" => SizeClass::K4,
            _ => return Err(UnknownShape),
        };
        Ok(Self { size, several })
    }
}

#[cfg(test)]
mod tests {
    use dashscope::Model;

    use super::*;

    #[test]
    fn exact_sides_belong_to_the_class_that_holds_them() {
        let of = |size: Size, n: u8| {
            let mut request = ImageRequest::new(Model::Wan27Image, "a kite");
            (request.size, request.n) = (size, n);
            Shape::of(&request).to_string()
        };
        assert_eq!(of(Size::Pixels { width: 1024, height: 1024 }, 1), "1k");
        assert_eq!(of(Size::Pixels { width: 1025, height: 1024 }, 1), "2k");
        assert_eq!(of(Size::K2, 4), "2k+");
        assert_eq!(of(Size::Pixels { width: 4096, height: 2048 }, 1), "4k");
    }
}
