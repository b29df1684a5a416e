//! Where images are saved. Judged before anything is paid for.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use dashscope::TaskId;

use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::whole_file::{WholeFile, folder_of};

/// Where the images of one request go.
#[derive(Debug)]
pub(super) struct Target {
    output: Option<PathBuf>,
    force: bool,
}

impl Target {
    /// `output` as the user named it, for `n` images.
    ///
    /// # Errors
    ///
    /// A file is there already, its folder is not, or nothing can be written there.
    pub(super) fn new(output: Option<PathBuf>, force: bool, n: u8) -> Result<Self, Failure> {
        let usage = |text: String, hint: &str| {
            Err(Failure::message(text).exit(exit_code::USAGE).hint(hint.to_owned()))
        };
        if let Some(output) = &output {
            let folder = folder_of(output);
            if !folder.is_dir() {
                return usage(format!("there is no folder {}", folder.display()), "make it first");
            }
            let paths = std::iter::once(output.clone())
                .chain((0..usize::from(n)).map(|index| numbered(output, index)));
            let wanted = if n == 1 { 1 } else { usize::from(n) + 1 };
            for path in paths.take(wanted) {
                // Not what a link leads to, but the name itself: it is what would be replaced.
                match path.symlink_metadata() {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => {
                        let context = format!("{} cannot be written", path.display());
                        return Err(Failure::new(error).context(context).exit(exit_code::USAGE));
                    }
                    Ok(_) if path.is_dir() => {
                        return usage(format!("{} is a folder", path.display()), "name a file in it");
                    }
                    Ok(_) if !force => {
                        return usage(format!("{} is there already", path.display()), "--force replaces it");
                    }
                    Ok(_) => {}
                }
            }
        }
        let place = output.as_deref().unwrap_or(Path::new("image.png"));
        // What is asked of the folder after the payment is tried before it. The file goes at once.
        if let Err(error) = WholeFile::beside(place) {
            let context = format!("no file can be written into {}", folder_of(place).display());
            let failure = Failure::new(error).context(context).exit(exit_code::USAGE);
            return Err(failure.hint("name a file in a folder of yours with -o"));
        }
        Ok(Self { output, force })
    }

    /// The path of an image.
    pub(super) fn path(&self, task: &TaskId, index: usize, several: bool) -> PathBuf {
        let single = match &self.output {
            Some(output) => output.clone(),
            None => {
                let plain: String = task
                    .as_str()
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                    .take(64)
                    .collect();
                PathBuf::from(format!("image-{plain}.png"))
            }
        };
        if several { numbered(&single, index) } else { single }
    }

    /// Saves an image whole, or not at all.
    ///
    /// # Errors
    ///
    /// It cannot be written, or a file has appeared there.
    pub(super) fn save(&self, path: &Path, body: &[u8]) -> Result<(), Failure> {
        let context = format!("failed to save {}", path.display());
        let write = || {
            let mut file = WholeFile::beside(path)?;
            file.write_all(body)?;
            file.put(self.force)
        };
        write().or_fail(context)
    }
}

/// `out.png` as `out-2.png`.
fn numbered(path: &Path, index: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{index}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{index}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> TaskId {
        "a1/../b2".parse().unwrap()
    }

    #[test]
    fn several_images_are_numbered_before_the_ending() {
        let target = Target::new(Some("out.png".into()), true, 2).unwrap();
        assert_eq!(target.path(&task(), 0, false), PathBuf::from("out.png"));
        assert_eq!(target.path(&task(), 1, true), PathBuf::from("out-1.png"));
        let unnamed = Target::new(None, false, 1).unwrap();
        assert_eq!(unnamed.path(&task(), 0, false), PathBuf::from("image-a1b2.png"));
    }

    #[test]
    fn a_file_that_is_there_is_refused_before_anything_is_paid_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.png");
        let at = |force, n| Target::new(Some(path.clone()), force, n);
        assert!(at(false, 1).is_ok());
        std::fs::write(folder.path().join("out-1.png"), "").unwrap();
        assert!(at(false, 1).is_ok() && at(false, 2).is_err() && at(true, 2).is_ok());
        assert!(Target::new(Some(folder.path().join("none/out.png")), true, 1).is_err());
        assert!(Target::new(Some(folder.path().to_owned()), true, 1).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_refused_before_anything_is_paid_for() {
        // Nobody makes files there, not even root.
        let failure = Target::new(Some("/proc/out.png".into()), true, 1).unwrap_err();
        assert_eq!(failure.exit_code, exit_code::USAGE);
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join(format!("{}.png", "x".repeat(300)));
        assert!(Target::new(Some(long), true, 1).is_err());
        let dangling = folder.path().join("out.png");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        assert!(Target::new(Some(dangling), false, 1).is_err());
        assert!(Target::new(Some(folder.path().join("new.png")), false, 4).is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the trial leaves nothing behind");
    }

    #[test]
    fn nothing_is_replaced_without_leave() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.png");
        let target = Target::new(Some(path.clone()), false, 1).unwrap();
        target.save(&path, b"one").unwrap();
        assert!(target.save(&path, b"two").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        Target::new(Some(path.clone()), true, 1).unwrap().save(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
