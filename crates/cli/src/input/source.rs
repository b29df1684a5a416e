//! Where jobs come from: a file, standard input, or prompts given by flag. Each can be read twice, and is unpacked on the way.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::rows::Format;
use super::unpack::unpacked;

/// Something that holds lines.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file that can be read again from its start.
    File {
        /// The file; for standard input a temporary one that has no name.
        file: File,
        /// As the user named it.
        shown: String,
        /// What paths in it are relative to.
        folder: PathBuf,
        /// The plain file that the lines come from, by device and inode, where they come from one.
        origin: Option<(u64, u64)>,
        /// How it is written.
        format: Format,
        /// The bytes of it that were read since its start.
        passed: AtomicU64,
    },
    /// Prompts given by flag, as lines.
    Lines {
        /// The lines.
        text: String,
    },
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The file cannot be opened.
    #[error("{} cannot be read", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard input could not be put aside.
    #[error("standard input cannot be read")]
    Stdin(#[source] io::Error),
}

/// What flags say of single prompts.
#[derive(Debug, Clone, Default)]
pub(crate) struct PromptFlags {
    /// The prompts.
    pub(crate) prompts: Vec<String>,
    /// Input images of each.
    pub(crate) images: Vec<String>,
    /// The name of the only job.
    pub(crate) custom_id: Option<String>,
}

impl Source {
    /// The file at `path`, or standard input for `-`.
    ///
    /// Standard input is put into a temporary file first, since it is read twice: nothing is enqueued before all of it was
    /// judged.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    pub(crate) fn open(path: &Path) -> Result<Self, SourceError> {
        if path.as_os_str() == "-" {
            let origin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            let origin = origin.and_then(|file| file.metadata()).ok().as_ref().and_then(identity);
            return Self::spool(io::stdin().lock(), origin).map_err(SourceError::Stdin);
        }
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                Err(io::Error::from(io::ErrorKind::IsADirectory))
            } else {
                Ok((file, metadata))
            }
        };
        let (file, metadata) =
            open().map_err(|source| SourceError::Open { path: path.to_owned(), source })?;
        let (shown, format) = (path.display().to_string(), Format::of(path));
        let folder = path.parent().map(Path::to_owned).filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| PathBuf::from("."));
        if metadata.is_file() {
            return Ok(Self::File {
                file,
                shown,
                folder,
                origin: identity(&metadata),
                format,
                passed: AtomicU64::new(0),
            });
        }
        // A pipe, such as of a shell's `<(…)`, can be read once only.
        match Self::spool(file, None).map_err(|source| SourceError::Open { path: path.to_owned(), source })? {
            Self::File { file, origin, passed, .. } => {
                Ok(Self::File { file, shown, folder, origin, format, passed })
            }
            lines => Ok(lines),
        }
    }

    fn spool(mut input: impl Read, origin: Option<(u64, u64)>) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut input, &mut file)?;
        let (shown, folder) = ("standard input".to_owned(), PathBuf::from("."));
        let (format, passed) = (Format::Jsonl, AtomicU64::new(0));
        Ok(Self::File { file, shown, folder, origin, format, passed })
    }

    /// What `input` holds, put aside in a file of its own.
    ///
    /// # Errors
    ///
    /// It cannot be put aside.
    pub(crate) fn kept(
        mut input: impl Read,
        shown: String,
        folder: PathBuf,
        format: Format,
    ) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut input, &mut file)?;
        Ok(Self::of_file(file, shown, folder, format))
    }

    /// A file that was put aside.
    pub(crate) fn of_file(file: File, shown: String, folder: PathBuf, format: Format) -> Self {
        Self::File { file, shown, folder, origin: None, format, passed: AtomicU64::new(0) }
    }

    /// The same, written in another way than its name says.
    pub(crate) fn written_as(mut self, written: Format) -> Self {
        if let Self::File { format, .. } = &mut self {
            *format = written;
        }
        self
    }

    /// How it is written.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::File { format, .. } => *format,
            Self::Lines { .. } => Format::Jsonl,
        }
    }

    /// Prompts given by flag.
    pub(crate) fn of_prompts(flags: &PromptFlags) -> Self {
        let line = |prompt: &String| {
            let mut line = Map::new();
            line.insert("prompt".to_owned(), Value::from(prompt.as_str()));
            if !flags.images.is_empty() {
                line.insert("images".to_owned(), Value::from(flags.images.clone()));
            }
            if let Some(custom_id) = &flags.custom_id {
                line.insert("custom_id".to_owned(), Value::from(custom_id.as_str()));
            }
            Value::Object(line).to_string() + "\n"
        };
        Self::Lines { text: flags.prompts.iter().map(line).collect() }
    }

    /// What paths in it are relative to.
    pub(crate) fn folder(&self) -> PathBuf {
        match self {
            Self::File { folder, .. } => folder.clone(),
            Self::Lines { .. } => PathBuf::from("."),
        }
    }

    /// Whether it comes from that file: under whatever name, and behind standard input as well.
    pub(crate) fn is(&self, file: &Metadata) -> bool {
        match self {
            Self::File { origin, .. } => origin.is_some() && *origin == identity(file),
            Self::Lines { .. } => false,
        }
    }

    /// How messages name it.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::File { shown, .. } => shown,
            Self::Lines { .. } => "the command line",
        }
    }

    /// Its size in bytes, as far as that is known.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::File { file, .. } => file.metadata().map_or(0, |metadata| metadata.len()),
            Self::Lines { text } => text.len() as u64,
        }
    }

    /// How many of these bytes were read since its start.
    pub(crate) fn passed(&self) -> u64 {
        match self {
            Self::File { passed, .. } => passed.load(Ordering::Relaxed),
            Self::Lines { text } => text.len() as u64,
        }
    }

    /// Reads it from its start, unpacked.
    pub(crate) fn lines(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        match self {
            Self::File { file, passed, .. } => {
                let mut file: &File = file;
                file.seek(SeekFrom::Start(0))?;
                passed.store(0, Ordering::Relaxed);
                unpacked(BufReader::with_capacity(256 * 1024, Counted { file, passed }))
            }
            Self::Lines { text } => Ok(Box::new(Cursor::new(text.as_bytes()))),
        }
    }
}

