#![doc = include_str!("../README.md")]

mod apply;
mod asked;
mod batch_template;
mod copies;
mod curve;
mod doubt;
mod durations;
mod eta;
mod event;
mod failure;
mod ids;
mod job;
mod list_schedule;
mod missing;
mod object_key;
mod outcome;
mod poll_schedule;
mod price;
mod refresh;
mod result_line;
mod rules;
mod schedule;
mod shape;
mod spec;
mod state;
mod transition;

pub use asked::AskedFor;
pub use batch_template::{BatchTemplate, DEFAULT_BATCH_TEMPLATE, InvalidBatchTemplate};
pub use copies::{CopyBacklog, CopyTrouble, HORIZONS, PACE_STEP, PACE_WINDOW};
pub use curve::Curve;
pub use dashscope::{Model, TaskId, Violations, Warning};
pub use doubt::{Candidate, Doubt};
pub use durations::{Durations, Likely, TaskKind};
pub use eta::{CreatingAccount, Eta, Opens, WaitingFor, eta_by_ends, etas};
pub use event::Event;
pub use failure::{Failure, FailureClass, Refusal, RetriesSpent, RetryPolicy, UnknownClass};
pub use ids::{
    AccountName, BatchName, CustomId, InvalidName, JobId, PinnedTo, RegionName, ScheduleName, WebhookName,
};
pub use job::{Action, InvalidPriority, Job, Priority};
pub use list_schedule::{InFlight, ListSchedule, Look};
pub use missing::{images_missing, missing_spec};
pub use object_key::{
    DEFAULT_TEMPLATE, InvalidKey, InvalidTemplate, KeyTemplate, OBJECT_KEY_BYTES_MAX, ObjectKey,
};
pub use outcome::{ImageState, OUTCOME_FORMAT, Outcome, OutcomeImage, StoredImage};
pub use poll_schedule::{Asked, PollSchedule};
pub use price::{InvalidAmount, Micros, Prices};
pub use refresh::{
    KEEP_MAX, MANIFEST_BYTES_MAX, NoManifest, Published, PublishedImage, Refresh, RefreshRule, UnknownRule,
    Version, content_digest,
};
pub use result_line::{
    BucketPlace, CostLine, ErrorLine, ErrorsLine, ImageLine, Known, Mend, ResultLine, TimesLine,
};
pub use rules::{Rules, TASK_RETENTION};
pub use schedule::{Cron, Due, InvalidCron, Missed, Ticks};
pub use shape::{Shape, SizeClass, UnknownShape};
pub use spec::{InputImage, JobSpec, SPEC_FORMAT};
pub use state::{Attempt, CanceledBy, HeldReason, JobState, StateName, TaskPhase, UnknownState};
pub use transition::{IllegalTransition, Transition, Try};

/// A moment. Times in records are Redis's, so that all workers share one clock.
pub type Timestamp = jiff::Timestamp;

/// A day of the calendar; where money is counted, of UTC.
pub type Day = jiff::civil::Date;
