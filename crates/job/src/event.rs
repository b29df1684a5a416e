//! What can happen to a job.

use std::time::Duration;

use crate::{
    AskedFor, Attempt, Doubt, Failure, HeldReason, JobId, Micros, Refusal, TaskId, TaskPhase, Timestamp,
};

/// Something that happened to a job. [`crate::Job::apply`] says what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    // Submit.
    /// The create call was answered with a task id.
    TaskCreated {
        /// The attempt that was answered.
        attempt: Attempt,
        /// The task.
        task: TaskId,
        /// The service's id of the call.
        request_id: Option<String>,
    },
    /// The create call was refused because of the job itself: nothing was created.
    Rejected(Failure),
    /// The create call was refused, or could not be made, for a reason that says nothing about the job.
    Refused(Refusal),
    /// The attempt was certainly not sent.
    NotSent,
    /// Whether a task was created is unknown.
    NoAnswer {
        /// Such as `timeout`, `reset`, `http_502`.
        cause: String,
    },

    // Settle.
    /// The evidence shows the attempt's task.
    TaskFound {
        /// The task.
        task: TaskId,
    },
    /// The evidence shows that nothing was created.
    NotCreated,
    /// The evidence is not there yet.
    LookAgain {
        /// When to look next.
        due: Timestamp,
    },
    /// No evidence will decide it: a person has to.
    Undecidable {
        /// Why.
        reason: HeldReason,
        /// Whether it is known that the attempt holds no place at the provider: nothing that nobody owns waits or runs there.
        slot_free: bool,
        /// What the person is told.
        doubt: Doubt,
    },

    // Poll.
    /// The task is not final.
    StillGoing {
        /// Where the provider says it is.
        phase: TaskPhase,
        /// How long after its creation work on it began, by the provider's clock; `None` where that is not told.
        began_after: Option<Duration>,
    },
    /// The task has images.
    TaskSucceeded {
        /// How many images it brought.
        images: u8,
        /// How many images the provider bills.
        billed: u8,
        /// What they cost.
        cost: Micros,
        /// When the first link dies.
        deadline: Timestamp,
    },
    /// The task has images, and they do not look like this job's: its task was adopted.
    TaskDoubtful {
        /// How many images the provider bills.
        billed: u8,
        /// What they cost.
        cost: Micros,
        /// What does not fit, in words.
        why: String,
    },
    /// The task failed; nothing is billed.
    TaskFailed(Failure),
    /// The provider says CANCELED.
    TaskCanceled,
    /// The provider says UNKNOWN.
    TaskUnknown,
    /// The question got no usable answer.
    PollUnanswered {
        /// How long the service asked us to wait.
        retry_after: Option<Duration>,
    },

    // Archive.
    /// One round of copying is over.
    Copied {
        /// Images in the bucket, of all rounds.
        stored: u8,
        /// Images that can never be copied.
        lost: u8,
        /// How long the store or the object host asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The task was asked again and brought fresh links.
    FreshLinks {
        /// When the first of them dies.
        deadline: Timestamp,
    },
    /// The links are dead and the provider no longer knows the task.
    LinksDead,

    // The queue.
    /// The worker gives the step back unfinished, with nothing sent.
    GivenBack,
    /// The worker's lease ran out.
    Rescued,

    /// The adopted task turned out to be another job's: its own create was answered with it, late.
    TaskTakenBack {
        /// The task.
        task: TaskId,
    },

    /// A held job gives up its place at the provider: whatever it may have created has ended by now.
    SlotReleased,

    // People.
    /// Somebody wants the job ended.
    CancelRequested,
    /// Somebody wants an ended job to run again.
    RetryRequested,
    /// Somebody wants the job to be another one: what it asks for is replaced.
    Replaced(AskedFor),
    /// Somebody asked for the images that an ended job did not deliver, as a job of their own.
    MissingRequested {
        /// The new job.
        job: JobId,
        /// How many images it asks for.
        images: u8,
    },
    /// A person says: this is the task of the held attempt.
    ResolvedAdopt {
        /// The task.
        task: TaskId,
    },
    /// A person says: the doubtful images are this job's.
    ResolvedDeliver {
        /// The task that brought them.
        task: TaskId,
        /// How many images it brought.
        images: u8,
        /// When the first link dies.
        deadline: Timestamp,
    },
    /// A person says: nothing was created, send it again.
    ResolvedResubmit,
    /// A person says: give it up.
    ResolvedFail,
}

impl Event {
    /// The event's name, for messages and the coverage report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TaskCreated { .. } => "TaskCreated",
            Self::Rejected(_) => "Rejected",
            Self::Refused(_) => "Refused",
            Self::NotSent => "NotSent",
            Self::NoAnswer { .. } => "NoAnswer",
            Self::TaskFound { .. } => "TaskFound",
            Self::NotCreated => "NotCreated",
            Self::LookAgain { .. } => "LookAgain",
            Self::Undecidable { .. } => "Undecidable",
            Self::StillGoing { .. } => "StillGoing",
            Self::TaskSucceeded { .. } => "TaskSucceeded",
            Self::TaskDoubtful { .. } => "TaskDoubtful",
            Self::TaskFailed(_) => "TaskFailed",
            Self::TaskCanceled => "TaskCanceled",
            Self::TaskUnknown => "TaskUnknown",
            Self::PollUnanswered { .. } => "PollUnanswered",
            Self::Copied { .. } => "Copied",
            Self::FreshLinks { .. } => "FreshLinks",
            Self::LinksDead => "LinksDead",
            Self::GivenBack => "GivenBack",
            Self::Rescued => "Rescued",
            Self::TaskTakenBack { .. } => "TaskTakenBack",
            Self::SlotReleased => "SlotReleased",
            Self::CancelRequested => "CancelRequested",
            Self::RetryRequested => "RetryRequested",
            Self::Replaced(_) => "Replaced",
            Self::MissingRequested { .. } => "MissingRequested",
            Self::ResolvedAdopt { .. } => "ResolvedAdopt",
            Self::ResolvedDeliver { .. } => "ResolvedDeliver",
            Self::ResolvedResubmit => "ResolvedResubmit",
            Self::ResolvedFail => "ResolvedFail",
        }
    }
}
