//! The demo's Redis: a child process of its own, with the settings that the promises ask for.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// A private Redis; it ends when this is dropped.
pub(super) struct RedisChild {
    port: u16,
    _child: Child,
}

impl RedisChild {
    /// Starts `redis-server` from the `PATH` on a free port of loopback, with its data in `folder`.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        // Between asking for a free port and taking it somebody else may take it: then another one is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
            if let Some(child) = Self::try_start(folder, port).await? {
                return Ok(Self { port, _child: child });
            }
        }
        bail!("redis-server does not start; its log is {}", folder.join("redis.log").display())
    }

    async fn try_start(folder: &Path, port: u16) -> anyhow::Result<Option<Child>> {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
        ]);
        command.args([
            "--appendfsync",
            "always",
            "--maxmemory-policy",
            "noeviction",
            "--logfile",
            "redis.log",
            "--dir",
        ]);
        command
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child =
            command.spawn().context("failed to start redis-server (`scripts/demo` installs it)")?;
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
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
