//! Headers made by hand: just enough of each format to be read.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::*;

/// A PNG of this colour type with the given chunks between IHDR and IDAT.
pub(crate) fn png(width: u32, height: u32, color: u8, chunks: &[&[u8; 4]]) -> Vec<u8> {
    let mut bytes = png::SIGNATURE.to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(kind);
        bytes.extend(data);
        bytes.extend([0; 4]);
    };
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[sides.as_slice(), &[8, color, 0, 0, 0]].concat());
    for kind in chunks {
        chunk(kind, b"xyz");
    }
    chunk(b"IDAT", b"picture");
    bytes
}

fn jpeg(width: u16, height: u16, before_frame: &[u8]) -> Vec<u8> {
    let mut bytes = b"\xFF\xD8\xFF\xE0\x00\x04xx".to_vec();
    bytes.extend(before_frame);
    bytes.extend(b"\xFF\xC2\x00\x11\x08");
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes
}

fn bmp(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend([0; 12]);
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes
}

fn bmp_core(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend([0; 12]);
    bytes.extend(12_u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes
}

fn webp(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [b"RIFF\0\0\0\0WEBP".as_slice(), kind, &[0; 4], body].concat()
}

fn webp_lossy(width: u16, height: u16) -> Vec<u8> {
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    webp(b"VP8 ", &[&[0, 0, 0, 0x9D, 0x01, 0x2A], sides.as_slice()].concat())
}

fn webp_lossless(width: u32, height: u32, alpha: bool) -> Vec<u8> {
    let bits = (width - 1) | (height - 1) << 14 | u32::from(alpha) << 28;
    webp(b"VP8L", &[&[0x2F], bits.to_le_bytes().as_slice()].concat())
}

fn webp_extended(width: u32, height: u32, flags: u8) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    webp(b"VP8X", &[vec![flags, 0, 0, 0], side(width), side(height)].concat())
}

const RGB: u8 = 2;
const PALETTE: u8 = 3;

#[test]
fn each_format_tells_its_sides() {
    let cases = [
        (ImageFormat::Png, png(1024, 768, RGB, &[])),
        (ImageFormat::Jpeg, jpeg(1024, 768, b"")),
        (ImageFormat::Bmp, bmp(1024, 768)),
        (ImageFormat::Bmp, bmp(1024, -768)),
        (ImageFormat::Bmp, bmp_core(1024, 768)),
        (ImageFormat::Webp, webp_lossy(1024, 768)),
        (ImageFormat::Webp, webp_lossy(1024 | 0x4000, 768 | 0x8000)),
        (ImageFormat::Webp, webp_lossless(1024, 768, false)),
        (ImageFormat::Webp, webp_extended(1024, 768, 0)),
    ];
    for (format, bytes) in cases {
        let expected =
            ImageFacts { format, width: 1024, height: 768, alpha: false, bytes: bytes.len() as u64 };
        assert_eq!(inspect(&bytes), Ok(expected));
    }
}

#[test]
fn a_jpeg_may_have_other_segments_fill_bytes_and_lone_markers_before_its_frame() {
    let before = b"\xFF\xFF\xFF\xE1\x00\x05abc\xFF\x01\xFF\xC4\x00\x02\xFF\xCC\x00\x02";
    assert_eq!(inspect(&jpeg(500, 400, before)).map(|facts| (facts.width, facts.height)), Ok((500, 400)));
}

#[test]
fn a_jpeg_without_a_frame_before_its_picture_cannot_be_read() {
    let unreadable = Err(ImageFault::Unreadable { format: ImageFormat::Jpeg });
    for before in [b"\xFF\xDA\x00\x02".as_slice(), b"\xFF\xD9", b"\xFF\xE1\x00\x01", b"abc", b"\xFF\x00"] {
        assert_eq!(inspect(&jpeg(500, 400, before)), unreadable, "{before:?}");
    }
}

#[test]
fn the_shortest_and_the_longest_side_are_accepted_and_one_pixel_beyond_is_not() {
    for (width, height) in [(240, 240), (8000, 8000), (240, 1920), (8000, 1000)] {
        assert!(inspect(&png(width, height, RGB, &[])).is_ok(), "{width}x{height}");
    }
    for (width, height) in [(239, 240), (240, 239), (8001, 8000), (8000, 8001), (0, 0)] {
        assert_eq!(inspect(&png(width, height, RGB, &[])), Err(ImageFault::Sides { width, height }));
    }
}

#[test]
fn a_ratio_of_one_to_eight_is_accepted_and_one_pixel_beyond_is_not() {
    for (width, height) in [(250, 2000), (2000, 250)] {
        assert!(inspect(&png(width, height, RGB, &[])).is_ok(), "{width}x{height}");
    }
    for (width, height) in [(250, 2001), (2001, 250), (8000, 999)] {
        assert_eq!(inspect(&png(width, height, RGB, &[])), Err(ImageFault::Ratio { width, height }));
    }
}

#[test]
fn twenty_mib_are_accepted_and_one_byte_more_is_not() {
    let header = png(500, 500, RGB, &[]);
    assert!(inspect_header(&header, INPUT_BYTES_MAX).is_ok());
    let bytes = INPUT_BYTES_MAX + 1;
    assert_eq!(inspect_header(&header, bytes), Err(ImageFault::TooLarge { bytes }));
}

