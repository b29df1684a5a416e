//! Many workers at once: started, replaced, killed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rustix::process::Signal;

use crate::logs::WorkerLog;
use crate::{Imagemill, Running, World};

/// What a worker logs for the trials: everything of note, the beginning and end of each step, and each write.
const FILTER: &str = "info,worker::stages=debug,worker::env=debug";

/// A worker of a fleet.
pub struct Member {
    /// What its log is called.
    pub name: String,
    /// The process.
    pub running: Running,
}

/// Workers with JSON logs, all of one world.
pub struct Fleet {
    imagemill: Imagemill,
    folder: PathBuf,
    members: Vec<Member>,
    started: usize,
}

impl Fleet {
    /// Nobody yet. `imagemill` runs in the folder of `world`.
    pub fn new(world: &World, imagemill: &Imagemill) -> Self {
        let imagemill = imagemill.with("IMAGEMILL_LOG_FORMAT", "json").with("RUST_LOG", FILTER);
        Self { imagemill, folder: world.folder().to_owned(), members: Vec::new(), started: 0 }
    }

    /// Starts one more.
    pub fn start(&mut self) -> anyhow::Result<&mut Member> {
        let imagemill = self.imagemill.clone();
        self.start_as(&imagemill, &["worker"])
    }

    /// Starts one more with other variables or arguments. `change` is made from [`Self::imagemill`].
    pub fn start_as(&mut self, imagemill: &Imagemill, arguments: &[&str]) -> anyhow::Result<&mut Member> {
        let name = format!("worker-{:04}", self.started);
        self.started += 1;
        let running = imagemill.start(&name, arguments)?;
        self.members.push(Member { name, running });
        self.members.last_mut().context("one was added")
    }

    /// How its workers are run.
    pub fn imagemill(&self) -> &Imagemill {
        &self.imagemill
    }

    /// Those who are here, the oldest first.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// How many were started in all.
    pub fn started(&self) -> usize {
        self.started
    }

    /// Kills one without warning.
    pub fn kill(&mut self, at: usize) -> Kill {
        let mut member = self.members.remove(at);
        let kill = Kill { worker: member.name.clone(), at: wall_now() };
        member.running.kill();
        kill
    }

    /// Puts a new worker in the place of each that ended by itself: how many that were.
    pub fn replace_ended(&mut self) -> anyhow::Result<usize> {
        let before = self.members.len();
        self.members.retain_mut(|member| member.running.try_wait().is_none());
        let ended = before - self.members.len();
        for _ in 0..ended {
            self.start()?;
        }
        Ok(ended)
    }

    /// Waits until each of them has begun to work.
    pub async fn all_begun(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let started = std::time::Instant::now();
        loop {
            let late = self.members.iter().find(|member| !member.running.log().contains(" begins\""));
            let Some(late) = late else { return Ok(()) };
            anyhow::ensure!(
                started.elapsed() < deadline,
                "{} has not begun after {deadline:?}\n{}",
                late.name,
                late.running.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills all that are left.
    pub fn kill_all(&mut self) {
        self.members.clear();
    }

    /// Tells one to stop and waits for its end: how long that took.
    pub async fn retire(&mut self, at: usize, deadline: Duration) -> anyhow::Result<Duration> {
        let mut member = self.members.remove(at);
        let told = std::time::Instant::now();
        member.running.signal(Signal::TERM);
        loop {
            if let Some(status) = member.running.try_wait() {
                anyhow::ensure!(
                    status.success(),
                    "{} ended with {status}\n{}",
                    member.name,
                    member.running.log()
                );
                return Ok(told.elapsed());
            }
            anyhow::ensure!(told.elapsed() < deadline, "{} still runs after {deadline:?}", member.name);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets a last worker do what is left, and checks that it comes to an end. Held jobs may remain.
    pub async fn finish(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let imagemill = self.imagemill.clone();
        let started = std::time::Instant::now();
        self.start_as(&imagemill, &["worker", "--until-idle"])?;
        let mut last = self.members.pop().context("it was started")?;
        loop {
            if let Some(status) = last.running.try_wait() {
                let code = status.code();
                anyhow::ensure!(
                    matches!(code, Some(0 | 3 | 4)),
                    "{} ended with {status}\n{}",
                    last.name,
                    last.running.log()
                );
                return Ok(());
            }
            anyhow::ensure!(started.elapsed() < deadline, "work is left after {deadline:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All logs so far, also of those who are gone.
    pub fn logs(&self) -> anyhow::Result<Vec<WorkerLog>> {
        WorkerLog::read_all(&self.folder)
    }
}

/// A worker that was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Its name.
    pub worker: String,
    /// When.
    pub at: Timestamp,
}

/// The wall clock, to be held against the times in logs.
pub fn wall_now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the logs of other processes carry the wall clock's time")]
    Timestamp::now()
}
