//! A real Redis.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use queue::{Queue, RedisSettings};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::tools::tool;

/// How often Redis writes its append-only file to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before each answer: what the promises are made for.
    Always,
    /// Every second.
    EverySecond,
}

/// A Redis of its own, in a temporary directory.
pub struct RedisServer {
    process: Option<Process>,
    port: u16,
    dir: TempDir,
    binary: PathBuf,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts one that keeps what it accepts: append-only file, `appendfsync always`, `noeviction`.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Fsync::Always, &[]).await
    }

    /// Starts one with further arguments, such as `["--maxmemory", "20mb"]`.
    pub async fn start_with(fsync: Fsync, more: &[&str]) -> anyhow::Result<Self> {
        let binary = tool("redis-server")?;
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"].map(String::from).into();
        let fsync = if fsync == Fsync::Always { "always" } else { "everysec" };
        arguments.extend(
            ["--appendfsync", fsync, "--maxmemory-policy", "noeviction", "--loglevel", "warning"]
                .map(String::from),
        );
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let dir = TempDir::with_prefix("imagemill-redis-")?;
        let mut server = Self { process: None, port: free_port(), dir, binary, arguments };
        for _ in 0..5 {
            if server.launch().await.is_ok() {
                return Ok(server);
            }
            server.port = free_port();
        }
        server.launch().await?;
        Ok(server)
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(["--port", &self.port.to_string(), "--dir"]).arg(self.dir.path()).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start(&mut command)?;
        let started = Instant::now();
        loop {
            if let Some(status) = process.try_wait() {
                bail!("redis-server ended at once: {status}");
            }
            if self.ping().await.is_ok() {
                self.process = Some(process);
                return Ok(());
            }
            if started.elapsed() > Duration::from_secs(30) {
                bail!("redis-server does not answer on port {}", self.port);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ping(&self) -> anyhow::Result<()> {
        let mut connection = self.connection().await?;
        let _: String = redis::cmd("PING").query_async(&mut connection).await?;
        Ok(())
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends it a signal, such as STOP: then it hangs, and is neither gone nor answers.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// A plain connection, for a test's own looks.
    pub async fn connection(&self) -> anyhow::Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        client.get_multiplexed_async_connection().await.context("failed to connect to the test's Redis")
    }

    /// A queue on it, in the default namespace; `seed` makes its nonces.
    pub async fn queue(&self, seed: u64) -> anyhow::Result<Queue> {
        self.queue_with(seed, |_| {}).await
    }

    /// A queue on it, with other settings.
    pub async fn queue_with(
        &self,
        seed: u64,
        change: impl FnOnce(&mut RedisSettings),
    ) -> anyhow::Result<Queue> {
        let mut settings = RedisSettings { url: self.url(), ..RedisSettings::default() };
        change(&mut settings);
        Ok(Queue::connect(&settings, Box::new(StdRng::seed_from_u64(seed))).await?)
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same port, with the data that it kept.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = None;
        self.launch().await
    }

    /// A copy of its append-only files as they are now, while it goes on writing. What they hold at any moment is a beginning of
    /// what was written, and Redis starts from that.
    pub fn copy_data(&self) -> anyhow::Result<TempDir> {
        let copy = TempDir::with_prefix("imagemill-redis-copy-")?;
        copy_folder(self.dir.path(), copy.path())?;
        Ok(copy)
    }

    /// Kills it without warning, and starts it on the same port with the data of a copy.
    pub async fn restart_on(&mut self, copy: &Path) -> anyhow::Result<()> {
        self.process = None;
        self.dir = TempDir::with_prefix("imagemill-redis-")?;
        copy_folder(copy, self.dir.path())?;
        self.launch().await
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
