//! The provider's twin: a small DashScope whose every task is a line of figures, so that what it says at any moment is a
//! function of the time alone. It bills, lists with a lag, acts late, forgets after a day, and lets links die.

mod api;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use archive::Sha256Digest;
use dashscope::{ImageUrl, TaskStatus};
use jiff::SignedDuration;
use job::{TaskId, Timestamp};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

pub(crate) use self::api::TwinApi;
use super::time::VirtualTime;

/// How long it keeps tasks.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// How late its list shows a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ListLag {
    /// Every task so late: what is shown proves that all older ones are.
    Uniform(Duration),
    /// Each task has a lag of its own.
    PerTask(Range<Duration>),
}

/// What becomes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It brings its images.
    Succeeds,
    /// It fails with this code.
    Fails(&'static str),
    /// The provider cancels it while it is PENDING.
    Canceled,
}

/// How the provider is today.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// The time that an answer takes, there and back.
    pub(crate) latency: Range<Duration>,
    /// The time for which a task is PENDING.
    pub(crate) pending: Range<Duration>,
    /// The time for which it is RUNNING.
    pub(crate) running: Range<Duration>,
    pub(crate) list_lag: ListLag,
    /// How far its clock is ahead of the queue's.
    pub(crate) clock_offset: SignedDuration,
    /// How long the links of one answer live.
    pub(crate) link_life: Duration,
    /// The size of every image, by its reports.
    pub(crate) size: Option<(u32, u32)>,
    /// Fates of the first tasks, in the order of their creation; all later ones succeed.
    pub(crate) fates: Vec<Fate>,
    /// The client's timeout of a create.
    pub(crate) create_timeout: Duration,
}

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// What was asked for; prompts of a run are all different.
    pub(crate) prompt: String,
    images: u32,
    /// When the provider acted on the request, by the queue's clock. Until then there is no such task.
    pub(crate) created_at: Timestamp,
    begins_at: Timestamp,
    ends_at: Timestamp,
    listed_at: Timestamp,
    canceled_at: Option<Timestamp>,
    fate: Fate,
}

impl Task {
    pub(crate) fn status(&self, now: Timestamp) -> TaskStatus {
        if self.canceled_at.is_some_and(|at| at <= now) {
            return TaskStatus::Canceled;
        }
        match self.fate {
            _ if now < self.begins_at => TaskStatus::Pending,
            Fate::Canceled => TaskStatus::Canceled,
            _ if now < self.ends_at => TaskStatus::Running,
            Fate::Succeeds => TaskStatus::Succeeded,
            Fate::Fails(_) => TaskStatus::Failed,
        }
    }

    /// Images billed by `now`.
    pub(crate) fn billed(&self, now: Timestamp) -> u32 {
        if self.exists(now) && self.status(now) == TaskStatus::Succeeded { self.images } else { 0 }
    }

    pub(crate) fn exists(&self, now: Timestamp) -> bool {
        self.created_at <= now
    }

    /// Whether the list shows it before it is forgotten.
    pub(crate) fn is_ever_listed(&self) -> bool {
        self.listed_at < self.created_at + KEPT_FOR
    }

    /// Whether it holds a place.
    pub(crate) fn is_at_work(&self, now: Timestamp) -> bool {
        self.exists(now) && !self.status(now).is_final()
    }
}

/// The provider of a run.
pub(crate) struct Provider {
    time: VirtualTime,
    pub(crate) habits: Habits,
    state: Mutex<State>,
}

struct State {
    tasks: Vec<Task>,
    rng: ChaCha8Rng,
}

/// A link cannot be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadLink {
    /// Its time is over.
    Expired,
    /// It never was one.
    Refused,
}

