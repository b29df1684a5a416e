//! Lines of a file, one at a time, with bounded memory.

use std::io::{self, BufRead};

/// The longest line that is read, in bytes. A line with images as data URIs may be long; whoever has more of them names
/// files or objects instead.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A line as it stands in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Text that is not blank, without its line end.
    Text(String),
    /// Not UTF-8.
    NotText,
    /// Longer than the most; the rest of it was skipped.
    TooLong,
}

/// Reads lines, and counts them from 1. Blank lines are counted and skipped; a byte order mark is taken away.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    number: u64,
    bytes_max: usize,
}

impl<R: BufRead> Lines<R> {
    /// Reads `input` from where it is.
    pub(crate) fn new(input: R) -> Self {
        Self { input, number: 0, bytes_max: LINE_BYTES_MAX }
    }

    /// The next line that is not blank, with its number.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line)>> {
        loop {
            let mut bytes = Vec::new();
            let limit = self.bytes_max as u64 + 1;
            if io::Read::take(&mut self.input, limit).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if bytes.len() > self.bytes_max && bytes.last() != Some(&b'\n') {
                self.skip_rest()?;
                return Ok(Some((self.number, Line::TooLong)));
            }
            let bytes =
                if self.number == 1 { bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes) } else { &bytes };
            match std::str::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => {
                    return Ok(Some((
                        self.number,
                        Line::Text(text.trim_end_matches(['\n', '\r']).to_owned()),
                    )));
                }
                Err(_) => return Ok(Some((self.number, Line::NotText))),
            }
        }
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            self.input.consume(used);
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], bytes_max: usize) -> Vec<(u64, Line)> {
        let mut lines = Lines { input, number: 0, bytes_max };
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn text(text: &str) -> Line {
        Line::Text(text.to_owned())
    }

    #[test]
    fn blank_lines_line_ends_and_a_byte_order_mark_are_no_trouble() {
        let lines = all("\u{FEFF}a\r\n\n  \t\nb".as_bytes(), 100);
        assert_eq!(lines, [(1, text("a")), (4, text("b"))]);
        assert_eq!(all(b"", 100), []);
    }

    #[test]
    fn a_line_of_the_greatest_length_is_read_and_a_longer_one_skipped() {
        let lines = all(b"12345\n123456\n1\n123456", 5);
        assert_eq!(lines, [(1, text("12345")), (2, Line::TooLong), (3, text("1")), (4, Line::TooLong)]);
    }

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        assert_eq!(all(b"\xFF\nok", 100), [(1, Line::NotText), (2, text("ok"))]);
    }
}
