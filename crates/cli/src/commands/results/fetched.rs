//! The folder that images are fetched into: whether a file is there and right, and how one gets there.
//!
//! Names come from users' `custom_id`s and are percent-encoded as in keys. No link inside of the folder is followed: it could lead
//! anywhere, and whoever made it may not be whoever runs this.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use archive::Sha256Digest;
use job::StoredImage;
use sha2::{Digest as _, Sha256};

use crate::whole_file::WholeFile;

/// A file to be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The folder of its job.
    pub(super) folder: PathBuf,
    /// Its name in there.
    pub(super) name: String,
    /// What it holds.
    pub(super) image: StoredImage,
    /// Whether its job refreshed an item: later refreshes replace what it brought, and delete its version some day.
    pub(super) is_refresh: bool,
}

/// Why a file cannot be had at its place.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// Something else than a folder stands where the job's folder is to be.
    #[error("{} is no folder, and links are not followed", .0.display())]
    NotAFolder(PathBuf),
    /// The file system.
    #[error("{} cannot be written", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the bucket holds is not what was stored.
    #[error("`{key}` in the bucket is not the image that was stored there: its SHA-256 is another")]
    Damaged {
        /// Its key.
        key: String,
    },
}

impl Wanted {
    fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Whether the file is there, a plain one, and byte for byte what it is to be.
    pub(super) fn is_there(&self) -> bool {
        let path = self.path();
        let plain = |path: &Path| fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
        let folder_is_one = fs::symlink_metadata(&self.folder).is_ok_and(|there| there.is_dir());
        folder_is_one
            && plain(&path).is_some_and(|file| file.len() == self.image.bytes)
            && sum_of(&path).is_ok_and(|sum| sum == self.image.sha256)
    }

    /// Whether some bytes are not the image.
    pub(super) fn is_another(&self, body: &[u8]) -> bool {
        Sha256Digest::of(body).to_string() != self.image.sha256
    }

    /// Puts the file to its place, whole or not at all.
    ///
    /// # Errors
    ///
    /// It is not the image, or cannot be written there.
    pub(super) fn save(&self, body: &[u8]) -> Result<(), PlaceError> {
        if self.is_another(body) {
            return Err(PlaceError::Damaged { key: self.image.key.to_string() });
        }
        match fs::create_dir(&self.folder) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                return Err(PlaceError::Io { path: self.folder.clone(), source });
            }
            _ => {}
        }
        if !fs::symlink_metadata(&self.folder).is_ok_and(|there| there.is_dir()) {
            return Err(PlaceError::NotAFolder(self.folder.clone()));
        }
        let write = || {
            let mut file = WholeFile::beside(&self.path())?;
            file.write_all(body)?;
            // A link that stands there is replaced, not followed.
            file.put(true)
        };
        write().map_err(|source| PlaceError::Io { path: self.path(), source })
    }
}

fn sum_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => break Ok(Sha256Digest::from_bytes(hash.finalize().into()).to_string()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(folder: &Path, body: &[u8]) -> Wanted {
        let image = StoredImage {
            key: "b/a/0.png".parse_key(),
            bytes: body.len() as u64,
            sha256: Sha256Digest::of(body).to_string(),
            width: 1,
            height: 1,
        };
        Wanted { folder: folder.join("a"), name: "0.png".to_owned(), image, is_refresh: false }
    }

    trait ParseKey {
        fn parse_key(&self) -> job::ObjectKey;
    }

    impl ParseKey for str {
        fn parse_key(&self) -> job::ObjectKey {
            job::ObjectKey::parse(self).unwrap()
        }
    }

    #[test]
    fn a_file_is_there_only_when_it_is_whole_and_the_right_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = wanted(folder.path(), b"image");
        assert!(!file.is_there());
        file.save(b"image").unwrap();
        assert!(file.is_there());
        fs::write(file.path(), b"imagf").unwrap();
        assert!(!file.is_there(), "the same length is not the same image");
        file.save(b"image").unwrap();
        assert!(file.is_there());
        assert!(matches!(file.save(b"other").unwrap_err(), PlaceError::Damaged { .. }));
        assert!(file.is_there(), "what cannot be used replaces nothing");
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn links_inside_of_the_folder_are_not_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = wanted(folder.path(), b"image");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("a")).unwrap();
        assert!(matches!(file.save(b"image").unwrap_err(), PlaceError::NotAFolder(_)));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        fs::remove_file(folder.path().join("a")).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(outside.path().join("0.png"), b"image").unwrap();
        std::os::unix::fs::symlink(outside.path().join("0.png"), file.path()).unwrap();
        assert!(!file.is_there(), "a link to the right bytes is not the file");
        file.save(b"image").unwrap();
        assert!(file.is_there() && outside.path().join("0.png").exists());
    }
}
