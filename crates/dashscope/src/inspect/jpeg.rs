//! Sides of a JPEG: they stand in the first frame header.

use super::{Header, Stop, take};

pub(super) fn read(bytes: &[u8]) -> Result<Header, Stop> {
    let mut at = 2; // behind the start-of-image marker
    loop {
        let [mark, mut code] = take(bytes, at)?;
        if mark != 0xFF {
            return Err(Stop::Nonsense);
        }
        // Any number of fill bytes may stand before a marker's code.
        while code == 0xFF {
            at += 1;
            [code] = take(bytes, at + 1)?;
        }
        at += 2;
        match code {
            // Frame headers: every SOF but DHT (C4), JPG (C8) and DAC (CC), which share the range.
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                let [high, low] = take(bytes, at + 3)?;
                let height = u32::from(u16::from_be_bytes([high, low]));
                let width = u32::from(u16::from_be_bytes(take(bytes, at + 5)?));
                return Ok(Header { width, height, alpha: false });
            }
            // Markers without a segment.
            0x01 | 0xD0..=0xD7 => {}
            // A second start, the end, or the picture itself before any frame header; 00 is no marker at all.
            0x00 | 0xD8 | 0xD9 | 0xDA => return Err(Stop::Nonsense),
            _ => {
                let length = usize::from(u16::from_be_bytes(take(bytes, at)?));
                if length < 2 {
                    return Err(Stop::Nonsense);
                }
                at += length;
            }
        }
    }
}