#[test]
fn a_png_without_transparency_is_accepted_and_one_with_any_is_not() {
    for color in [0, RGB, PALETTE] {
        assert!(inspect(&png(500, 500, color, &[b"gAMA", b"PLTE"])).is_ok());
        assert_eq!(inspect(&png(500, 500, color, &[b"gAMA", b"tRNS"])), Err(ImageFault::Alpha));
    }
    for color in [4, 6] {
        assert_eq!(inspect(&png(500, 500, color, &[])), Err(ImageFault::Alpha));
    }
}

#[test]
fn transparency_of_a_webp_is_noted_and_accepted() {
    for bytes in [webp_lossless(500, 500, true), webp_extended(500, 500, 0x10)] {
        assert!(inspect(&bytes).unwrap().alpha);
    }
}

#[test]
fn other_files_are_refused_by_their_first_bytes() {
    for bytes in [b"GIF89a______".as_slice(), b"<html>", b"RIFF____WAVE", b"B", b"II*\0"] {
        assert_eq!(inspect(bytes), Err(ImageFault::UnknownFormat));
    }
    assert_eq!(inspect(b""), Err(ImageFault::Empty));
}

#[test]
fn a_cut_header_says_how_much_is_needed_and_that_much_is_enough() {
    let files = [
        png(500, 500, RGB, &[b"iCCP", b"gAMA"]),
        jpeg(500, 500, b"\xFF\xE1\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        bmp(500, 500),
        bmp_core(500, 500),
        webp_lossy(500, 500),
        webp_lossless(500, 500, false),
        webp_extended(500, 500, 0),
    ];
    for file in files {
        let total = file.len() as u64;
        let mut given = 0;
        let facts = loop {
            match inspect_header(&file[..given], total) {
                Err(ImageFault::HeaderCut { bytes_needed }) => {
                    assert!(bytes_needed > given as u64, "asks for more than it has");
                    given = bytes_needed as usize;
                }
                other => break other.unwrap(),
            }
        };
        assert_eq!((facts.width, facts.height), (500, 500));
    }
}

#[test]
fn a_file_that_ends_within_its_header_cannot_be_read() {
    let format = ImageFormat::Png;
    let whole = png(500, 500, RGB, &[]);
    assert_eq!(inspect(&whole[..20]), Err(ImageFault::Unreadable { format }));
    // A chunk that claims to be longer than the file.
    let mut lying = png(500, 500, RGB, &[b"gAMA"]);
    lying[33..37].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(inspect(&lying), Err(ImageFault::Unreadable { format }));
}

#[test]
fn a_data_uri_is_read_and_its_mime_type_spelled_as_registered() {
    let bytes = jpeg(500, 400, b"");
    let payload = STANDARD.encode(&bytes);
    for head in ["data:image/jpeg;base64,", "DATA:image/JPG;Base64,"] {
        let uri = parse_data_uri(&format!("{head}{payload}")).unwrap();
        assert_eq!(uri.expose(), format!("data:image/jpeg;base64,{payload}"));
        assert_eq!(uri.decode(), bytes);
        assert_eq!(uri.inspect().unwrap().width, 500);
        assert_eq!(uri, DataUri::encode(ImageFormat::Jpeg, &bytes));
        assert!(!format!("{uri} {uri:?}").contains(&payload));
    }
}

#[test]
fn a_data_uri_whose_type_is_not_that_of_its_bytes_is_refused() {
    let uri = DataUri::encode(ImageFormat::Png, &jpeg(500, 400, b""));
    let mismatch = DataUriError::MimeMismatch { claimed: ImageFormat::Png, found: ImageFormat::Jpeg };
    assert_eq!(uri.inspect(), Err(mismatch));
}

#[test]
fn faulty_data_uris_are_refused_by_what_is_wrong_with_them() {
    let cases = [
        ("", DataUriError::Syntax),
        ("data:", DataUriError::Syntax),
        ("data:image/png", DataUriError::Syntax),
        ("data:image/png,abcd", DataUriError::Syntax),
        ("data:image/png;charset=x;base64,abcd", DataUriError::Syntax),
        ("https://h/1.png", DataUriError::Syntax),
        ("data:image/gif;base64,abcd", DataUriError::Mime),
        ("data:;base64,abcd", DataUriError::Mime),
        ("data:image/png;base64,ab-_", DataUriError::Base64),
        ("data:image/png;base64,abc", DataUriError::Base64),
        ("data:image/png;base64,ab\ncd", DataUriError::Base64),
    ];
    for (text, error) in cases {
        assert_eq!(parse_data_uri(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_data_uri_beyond_twenty_mib_is_refused_undecoded() {
    let payload = "A".repeat(PAYLOAD_MAX as usize + 4);
    let error = parse_data_uri(&format!("data:image/png;base64,{payload}")).unwrap_err();
    assert!(matches!(error, DataUriError::Image { source: ImageFault::TooLarge { .. } }));
}

const PAYLOAD_MAX: u64 = INPUT_BYTES_MAX.div_ceil(3) * 4;

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, total in 0u64..1 << 40) {
        let _ = inspect(&bytes);
        let _ = inspect_header(&bytes, total);
        for start in [png::SIGNATURE, b"\xFF\xD8\xFF", b"BM", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8L", b"RIFF\0\0\0\0WEBPVP8X"] {
            let _ = inspect(&[start, &bytes].concat());
        }
    }

    #[test]
    fn no_text_makes_the_data_uri_reader_panic(text in ".*") {
        let _ = parse_data_uri(&text);
        let _ = parse_data_uri(&format!("data:image/png;base64,{text}"));
    }
}
