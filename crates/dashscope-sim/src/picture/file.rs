//! From one compressed picture to many files: chunks put in behind the header.
//!
//! A decoder skips ancillary chunks, so the picture stays what it is while every file differs, and a file can be given
//! any weight without compressing anything again.

use bytes::{BufMut, Bytes, BytesMut};

/// Signature (8 bytes) and IHDR (25 bytes): new chunks go behind them.
const HEADER_BYTES: usize = 33;
/// Length, type and checksum of a chunk.
const FRAME_BYTES: usize = 12;
/// Repeated as often as a file needs.
const NOISE_BYTES: usize = 1 << 20;
/// Ancillary, private, safe to copy.
const NOISE_CHUNK: [u8; 4] = *b"noIs";

/// A block of bytes that no compressor shrinks.
pub(super) struct Noise(Bytes);

impl Noise {
    pub(super) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = BytesMut::with_capacity(NOISE_BYTES);
        while block.len() < NOISE_BYTES {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.put_u64(state);
        }
        Self(block.freeze())
    }
}

/// The pieces of a file: `plain` with `mark` as a text chunk, and `fill` bytes of noise on top if asked for.
pub(super) fn assemble(plain: &Bytes, mark: &str, fill: Option<(&Noise, usize)>) -> Vec<Bytes> {
    let mut head = BytesMut::with_capacity(HEADER_BYTES + FRAME_BYTES + mark.len() + 64);
    head.put_slice(&plain[..HEADER_BYTES]);
    let text = [b"Source\0", mark.as_bytes()].concat();
    head.put_u32(text.len() as u32);
    head.put_slice(b"tEXt");
    head.put_slice(&text);
    head.put_u32(checksum(*b"tEXt", [text.as_slice()]));

    let mut pieces = Vec::new();
    if let Some((Noise(block), bytes)) = fill {
        let bytes = bytes.saturating_sub(head.len() - HEADER_BYTES + FRAME_BYTES);
        head.put_u32(bytes as u32);
        head.put_slice(&NOISE_CHUNK);
        pieces.push(head.freeze());
        let mut noise = vec![block.clone(); bytes / NOISE_BYTES];
        noise.push(block.slice(..bytes % NOISE_BYTES));
        let sum = checksum(NOISE_CHUNK, noise.iter().map(AsRef::as_ref));
        pieces.append(&mut noise);
        pieces.push(Bytes::copy_from_slice(&sum.to_be_bytes()));
    } else {
        pieces.push(head.freeze());
    }
    pieces.push(plain.slice(HEADER_BYTES..));
    pieces
}

/// A chunk's checksum: over its type and its data.
fn checksum<'a>(kind: [u8; 4], data: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&kind);
    data.into_iter().for_each(|part| crc.update(part));
    crc.finalize()
}
