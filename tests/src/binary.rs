//! The built binary, as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::process::Process;
use crate::tools::{tool, workspace};

/// How to run `imagemill`: its environment and folder.
#[derive(Clone)]
pub struct Imagemill {
    environment: Vec<(String, String)>,
    folder: PathBuf,
}

/// What a run of it printed.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; 128 + the signal where a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// The rest.
    pub stderr: String,
}

impl Output {
    /// Fails the test unless it exited with `code`.
    ///
    /// # Panics
    ///
    /// With all that was printed.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {:?}\n{}", self.stdout, self.stderr))
    }
}

/// A run of it that goes on.
pub struct Running {
    process: Process,
    log: PathBuf,
}

impl Running {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> anyhow::Result<std::process::ExitStatus> {
        self.process.wait(deadline).with_context(|| format!("its log: {}", self.log()))
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Option<std::process::ExitStatus> {
        self.process.try_wait()
    }

    /// Whether it stands still (SIGSTOP), as the kernel says.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The name before it may hold anything, also a bracket.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Imagemill {
    /// The binary with nothing in its environment but `PATH`, `HOME` and these.
    pub fn new(folder: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { environment: environment.into_iter().collect(), folder: folder.to_owned() }
    }

    /// One that finds `redis-server`, and settings for real work, which what brings its own servers must not use.
    ///
    /// # Errors
    ///
    /// There is no `redis-server`.
    pub fn with_settings_for_real_work(folder: &Path) -> anyhow::Result<Self> {
        let redis = tool("redis-server")?;
        let servers = redis.parent().context("redis-server is in no folder")?;
        let path = format!("{}:{}", servers.display(), std::env::var("PATH")?);
        let environment = [
            ("PATH", path.as_str()),
            ("IMAGEMILL_REDIS_URL", "redis://127.0.0.1:1"),
            ("DASHSCOPE_API_KEY", "sk-real"),
        ];
        Ok(Self::new(folder, environment.map(|(name, value)| (name.to_owned(), value.to_owned()))))
    }

    /// The same with one more variable, or another value.
    #[must_use]
    pub fn with(&self, name: &str, value: impl ToString) -> Self {
        let mut more = self.clone();
        more.environment.retain(|(known, _)| known != name);
        more.environment.push((name.to_owned(), value.to_string()));
        more
    }

    /// Its environment, beside `PATH` and `HOME`.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The binary itself, built like this one.
    pub fn binary(&self) -> anyhow::Result<PathBuf> {
        binary("imagemill")
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary("imagemill")?);
        command.env_clear();
        for kept in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.folder).args(arguments);
        Ok(command)
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.run_with_input(arguments, "").await
    }

    /// Runs it to its end with this on its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        use tokio::io::AsyncWriteExt;
        let mut command = tokio::process::Command::from(self.command(arguments)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("failed to start imagemill")?;
        let mut stdin = child.stdin.take().context("its input is a pipe")?;
        let input = input.as_bytes().to_vec();
        let feed = async move {
            let _ = stdin.write_all(&input).await; // it may end without reading all of it
        };
        let finished = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(Duration::from_secs(600), finished)
            .await
            .with_context(|| format!("imagemill {arguments:?} still runs after 10 minutes"))??;
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
        Ok(Output {
            code: code.context("it ended with neither code nor signal")?,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it, with everything that it prints in a log file.
    pub fn start(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Running> {
        let log = self.folder.join(format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        let mut command = self.command(arguments)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Running { process: Process::start(&mut command)?, log })
    }
}

/// The path of one of our binaries, built like this one.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match folder {
        Ok(folder) => Ok(folder.join(name)),
        Err(problem) => bail!("{problem}"),
    }
}

/// Builds the binaries once for each run of the tests, so that nobody tests yesterday's, and returns their folder.
fn build() -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let folder = exe.parent().context("a binary stands in a folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "imagemill", "--package", "dashscope-sim", "--bins"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    let status = cargo.current_dir(workspace()).status().context("failed to run cargo")?;
    if !status.success() {
        bail!("the binaries do not build");
    }
    Ok(folder.to_owned())
}
