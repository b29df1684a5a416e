//! A temporary folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A temporary folder that goes with its handle.
pub(in crate::commands) struct Scratch(PathBuf);

/// How many this process has made: each has a name of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// Makes one, named after `what` it is for.
    pub(in crate::commands) fn make(what: &str) -> std::io::Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("imagemill-{what}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// A path in it.
    pub(in crate::commands) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder.
    pub(in crate::commands) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
