//! Inputs that were packed with gzip or Zstandard: told by their first bytes, whatever their name, and unpacked while they are read.
//!
//! Memory stays bounded: nothing is unpacked ahead of what is read. A damaged or truncated input is an error of its own, so that it is
//! never taken for a short one.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// What is unpacked at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// How an input is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// RFC 1952; any number of members.
    Gzip,
    /// RFC 8878; any number of frames.
    Zstd,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// An input that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("the {0} data are damaged or cut off (pack or fetch the file again)")]
pub(crate) struct Damaged(Packing);

impl Packing {
    /// How something is packed that begins with these bytes; `None`: not at all.
    pub(crate) fn of(first: &[u8]) -> Option<Self> {
        match first {
            [0x1F, 0x8B, ..] => Some(Self::Gzip),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Some(Self::Zstd),
            // A frame to skip may come first.
            [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn damaged(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Damaged(self))
    }
}

/// What `input` holds, unpacked where it is packed.
pub(crate) fn unpacked<'a>(mut input: impl BufRead + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    Ok(match Packing::of(input.fill_buf()?) {
        None => Box::new(input),
        Some(Packing::Gzip) => {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, Members(MultiGzDecoder::new(input))))
        }
        Some(Packing::Zstd) => {
            let frames = Frames { input, decoder: FrameDecoder::new(), within: false };
            Box::new(BufReader::with_capacity(BUFFER_BYTES, frames))
        }
    })
}

struct Members<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => Packing::Gzip.damaged(),
        })
    }
}

/// The decoder reads one frame, and does not compare its checksum.
struct Frames<R> {
    input: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame; `false`: there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = self.input.by_ref().take(u64::from(length));
                    if io::copy(&mut skipped, &mut io::sink())? < u64::from(length) {
                        return Err(Packing::Zstd.damaged());
                    }
                }
                Err(_) => return Err(Packing::Zstd.damaged()),
            }
        }
        Ok(false)
    }

    /// Ends a frame whose every byte was read.
    fn end(&mut self) -> io::Result<()> {
        self.within = false;
        match self.decoder.get_checksum_from_data() {
            Some(wanted) if self.decoder.get_calculated_checksum() != Some(wanted) => {
                Err(Packing::Zstd.damaged())
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.input, one).map_err(|_| Packing::Zstd.damaged())?;
            }
            let read = self.decoder.read(into)?;
            if read > 0 {
                return Ok(read);
            }
            self.end()?;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    pub(crate) fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    fn read(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        unpacked(packed)?.read_to_end(&mut text)?;
        Ok(text)
    }

    fn text() -> Vec<u8> {
        (0..40_000).flat_map(|n: u32| format!("line {n}\n").into_bytes()).collect()
    }

    #[test]
    fn what_was_packed_is_read_as_it_was_and_what_was_not_as_it_is() {
        let text = text();
        for packed in [text.clone(), gzip(&text), zstd(&text)] {
            assert!(read(&packed).unwrap() == text);
        }
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(&gzip(b"")).unwrap(), b"");
        assert_eq!(read(&zstd(b"")).unwrap(), b"");
    }

    #[test]
    fn several_pieces_in_a_row_are_one_input() {
        assert_eq!(read(&[gzip(b"a\n"), gzip(b"b\n")].concat()).unwrap(), b"a\nb\n");
        let skipped = [&[0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 9, 9][..]].concat();
        let pieces = [skipped.clone(), zstd(b"a\n"), skipped, zstd(b"b\n")].concat();
        assert_eq!(read(&pieces).unwrap(), b"a\nb\n");
    }

    #[test]
    fn a_damaged_input_is_an_error_wherever_it_was_cut_or_changed() {
        let text = text();
        for (packing, packed) in [(Packing::Gzip, gzip(&text)), (Packing::Zstd, zstd(&text))] {
            for cut in [5, 11, packed.len() / 2, packed.len() - 5, packed.len() - 1] {
                let error = read(&packed[..cut]).unwrap_err().to_string();
                assert!(error.starts_with(&format!("the {packing} data are damaged")), "{cut}: {error}");
            }
            for at in [packed.len() / 2, packed.len() - 2] {
                let mut changed = packed.clone();
                changed[at] ^= 0x10;
                assert!(read(&changed).is_err(), "{packing} changed at {at}");
            }
            assert!(read(&[&packed[..], b"rubbish"].concat()).is_err());
        }
    }
}
