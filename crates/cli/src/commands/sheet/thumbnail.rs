//! A small JPEG of a PNG. Pure.
//!
//! Rows are averaged into the thumbnail as they are decoded, so that an image of 4096 pixels a side takes two rows of memory and not 64 MiB.

use std::io::Cursor;

use jpeg_encoder::{ColorType, Encoder};
use png::{Decoder, Limits, Transformations};

/// The quality of thumbnails, of 100. Source: ours; above it files grow faster than what can be seen at this size.
const QUALITY: u8 = 82;

/// The longest side of a source, in pixels. Source: ours; well above what the models make (4096).
const SIDE_MAX: u32 = 16_384;

/// The memory that the decoder may take, in bytes. Source: ours; for an interlaced image it holds all of it.
const DECODER_BYTES: usize = 512 * 1024 * 1024;

/// A JPEG, with its size in pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thumbnail {
    /// The file.
    pub(super) jpeg: Vec<u8>,
    /// Its width.
    pub(super) width: u16,
    /// Its height.
    pub(super) height: u16,
}

/// Why there is no thumbnail.
#[derive(Debug, thiserror::Error)]
pub(super) enum ThumbnailError {
    /// It is no PNG that can be read.
    #[error("it cannot be read as a PNG")]
    Png(#[from] png::DecodingError),
    /// It is larger than anything that was asked for.
    #[error("its {width} by {height} pixels are too many")]
    TooLarge {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The JPEG could not be written.
    #[error("it cannot be written as a JPEG")]
    Jpeg(#[from] jpeg_encoder::EncodingError),
}

/// The thumbnail of a PNG, at most `side` pixels wide and high; a smaller image stays as it is. What is transparent becomes white.
///
/// # Errors
///
/// The PNG cannot be read.
pub(super) fn thumbnail(png: &[u8], side: u16) -> Result<Thumbnail, ThumbnailError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(png), Limits { bytes: DECODER_BYTES });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    if width > SIDE_MAX || height > SIDE_MAX {
        return Err(ThumbnailError::TooLarge { width, height });
    }
    let channels = reader.output_color_type().0.samples();
    let mut small = Average::new(width, height, side);
    if reader.info().interlaced {
        let mut whole = vec![0; reader.output_buffer_size().unwrap_or(0)];
        reader.next_frame(&mut whole)?;
        for row in whole.chunks_exact(width as usize * channels) {
            small.row(row, channels);
        }
    } else {
        while let Some(row) = reader.next_row()? {
            small.row(row.data(), channels);
        }
    }
    let (rgb, width, height) = small.end();
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY).encode(&rgb, width, height, ColorType::Rgb)?;
    Ok(Thumbnail { jpeg, width, height })
}

/// Averages rows of pixels into fewer, larger ones: each is the mean of those that it covers.
#[derive(Debug)]
struct Average {
    source: (u32, u32),
    width: u32,
    height: u32,
    /// Red, green, blue, and how many were added.
    sums: Vec<[u32; 4]>,
    at: u32,
}

impl Average {
    fn new(width: u32, height: u32, side: u16) -> Self {
        let longest = width.max(height).max(1);
        let side = u32::from(side).min(longest);
        let scaled = |of: u32| (u64::from(of) * u64::from(side) / u64::from(longest)).max(1) as u32;
        let small = (scaled(width), scaled(height));
        let pixels = small.0 as usize * small.1 as usize;
        Self { source: (width, height), width: small.0, height: small.1, sums: vec![[0; 4]; pixels], at: 0 }
    }

    fn row(&mut self, row: &[u8], channels: usize) {
        let scale =
            |at: u32, small: u32, source: u32| u64::from(at) * u64::from(small) / u64::from(source.max(1));
        let y = scale(self.at, self.height, self.source.1).min(u64::from(self.height - 1)) as usize;
        self.at += 1;
        let line = &mut self.sums[y * self.width as usize..][..self.width as usize];
        for (x, pixel) in row.chunks_exact(channels).take(self.source.0 as usize).enumerate() {
            let [red, green, blue] = on_white(pixel);
            let sum = &mut line[scale(x as u32, self.width, self.source.0) as usize];
            *sum = [sum[0] + red, sum[1] + green, sum[2] + blue, sum[3] + 1];
        }
    }

