//! A private Redis: a child process, with the settings that the promises ask for.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::end_of;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};

/// What the promises ask for, and nothing that leaves the machine.
const ARGUMENTS: [&str; 10] = [
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--maxmemory-policy",
    "noeviction",
];

/// What to try where it does not start.
const HINT: &str = "`scripts/demo` installs what is missing";

/// A private Redis; it ends when this is dropped.
pub(in crate::commands) struct RedisChild {
    port: u16,
    _child: Child,
}

impl RedisChild {
    /// Starts `program` from the `PATH` on a free port of loopback, with its data in `folder`.
    ///
    /// # Errors
    ///
    /// It does not start (69). The end of its log is in the error: its folder is gone by the time that somebody reads it.
    pub(in crate::commands) async fn start(program: &str, folder: &Path) -> Result<Self, Failure> {
        let failed = |failure: Failure| failure.exit(exit_code::UNAVAILABLE).hint(HINT);
        let log = folder.join("redis.log");
        std::fs::create_dir_all(folder).or_fail("failed to make a temporary folder")?;
        // Between asking for a free port and taking it somebody else may take it: then another one is tried.
        for _ in 0..5 {
            let port = free_port().await.or_fail("failed to find a free port")?;
            let started = Self::try_start(program, folder, &log, port).await;
            let started = started.or_fail(format!("failed to start {program}")).map_err(failed)?;
            if let Some(child) = started {
                return Ok(Self { port, _child: child });
            }
        }
        Err(failed(Failure::message(format!("{program} does not start")).details(end_of(&log, 10))))
    }

    async fn try_start(
        program: &str,
        folder: &Path,
        log: &Path,
        port: u16,
    ) -> std::io::Result<Option<Child>> {
        // Both outputs into one file: what is wrong with its arguments it says before it has a log of its own.
        let file = File::create(log)?;
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string()]).args(ARGUMENTS).arg("--dir").arg(folder);
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file).kill_on_drop(true);
        let mut child = command.spawn()?;
        for _ in 0..500 {
            if child.try_wait()?.is_some() {
                return Ok(None);
            }
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(Some(child));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(None)
    }

    /// Its URL.
    pub(in crate::commands) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

async fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_redis_that_does_not_start_says_why() {
        let folder = tempfile::tempdir().unwrap();
        // It knows none of Redis's arguments, and says so.
        let failure = RedisChild::start("ls", folder.path()).await.err().unwrap();
        assert_eq!(failure.exit_code, exit_code::UNAVAILABLE);
        assert!(failure.details.iter().any(|line| line.contains("--port")), "{:?}", failure.details);
        let failure = RedisChild::start("no-such-program", folder.path()).await.err().unwrap();
        assert_eq!((failure.exit_code, failure.hint.as_deref()), (exit_code::UNAVAILABLE, Some(HINT)));
    }
}
