//! A file that appears under its name whole, or not at all.
//!
//! It is written beside its place and renamed at the end. Whoever drops it before that leaves nothing behind, and what stood
//! there stands.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file on its way to its place.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Begins a file that will stand at `path`.
    ///
    /// # Errors
    ///
    /// Nothing can be written into its folder.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        // A temporary file is private unless told otherwise; this one becomes the user's, under the usual mask.
        let usual = Permissions::from_mode(0o666);
        let mut builder = tempfile::Builder::new();
        let file = builder.prefix(".imagemill-").permissions(usual).tempfile_in(folder_of(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Puts it to its place, and with `force` in place of what stands there.
    ///
    /// # Errors
    ///
    /// It cannot be written to the end, or without `force` something stands there.
    pub(crate) fn put(self, force: bool) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        let put = if force { self.file.persist(self.path) } else { self.file.persist_noclobber(self.path) };
        put.map(drop).map_err(|error| error.error)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that a command writes at a path that its user named.
#[derive(Debug)]
pub(crate) enum OutFile {
    /// A plain file: it stands there once it is whole.
    Whole(Box<BufWriter<WholeFile>>),
    /// Anything else, such as a pipe or a terminal: nothing can stand in for it.
    Straight(BufWriter<File>),
}

impl OutFile {
    /// Begins the file at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        match std::fs::metadata(path) {
            Ok(there) if !there.is_file() || path.starts_with("/dev") => {
                Ok(Self::Straight(BufWriter::new(File::options().append(true).open(path)?)))
            }
            there => {
                // A link stays: the file that it leads to is replaced.
                let place = if there.is_ok() { path.canonicalize()? } else { path.to_owned() };
                Ok(Self::Whole(Box::new(BufWriter::new(WholeFile::beside(&place)?))))
            }
        }
    }

    /// Ends it, and puts it to its place.
    ///
    /// # Errors
    ///
    /// It cannot be written to the end.
    pub(crate) fn end(self) -> io::Result<()> {
        match self {
            Self::Whole(file) => file.into_inner().map_err(io::IntoInnerError::into_error)?.put(true),
            Self::Straight(mut file) => file.flush(),
        }
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Whole(file) => file.write(bytes),
            Self::Straight(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Whole(file) => file.flush(),
            Self::Straight(file) => file.flush(),
        }
    }
}

/// The folder that a path stands in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