/// Reads a file, and counts.
struct Counted<'a> {
    file: &'a File,
    passed: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.passed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What tells a plain file from all others.
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &Source) -> String {
        let mut text = String::new();
        source.lines().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn every_source_can_be_read_twice() {
        let spooled = Source::spool(&b"a\nb\n"[..], None).unwrap();
        assert_eq!((read(&spooled), read(&spooled)), ("a\nb\n".into(), "a\nb\n".into()));
        let flags = PromptFlags { prompts: vec!["a \"b\"".into()], ..PromptFlags::default() };
        let prompts = Source::of_prompts(&flags);
        assert_eq!(
            (read(&prompts), read(&prompts)),
            ("{\"prompt\":\"a \\\"b\\\"\"}\n".into(), read(&prompts))
        );
    }

    #[test]
    fn a_packed_file_is_read_as_what_it_holds_and_followed_by_its_own_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, text) = (folder.path().join("jobs.csv.gz"), "x\n".repeat(10_000));
        let packed = crate::input::unpack::tests::gzip(text.as_bytes());
        std::fs::write(&path, &packed).unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!((read(&source), read(&source)), (text.clone(), text));
        assert_eq!((source.format(), source.passed()), (Format::Csv, packed.len() as u64));
        assert_eq!(source.written_as(Format::Jsonl).format(), Format::Jsonl);
    }

    #[test]
    fn paths_are_relative_to_the_file_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.jsonl");
        std::fs::write(&path, "x\n").unwrap();
        assert_eq!(Source::open(&path).unwrap().folder(), folder.path());
        assert!(matches!(Source::open(folder.path()), Err(SourceError::Open { .. })));
    }
}
