//! Chunks: their names, and the order in which they may stand.

use super::fault::PngFault;

/// The longest side that is believed, in pixels.
///
/// Source: our own guard. The models make at most 4096 x 4096 pixels in ratios up to 1:8, so under 12,000 a side.
/// Applies to: the header of a result.
pub const SIDE_PX_MAX: u32 = 65_535;

/// A chunk's name: four ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkName([u8; 4]);

impl ChunkName {
    pub(super) const IHDR: Self = Self(*b"IHDR");
    pub(super) const PLTE: Self = Self(*b"PLTE");
    pub(super) const IDAT: Self = Self(*b"IDAT");
    pub(super) const IEND: Self = Self(*b"IEND");

    pub(super) fn new(name: [u8; 4]) -> Result<Self, PngFault> {
        if name.iter().all(u8::is_ascii_alphabetic) { Ok(Self(name)) } else { Err(PngFault::ChunkName) }
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// Whether a reader must understand the chunk: its first letter is a capital.
    const fn is_critical(self) -> bool {
        self.0[0].is_ascii_uppercase()
    }
}

impl std::fmt::Display for ChunkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl std::fmt::Debug for ChunkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What the chunks so far have said, and which may follow.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    header: Option<Header>,
    palette: bool,
    data: Data,
    data_bytes: u64,
}

/// Where the file is in relation to its image data, whose chunks stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Data {
    #[default]
    Ahead,
    Here,
    Past,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    width: u32,
    height: u32,
    bit_depth: u8,
    colour_type: u8,
    methods: [u8; 3],
}

impl Order {
    /// A chunk begins: may it stand here, and may it be this long?
    pub(super) fn open(&mut self, name: ChunkName, length: u32) -> Result<(), PngFault> {
        let out_of_place = Err(PngFault::OutOfPlace { chunk: name });
        let wrong_length = Err(PngFault::ChunkLength { chunk: name, length });
        if (name == ChunkName::IHDR) == self.header.is_some() {
            return out_of_place;
        }
        if name == ChunkName::IDAT {
            if self.data == Data::Past {
                return out_of_place;
            }
            self.data = Data::Here;
            self.data_bytes += u64::from(length);
            return Ok(());
        }
        if self.data == Data::Here {
            self.data = Data::Past;
        }
        match name {
            ChunkName::IHDR if length != 13 => wrong_length,
            ChunkName::IEND if length != 0 => wrong_length,
            ChunkName::IEND if self.data_bytes == 0 => Err(PngFault::NoImageData),
            ChunkName::PLTE if self.palette || self.data != Data::Ahead => out_of_place,
            ChunkName::PLTE if length == 0 || length > 256 * 3 || !length.is_multiple_of(3) => wrong_length,
            ChunkName::PLTE => {
                self.palette = true;
                Ok(())
            }
            ChunkName::IHDR | ChunkName::IEND => Ok(()),
            _ if name.is_critical() => Err(PngFault::UnknownChunk { chunk: name }),
            _ => Ok(()),
        }
    }

    /// The 13 bytes of the header; judged when its sum has been seen to match.
    pub(super) fn header(&mut self, bytes: &[u8; 13]) {
        let [w0, w1, w2, w3, h0, h1, h2, h3, bit_depth, colour_type, methods @ ..] = *bytes;
        self.header = Some(Header {
            width: u32::from_be_bytes([w0, w1, w2, w3]),
            height: u32::from_be_bytes([h0, h1, h2, h3]),
            bit_depth,
            colour_type,
            methods,
        });
    }

    /// A chunk ended, and its sum matched.
    pub(super) fn close(&self, name: ChunkName) -> Result<(), PngFault> {
        let Some(header) = self.header else { return Ok(()) };
        match name {
            ChunkName::IHDR => header.check(),
            // Colour type 3 draws from a palette, which must precede the data; 0 and 4 are grey and must not have one.
            ChunkName::IDAT if header.colour_type == 3 && !self.palette => Err(PngFault::Palette),
            ChunkName::PLTE if matches!(header.colour_type, 0 | 4) => Err(PngFault::Palette),
            _ => Ok(()),
        }
    }

    /// Width and height in pixels; nought before the header.
    pub(super) fn size(&self) -> (u32, u32) {
        self.header.map_or((0, 0), |header| (header.width, header.height))
    }
}

impl Header {
    /// Source: PNG specification, third edition, section 11.2.1.
    fn check(&self) -> Result<(), PngFault> {
        let Self { width, height, bit_depth, colour_type, methods } = *self;
        let sides = 1..=SIDE_PX_MAX;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(PngFault::Size { width, height });
        }
        let depth_fits = match colour_type {
            0 => matches!(bit_depth, 1 | 2 | 4 | 8 | 16),
            3 => matches!(bit_depth, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(bit_depth, 8 | 16),
            _ => false,
        };
        // Compression 0, filter 0; interlace 0 or 1.
        if depth_fits && matches!(methods, [0, 0, 0 | 1]) { Ok(()) } else { Err(PngFault::Format) }
    }
}
