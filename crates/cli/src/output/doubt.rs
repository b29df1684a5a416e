//! What a person is told who has to decide about a held job.

use job::{Candidate, Job, StateName, Timestamp, Try};
use serde::Serialize;

use super::words::time;

/// Why a job is held, and the tasks that may be its own. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DoubtView {
    /// Why, in words.
    pub(crate) why: Option<String>,
    /// Tasks that nobody owns and that its create can have made, at most 20.
    pub(crate) candidates: Vec<CandidateView>,
}

/// A task that may be the job's.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CandidateView {
    /// The task.
    pub(crate) task: String,
    /// When it was created, by the provider's clock.
    pub(crate) created_at: Option<Timestamp>,
    /// Where the provider said it was when the job was held.
    pub(crate) status: String,
}

impl DoubtView {
    /// What the history says of a held job; `None` in every other state.
    pub(crate) fn of(job: &Job, tries: &[Try]) -> Option<Self> {
        if job.state_name() != StateName::Held {
            return None;
        }
        let held = tries.iter().rev().find(|line| line.what == "held")?;
        let view = |candidate: &Candidate| CandidateView {
            task: candidate.task.to_string(),
            created_at: candidate.created_at,
            status: candidate.status.clone(),
        };
        Some(Self { why: held.message.clone(), candidates: held.candidates.iter().map(view).collect() })
    }

    /// For people: a line for each thing that there is to say.
    pub(crate) fn lines(&self) -> Vec<String> {
        let candidate = |candidate: &CandidateView| {
            let created = candidate.created_at.map_or_else(|| "at an unknown time".to_owned(), time);
            format!("may be its own: {}, {}, created {created}", candidate.task, candidate.status)
        };
        self.why.iter().cloned().chain(self.candidates.iter().map(candidate)).collect()
    }
}

#[cfg(test)]
mod tests {
    use job::{AccountName, Event, HeldReason, JobId, Micros, Model, Priority, Rules};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_held_job_shows_why_and_its_candidates_and_no_other_job_does() {
        let id = JobId::fresh(1, 2);
        let queued =
            Job::queued(id, None, Model::Wan27Image, None, 1, Priority::default(), "d".into(), at(0));
        let settling = queued
            .begin_attempt(AccountName::parse("a").unwrap(), at(0), at(5), Micros(0))
            .apply(Event::Rescued, at(9), &Rules::default(), 0.5)
            .unwrap()
            .job;
        let candidates =
            vec![Candidate { task: "t".parse().unwrap(), created_at: Some(at(3)), status: "RUNNING".into() }];
        let doubt = job::Doubt { why: "two fit".into(), candidates };
        let event = Event::Undecidable { reason: HeldReason::CannotTell, slot_free: false, doubt };
        let held = settling.apply(event, at(2_000), &Rules::default(), 0.5).unwrap();
        let tries = [held.note.unwrap()];
        let lines = DoubtView::of(&held.job, &tries).unwrap().lines();
        assert_eq!(lines, ["two fit", "may be its own: t, RUNNING, created 1970-01-01 00:00:03"]);
        assert!(DoubtView::of(&settling, &tries).is_none());
    }
}