impl Provider {
    pub(crate) fn new(time: VirtualTime, habits: Habits, rng: ChaCha8Rng) -> Arc<Self> {
        Arc::new(Self { time, habits, state: Mutex::new(State { tasks: Vec::new(), rng }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn draw(&self, range: &Range<Duration>) -> Duration {
        draw(&mut self.state().rng, range)
    }

    fn chance(&self) -> f64 {
        self.state().rng.random()
    }

    /// Takes a request that arrives at `at`, perhaps later than now.
    pub(crate) fn take(&self, prompt: &str, images: u32, at: Timestamp) -> TaskId {
        let mut state = self.state();
        let State { tasks, rng } = &mut *state;
        let lag = match &self.habits.list_lag {
            ListLag::Uniform(lag) => *lag,
            ListLag::PerTask(range) => draw(rng, range),
        };
        let begins_at = at + draw(rng, &self.habits.pending);
        let id: TaskId = format!("task-{}", tasks.len() + 1).parse().expect("a short word is a task id");
        tasks.push(Task {
            id: id.clone(),
            prompt: prompt.to_owned(),
            images,
            created_at: at,
            begins_at,
            ends_at: begins_at + draw(rng, &self.habits.running),
            listed_at: at + lag,
            canceled_at: None,
            fate: self.habits.fates.get(tasks.len()).copied().unwrap_or(Fate::Succeeds),
        });
        id
    }

    /// All tasks that will ever have been, as far as is known now.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        self.state().tasks.clone()
    }

    pub(crate) fn any_task(&self, is: impl FnMut(&Task) -> bool) -> bool {
        self.state().tasks.iter().any(is)
    }

    pub(crate) fn each_task(&self, look: impl FnMut(&Task)) {
        self.state().tasks.iter().for_each(look);
    }

    fn task(&self, id: &TaskId) -> Option<Task> {
        self.state().tasks.iter().find(|task| task.id == *id).cloned()
    }

    /// Asks to cancel; whether that was done.
    fn cancel(&self, id: &TaskId, now: Timestamp) -> bool {
        let mut state = self.state();
        let task = state.tasks.iter_mut().find(|task| task.id == *id && task.exists(now));
        let pending = task.filter(|task| task.status(now) == TaskStatus::Pending);
        pending.map(|task| task.canceled_at = Some(now)).is_some()
    }

    /// Images billed for each prompt, and by how many tasks.
    pub(crate) fn bill(&self, now: Timestamp) -> BTreeMap<String, (u32, u32)> {
        let mut bill: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for task in &self.state().tasks {
            let images = task.billed(now);
            if images > 0 {
                let line = bill.entry(task.prompt.clone()).or_default();
                *line = (line.0 + 1, line.1 + images);
            }
        }
        bill
    }

    pub(crate) fn link(&self, task: &TaskId, image: u32, now: Timestamp) -> ImageUrl {
        let dies = self.by_its_clock(now + self.habits.link_life).as_second();
        let link = format!("https://results.example/{task}/{image}.png?Expires={dies}&Signature=s");
        ImageUrl::new(link).expect("a link of this form is one")
    }

    /// What stands behind a link.
    pub(crate) fn serve(&self, link: &ImageUrl, now: Timestamp) -> Result<String, DeadLink> {
        let path = link.expose().strip_prefix("https://results.example/").ok_or(DeadLink::Refused)?;
        if link.expires_at().is_none_or(|dies| dies <= self.by_its_clock(now)) {
            return Err(DeadLink::Expired);
        }
        Ok(path.split('?').next().unwrap_or_default().to_owned())
    }

    fn by_its_clock(&self, time: Timestamp) -> Timestamp {
        time + self.habits.clock_offset
    }
}

/// What an image of a task is.
pub(crate) fn picture(task: &TaskId, image: u32) -> String {
    format!("{task}/{image}.png")
}

/// The digest of a picture.
pub(crate) fn digest(picture: &str) -> String {
    Sha256Digest::of(picture.as_bytes()).to_string()
}

fn draw(rng: &mut ChaCha8Rng, range: &Range<Duration>) -> Duration {
    let (from, to) = (range.start.as_millis() as u64, range.end.as_millis() as u64);
    Duration::from_millis(if to > from { rng.random_range(from..to) } else { from })
}
