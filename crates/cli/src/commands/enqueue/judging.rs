//! The first pass over an input, with its progress and the file of faulty lines.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors_file::ErrorsFile;
use crate::app::App;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::images::Images;
use crate::input::judge::{Judged, Seen, judge};
use crate::input::prepare::Rules;
use crate::input::rows::Format;
use crate::input::source::Source;
use crate::output::progress::ReadProgress;
use crate::output::words::{count, counted};

/// Judges all of an input; faulty lines are written to the file `errors`. Returns the images that were looked at as well, for the
/// second pass.
///
/// # Errors
///
/// The input cannot be read or unpacked (65), or the faulty lines cannot be written. Faulty lines are no error here.
pub(crate) async fn judge_all(
    app: &App,
    source: &Arc<Source>,
    rules: &Arc<Rules>,
    errors: Option<PathBuf>,
) -> Result<(Judged, Images), Failure> {
    let progress = ReadProgress::new(app.out, "judging", source.bytes());
    let (source, rules) = (source.clone(), rules.clone());
    blocking(move || {
        let mut images = Images::new(source.folder());
        let begin = |path: &Path| ErrorsFile::begin(path, &source);
        let mut faulty = errors.as_deref().map(begin).transpose()?;
        let writer = faulty.as_mut().map(|file| file as &mut dyn Write);
        let judged = judge(&source, &rules, &mut images, writer, |seen| {
            if let Seen::Bytes(bytes) = seen {
                progress.at(bytes);
            }
        });
        progress.clear();
        let judged = judged.or_fail(format!("failed to read {}; nothing was enqueued", source.shown()));
        let judged = judged.map_err(|failure| failure.exit(exit_code::BAD_INPUT))?;
        if let Some(file) = faulty {
            file.end().or_fail("failed to write the faulty lines")?;
        }
        Ok((judged, images))
    })
    .await?
}

/// Does what blocks on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.or_fail("a part of this command panicked")
}

/// What is wrong with an input. `single`: it is one prompt, so that lines mean nothing to whoever gave it; `None`: a file.
pub(crate) fn bad_input(source: &Source, judged: &Judged, single: Option<bool>) -> Failure {
    let shown = source.shown();
    if judged.jobs == 0 && judged.faulty_lines == 0 {
        let failure = Failure::message(format!("there are no jobs in {shown}"));
        let hint = match source.format() {
            Format::Jsonl => "each line is one job, such as {\"prompt\": \"a lighthouse\"}",
            Format::Csv => "a header names the columns, and each line below it is one job",
        };
        return failure.exit(exit_code::BAD_INPUT).hint(hint);
    }
    let mut details: Vec<String> = judged
        .shown
        .iter()
        .map(|fault| if single == Some(true) { fault.without_place() } else { fault.to_string() })
        .collect();
    let more = judged.faults - details.len() as u64;
    if more > 0 {
        details.push(format!("… and {} more", counted(more, "fault")));
    }
    let text = if single.is_some() {
        "the prompt cannot be enqueued".to_owned()
    } else if judged.is_header_faulty {
        format!("the header of {shown} cannot be used; nothing was enqueued")
    } else {
        let lines = judged.faulty_lines + judged.jobs;
        let of =
            format!("{} of {} in {shown} cannot be used", count(judged.faulty_lines), counted(lines, "line"));
        format!("{of}; nothing was enqueued")
    };
    let failure = Failure::message(text).details(details).exit(exit_code::BAD_INPUT);
    if single.is_some() || judged.jobs == 0 {
        return failure;
    }
    failure.hint("mend them, or enqueue the others with --skip-invalid --errors faulty.jsonl")
}
