//! Where the lines go: stdout, or a file that stands there whole or not at all.

use std::io::{self, ErrorKind, Write as _};

use crate::failure::{Failure, OrFail as _};
use crate::whole_file::OutFile;

/// Where the lines go.
#[derive(Debug)]
pub(super) enum Lines {
    /// Stdout.
    Stdout,
    /// A file.
    File(OutFile),
}

impl Lines {
    /// To stdout.
    pub(super) fn stdout() -> Self {
        Self::Stdout
    }

    /// Writes a page. Whether anybody still reads.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn write(&mut self, text: &str) -> Result<bool, Failure> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                    Ok(()) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
                    Err(error) => Err(error).or_fail("failed to write to stdout"),
                }
            }
            Self::File(file) => {
                file.write_all(text.as_bytes()).or_fail("failed to write --out")?;
                Ok(true)
            }
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// It cannot be put to its place.
    pub(super) fn end(self) -> Result<(), Failure> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(file) => file.end().or_fail("failed to write --out"),
        }
    }
}
