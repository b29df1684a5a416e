//! The input images of the examples: drawn here, so that the demo needs no network and the repository no pictures.

use std::path::Path;

/// Pixels of each: within the service's 240 to 8000.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

/// Writes the images that `examples.jsonl` names into `folder`.
pub(super) fn write(folder: &Path) -> std::io::Result<()> {
    let picture =
        |name: &str, colour: fn(u32, u32) -> [u8; 3]| std::fs::write(folder.join(name), bmp(colour));
    picture("van.bmp", |x, y| {
        if (120..520).contains(&x) && (200..360).contains(&y) { [40, 110, 190] } else { [200, 215, 225] }
    })?;
    picture("pattern.bmp", |x, y| if (x / 40 + y / 40) % 2 == 0 { [230, 120, 60] } else { [250, 220, 150] })?;
    picture("clock.bmp", |x, y| {
        let (dx, dy) = (x.abs_diff(320), y.abs_diff(240));
        if dx * dx + dy * dy < 150 * 150 { [245, 240, 230] } else { [90, 70, 60] }
    })?;
    picture("shelf.bmp", |_, y| if y % 160 > 140 { [120, 80, 50] } else { [225, 220, 210] })
}

/// An uncompressed picture of 24 bits a pixel, from `colour(x, y)` as red, green, blue.
fn bmp(colour: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    const HEADER: u32 = 54;
    let row = WIDTH * 3; // a multiple of four, as the format asks
    let size = HEADER + row * HEIGHT;
    let mut file = Vec::with_capacity(size as usize);
    file.extend(b"BM");
    for number in [size, 0, HEADER, 40, WIDTH, HEIGHT, 1 | 24 << 16, 0, row * HEIGHT, 2_835, 2_835, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    for y in (0..HEIGHT).rev() {
        for x in 0..WIDTH {
            let [red, green, blue] = colour(x, y);
            file.extend([blue, green, red]);
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_pass_the_check_of_inputs() {
        let facts =
            dashscope::inspect::inspect(&bmp(|x, _| [u8::try_from(x % 256).unwrap_or(0); 3])).unwrap();
        assert_eq!((facts.width, facts.height), (WIDTH, HEIGHT));
    }
}
