//! This very binary, run as a user would run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// This binary, in one folder and one environment.
pub(in crate::commands) struct Binary {
    path: PathBuf,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Binary {
    /// It runs in `folder`, with `environment` over that of this process.
    ///
    /// # Errors
    ///
    /// The operating system does not say where this binary is.
    pub(in crate::commands) fn new(
        folder: &Path,
        environment: Vec<(&'static str, String)>,
    ) -> std::io::Result<Self> {
        Ok(Self { path: std::env::current_exe()?, folder: folder.to_owned(), environment })
    }

    /// A command of it. It is killed when its handle is dropped.
    pub(in crate::commands) fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments.iter().map(AsRef::as_ref));
        command.current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        // Whatever the user has set for real must not reach it.
        for (name, _) in std::env::vars() {
            if ["IMAGEMILL_", "DASHSCOPE_", "AWS_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
