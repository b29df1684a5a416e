//! Input images: how they are referred to, and the limits on what is behind the reference.
//!
//! Source of every bound: the API page, `image`, "Image limits".

use base64::Engine;
use imagesize::ImageType;
use serde_json::Value;

use super::size::ratio_fits;
use crate::refusal::Refusal;

/// Shortest side, in pixels.
const SIDE_MIN: u32 = 240;
/// Longest side, in pixels.
const SIDE_MAX: u32 = 8_000;
/// Largest file: 20 MB, read generously as MiB.
pub(crate) const BYTES_MAX: u64 = 20 * 1_024 * 1_024;

/// How an order refers to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageRef {
    /// An `http` or `https` link.
    Link(String),
    /// A data URI, already looked at.
    Inline(ImageFacts),
    /// An `oss://` reference to an upload: the part after the scheme.
    Upload(String),
}

impl ImageRef {
    /// Reads the `image` of a content item; `index` is its place among the images, from 0.
    pub(super) fn read(image: &Value, index: usize) -> Result<Self, Refusal> {
        let number = index + 1;
        let Some(text) = image.as_str() else {
            return Err(Refusal::parameter(format!("image {number} must be a link or a data URI")));
        };
        if let Some(data) = text.strip_prefix("data:") {
            return Ok(Self::Inline(read_data_uri(data, number)?));
        }
        if let Some(key) = text.strip_prefix("oss://").filter(|key| !key.is_empty()) {
            return Ok(Self::Upload(key.to_owned()));
        }
        match text.parse::<http::Uri>() {
            Ok(link) if matches!(link.scheme_str(), Some("http" | "https")) && link.host().is_some() => {
                Ok(Self::Link(text.to_owned()))
            }
            _ => {
                let message = format!("image {number} is not a valid link");
                Err(Refusal { code: "InvalidURL".to_owned(), ..Refusal::parameter(message) })
            }
        }
    }
}

/// What the simulator knows of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageFacts {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: u64,
    /// Whether it is a PNG with an alpha channel.
    pub(crate) alpha: bool,
    format: Format,
}

/// The accepted formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
    Bmp,
    Webp,
}

impl ImageFacts {
    /// Reads the header of an image file; `None` if it is none of the accepted formats.
    pub(crate) fn read(file: &[u8]) -> Option<Self> {
        let format = match imagesize::image_type(file).ok()? {
            ImageType::Jpeg => Format::Jpeg,
            ImageType::Png => Format::Png,
            ImageType::Bmp => Format::Bmp,
            ImageType::Webp => Format::Webp,
            _ => return None,
        };
        let size = imagesize::blob_size(file).ok()?;
        // Byte 25 is IHDR's colour type; 4 and 6 are the two with an alpha channel.
        let alpha = format == Format::Png && matches!(file.get(25), Some(4 | 6));
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let (width, height) = (side(size.width), side(size.height));
        Some(Self { width, height, bytes: file.len() as u64, alpha, format })
    }

    /// Checks the limits; `index` is the image's place in the order, from 0.
    pub(super) fn check(&self, index: usize) -> Result<(), Refusal> {
        let number = index + 1;
        let refuse = |rule: &str| Err(Refusal::parameter(format!("image {number} {rule}")));
        let sides = [self.width, self.height];
        if self.bytes > BYTES_MAX {
            return refuse("is larger than 20 MB");
        }
        if self.alpha {
            return refuse("is a PNG with an alpha channel, which is not supported");
        }
        if sides.iter().any(|side| !(SIDE_MIN..=SIDE_MAX).contains(side)) {
            return refuse("must have a width and height in [240, 8000] pixels");
        }
        if !ratio_fits(self.width, self.height) {
            return refuse("must have an aspect ratio in [1:8, 8:1]");
        }
        Ok(())
    }
}

