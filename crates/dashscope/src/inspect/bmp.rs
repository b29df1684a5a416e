//! Sides of a Windows bitmap.

use super::{Header, Stop, take};

/// The information header follows the 14 bytes of the file header and begins with its own length.
const INFO_AT: usize = 14;
/// The oldest information header, whose sides have 16 bits.
const CORE_HEADER_BYTES: u32 = 12;
/// The shortest of all later ones, whose sides have 32 bits and a sign.
const INFO_HEADER_BYTES: u32 = 40;

pub(super) fn read(bytes: &[u8]) -> Result<Header, Stop> {
    let info_bytes = u32::from_le_bytes(take(bytes, INFO_AT)?);
    let (width, height) = if info_bytes == CORE_HEADER_BYTES {
        let side = |at| Ok(u32::from(u16::from_le_bytes(take(bytes, at)?)));
        (side(INFO_AT + 4)?, side(INFO_AT + 6)?)
    } else if info_bytes >= INFO_HEADER_BYTES {
        let side = |at| Ok(i32::from_le_bytes(take(bytes, at)?));
        let width = u32::try_from(side(INFO_AT + 4)?).map_err(|_| Stop::Nonsense)?;
        // A negative height says that the rows run from top to bottom.
        (width, side(INFO_AT + 8)?.unsigned_abs())
    } else {
        return Err(Stop::Nonsense);
    };
    Ok(Header { width, height, alpha: false })
}
