//! The pictures: true in size, distinct per image, cheap to make.
//!
//! A picture of one size and one of eight colourings is painted and compressed once ([`scene`]), then told apart per
//! image by a text chunk behind its header ([`mod@file`]). [`Gallery`] keeps the compressed ones. Nothing here knows tasks;
//! the download handler drives it, off the async threads.

mod file;
mod scene;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use file::Noise;

/// Colourings of one size.
pub(crate) const VARIANTS: u8 = 8;
/// Pictures kept. At 10 to 60 KB each this is a few megabytes; output sizes that follow input images may be many.
const KEPT_MAX: usize = 128;

/// What one image file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Below [`VARIANTS`].
    pub(crate) variant: u8,
}

/// Compressed pictures, made when first asked for.
pub(crate) struct Gallery {
    bytes_per_pixel: f64,
    noise: OnceLock<Noise>,
    painted: Mutex<HashMap<Look, Arc<OnceLock<Bytes>>>>,
}

/// An image file in pieces that share memory with other files.
#[derive(Debug, Clone)]
pub(crate) struct ImageFile {
    pieces: Vec<Bytes>,
}

impl Gallery {
    /// `bytes_per_pixel` is the weight that files are filled up to; 0 leaves them as they are.
    pub(crate) fn new(bytes_per_pixel: f64) -> Self {
        Self { bytes_per_pixel, noise: OnceLock::new(), painted: Mutex::new(HashMap::new()) }
    }

    /// The file of an image that looks so and carries `mark`, which makes it different from every other.
    ///
    /// Takes some milliseconds, or some hundred for a new look of 4096×4096: call it where blocking is allowed.
    pub(crate) fn file(&self, look: Look, mark: &str) -> ImageFile {
        let slot = self.slot(look);
        let plain = slot.get_or_init(|| scene::paint(look)).clone();
        let wanted = (f64::from(look.width) * f64::from(look.height) * self.bytes_per_pixel) as usize;
        let noise = (wanted > plain.len()).then(|| self.noise.get_or_init(Noise::new));
        ImageFile { pieces: file::assemble(&plain, mark, noise.map(|noise| (noise, wanted - plain.len()))) }
    }

    fn slot(&self, look: Look) -> Arc<OnceLock<Bytes>> {
        let mut painted = self.painted.lock().expect("painting happens outside this lock");
        if painted.len() >= KEPT_MAX && !painted.contains_key(&look) {
            painted.clear();
        }
        Arc::clone(painted.entry(look).or_default())
    }
}

impl ImageFile {
    pub(crate) fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.pieces.iter().for_each(|piece| hash.update(piece));
        hash.finalize().into()
    }

    /// The bytes from `from` up to and without `to`, in pieces.
    pub(crate) fn slice(&self, from: u64, to: u64) -> Vec<Bytes> {
        let mut at = 0;
        let mut cut = Vec::new();
        for piece in &self.pieces {
            let end = at + piece.len() as u64;
            let (start, stop) = (from.clamp(at, end), to.clamp(at, end));
            if start < stop {
                cut.push(piece.slice((start - at) as usize..(stop - at) as usize));
            }
            at = end;
        }
        cut
    }

    /// The same file with one bit of its last piece turned over, where the picture data lie.
    pub(crate) fn corrupted(mut self) -> Self {
        if let Some(last) = self.pieces.last_mut() {
            let mut bytes = last.to_vec();
            // Behind this are at most the checksum of the data and the twelve bytes of IEND.
            let at = bytes.len() / 2;
            bytes[at] ^= 0x10;
            *last = bytes.into();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(file: &ImageFile) -> Result<(u32, u32, usize), png::DecodingError> {
        let bytes = file.slice(0, file.len()).concat();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info()?;
        let mut pixels = vec![0; reader.output_buffer_size().expect("the test's pictures fit into memory")];
        let info = reader.next_frame(&mut pixels)?;
        reader.finish()?;
        let colours: std::collections::HashSet<&[u8]> = pixels.chunks(3).collect();
        Ok((info.width, info.height, colours.len()))
    }

    const LOOK: Look = Look { width: 1_024, height: 768, variant: 3 };

    #[test]
    fn a_picture_has_its_true_size_many_colours_and_few_bytes() {
        let file = Gallery::new(0.0).file(LOOK, "a");
        let (width, height, colours) = decode(&file).unwrap();
        assert_eq!((width, height), (1_024, 768));
        assert!(colours > 40, "{colours} colours");
        assert!(file.len() < 40_000, "{} bytes", file.len());
    }

    #[test]
    fn the_largest_picture_stays_below_a_hundred_kilobytes() {
        let file = Gallery::new(0.0).file(Look { width: 4_096, height: 4_096, variant: 0 }, "a");
        assert_eq!(decode(&file).map(|(width, height, _)| (width, height)).unwrap(), (4_096, 4_096));
        assert!(file.len() < 100_000, "{} bytes", file.len());
    }

    #[test]
    fn two_marks_make_two_files_and_one_mark_the_same_file_twice() {
        let gallery = Gallery::new(0.0);
        let sha = |mark| gallery.file(LOOK, mark).sha256();
        assert_ne!(sha("a"), sha("b"));
        assert_eq!(sha("a"), Gallery::new(0.0).file(LOOK, "a").sha256());
    }

    #[test]
    fn the_eight_colourings_differ() {
        let gallery = Gallery::new(0.0);
        let looks = (0..VARIANTS).map(|variant| gallery.file(Look { variant, ..LOOK }, "a").sha256());
        assert_eq!(looks.collect::<std::collections::HashSet<_>>().len(), usize::from(VARIANTS));
    }

    #[test]
    fn real_weight_fills_the_file_up_and_leaves_it_a_picture() {
        let file = Gallery::new(2.0).file(LOOK, "a");
        let target = 1_024 * 768 * 2;
        assert!((target..target + 200).contains(&file.len()), "{} bytes", file.len());
        assert_eq!(decode(&file).map(|(width, height, _)| (width, height)).unwrap(), (1_024, 768));
    }

    #[test]
    fn a_corrupted_file_has_the_same_length_and_does_not_decode() {
        let file = Gallery::new(0.0).file(LOOK, "a");
        let corrupted = file.clone().corrupted();
        assert_eq!(corrupted.len(), file.len());
        assert!(decode(&corrupted).is_err());
    }

    #[test]
    fn slices_are_parts_of_the_whole() {
        let file = Gallery::new(2.0).file(LOOK, "a");
        let whole = file.slice(0, file.len()).concat();
        for (from, to) in [(0, 10), (5, 40), (30, 2_000), (100_000, 1_300_000), (file.len() - 1, file.len())]
        {
            assert_eq!(file.slice(from, to).concat(), whole[from as usize..to as usize]);
        }
    }
}
