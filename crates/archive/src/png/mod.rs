//! Checks that a stream of bytes is a whole PNG, while it streams.
//!
//! Owns the container: signature, the chunks with their sums and their order, and the end. It does not inflate the image
//! data: the sum over every chunk already tells a damaged or cut file, and whether the provider compressed what it meant
//! to is not ours to find out. Pure and incremental: any split of the same bytes gives the same answer. Driven by
//! [`crate::Downloader`] and by whoever checks an object again.

mod chunk;
mod fault;

use sha2::{Digest as _, Sha256};

use self::chunk::Order;
pub use self::chunk::{ChunkName, SIDE_PX_MAX};
pub use self::fault::{Looks, PngFault};
use crate::digest::Sha256Digest;

/// The first eight bytes of every PNG.
pub const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// The greatest length a chunk may name.
///
/// Source: PNG specification, third edition, section 5.3.
/// Applies to: every chunk; the bytes of a whole image are bounded by the download.
pub const CHUNK_BYTES_MAX: u32 = i32::MAX as u32;

/// What a whole PNG turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PngFacts {
    /// Width in pixels, from the header.
    pub width: u32,
    /// Height in pixels, from the header.
    pub height: u32,
    /// The length of the file.
    pub bytes: u64,
    /// The sum over the whole file.
    pub sha256: Sha256Digest,
}

/// The incremental check.
///
/// ```
/// use archive::png::{PngFault, PngVerifier};
///
/// let mut verifier = PngVerifier::new();
/// verifier.push(b"\x89PNG\r\n")?;
/// assert_eq!(verifier.finish(), Err(PngFault::Truncated { bytes: 6 }));
/// # Ok::<(), PngFault>(())
/// ```
#[derive(Debug, Clone)]
pub struct PngVerifier {
    place: Place,
    order: Order,
    bytes: u64,
    sha256: Sha256,
}

/// Where in the file the next byte belongs.
#[derive(Debug, Clone)]
enum Place {
    Signature(Gather<8>),
    /// Length and name of a chunk.
    Head(Gather<8>),
    Body {
        name: ChunkName,
        left: u32,
        /// The start of the data; only the header's is looked at, and it has 13 bytes.
        start: Gather<13>,
        crc: crc32fast::Hasher,
    },
    Sum {
        name: ChunkName,
        crc: u32,
        given: Gather<4>,
    },
    /// IEND was seen; no byte may follow.
    End,
    Failed(PngFault),
}

impl PngVerifier {
    /// A verifier that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            place: Place::Signature(Gather::new()),
            order: Order::default(),
            bytes: 0,
            sha256: Sha256::new(),
        }
    }

    /// Takes the next bytes of the file, however many.
    ///
    /// # Errors
    ///
    /// The first fault in the order of the file, as soon as it is certain: the rest need not be fetched. The same fault is
    /// the answer ever after.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), PngFault> {
        if let Place::Failed(fault) = &self.place {
            return Err(fault.clone());
        }
        self.sha256.update(bytes);
        while !bytes.is_empty() {
            let taken = match self.step(bytes) {
                Ok(taken) => taken,
                Err(fault) => {
                    self.place = Place::Failed(fault.clone());
                    return Err(fault);
                }
            };
            self.bytes += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// The bytes taken so far, up to a fault.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Says that the file has ended here.
    ///
    /// # Errors
    ///
    /// The fault that [`PngVerifier::push`] found, or that the file is empty, another kind of file, or cut.
    pub fn finish(self) -> Result<PngFacts, PngFault> {
        match self.place {
            Place::End => {
                let (width, height) = self.order.size();
                Ok(PngFacts {
                    width,
                    height,
                    bytes: self.bytes,
                    sha256: Sha256Digest::from_bytes(self.sha256.finalize().into()),
                })
            }
            Place::Failed(fault) => Err(fault),
            Place::Signature(start) if start.filled == 0 => Err(PngFault::Empty),
            Place::Signature(start) if !SIGNATURE.starts_with(start.filled()) => {
                Err(PngFault::Signature { looks: Looks::at(start.filled()) })
            }
            Place::Signature(_) | Place::Head(_) | Place::Body { .. } | Place::Sum { .. } => {
                Err(PngFault::Truncated { bytes: self.bytes })
            }
        }
    }

    /// Takes some of `bytes`, at least one, and says how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, PngFault> {
        match &mut self.place {
            Place::Signature(start) => {
                let taken = start.take(bytes);
                if let Some(start) = start.whole() {
                    if start != SIGNATURE {
                        return Err(PngFault::Signature { looks: Looks::at(&start) });
                    }
                    self.place = Place::Head(Gather::new());
                }
                Ok(taken)
            }
            Place::Head(head) => {
                let taken = head.take(bytes);
                if let Some([l0, l1, l2, l3, name @ ..]) = head.whole() {
                    let length = u32::from_be_bytes([l0, l1, l2, l3]);
                    let name = ChunkName::new(name)?;
                    if length > CHUNK_BYTES_MAX {
                        return Err(PngFault::ChunkLength { chunk: name, length });
                    }
                    self.order.open(name, length)?;
                    let mut crc = crc32fast::Hasher::new();
                    crc.update(name.as_bytes());
                    self.place = after(Place::Body { name, left: length, start: Gather::new(), crc });
                }
                Ok(taken)
            }
            Place::Body { name, left, start, crc } => {
                let taken = bytes.len().min(*left as usize);
                let data = &bytes[..taken];
                crc.update(data);
                start.take(data);
                // `taken` is at most `left`, so it fits.
                *left -= taken as u32;
                if let (0, ChunkName::IHDR, Some(header)) = (*left, *name, start.whole()) {
                    self.order.header(&header);
                }
                self.place = after(std::mem::replace(&mut self.place, Place::End));
                Ok(taken)
            }
            Place::Sum { name, crc, given } => {
                let taken = given.take(bytes);
                if let Some(given) = given.whole() {
                    if u32::from_be_bytes(given) != *crc {
                        let ends_at = self.bytes + taken as u64;
                        return Err(PngFault::Sum { chunk: *name, ends_at });
                    }
                    let name = *name;
                    // Only now: a header with a wrong sum is a damaged file, not one of odd sizes.
                    self.order.close(name)?;
                    self.place =
                        if name == ChunkName::IEND { Place::End } else { Place::Head(Gather::new()) };
                }
                Ok(taken)
            }
            Place::End => Err(PngFault::AfterEnd),
            Place::Failed(fault) => Err(fault.clone()),
        }
    }
}

impl Default for PngVerifier {
    fn default() -> Self {
        Self::new()
    }
}

/// A body without a byte left goes on to its sum.
fn after(place: Place) -> Place {
    match place {
        Place::Body { name, left: 0, crc, .. } => {
            Place::Sum { name, crc: crc.finalize(), given: Gather::new() }
        }
        other => other,
    }
}

/// Checks a file that is in memory as a whole.
///
/// # Errors
///
/// As [`PngVerifier::push`] and [`PngVerifier::finish`].
pub fn verify(bytes: &[u8]) -> Result<PngFacts, PngFault> {
    let mut verifier = PngVerifier::new();
    verifier.push(bytes)?;
    verifier.finish()
}

/// The first `N` bytes of something that comes in pieces.
#[derive(Debug, Clone, Copy)]
struct Gather<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Gather<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], filled: 0 }
    }

    /// Takes what it still lacks from the front of `bytes` and says how much that was.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(N - self.filled);
        self.bytes[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    fn whole(&self) -> Option<[u8; N]> {
        (self.filled == N).then_some(self.bytes)
    }
}

#[cfg(test)]
mod tests;
