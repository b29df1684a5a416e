//! Lines of a file, one at a time, with bounded memory.

use std::io::{self, BufRead};

/// The longest line that is read, in bytes. A line with images as data URIs may be long; whoever has more of them names
/// files or objects instead.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A line as it stands in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Text that is not blank, without its line end.
    Text(&'a str),
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
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads `input` from where it is.
    pub(crate) fn new(input: R) -> Self {
        Self { input, number: 0, bytes_max: LINE_BYTES_MAX, buffer: Vec::new() }
    }

    /// The next line that is not blank, with its number.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        let too_long = loop {
            self.buffer.clear();
            let limit = self.bytes_max as u64 + 1;
            if io::Read::take(&mut self.input, limit).read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.buffer.len() > self.bytes_max && self.buffer.last() != Some(&b'\n') {
                self.skip_rest()?;
                break true;
            }
            if !is_blank(self.line()) {
                break false;
            }
        };
        let line = match std::str::from_utf8(self.line()) {
            _ if too_long => Line::TooLong,
            Ok(text) => Line::Text(text.trim_end_matches(['\n', '\r'])),
            Err(_) => Line::NotText,
        };
        Ok(Some((self.number, line)))
    }

    /// How many lines there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.number
    }

    /// What it reads from.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    fn line(&self) -> &[u8] {
        match self.buffer.strip_prefix(b"\xEF\xBB\xBF") {
            Some(rest) if self.number == 1 => rest,
            _ => &self.buffer,
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

fn is_blank(line: &[u8]) -> bool {
    line.first().is_none_or(|byte| !byte.is_ascii_graphic())
        && std::str::from_utf8(line).is_ok_and(|text| text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], bytes_max: usize) -> Vec<(u64, Line<'static>)> {
        let mut lines = Lines { input, number: 0, bytes_max, buffer: Vec::new() };
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            let line = match line {
                Line::Text(text) => Line::Text(text.to_owned().leak()),
                Line::NotText => Line::NotText,
                Line::TooLong => Line::TooLong,
            };
            all.push((number, line));
        }
        all
    }

    fn text(text: &'static str) -> Line<'static> {
        Line::Text(text)
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
