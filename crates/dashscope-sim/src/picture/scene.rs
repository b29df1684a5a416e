//! One painted scene: a sun over the sea, in eight colourings.
//!
//! Painted row by row. A row differs from the one above only where a band of colour or the edge of the sun begins, so
//! that after PNG's `Up` filter it is nearly all zeros: the file is small and made fast, however large the picture.

use std::io::Write;

use bytes::Bytes;

use super::Look;

/// Bands of colour from the top of the sky to the horizon, and from there to the bottom of the sea.
const BANDS: u32 = 48;

type Rgb = [u8; 3];

/// Top of the sky, horizon, sun, and deep sea.
const PALETTES: [[Rgb; 4]; super::VARIANTS as usize] = [
    [[24, 42, 94], [250, 176, 122], [255, 226, 160], [16, 30, 66]],
    [[16, 78, 102], [246, 214, 168], [255, 244, 214], [8, 48, 70]],
    [[64, 24, 86], [246, 138, 146], [255, 208, 150], [40, 16, 64]],
    [[18, 84, 74], [222, 228, 164], [255, 250, 200], [10, 56, 56]],
    [[110, 26, 44], [255, 178, 96], [255, 232, 148], [64, 16, 40]],
    [[38, 62, 128], [198, 218, 244], [255, 255, 255], [22, 40, 92]],
    [[84, 58, 28], [244, 208, 142], [255, 238, 188], [52, 38, 26]],
    [[26, 26, 46], [150, 136, 196], [236, 226, 255], [14, 14, 30]],
];

/// Paints and compresses the picture.
pub(super) fn paint(look: Look) -> Bytes {
    let scene = Scene::new(look);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, look.width, look.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_deflate_compression(png::DeflateCompression::Level(4));
    encoder.set_filter(png::Filter::Up);
    let wrote = encoder.write_header().and_then(|mut writer| {
        let mut rows = writer.stream_writer_with_size(1 << 16)?;
        let mut row = vec![0; look.width as usize * 3];
        let mut painted = None;
        for y in 0..look.height {
            let strokes = scene.row(y);
            if painted.as_ref() != Some(&strokes) {
                strokes.paint(&mut row);
                painted = Some(strokes);
            }
            rows.write_all(&row)?;
        }
        rows.finish()?;
        writer.finish()
    });
    wrote.expect("writing a PNG of checked size into memory cannot fail");
    file.into()
}

/// Where things are, in pixels.
struct Scene {
    palette: [Rgb; 4],
    width: i64,
    horizon: i64,
    height: i64,
    radius: i64,
}

/// What one row shows: a colour from edge to edge, and another from `from` to `to`.
#[derive(PartialEq)]
struct Strokes {
    ground: Rgb,
    sun: Rgb,
    from: usize,
    to: usize,
}

impl Scene {
    fn new(look: Look) -> Self {
        let (width, height) = (i64::from(look.width), i64::from(look.height));
        Self {
            palette: PALETTES[usize::from(look.variant) % PALETTES.len()],
            width,
            horizon: height * 2 / 3,
            height,
            radius: width.min(height) / 4,
        }
    }

    fn row(&self, y: u32) -> Strokes {
        let [top, edge, sun, deep] = self.palette;
        let y = i64::from(y);
        let (ground, band) = if y < self.horizon {
            let band = y * i64::from(BANDS) / self.horizon;
            (mix(top, edge, band), band)
        } else {
            let band = (y - self.horizon) * i64::from(BANDS) / (self.height - self.horizon).max(1);
            (mix(edge, deep, band), band)
        };
        // The sun stands half above the horizon; below it, every other band shows its reflection.
        let away = y - self.horizon;
        let half = match away {
            _ if away < 0 => integer_sqrt(self.radius * self.radius - away * away),
            _ if band % 2 == 0 => self.radius * (i64::from(BANDS) - band) / i64::from(BANDS),
            _ => 0,
        };
        let middle = self.width / 2;
        let column = |x: i64| usize::try_from(x.clamp(0, self.width)).unwrap_or(0);
        let (from, to) = (column(middle - half), column(middle + half));
        Strokes { ground, sun: if away < 0 { sun } else { mix(sun, ground, i64::from(BANDS) / 2) }, from, to }
    }
}

impl Strokes {
    fn paint(&self, row: &mut [u8]) {
        fill(row, self.ground);
        fill(&mut row[self.from * 3..self.to * 3], self.sun);
    }
}

/// Doubles what is written until the stretch is full: a few large copies, fast without optimisation too.
fn fill(stretch: &mut [u8], colour: Rgb) {
    let Some(first) = stretch.get_mut(..3) else { return };
    first.copy_from_slice(&colour);
    let mut done = 3;
    while done < stretch.len() {
        let more = done.min(stretch.len() - done);
        stretch.copy_within(..more, done);
        done += more;
    }
}

/// The colour `part` of the way (out of [`BANDS`]) from one to the other.
fn mix(from: Rgb, to: Rgb, part: i64) -> Rgb {
    let mut mixed = from;
    for (channel, (from, to)) in mixed.iter_mut().zip(from.into_iter().zip(to)) {
        let (from, to) = (i64::from(from), i64::from(to));
        *channel = u8::try_from(from + (to - from) * part / i64::from(BANDS)).unwrap_or(u8::MAX);
    }
    mixed
}

/// The root of a square, rounded down; 0 below zero.
fn integer_sqrt(square: i64) -> i64 {
    (square.max(0) as f64).sqrt() as i64
}
