//! The first pass over an input: everything is judged before anything is sent.

use std::io::{self, Write};

use job::JobSpec;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::digest::Hashed;
use super::fault::Fault;
use super::images::Images;
use super::marks::Marks;
use super::prepare::{Preparer, Rules};
use super::rows::{Row, Rows};
use super::source::Source;
use super::work::{Piece, Work};

/// How many faults are kept to be shown; the rest is counted.
pub(crate) const FAULTS_SHOWN_MAX: usize = 100;

/// How many warnings are kept to be shown; the rest is counted.
const WARNINGS_SHOWN_MAX: usize = 10;

/// What an input holds.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Lines that are jobs.
    pub(crate) jobs: u64,
    /// Whether it ended with a header that cannot be used: nothing behind it was looked at.
    pub(crate) is_header_faulty: bool,
    /// Lines that are none.
    pub(crate) faulty_lines: u64,
    /// All faults.
    pub(crate) faults: u64,
    /// The first of them.
    pub(crate) shown: Vec<Fault>,
    /// All warnings.
    pub(crate) warnings: u64,
    /// The first of them, each with its line.
    pub(crate) warnings_shown: Vec<String>,
    /// What the jobs come to.
    pub(crate) work: Work,
    /// Whether images have to be uploaded.
    pub(crate) has_uploads: bool,
    /// The lines that are jobs.
    pub(crate) good: Marks,
    /// All lines, blank ones too.
    pub(crate) lines: u64,
    /// The digest of all that was read.
    pub(crate) digest: String,
}

/// What [`judge`] tells while it reads.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// So many bytes were read.
    Bytes(u64),
    /// A good line, with its job.
    #[cfg_attr(not(test), expect(dead_code, reason = "for those who choose between the passes"))]
    Good(u64, &'a JobSpec),
}

/// A faulty line, as it is written out.
#[derive(Serialize)]
struct FaultyLine<'a> {
    line: u64,
    faults: &'a [Fault],
    /// The line as it was, as JSON if it is that and as text if not.
    input: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_text: Option<&'a str>,
}

impl Judged {
    /// Takes note of a faulty line.
    fn note(&mut self, faults: Vec<Fault>) {
        self.faulty_lines += 1;
        self.faults += faults.len() as u64;
        let room = FAULTS_SHOWN_MAX - self.shown.len();
        self.shown.extend(faults.into_iter().take(room));
    }
}

