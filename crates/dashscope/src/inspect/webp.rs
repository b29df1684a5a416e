//! Sides and transparency of a WebP, in each of its three layouts.

use super::{Header, Stop, take};

/// Each side of a lossy or lossless picture has 14 bits.
const SIDE_BITS: u32 = 0x3FFF;

pub(super) fn read(bytes: &[u8]) -> Result<Header, Stop> {
    match &take(bytes, 12)? {
        b"VP8 " => lossy(bytes),
        b"VP8L" => lossless(bytes),
        b"VP8X" => extended(bytes),
        _ => Err(Stop::Nonsense),
    }
}

fn lossy(bytes: &[u8]) -> Result<Header, Stop> {
    if take(bytes, 23)? != [0x9D, 0x01, 0x2A] {
        return Err(Stop::Nonsense);
    }
    // The two upper bits of each hold a hint for scaling.
    let side = |at| Ok(u32::from(u16::from_le_bytes(take(bytes, at)?)) & SIDE_BITS);
    Ok(Header { width: side(26)?, height: side(28)?, alpha: false })
}

fn lossless(bytes: &[u8]) -> Result<Header, Stop> {
    if take(bytes, 20)? != [0x2F] {
        return Err(Stop::Nonsense);
    }
    let bits = u32::from_le_bytes(take(bytes, 21)?);
    Ok(Header {
        width: (bits & SIDE_BITS) + 1,
        height: (bits >> 14 & SIDE_BITS) + 1,
        alpha: bits >> 28 & 1 == 1,
    })
}

fn extended(bytes: &[u8]) -> Result<Header, Stop> {
    let [flags] = take(bytes, 20)?;
    let side = |at| {
        let [low, middle, high] = take(bytes, at)?;
        Ok(u32::from_le_bytes([low, middle, high, 0]) + 1)
    };
    Ok(Header { width: side(24)?, height: side(27)?, alpha: flags & 0x10 != 0 })
}
