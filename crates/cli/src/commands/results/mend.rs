//! `--errors`: the jobs that did not succeed, as lines to mend and to enqueue again; what must not be enqueued again is counted.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use job::{BatchName, BucketPlace, ErrorsLine, Known, Mend, ResultLine};

use crate::failure::{Failure, OrFail as _};
use crate::output::Output;
use crate::output::words::counted;
use crate::whole_file::OutFile;

/// The file of lines to mend, while it is written.
pub(super) struct MendFile {
    file: OutFile,
    path: PathBuf,
    lines: u64,
    held: u64,
    missing: u64,
    unreadable: u64,
}

impl MendFile {
    /// Begins it.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn begin(path: &Path) -> Result<Self, Failure> {
        let context = format!("failed to create {} for the jobs that did not succeed", path.display());
        let file = OutFile::begin(path).or_fail(context)?;
        Ok(Self { file, path: path.to_owned(), lines: 0, held: 0, missing: 0, unreadable: 0 })
    }

    /// Adds a job, if it is one to mend.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn add(
        &mut self,
        known: &Known,
        line: &ResultLine,
        place: Option<&BucketPlace>,
    ) -> Result<(), Failure> {
        match ErrorsLine::of(known, line, place) {
            Mend::Nothing => {}
            Mend::Line(line) => {
                self.lines += 1;
                self.file.write_all(line.to_json_line().as_bytes()).or_fail("failed to write --errors")?;
            }
            Mend::Held => self.held += 1,
            Mend::Missing => self.missing += 1,
            Mend::Unreadable => self.unreadable += 1,
        }
        Ok(())
    }

    /// Puts it to its place, and says what is in it and what is not.
    ///
    /// # Errors
    ///
    /// It cannot be written to the end.
    pub(super) fn end(self, out: Output, batch: &BatchName) -> Result<(), Failure> {
        self.file.end().or_fail("failed to write --errors")?;
        let path = self.path.display();
        let mut said = vec![format!(
            "{} to mend in {path}: enqueue them into another batch, or into this one with --replace",
            counted(self.lines, "job")
        )];
        let others = [
            (
                self.held,
                "held or given up, and not in it: it may have been made after all, and `imagemill job resolve` or `job retry` decides about each"
                    .to_owned(),
            ),
            (
                self.missing,
                format!(
                    "with images missing, and not in it: `imagemill batch retry {batch} --missing` asks for these alone"
                ),
            ),
            (self.unreadable, "not in it: what was asked for is gone".to_owned()),
        ];
        let others = others.into_iter().filter(|(jobs, _)| *jobs > 0);
        said.extend(others.map(|(jobs, what)| format!("{} {what}", counted(jobs, "job"))));
        said.iter().for_each(|line| out.note(line));
        Ok(())
    }
}
