//! The states of a job: each carries exactly what is true in it, and says who moves it on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AccountName, FailureClass, Micros, TaskId, Timestamp};

/// One try to create a job's task: written before the paid call, so that a crash leaves a trace of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 for a job's first attempt. With the job id it names the attempt everywhere.
    pub number: u32,
    /// The account that was asked.
    pub account: AccountName,
    /// When the claim was granted, by Redis's clock.
    pub claimed_at: Timestamp,
    /// After this time nothing may be sent for the attempt any more.
    pub send_by: Timestamp,
    /// The most that its task can cost, by the prices at its claim: reserved of every budget until it is known what it costs
    /// ([`JobState::unbilled`]). 0 for attempts of before there were budgets.
    #[serde(default)]
    pub cost_max: Micros,
}

/// Where DashScope last said the task was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskPhase {
    /// Queued at the provider; can be cancelled there.
    Pending,
    /// Being processed; will be billed.
    Running,
    /// A state that the API page does not name. Not final.
    Unrecognised,
}

/// Who ended a canceled job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanceledBy {
    /// Somebody here asked for it.
    User,
    /// The provider says CANCELED, and nobody here asked.
    Provider,
}

/// Why a job waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldReason {
    /// A create got no answer, and the provider's task list does not show for certain what became of it.
    CannotTell,
    /// The policy `ambiguous = "hold"`: a create got no answer.
    Policy,
    /// The provider does not know the task, though it is younger than 24 h.
    UnknownTask,
    /// Every worker that took this step vanished, the last one while it did nothing else.
    Poison,
    /// The task succeeded and is billed, and its answer holds no image that this version can read.
    UnreadableResult,
    /// An adopted task brought more images, or another size, than the job asked for.
    DoubtfulAdoption,
}

impl HeldReason {
    /// A sentence for people.
    pub fn explain(self) -> &'static str {
        match self {
            Self::CannotTell => {
                "a create call got no answer and the task list does not show what became of it"
            }
            Self::Policy => "a create call got no answer, and `ambiguous = \"hold\"` is set",
            Self::UnknownTask => "the provider does not know the task, though it is younger than 24 h",
            Self::Poison => "every worker that took this step vanished",
            Self::UnreadableResult => {
                "the task is billed, and its answer holds no image that this version can read"
            }
            Self::DoubtfulAdoption => "the task that was found does not look like this job's",
        }
    }
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Accepted, not yet sent. A claim for submit moves it on once permit and slot are granted.
    Queued {
        /// Not to be claimed before.
        due: Timestamp,
        /// Why it is here again: the code of the last refusal or failure.
        cause: Option<String>,
    },
    /// Written before the paid call. `worker::submit` moves it on; found here after a crash, its outcome is unknown.
    Submitting {
        /// The attempt that is under way.
        attempt: Attempt,
    },
    /// The create call got no answer. The settler moves it on, from evidence only.
    Settling {
        /// The attempt in question.
        attempt: Attempt,
        /// When the settler may look next.
        due: Timestamp,
        /// How often it has looked.
        looks: u16,
        /// What went wrong, such as `timeout`.
        cause: String,
    },
    /// DashScope is working. `worker::poll` moves it on when `due` has come.
    Polling {
        /// The attempt that created the task.
        attempt: Attempt,
        /// The task.
        task: TaskId,
        /// When the task was created (by our clock, at the latest).
        created_at: Timestamp,
        /// When it is asked next.
        due: Timestamp,
        /// Answers so far in which it was not final.
        polls: u32,
        /// Answers of UNKNOWN in a row.
        unknowns: u8,
        /// Where the provider last said it was.
        phase: TaskPhase,
        /// When work on it began, by our clock, where that is known.
        running_since: Option<Timestamp>,
    },
    /// The images exist, and have been billed. `worker::archive` copies them before the links die.
    Archiving {
        /// The attempt that created the task.
        attempt: Attempt,
        /// The task.
        task: TaskId,
        /// When the task was created (by our clock, at the latest).
        created_at: Timestamp,
        /// Not to be claimed before.
        due: Timestamp,
        /// When the first link dies.
        deadline: Timestamp,
        /// Images that the task brought.
        images: u8,
        /// Tries so far that left images uncopied.
        tries: u16,
        /// Times the task was asked again for fresh links.
        refetches: u8,
    },
    /// Every image that could be had is in the bucket.
    Succeeded {
        /// The task that brought them.
        task: TaskId,
        /// When the last copy was committed.
        at: Timestamp,
        /// Whether images that the task brought are missing; the manifest has the reason for each.
        partial: bool,
    },
    /// It will not succeed by itself.
    Failed {
        /// When.
        at: Timestamp,
        /// What kind of failure.
        class: FailureClass,
        /// The service's code, or ours.
        code: String,
    },
    /// Ended before anything was billed.
    Canceled {
        /// When.
        at: Timestamp,
        /// By whom.
        by: CanceledBy,
    },
    /// The images were billed and their links died, or the provider forgot the task, before they were copied.
    Expired {
        /// When that was noticed.
        at: Timestamp,
        /// The task.
        task: TaskId,
    },
    /// Waiting for a person: `imagemill job resolve` moves it on.
    Held {
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: HeldReason,
        /// The attempt in question.
        attempt: Attempt,
        /// Whether a task may exist that nobody owns.
        unsettled: bool,
        /// Whether that task, if it exists, is known to hold no place at the provider any more.
        slot_free: bool,
        /// The task, where one is known.
        task: Option<TaskId>,
    },
}