/// Judges every line. Faulty ones are written to `faulty` where one is given. `seen` is told of each good line, in order, and how far
/// it is.
///
/// # Errors
///
/// The input or `faulty` fails. Faults of lines are no error here.
pub(crate) fn judge(
    source: &Source,
    rules: &Rules,
    images: &mut Images,
    mut faulty: Option<&mut dyn Write>,
    mut seen: impl FnMut(Seen<'_>),
) -> io::Result<Judged> {
    let mut judged = Judged::default();
    let input = Hashed::new(source.lines()?);
    let mut rows = match Rows::begin(input, source.format(), rules.prompts.as_ref())? {
        Ok(rows) => rows,
        Err(faults) => {
            judged.is_header_faulty = true;
            judged.note(faults);
            return Ok(judged);
        }
    };
    let mut preparer = Preparer::new(rules, images);
    while let Some((number, row)) = rows.next()? {
        seen(Seen::Bytes(source.passed()));
        match preparer.row(number, &row) {
            Ok(prepared) => {
                judged.jobs += 1;
                judged.good.insert(number);
                seen(Seen::Good(number, &prepared.spec));
                judged.work.add(number, Piece::of(&prepared.spec));
                judged.has_uploads |= !prepared.uploads.is_empty();
                for warning in prepared.warnings {
                    judged.warnings += 1;
                    if judged.warnings_shown.len() < WARNINGS_SHOWN_MAX {
                        judged.warnings_shown.push(format!("line {number}: {warning}"));
                    }
                }
            }
            Err(faults) => {
                if let Some(faulty) = &mut faulty {
                    write_faulty(*faulty, number, &faults, &row)?;
                }
                judged.note(faults);
            }
        }
    }
    judged.lines = rows.lines();
    judged.digest = rows.into_inner().digest();
    Ok(judged)
}

fn write_faulty(out: &mut dyn Write, line: u64, faults: &[Fault], input: &Row<'_>) -> io::Result<()> {
    let text = input.text();
    let text = text.as_deref();
    let is_json = text.is_some_and(|text| serde_json::from_str::<Value>(text).is_ok());
    let row = FaultyLine {
        line,
        faults,
        input: text.filter(|_| is_json).and_then(|text| serde_json::from_str(text).ok()),
        input_text: text.filter(|_| !is_json),
    };
    serde_json::to_writer(&mut *out, &row)?;
    out.write_all(b"\n")
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use job::{KeyTemplate, Micros, Prices};

    use super::*;
    use crate::input::line::Defaults;
    use crate::input::source::PromptFlags;

    pub(in crate::input) fn rules() -> Rules {
        Rules {
            batch: Some("b".parse().unwrap()),
            collection: None,
            namespace: "i".to_owned(),
            defaults: Defaults::default(),
            accounts: Vec::new(),
            regions: Vec::new(),
            template: KeyTemplate::default(),
            prompts: None,
        }
    }

    fn judged(text: &str) -> (Judged, String) {
        let (mut faulty, source) = (Vec::new(), Source::Lines { text: text.to_owned() });
        let judged =
            judge(&source, &rules(), &mut Images::new(".".into()), Some(&mut faulty), |_| {}).unwrap();
        (judged, String::from_utf8(faulty).unwrap())
    }

    #[test]
    fn images_and_cost_are_counted_at_their_most() {
        let (judged, _) = judged(
            "{\"prompt\": \"a\", \"n\": 4}\n{\"prompt\": \"b\", \"model\": \"wan2.7-image-pro\", \"n\": 12, \"enable_sequential\": true}\n",
        );
        assert_eq!((judged.jobs, judged.work.images_max()), (2, 16));
        assert_eq!(judged.work.cost_max(&Prices::default()), Micros(4 * 30_000 + 12 * 75_000));
        assert_eq!(judged.work.scenarios, BTreeMap::from([("image_set_from_text", 1), ("text_to_image", 1)]));
    }

    #[test]
    fn faulty_lines_are_written_out_with_their_reasons_and_as_they_were() {
        let (judged, written) =
            judged("{\"custom_id\": \"a\", \"prompt\": \"x\", \"n\": 9}\nnot json\n{\"prompt\": \"y\"}\n");
        assert_eq!((judged.jobs, judged.faulty_lines, judged.faults), (1, 2, 2));
        insta::assert_snapshot!(written, @r#"
        {"line":1,"faults":[{"line":1,"custom_id":"a","field":"n","value":"9","rule":"it must be 1 to 4","hint":"up to 12 images are possible as a set, with `enable_sequential`"}],"input":{"custom_id": "a", "prompt": "x", "n": 9}}
        {"line":2,"faults":[{"line":2,"rule":"not JSON: expected a value at column 2","hint":"each line must be one JSON object"}],"input":null,"input_text":"not json"}
        "#);
    }

    #[test]
    fn whoever_looks_on_sees_each_good_line_once() {
        let source = Source::Lines { text: "{\"prompt\": \"a\"}\n\nno\n{\"prompt\": \"b\"}\n".to_owned() };
        let mut seen = Vec::new();
        let judged = judge(&source, &rules(), &mut Images::new(".".into()), None, |told| {
            if let Seen::Good(line, spec) = told {
                seen.push((line, spec.request.prompt.expose().to_owned()));
            }
        })
        .unwrap();
        assert_eq!(seen, [(1, "a".to_owned()), (4, "b".to_owned())]);
        assert_eq!((judged.lines, judged.digest.len()), (4, 32));
        assert!([1, 4].into_iter().all(|line| judged.good.contains(line)) && !judged.good.contains(3));
    }

    #[test]
    fn faults_beyond_the_hundredth_are_counted_and_not_kept() {
        let (judged, _) = judged(&"{\"prompt\": \"\"}\n".repeat(150));
        assert_eq!((judged.faults, judged.shown.len()), (150, FAULTS_SHOWN_MAX));
    }

    #[test]
    fn prompts_by_flag_are_judged_as_lines_are() {
        let flags = PromptFlags { prompts: vec!["a".into(), " ".into()], ..PromptFlags::default() };
        let source = Source::of_prompts(&flags);
        let judged = judge(&source, &rules(), &mut Images::new(".".into()), None, |_| {}).unwrap();
        assert_eq!((judged.jobs, judged.faulty_lines), (1, 1));
    }
}
