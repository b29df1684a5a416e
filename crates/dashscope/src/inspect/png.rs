//! Sides and transparency of a PNG.

use super::{Header, Stop, take};

/// The eight bytes every PNG begins with.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Length and type stand before a chunk's data, a checksum behind it.
const CHUNK_FRAME_BYTES: usize = 12;
const GREY_WITH_ALPHA: u8 = 4;
const RGB_WITH_ALPHA: u8 = 6;

pub(super) fn read(bytes: &[u8]) -> Result<Header, Stop> {
    let mut at = SIGNATURE.len();
    if take(bytes, at)? != 13_u32.to_be_bytes() || &take(bytes, at + 4)? != b"IHDR" {
        return Err(Stop::Nonsense);
    }
    let width = u32::from_be_bytes(take(bytes, at + 8)?);
    let height = u32::from_be_bytes(take(bytes, at + 12)?);
    let [color] = take(bytes, at + 17)?;
    let mut alpha = matches!(color, GREY_WITH_ALPHA | RGB_WITH_ALPHA);
    // A palette or a single colour may be transparent as well: `tRNS`, which comes before the picture.
    while !alpha {
        let length = u32::from_be_bytes(take(bytes, at)?) as usize;
        match &take(bytes, at + 4)? {
            b"tRNS" => alpha = true,
            b"IDAT" | b"IEND" => break,
            _ => at = at.saturating_add(CHUNK_FRAME_BYTES).saturating_add(length),
        }
    }
    Ok(Header { width, height, alpha })
}