/// A state's name, for counts, lists and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is documented at the state of the same name")]
pub enum StateName {
    Queued,
    Submitting,
    Settling,
    Polling,
    Archiving,
    Succeeded,
    Failed,
    Canceled,
    Expired,
    Held,
}

impl StateName {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Submitting,
        Self::Settling,
        Self::Polling,
        Self::Archiving,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Expired,
        Self::Held,
    ];

    /// The stable name that stands in records, in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Submitting => "submitting",
            Self::Settling => "settling",
            Self::Polling => "polling",
            Self::Archiving => "archiving",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::Held => "held",
        }
    }

    /// Whether a job in this state moves no more by itself and waits for nobody.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::Expired)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No state has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no state is called `{0}`")]
pub struct UnknownState(String);

impl std::str::FromStr for StateName {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

impl JobState {
    /// The state's name.
    pub fn name(&self) -> StateName {
        match self {
            Self::Queued { .. } => StateName::Queued,
            Self::Submitting { .. } => StateName::Submitting,
            Self::Settling { .. } => StateName::Settling,
            Self::Polling { .. } => StateName::Polling,
            Self::Archiving { .. } => StateName::Archiving,
            Self::Succeeded { .. } => StateName::Succeeded,
            Self::Failed { .. } => StateName::Failed,
            Self::Canceled { .. } => StateName::Canceled,
            Self::Expired { .. } => StateName::Expired,
            Self::Held { .. } => StateName::Held,
        }
    }

    /// The attempt that may hold, or does hold, one of its account's places at the provider.
    pub fn slot(&self) -> Option<&Attempt> {
        match self {
            Self::Submitting { attempt } | Self::Settling { attempt, .. } | Self::Polling { attempt, .. } => {
                Some(attempt)
            }
            Self::Held { attempt, unsettled: true, slot_free: false, .. } => Some(attempt),
            _ => None,
        }
    }

    /// The attempt that may yet be billed: it has, or may have, a task of which nobody knows how it ends. An unsettled attempt may
    /// be, also when its task has certainly given up its place at the provider.
    pub fn unbilled(&self) -> Option<&Attempt> {
        match self {
            Self::Held { attempt, unsettled: true, .. } => Some(attempt),
            _ => self.slot(),
        }
    }

    /// The attempt that led here, where the state still knows it.
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Archiving { attempt, .. } | Self::Held { attempt, .. } => Some(attempt),
            _ => self.slot(),
        }
    }

    /// The task, where one is known.
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::Polling { task, .. }
            | Self::Archiving { task, .. }
            | Self::Succeeded { task, .. }
            | Self::Expired { task, .. } => Some(task),
            Self::Held { task, .. } => task.as_ref(),
            _ => None,
        }
    }

    /// When the job is due for its next step, in the states that have one.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Queued { due, .. }
            | Self::Settling { due, .. }
            | Self::Polling { due, .. }
            | Self::Archiving { due, .. } => Some(*due),
            _ => None,
        }
    }
}
