//! The verifier against files made by another library, whole, damaged and cut.

use proptest::prelude::*;

use super::*;

/// A small true image, written by the `png` crate in several data chunks, so that order matters.
fn image(width: u32, height: u32, colour: png::ColorType) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(vec![0, 0, 0, 255, 255, 255]);
    }
    encoder.add_text_chunk("Comment".to_owned(), "a lighthouse".to_owned()).unwrap();
    let mut writer = encoder.write_header().unwrap();
    let pixels = (width * height) as usize * colour.samples();
    let limit = if colour == png::ColorType::Indexed { 2 } else { 251 };
    let data: Vec<u8> = (0..pixels).map(|i| (i * 31 % limit) as u8).collect();
    writer.write_image_data(&data).unwrap();
    writer.finish().unwrap();
    file
}

fn sample() -> Vec<u8> {
    image(9, 5, png::ColorType::Rgb)
}

/// One chunk as it stands in a file.
fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    let mut crc = crc32fast::Hasher::new();
    for part in [&name, data] {
        crc.update(part);
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(&crc.finalize().to_be_bytes());
    bytes
}

fn header(width: u32, height: u32, rest: [u8; 5]) -> Vec<u8> {
    chunk(*b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &rest].concat())
}

fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    [&SIGNATURE[..], &chunks.concat()].concat()
}

const RGB8: [u8; 5] = [8, 2, 0, 0, 0];

