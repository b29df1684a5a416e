//! CSV as RFC 4180 has it: records of a header's columns, one at a time, with bounded memory.
//!
//! Separated by commas; a text with a comma, a quote or a line end in it stands in double quotes. Blank lines are skipped. A record's
//! number is that of the line that it begins in.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader};

use super::quotes::{Amiss, Quotes};
use super::reader::LINE_BYTES_MAX;

/// The most columns. Source: ours; a line has some twenty fields, and templates name a few more.
const COLUMNS_MAX: usize = 1_000;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Text in every field.
    Whole,
    /// Not UTF-8.
    NotText,
    /// Longer than the most, or of too many columns. Nobody knows where the next one begins: it is the last.
    TooLong,
    /// Text behind a quote that closes its field: a quote before it was not closed, or one in the text not doubled.
    StrayQuote,
    /// The input ends inside of a quoted field.
    OpenQuote,
}

/// Reads records.
#[derive(Debug)]
pub(crate) struct Records<R> {
    input: R,
    reader: Reader,
    quotes: Quotes,
    /// The line that is read.
    line: u64,
    bytes_max: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
    ended: bool,
}

impl<R: BufRead> Records<R> {
    /// Reads `input` from where it is.
    pub(crate) fn new(input: R) -> Self {
        Self::with_max(input, LINE_BYTES_MAX)
    }

    fn with_max(input: R, bytes_max: usize) -> Self {
        let (bytes, ends) = (vec![0; 4_096.min(bytes_max)], vec![0; 32]);
        Self {
            input,
            reader: Reader::new(),
            quotes: Quotes::default(),
            line: 1,
            bytes_max,
            bytes,
            ends,
            fields: 0,
            ended: false,
        }
    }

    /// Reads the next record; the answer is the line that it begins in. [`Self::fields`] has what it holds.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Read)>> {
        self.fields = 0;
        if self.ended || !self.skip_blank()? {
            return Ok(None);
        }
        let (begin, mut length) = (self.line, 0);
        loop {
            let there = self.input.fill_buf()?;
            let (result, read, written, ends) =
                self.reader.read_record(there, &mut self.bytes[length..], &mut self.ends[self.fields..]);
            self.line += newlines(&there[..read]);
            self.quotes.follow(&there[..read]);
            self.input.consume(read);
            length += written;
            self.fields += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::OutputFull if self.bytes.len() < self.bytes_max => {
                    self.bytes.resize((self.bytes.len() * 2).min(self.bytes_max), 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < COLUMNS_MAX => {
                    self.ends.resize((self.ends.len() * 2).min(COLUMNS_MAX), 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    self.ended = true;
                    return Ok(Some((begin, Read::TooLong)));
                }
            }
        }
        // Each field must be text by itself: a character must not lie across two of them.
        let is_text = (0..self.fields).all(|at| std::str::from_utf8(self.bytes_of(at)).is_ok());
        let read = match self.quotes.end() {
            Some(Amiss::Open) => Read::OpenQuote,
            Some(Amiss::Stray) => Read::StrayQuote,
            None if !is_text => Read::NotText,
            None => Read::Whole,
        };
        Ok(Some((begin, read)))
    }

    /// The fields of the record that was read.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.fields).map(|at| std::str::from_utf8(self.bytes_of(at)).unwrap_or_default())
    }

    /// How many lines there were so far.
    pub(crate) fn lines(&self) -> u64 {
        self.line
    }

    /// What it reads from.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    fn bytes_of(&self, at: usize) -> &[u8] {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[begin..self.ends[at]]
    }

    /// Goes to the next byte of a record; `false`: there is none.
    fn skip_blank(&mut self) -> io::Result<bool> {
        loop {
            let there = self.input.fill_buf()?;
            if there.is_empty() {
                return Ok(false);
            }
            let blank = there.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let all = blank == there.len();
            self.line += newlines(&there[..blank]);
            self.input.consume(blank);
            if !all {
                return Ok(true);
            }
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8], bytes_max: usize) -> Vec<(u64, Read, Vec<String>)> {
        // A small buffer, so that records lie across its ends.
        let mut records = Records::with_max(io::BufReader::with_capacity(3, text), bytes_max);
        let mut all = Vec::new();
        while let Some((line, read)) = records.next().unwrap() {
            let fields = records.fields().map(str::to_owned).collect();
            all.push((line, read, if read == Read::Whole { fields } else { Vec::new() }));
        }
        all
    }

    fn whole(line: u64, fields: &[&str]) -> (u64, Read, Vec<String>) {
        (line, Read::Whole, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn records_have_the_line_that_they_begin_in_whatever_stands_between() {
        let text = "a,b\r\n\r\n\n1,\"two\nlines, and \"\"quotes\"\"\"\r\n3,4\n\n5,";
        let wanted = [
            whole(1, &["a", "b"]),
            whole(4, &["1", "two\nlines, and \"quotes\""]),
            whole(6, &["3", "4"]),
            whole(8, &["5", ""]),
        ];
        assert_eq!(all(text.as_bytes(), 1_000), wanted);
        assert_eq!(all(b"", 1_000), []);
        assert_eq!(all(b"\n\n", 1_000), []);
    }

    #[test]
    fn what_is_no_text_is_told_apart_and_what_is_too_long_ends_the_input() {
        assert_eq!(all(b"a,\xFF\nb,c\n", 1_000), [(1, Read::NotText, vec![]), whole(2, &["b", "c"])]);
        assert_eq!(all("\u{e9},b\n".as_bytes(), 1_000), [whole(1, &["\u{e9}", "b"])]);
        assert_eq!(all(b"ab\n\"never closed\nc\nd\n", 8), [whole(1, &["ab"]), (2, Read::TooLong, vec![])]);
        let wide = "x,".repeat(COLUMNS_MAX + 1);
        assert_eq!(all(wide.as_bytes(), 100_000), [(1, Read::TooLong, vec![])]);
    }

    #[test]
    fn a_quote_that_is_not_closed_makes_no_job_of_the_rows_below() {
        assert_eq!(
            all(b"a,b\n1,\"two\n3,four\n", 1_000),
            [whole(1, &["a", "b"]), (2, Read::OpenQuote, vec![])]
        );
        let stray = all(b"1,\"two\n3,\"four\"\n5,\"six\"\n", 1_000);
        assert_eq!(stray, [(1, Read::StrayQuote, vec![]), whole(3, &["5", "six"])]);
    }

    proptest! {
        #[test]
        fn every_text_comes_back_from_its_quotes(rows in prop::collection::vec(prop::collection::vec("[a,\"\r\n\u{e9} ]{0,6}", 2..4), 1..5)) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let mut text = String::new();
            let mut wanted = Vec::new();
            for row in &rows {
                wanted.push((1 + newlines(text.as_bytes()), Read::Whole, row.clone()));
                text.push_str(&row.iter().map(quoted).collect::<Vec<_>>().join(","));
                text.push('\n');
            }
            prop_assert_eq!(all(text.as_bytes(), 1_000), wanted);
        }
    }
}
