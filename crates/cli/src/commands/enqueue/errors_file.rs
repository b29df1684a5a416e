//! The file of `--errors`: the lines that were left out, with the reasons.

use std::io::{self, Write};
use std::path::Path;

use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::source::Source;
use crate::whole_file::OutFile;

/// The file, while it is written.
#[derive(Debug)]
pub(super) struct ErrorsFile(OutFile);

impl ErrorsFile {
    /// Begins the file at `path`, for the faulty lines of `source`.
    ///
    /// # Errors
    ///
    /// It is the input itself (2), or cannot be made.
    pub(super) fn begin(path: &Path, source: &Source) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        if std::fs::metadata(path).is_ok_and(|there| source.is(&there)) {
            let text = format!("--errors {shown} is the input itself");
            let hint = "name another file: the faulty lines would take the place of all lines";
            return Err(Failure::message(text).exit(exit_code::USAGE).hint(hint));
        }
        OutFile::begin(path).map(Self).or_fail(format!("failed to create {shown} for the faulty lines"))
    }

    /// Ends it, and puts it to its place.
    ///
    /// # Errors
    ///
    /// It cannot be written to the end.
    pub(super) fn end(self) -> io::Result<()> {
        self.0.end()
    }
}

impl Write for ErrorsFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_itself_is_refused_under_every_name_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("jobs.jsonl"), "x\n").unwrap();
        std::os::unix::fs::symlink("jobs.jsonl", at("soft.jsonl")).unwrap();
        std::fs::hard_link(at("jobs.jsonl"), at("hard.jsonl")).unwrap();
        let source = Source::open(&at("jobs.jsonl")).unwrap();
        for name in ["jobs.jsonl", "soft.jsonl", "hard.jsonl"] {
            let failure = ErrorsFile::begin(&at(name), &source).unwrap_err();
            assert_eq!(failure.exit_code, exit_code::USAGE, "{name}");
        }
        assert_eq!(std::fs::read_to_string(at("jobs.jsonl")).unwrap(), "x\n");
    }

    #[test]
    fn an_older_file_stands_until_the_new_one_is_whole_and_a_link_to_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("jobs.jsonl"), "x\n").unwrap();
        std::fs::write(at("old.jsonl"), "old\n").unwrap();
        std::os::unix::fs::symlink("old.jsonl", at("errors.jsonl")).unwrap();
        let source = Source::open(&at("jobs.jsonl")).unwrap();
        let read = || std::fs::read_to_string(at("old.jsonl")).unwrap();
        let begin = || {
            let mut file = ErrorsFile::begin(&at("errors.jsonl"), &source).unwrap();
            file.write_all(b"new\n").unwrap();
            file.flush().unwrap();
            file
        };
        drop(begin());
        assert_eq!(read(), "old\n");
        begin().end().unwrap();
        assert_eq!(read(), "new\n");
        assert!(at("errors.jsonl").is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        ErrorsFile::begin(Path::new("/dev/null"), &source).unwrap().end().unwrap();
    }
}
