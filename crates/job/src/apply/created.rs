//! A task id that a create was answered with: taken, kept as an extra one, or taken back from a job that adopted it.

use super::Step;
use crate::{Attempt, Doubt, HeldReason, JobState, TaskId, Transition};

impl Step<'_> {
    /// A task id is never thrown away: it costs money. The job takes it where it can, else it is an extra one.
    pub(super) fn task_created(
        &self,
        attempt: Attempt,
        task: TaskId,
        request_id: Option<String>,
    ) -> Transition {
        if self.job.state.task() == Some(&task) {
            // The same answer again.
            return Transition { job: self.job.clone(), note: None, extra_task: None };
        }
        let takes = match &self.job.state {
            // An attempt from before its spec was replaced made images that nobody asks for any more.
            JobState::Queued { .. } => attempt.number > self.job.replaced_after,
            // A later attempt than the one in the record: the record is of an older Redis, and that attempt was over by then.
            JobState::Submitting { attempt: current } | JobState::Settling { attempt: current, .. } => {
                current.number <= attempt.number
            }
            JobState::Held { attempt: current, unsettled: true, .. } => current.number <= attempt.number,
            // An earlier attempt's task had come to nothing when the later one was claimed: again the record is of an older Redis.
            JobState::Polling { attempt: current, .. } => current.number < attempt.number,
            _ => false,
        };
        if takes {
            let mut transition = self.polling(&attempt, task.clone());
            transition.job.attempts = self.job.attempts.max(attempt.number);
            transition.job.adopted = false;
            return self.noted_task(transition, "created", attempt, task, request_id);
        }
        let unchanged = Transition { job: self.job.clone(), note: None, extra_task: Some(task.clone()) };
        self.noted_task(unchanged, "extra_task", attempt, task, request_id)
    }

    /// A line about a task, with the attempt that made it: the job itself may be at another one by now.
    pub(super) fn noted_task(
        &self,
        transition: Transition,
        what: &str,
        attempt: Attempt,
        task: TaskId,
        request_id: Option<String>,
    ) -> Transition {
        let mut noted = self.noted(transition, what, None);
        if let Some(note) = &mut noted.note {
            note.task = Some(task);
            note.attempt = attempt.number;
            note.account = Some(attempt.account.to_string());
            note.request_id = request_id;
        }
        noted
    }

    /// The task is another's. What became of this job's own create is unknown again; what was booked for the task stays booked here
    /// as well, and the history says so.
    pub(super) fn task_taken_back(&self, task: &TaskId) -> Option<Transition> {
        let (JobState::Polling { attempt, .. }
        | JobState::Archiving { attempt, .. }
        | JobState::Held { attempt, .. }) = &self.job.state
        else {
            return None;
        };
        if self.job.state.task() != Some(task) {
            return None;
        }
        let why = format!(
            "task {task} was adopted for this job, and is another's: its own create was answered late"
        );
        let doubt = Doubt { why, candidates: Vec::new() };
        let mut held = self.held_in_doubt(HeldReason::DoubtfulAdoption, attempt, true, false, doubt);
        held.job.adopted = false;
        if let JobState::Held { task, .. } = &mut held.job.state {
            *task = None;
        }
        Some(held)
    }
}
