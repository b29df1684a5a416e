//! What stands in an input, one row after the other: lines of JSON, or records of CSV.

use std::io::{self, BufRead};
use std::path::Path;

use serde_json::Value;

use super::columns;
use super::csv::{Read, Records};
use super::fault::Fault;
use super::reader::{LINE_BYTES_MAX, Line, Lines};
use super::template::Template;
use crate::output::words::counted;

/// How an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A JSON object in each line.
    Jsonl,
    /// Columns under a header.
    Csv,
}

impl Format {
    /// What the name of a file says, packed or not; JSONL where it says nothing.
    pub(crate) fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let name = [".gz", ".zst"].into_iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
        if name.ends_with(".csv") { Self::Csv } else { Self::Jsonl }
    }
}

/// A row as it stands in the input.
#[derive(Debug, Clone)]
pub(crate) enum Row<'a> {
    /// Text that should be a JSON object.
    Json(&'a str),
    /// A cell for each column.
    Cells(&'a [String], Vec<&'a str>),
    /// Nothing that can be read: why, and what to try.
    Unusable(String, &'static str),
}

impl Row<'_> {
    /// The row as text, for those who mend it.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Json(text) => Some((*text).to_owned()),
            Self::Cells(columns, cells) => {
                let fields = columns.iter().cloned().zip(cells.iter().map(|cell| Value::from(*cell)));
                Some(Value::Object(fields.collect()).to_string())
            }
            Self::Unusable(..) => None,
        }
    }
}

/// Reads rows. A row's number is that of its first line, from 1.
#[derive(Debug)]
pub(crate) enum Rows<R> {
    /// Lines.
    Json(Lines<R>),
    /// Records, and the columns of the header.
    Csv(Box<Records<R>>, Vec<String>),
}

impl<R: BufRead> Rows<R> {
    /// Reads `input` from where it is. The faults are those of a header.
    pub(crate) fn begin(
        input: R,
        format: Format,
        template: Option<&Template>,
    ) -> io::Result<Result<Self, Vec<Fault>>> {
        if format == Format::Jsonl {
            return Ok(Ok(Self::Json(Lines::new(input))));
        }
        let mut records = Box::new(Records::new(input));
        let Some((line, read)) = records.next()? else { return Ok(Ok(Self::Csv(records, Vec::new()))) };
        if let Some((rule, hint)) = unusable(read) {
            return Ok(Err(vec![Fault::of_line(line, rule, Some(hint))]));
        }
        let name = |(at, name): (usize, &str)| {
            let name = if at == 0 { name.trim_start_matches('\u{FEFF}') } else { name };
            name.trim().to_owned()
        };
        let columns: Vec<String> = records.fields().enumerate().map(name).collect();
        let faults = columns::check(line, &columns, template);
        Ok(if faults.is_empty() { Ok(Self::Csv(records, columns)) } else { Err(faults) })
    }

    /// The next row that is not blank.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Row<'_>)>> {
        match self {
            Self::Json(lines) => Ok(lines.next()?.map(|(number, line)| {
                let row = match line {
                    Line::Text(text) => Row::Json(text),
                    Line::NotText => Row::Unusable(NOT_TEXT.0.to_owned(), NOT_TEXT.1),
                    Line::TooLong => {
                        Row::Unusable(too_long(), "name image files instead of writing them into the line")
                    }
                };
                (number, row)
            })),
            Self::Csv(records, columns) => {
                let Some((number, read)) = records.next()? else { return Ok(None) };
                if let Some((rule, hint)) = unusable(read) {
                    return Ok(Some((number, Row::Unusable(rule, hint))));
                }
                let (cells, wanted) = (records.fields(), columns.len());
                if cells.len() != wanted {
                    let rule = format!(
                        "it has {}, and the header has {wanted}",
                        counted(cells.len() as u64, "field")
                    );
                    let hint = match records.lines().saturating_sub(number) {
                        0 | 1 => "put a text with a comma into double quotes",
                        _ => "a quote may not be closed: it goes on for several lines",
                    };
                    return Ok(Some((number, Row::Unusable(rule, hint))));
                }
                Ok(Some((number, Row::Cells(columns, cells.collect()))))
            }
        }
    }

    /// How many lines there were so far.
    pub(crate) fn lines(&self) -> u64 {
        match self {
            Self::Json(lines) => lines.count(),
            Self::Csv(records, _) => records.lines(),
        }
    }

    /// What it reads from.
    pub(crate) fn into_inner(self) -> R {
        match self {
            Self::Json(lines) => lines.into_inner(),
            Self::Csv(records, _) => records.into_inner(),
        }
    }
}

const NOT_TEXT: (&str, &str) = ("it is not UTF-8 text", "save the file as UTF-8");

fn too_long() -> String {
    format!("it has more than {} MiB", LINE_BYTES_MAX >> 20)
}

fn unusable(read: Read) -> Option<(String, &'static str)> {
    match read {
        Read::Whole => None,
        Read::NotText => Some((NOT_TEXT.0.to_owned(), NOT_TEXT.1)),
        Read::TooLong => Some((too_long(), "a quote may not be closed; what follows was not read")),
        Read::StrayQuote => Some((
            "text stands behind a quote that closes its field".to_owned(),
            "a quote before it may not be closed; inside of a quoted text a quote is written twice",
        )),
        Read::OpenQuote => Some((
            "a quote is not closed before the file ends".to_owned(),
            "what stands below was taken for its text",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_how_it_is_written() {
        for (name, format) in [
            ("a/jobs.csv", Format::Csv),
            ("JOBS.CSV.GZ", Format::Csv),
            ("jobs.csv.zst", Format::Csv),
            ("jobs.jsonl.gz", Format::Jsonl),
            ("csv", Format::Jsonl),
            ("-", Format::Jsonl),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
