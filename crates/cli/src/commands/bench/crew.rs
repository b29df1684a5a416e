//! Worker processes: started, told to stop, killed; and what each of them used.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use super::lateness;
use super::machine::{self, Used};
use crate::commands::stand_ins::{Binary, end_of};
use crate::failure::{Failure, OrFail as _};

/// How long a worker that was told to stop may take. Source: ours; the longest timeout of a create, and some.
const STOP_MAX: Duration = Duration::from_secs(45);

struct Member {
    child: Child,
    id: u32,
    log: String,
    used: Used,
}

/// Workers of one run, each with its log in a file of its own.
pub(super) struct Crew {
    binary: Binary,
    folder: PathBuf,
    arguments: Vec<String>,
    members: Vec<Member>,
    ended: Vec<Used>,
    started: usize,
}

impl Crew {
    /// Nobody yet. `settings` are given to each, as `section.name=value`.
    pub(super) fn new(binary: Binary, folder: PathBuf, settings: &[String]) -> Self {
        let mut arguments: Vec<String> = ["worker", "--log", "json"].map(str::to_owned).into();
        for setting in settings {
            arguments.extend(["--set".to_owned(), setting.clone()]);
        }
        Self { binary, folder, arguments, members: Vec::new(), ended: Vec::new(), started: 0 }
    }

    /// Starts one more.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let log = log_name(self.started);
        let file = std::fs::File::create(self.folder.join(&log)).or_fail("failed to make a worker's log")?;
        let mut command = self.binary.command(&self.arguments);
        command.env("RUST_LOG", lateness::LOG_FILTER);
        command.stdout(file.try_clone().or_fail("failed to make a worker's log")?).stderr(file);
        let child = command.spawn().or_fail("failed to start a worker")?;
        let id = child.id().unwrap_or_default();
        self.members.push(Member { child, id, log, used: Used::default() });
        self.started += 1;
        Ok(())
    }

    /// How many are here.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Looks at what each has used, and whether all still run.
    ///
    /// # Errors
    ///
    /// One has ended that nobody told to.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        for member in &mut self.members {
            if member.is_over() {
                let log = end_of(&self.folder.join(&member.log), 20);
                return Err(Failure::message("a worker ended early").details(log));
            }
            member.look();
        }
        Ok(())
    }

    /// Tells the worker at this place to stop, and waits for its end.
    pub(super) async fn stop(&mut self, at: usize) -> Result<(), Failure> {
        let member = self.members.remove(at).seen();
        signal(member.id, Signal::TERM);
        self.end(member).await
    }

    /// Kills the worker at this place without warning.
    pub(super) async fn kill(&mut self, at: usize) -> Result<(), Failure> {
        let member = self.members.remove(at).seen();
        signal(member.id, Signal::KILL);
        self.end(member).await
    }

    /// Tells all to stop, and waits for their end.
    pub(super) async fn stop_all(&mut self) -> Result<(), Failure> {
        let members: Vec<Member> = self.members.drain(..).map(Member::seen).collect();
        for member in &members {
            signal(member.id, Signal::TERM);
        }
        for member in members {
            self.end(member).await?;
        }
        Ok(())
    }

    /// What each that has ended had used.
    pub(super) fn ended(&self) -> &[Used] {
        &self.ended
    }

    /// By how many ms polls were late, over all workers so far.
    pub(super) fn lateness(&self) -> std::io::Result<Vec<i64>> {
        let mut late = Vec::new();
        for number in 0..self.started {
            late.extend(lateness::of_log(&self.folder.join(log_name(number)))?);
        }
        Ok(late)
    }

    /// The end of the log of the last one that was started.
    pub(super) fn end_of_log(&self) -> Vec<String> {
        end_of(&self.folder.join(log_name(self.started.saturating_sub(1))), 10)
    }

    /// Waits for the end of one that was told. Of a process that nobody has waited for yet the kernel still knows what time it used.
    async fn end(&mut self, mut member: Member) -> Result<(), Failure> {
        let told = Instant::now();
        while !member.is_over() {
            if told.elapsed() > STOP_MAX {
                return Err(Failure::message("a worker does not stop"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let member = member.seen();
        self.ended.push(member.used);
        let Member { mut child, .. } = member;
        child.wait().await.or_fail("failed to wait for a worker")?;
        Ok(())
    }
}

impl Member {
    /// With what it has used by now.
    fn seen(mut self) -> Self {
        self.look();
        self
    }

    fn look(&mut self) {
        if let Some(now) = machine::used_by(self.id) {
            self.used.cpu = self.used.cpu.max(now.cpu);
            self.used.rss_peak_bytes = self.used.rss_peak_bytes.max(now.rss_peak_bytes);
        }
    }

    fn is_over(&mut self) -> bool {
        match machine::has_ended(self.id) {
            Some(ended) => ended,
            None => !matches!(self.child.try_wait(), Ok(None)),
        }
    }
}

fn log_name(number: usize) -> String {
    format!("worker-{number:04}.log")
}

fn signal(id: u32, signal: Signal) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // It may have ended a moment ago.
        let _ = kill_process(id, signal);
    }
}
