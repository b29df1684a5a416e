//! What can be wrong with a PNG.

use super::chunk::{ChunkName, SIDE_PX_MAX};

/// Why some bytes are not a whole PNG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PngFault {
    /// There is not one byte.
    #[error("the file is empty")]
    Empty,
    /// The file does not begin as a PNG does.
    #[error("the file does not begin like a PNG but like {looks}")]
    Signature {
        /// What its start looks like.
        looks: Looks,
    },
    /// The file ends before its end.
    #[error("the file is cut after {bytes} bytes")]
    Truncated {
        /// The bytes that were there.
        bytes: u64,
    },
    /// A chunk's sum does not match its bytes.
    #[error("the checksum of the {chunk} chunk that ends at byte {ends_at} does not match")]
    Sum {
        /// The chunk.
        chunk: ChunkName,
        /// Where it ends, counted from the start of the file.
        ends_at: u64,
    },
    /// A chunk's name is not four letters.
    #[error("a chunk has no name of four letters")]
    ChunkName,
    /// A chunk's length is outside what its kind allows.
    #[error("the {chunk} chunk cannot have {length} bytes")]
    ChunkLength {
        /// The chunk.
        chunk: ChunkName,
        /// The length it names.
        length: u32,
    },
    /// A chunk stands where it must not, or stands twice.
    #[error("the {chunk} chunk is out of place")]
    OutOfPlace {
        /// The chunk.
        chunk: ChunkName,
    },
    /// A chunk that must be understood is not known.
    #[error("the critical chunk {chunk} is unknown")]
    UnknownChunk {
        /// The chunk.
        chunk: ChunkName,
    },
    /// Width or height is nought or beyond [`SIDE_PX_MAX`].
    #[error("{width} x {height} pixels are outside 1 to {SIDE_PX_MAX} a side")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The header names a pixel format or a method that no PNG has.
    #[error("the header names a pixel format that does not exist")]
    Format,
    /// The image needs a palette and has none, or has one where none may be.
    #[error("the palette does not fit the pixel format")]
    Palette,
    /// There is no image data.
    #[error("the file has no image data")]
    NoImageData,
    /// Bytes follow the end of the image.
    #[error("bytes follow the end of the image")]
    AfterEnd,
}

/// What the first bytes of a file that is no PNG look like: it tells a person where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Looks {
    /// A web page: a portal, a proxy's or a network's error page.
    Html,
    /// XML: an object store's error.
    Xml,
    /// JSON: an API's error.
    Json,
    /// A JPEG image.
    Jpeg,
    /// A GIF image.
    Gif,
    /// A RIFF container, as WebP is.
    Riff,
    /// A compressed body (gzip).
    Gzip,
    /// Nothing known.
    Unknown,
}

impl Looks {
    /// Judges by the first bytes, up to eight of them.
    #[must_use]
    pub fn at(start: &[u8]) -> Self {
        let lower = start.to_ascii_lowercase();
        let begins = |prefix: &[u8]| lower.starts_with(prefix);
        match start {
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'{' | b'[', ..] => Self::Json,
            _ if begins(b"<!doctyp") || begins(b"<html") || begins(b"<head") => Self::Html,
            [b'<', ..] => Self::Xml,
            _ if begins(b"gif8") => Self::Gif,
            _ if begins(b"riff") => Self::Riff,
            _ => Self::Unknown,
        }
    }
}

impl std::fmt::Display for Looks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Html => "a web page",
            Self::Xml => "XML",
            Self::Json => "JSON",
            Self::Jpeg => "a JPEG",
            Self::Gif => "a GIF",
            Self::Riff => "a RIFF file (WebP)",
            Self::Gzip => "a gzip stream",
            Self::Unknown => "nothing known",
        })
    }
}