/// Reads what follows `data:`. The media type must be the one of the bytes.
fn read_data_uri(data: &str, number: usize) -> Result<ImageFacts, Refusal> {
    let refuse = |rule: &str| Refusal::parameter(format!("image {number} {rule}"));
    let Some((media_type, encoded)) = data.split_once(";base64,") else {
        return Err(refuse("is not of the form data:{MIME_type};base64,{base64_data}"));
    };
    let declared = match media_type {
        "image/jpeg" | "image/jpg" => Format::Jpeg,
        "image/png" => Format::Png,
        "image/bmp" => Format::Bmp,
        "image/webp" => Format::Webp,
        _ => return Err(refuse("has an unsupported media type")),
    };
    let file = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|_| refuse("is not valid Base64"))?;
    match ImageFacts::read(&file) {
        Some(facts) if facts.format == declared => Ok(facts),
        Some(_) => Err(refuse("is not of the media type that its data URI states")),
        None => Err(refuse("is not a JPEG, PNG, BMP or WEBP file")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A PNG of this size and colour type, without pixels: only the header is looked at.
    fn png(width: u32, height: u32, colour_type: u8) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        file.extend(width.to_be_bytes());
        file.extend(height.to_be_bytes());
        file.extend([8, colour_type, 0, 0, 0, 0, 0, 0, 0]);
        file
    }

    fn facts(width: u32, height: u32) -> ImageFacts {
        ImageFacts::read(&png(width, height, 2)).unwrap()
    }

    #[test]
    fn sides_of_240_and_8000_pixels_are_allowed_and_a_pixel_beyond_is_not() {
        assert!(facts(240, 240).check(0).is_ok());
        assert!(facts(239, 240).check(0).is_err());
        assert!(facts(240, 239).check(0).is_err());
        assert!(facts(8_000, 8_000).check(0).is_ok());
        assert!(facts(8_001, 8_000).check(0).is_err());
    }

    #[test]
    fn a_ratio_of_one_to_eight_is_allowed_and_a_pixel_beyond_is_not() {
        assert!(facts(240, 1_920).check(0).is_ok());
        assert!(facts(240, 1_921).check(0).is_err());
        assert!(facts(8_000, 1_000).check(0).is_ok());
        assert!(facts(8_000, 999).check(0).is_err());
    }

    #[test]
    fn a_file_of_exactly_20_mb_is_allowed_and_a_byte_more_is_not() {
        let of = |bytes| ImageFacts { bytes, ..facts(300, 300) };
        assert!(of(BYTES_MAX).check(0).is_ok());
        assert!(of(BYTES_MAX + 1).check(0).is_err());
    }

    #[test]
    fn a_png_with_an_alpha_channel_is_refused() {
        for colour_type in [4, 6] {
            let facts = ImageFacts::read(&png(300, 300, colour_type)).unwrap();
            assert!(facts.check(0).unwrap_err().message.contains("alpha"));
        }
    }

    #[test]
    fn a_data_uri_must_hold_what_it_states() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(png(300, 400, 2));
        let read = |uri: String| ImageRef::read(&json!(uri), 0);
        let Ok(ImageRef::Inline(facts)) = read(format!("data:image/png;base64,{encoded}")) else { panic!() };
        assert_eq!((facts.width, facts.height), (300, 400));
        assert!(read(format!("data:image/jpeg;base64,{encoded}")).is_err());
        assert!(read(format!("data:image/tiff;base64,{encoded}")).is_err());
        assert!(read(format!("data:image/png,{encoded}")).is_err());
        assert!(read("data:image/png;base64,####".to_owned()).is_err());
        assert!(read("data:image/png;base64,AAAA".to_owned()).is_err());
    }

    #[test]
    fn links_are_checked_by_syntax() {
        let read = |text: &str| ImageRef::read(&json!(text), 0);
        assert_eq!(read("https://example.com/a.png"), Ok(ImageRef::Link("https://example.com/a.png".into())));
        assert_eq!(read("oss://dir/a.png"), Ok(ImageRef::Upload("dir/a.png".into())));
        for wrong in ["ftp://example.com/a.png", "a.png", "", "https://", "oss://", "http:///a.png"] {
            assert_eq!(read(wrong).unwrap_err().code, "InvalidURL", "{wrong}");
        }
    }
}
