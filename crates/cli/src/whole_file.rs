//! A file that appears under its name whole, or not at all.
//!
//! It is written beside its place and renamed at the end. Whoever drops it before that leaves nothing behind, and what stood
//! there stands.

use std::fs::Permissions;
use std::io::{self, Write};
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

/// The folder that a path stands in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
