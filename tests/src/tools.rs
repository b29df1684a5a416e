//! Where the servers' binaries are.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The path of a server's binary: what `scripts/test` put into `.cache/bin`, else what the `PATH` has.
pub fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let cached = workspace().join(".cache/bin").join(name);
    if cached.exists() {
        return Ok(cached);
    }
    let path = std::env::var_os("PATH").context("there is no PATH")?;
    match std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists()) {
        Some(file) => Ok(file),
        None => bail!("`{name}` is not installed; `scripts/test` installs it"),
    }
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in a folder of the workspace")
}
