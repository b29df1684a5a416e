//! What became of the jobs that were sent: counted, with the first lines of those that a person has to look at.

use job::JobId;
use queue::{CommitError, Enqueued, NewJob, Queue};

use crate::app::queue_failure;
use crate::failure::Failure;
use crate::input::work::{Piece, Work};

/// Lines that are named where a job differs from the one that is there.
const LINES_SHOWN_MAX: usize = 10;

/// What became of the jobs.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// New ones.
    pub(crate) enqueued: u64,
    /// Those that were there, or were there once.
    pub(crate) duplicates: u64,
    /// Those whose item has a job that is not over.
    pub(crate) busy: u64,
    /// Those of which another one with the same `custom_id` is there.
    pub(crate) changed: u64,
    /// The first lines of those.
    pub(crate) changed_lines: Vec<u64>,
    /// Those that were there, and ask for something else now.
    pub(crate) replaced: u64,
    /// Those that were to be replaced, and are under way or held.
    pub(crate) under_way: u64,
    /// The first lines of those.
    pub(crate) under_way_lines: Vec<u64>,
    /// Those among the duplicates that were there once, and are removed.
    pub(crate) removed: u64,
    /// What the new ones and those that were replaced come to.
    pub(crate) made: Work,
    /// The first job ids, in the order of the input: enough for prompts given by flag.
    pub(crate) jobs: Vec<JobId>,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    New,
    Same,
    RemovedBefore,
    Changed,
    Replaced,
    UnderWay,
    Busy,
}

impl Sent {
    /// Counts what became of a line's job.
    pub(super) fn note(&mut self, line: u64, job: &NewJob, became: Became) {
        let sent = self;
        match became {
            Became::New | Became::Replaced => {
                if became == Became::New {
                    sent.enqueued += 1
                } else {
                    sent.replaced += 1
                }
                sent.made.add(line, Piece::of(&job.spec));
            }
            Became::Same => sent.duplicates += 1,
            Became::RemovedBefore => {
                sent.duplicates += 1;
                sent.removed += 1;
            }
            Became::Changed => {
                sent.changed += 1;
                show(&mut sent.changed_lines, line);
            }
            Became::UnderWay => {
                sent.under_way += 1;
                show(&mut sent.under_way_lines, line);
            }
            Became::Busy => sent.busy += 1,
        }
    }
}

fn show(lines: &mut Vec<u64>, line: u64) {
    if lines.len() < LINES_SHOWN_MAX {
        lines.push(line);
    }
}

/// From what `enqueue.lua` says.
pub(super) fn became(answer: Enqueued) -> Became {
    match answer {
        Enqueued::New => Became::New,
        Enqueued::Same => Became::Same,
        Enqueued::Changed => Became::Changed,
        Enqueued::RemovedBefore => Became::RemovedBefore,
        Enqueued::Busy => Became::Busy,
    }
}

/// Replaces a job that was just answered to be there and another one, unless it is under way.
pub(super) async fn replaced(queue: &Queue, job: &NewJob, rules: &job::Rules) -> Result<Became, Failure> {
    match queue.replace(job.id, &job.spec, rules).await {
        Ok(Some(_)) => Ok(Became::Replaced),
        Ok(None) => Ok(Became::Same),
        Err(CommitError::Illegal(_)) => Ok(Became::UnderWay),
        // Retention took it away just now.
        Err(CommitError::Missing(_)) => Ok(Became::RemovedBefore),
        Err(CommitError::Queue(error)) => Err(queue_failure(error, "replace a job")),
        Err(error) => Err(Failure::new(error).context("failed to replace a job")),
    }
}