    fn end(self) -> (Vec<u8>, u16, u16) {
        let mean = |sum: u32, of: u32| sum.checked_div(of).unwrap_or(255) as u8;
        let rgb =
            self.sums.iter().flat_map(|[red, green, blue, of]| [red, green, blue].map(|sum| mean(*sum, *of)));
        (rgb.collect(), self.width as u16, self.height as u16)
    }
}

/// Gray, gray and alpha, RGB or RGBA, laid on white.
fn on_white(pixel: &[u8]) -> [u32; 3] {
    let (color, alpha) = match *pixel {
        [gray] => ([gray; 3], 255),
        [gray, alpha] => ([gray; 3], alpha),
        [red, green, blue] => ([red, green, blue], 255),
        [red, green, blue, alpha, ..] => ([red, green, blue], alpha),
        [] => ([255; 3], 255),
    };
    let alpha = u32::from(alpha);
    color.map(|value| (u32::from(value) * alpha + 255 * (255 - alpha)) / 255)
}

#[cfg(test)]
mod tests {
    use png::{BitDepth, Encoder as PngEncoder};

    use super::*;

    fn png(width: u32, height: u32, color: png::ColorType, pixels: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = PngEncoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.set_depth(BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
        file
    }

    fn averaged(width: u32, height: u32, side: u16, rgb: &[u8]) -> (Vec<u8>, u16, u16) {
        let mut small = Average::new(width, height, side);
        rgb.chunks_exact(width as usize * 3).for_each(|row| small.row(row, 3));
        small.end()
    }

    #[test]
    fn each_pixel_is_the_mean_of_those_that_it_covers() {
        let rgb = [
            [0, 0, 0],
            [100, 0, 0],
            [10, 20, 30],
            [10, 20, 30],
            [0, 100, 0],
            [0, 0, 100],
            [10, 20, 30],
            [10, 20, 30],
        ];
        assert_eq!(averaged(4, 2, 2, rgb.as_flattened()), (vec![25, 25, 25, 10, 20, 30], 2, 1));
    }

    #[test]
    fn the_longest_side_counts_and_nothing_is_blown_up() {
        let size = |width: u32, height: u32, side| {
            let (_, width, height) = averaged(width, height, side, &vec![7; (width * height * 3) as usize]);
            (width, height)
        };
        assert_eq!((size(400, 100, 100), size(100, 400, 100)), ((100, 25), (25, 100)));
        assert_eq!((size(30, 20, 100), size(4_000, 3, 100)), ((30, 20), (100, 1)));
        assert_eq!(size(7, 5, 3), (3, 2));
    }

    #[test]
    fn what_is_transparent_becomes_white() {
        assert_eq!(on_white(&[0, 0, 0, 0]), [255; 3]);
        assert_eq!(on_white(&[10, 20, 30, 255]), [10, 20, 30]);
        assert_eq!((on_white(&[40]), on_white(&[40, 0])), ([40; 3], [255; 3]));
    }

    #[test]
    fn every_kind_of_png_becomes_a_jpeg_of_the_right_size() {
        for (color, channels) in [
            (png::ColorType::Rgb, 3),
            (png::ColorType::Rgba, 4),
            (png::ColorType::Grayscale, 1),
            (png::ColorType::GrayscaleAlpha, 2),
        ] {
            let small = thumbnail(&png(300, 150, color, &vec![90; 300 * 150 * channels]), 100).unwrap();
            assert_eq!((small.width, small.height), (100, 50));
            assert!(small.jpeg.starts_with(&[0xFF, 0xD8]) && small.jpeg.ends_with(&[0xFF, 0xD9]));
            assert!(small.jpeg.len() < 2_000, "{} bytes of one colour", small.jpeg.len());
        }
    }

    #[test]
    fn what_is_no_png_or_cut_off_is_an_error() {
        assert!(matches!(thumbnail(b"<html>", 100), Err(ThumbnailError::Png(_))));
        let whole = png(300, 150, png::ColorType::Rgb, &vec![90; 300 * 150 * 3]);
        assert!(matches!(thumbnail(&whole[..whole.len() / 2], 100), Err(ThumbnailError::Png(_))));
    }
}