#[test]
fn a_whole_image_is_told_by_size_length_and_sum() {
    for (width, height, colour) in [
        (9, 5, png::ColorType::Rgb),
        (1, 1, png::ColorType::Rgba),
        (300, 200, png::ColorType::Grayscale),
        (4, 4, png::ColorType::Indexed),
    ] {
        let bytes = image(width, height, colour);
        let facts = PngFacts { width, height, bytes: bytes.len() as u64, sha256: Sha256Digest::of(&bytes) };
        assert_eq!(verify(&bytes), Ok(facts));
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = sample();
    for length in 0..bytes.len() {
        let expected =
            if length == 0 { PngFault::Empty } else { PngFault::Truncated { bytes: length as u64 } };
        assert_eq!(verify(&bytes[..length]), Err(expected), "{length} of {}", bytes.len());
    }
}

#[test]
fn a_file_with_any_one_bit_flipped_is_refused() {
    let bytes = sample();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&damaged).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn anything_after_the_end_is_refused() {
    let mut bytes = sample();
    bytes.push(b'\n');
    assert_eq!(verify(&bytes), Err(PngFault::AfterEnd));
}

#[test]
fn what_came_instead_of_a_png_is_named() {
    for (body, looks) in [
        ("<!DOCTYPE html><html>", Looks::Html),
        ("<html>", Looks::Html),
        ("<?xml version=\"1.0\"?>", Looks::Xml),
        ("{\"code\": 1}", Looks::Json),
        ("GIF89a…", Looks::Gif),
        ("RIFF....WEBP", Looks::Riff),
        ("oops", Looks::Unknown),
    ] {
        assert_eq!(verify(body.as_bytes()), Err(PngFault::Signature { looks }), "{body}");
    }
    assert_eq!(verify(&[0xff, 0xd8, 0xff, 0xe0]), Err(PngFault::Signature { looks: Looks::Jpeg }));
}

#[test]
fn chunks_out_of_place_or_of_wrong_length_are_refused() {
    let data = || chunk(*b"IDAT", b"x");
    let end = || chunk(*b"IEND", b"");
    let head = || header(2, 2, RGB8);
    let name = |name: &[u8; 4]| ChunkName::new(*name).unwrap();
    let out_of_place = |chunk: &[u8; 4]| PngFault::OutOfPlace { chunk: name(chunk) };
    let length = |chunk: &[u8; 4], length| PngFault::ChunkLength { chunk: name(chunk), length };
    let cases = [
        (vec![data(), end()], out_of_place(b"IDAT")),
        (vec![chunk(*b"tEXt", b"a\0b"), head(), data(), end()], out_of_place(b"tEXt")),
        (vec![head(), head(), data(), end()], out_of_place(b"IHDR")),
        (vec![head(), data(), chunk(*b"tEXt", b""), data(), end()], out_of_place(b"IDAT")),
        (vec![head(), data(), chunk(*b"PLTE", &[0; 3]), end()], out_of_place(b"PLTE")),
        (vec![head(), chunk(*b"PLTE", &[0; 3]), chunk(*b"PLTE", &[0; 3])], out_of_place(b"PLTE")),
        (vec![head(), chunk(*b"PLTE", &[0; 4])], length(b"PLTE", 4)),
        (vec![head(), chunk(*b"PLTE", &[0; 771])], length(b"PLTE", 771)),
        (vec![head(), data(), chunk(*b"IEND", b"!")], length(b"IEND", 1)),
        (vec![chunk(*b"IHDR", &[0; 12])], length(b"IHDR", 12)),
        (vec![head(), b"\x80\0\0\0IDAT".to_vec()], length(b"IDAT", 1 << 31)),
        (vec![head(), end()], PngFault::NoImageData),
        (vec![head(), chunk(*b"IDAT", b""), end()], PngFault::NoImageData),
        (vec![head(), chunk(*b"NEWC", b"")], PngFault::UnknownChunk { chunk: name(b"NEWC") }),
        (vec![head(), chunk(*b"te t", b"")], PngFault::ChunkName),
        (vec![header(2, 2, [8, 3, 0, 0, 0]), data()], PngFault::Palette),
        (vec![header(2, 2, [8, 0, 0, 0, 0]), chunk(*b"PLTE", &[0; 3])], PngFault::Palette),
    ];
    for (chunks, fault) in cases {
        assert_eq!(verify(&file(&chunks)), Err(fault.clone()), "{fault}");
    }
}

#[test]
fn a_header_is_checked_at_its_bounds() {
    let verdict = |width, height, rest| {
        verify(&file(&[header(width, height, rest), chunk(*b"IDAT", b"x"), chunk(*b"IEND", b"")])).err()
    };
    let size = |width, height| Some(PngFault::Size { width, height });
    assert_eq!(verdict(1, SIDE_PX_MAX, RGB8), None);
    assert_eq!(verdict(0, 1, RGB8), size(0, 1));
    assert_eq!(verdict(1, 0, RGB8), size(1, 0));
    assert_eq!(verdict(SIDE_PX_MAX + 1, 1, RGB8), size(SIDE_PX_MAX + 1, 1));
    assert_eq!(verdict(1, 1, [16, 6, 0, 0, 1]), None);
    assert_eq!(verdict(1, 1, [1, 0, 0, 0, 0]), None);
    for format in [[4, 2, 0, 0, 0], [8, 1, 0, 0, 0], [8, 2, 1, 0, 0], [8, 2, 0, 1, 0], [8, 2, 0, 0, 2]] {
        assert_eq!(verdict(1, 1, format), Some(PngFault::Format), "{format:?}");
    }
}

#[test]
fn after_a_fault_the_answer_stays_the_same() {
    let mut verifier = PngVerifier::new();
    let fault = verifier.push(b"<!DOCTYPE html>").unwrap_err();
    assert_eq!(verifier.push(&sample()), Err(fault.clone()));
    assert_eq!(verifier.finish(), Err(fault));
}

/// The answer when the bytes come in pieces of the given lengths, then whole.
fn in_pieces(mut bytes: &[u8], lengths: &[usize]) -> Result<PngFacts, PngFault> {
    let mut verifier = PngVerifier::new();
    for &length in lengths {
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        verifier.push(piece)?;
        bytes = rest;
    }
    verifier.push(bytes)?;
    verifier.finish()
}

proptest! {
    #[test]
    fn any_split_of_a_whole_file_gives_the_same_answer(
        width in 1u32..40, height in 1u32..40, lengths in prop::collection::vec(0usize..40, 0..200),
    ) {
        let bytes = image(width, height, png::ColorType::Rgb);
        let whole = verify(&bytes);
        prop_assert!(whole.is_ok());
        prop_assert_eq!(in_pieces(&bytes, &lengths), whole);
    }

    #[test]
    fn any_split_of_a_damaged_file_gives_the_same_fault(
        at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>(),
        lengths in prop::collection::vec(0usize..20, 0..100),
    ) {
        let mut bytes = sample();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        bytes.truncate(cut.index(bytes.len() + 1));
        prop_assert_eq!(in_pieces(&bytes, &lengths), verify(&bytes));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(verify(&bytes).is_err());
        prop_assert!(verify(&file(&[bytes])).is_err());
    }

    #[test]
    fn a_burst_of_changed_bytes_is_refused(at in any::<prop::sample::Index>(), burst in prop::collection::vec(1u8.., 1..9)) {
        let mut bytes = sample();
        let at = at.index(bytes.len());
        for (byte, change) in bytes[at..].iter_mut().zip(burst) {
            *byte ^= change;
        }
        prop_assert!(verify(&bytes).is_err());
    }
}
