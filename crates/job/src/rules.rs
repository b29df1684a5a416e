//! The numbers that decisions depend on. All of them are settings; the defaults stand here with their sources.

use std::sync::Arc;
use std::time::Duration;

use crate::{Curve, Durations, ListSchedule, PollSchedule, RetryPolicy};

/// How long DashScope keeps a task's data and links.
///
/// Source: the Wan2.7 API page ("retained for only 24 hours").
pub const TASK_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// What [`crate::Job::apply`] and [`crate::Job::next_action`] need to know besides the job, the event and the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How often which failure is tried again.
    pub retry: RetryPolicy,
    /// When a task is asked.
    pub poll: PollSchedule,
    /// When the list of tasks is read in place of that.
    pub list: ListSchedule,
    /// How long tasks run, as far as that is known by now.
    pub durations: Arc<Durations>,
    /// The waits between rounds of copying. Default 2 s × 2 up to 60 s: links live 24 h, an outage of the store is short.
    pub archive: Curve,
    /// The waits of an open breaker before each probe. Default 60 s × 2 up to 10 min. Source: ours; rate limits recover within a
    /// minute, and a person who has paid a bill should not wait for much longer than it took.
    pub breaker: Curve,
    /// The timeout of the create call. Default 30 s: it answers in well under a second; only inlined inputs take longer.
    pub create_timeout: Duration,
    /// How long after a create call without an answer the provider may still act on the request. Default 300 s, the provider's own gateway timeout.
    pub held_request_timeout: Duration,
    /// Rescues of one step, with no commit between, after which the job is run alone; the next one holds it. Default 3.
    pub rescues_max: u8,
    /// Answers of UNKNOWN in a row, before 24 h, after which a person is asked. Default 3.
    pub unknowns_max: u8,
    /// How long the provider keeps tasks. Default [`TASK_RETENTION`].
    pub task_retention: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            poll: PollSchedule::default(),
            list: ListSchedule::default(),
            durations: Arc::default(),
            archive: Curve { first: Duration::from_secs(2), factor: 2.0, cap: Duration::from_secs(60) },
            breaker: Curve { first: Duration::from_secs(60), factor: 2.0, cap: Duration::from_secs(600) },
            create_timeout: Duration::from_secs(30),
            held_request_timeout: Duration::from_secs(300),
            rescues_max: 3,
            unknowns_max: 3,
            task_retention: TASK_RETENTION,
        }
    }
}
