//! The tasks that this process wrote down lately.
//!
//! A Redis that was restored from an older copy has forgotten tasks that were paid for. Whoever wrote them down still knows
//! them, and [`crate::restore`] writes them down again. Bounded in time and number. It writes nothing by itself.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use job::{Attempt, Job, JobId, Model, StateName, TaskId};

/// How long a task is remembered.
///
/// Source: ours; copies of a Redis are minutes old at most where somebody cares, and what a process remembers it may also lose.
const REMEMBERED_FOR: Duration = Duration::from_secs(30 * 60);

/// How many are remembered. Source: ours; 30 min at ten times the default rate, in about 5 MB.
const REMEMBERED_MAX: usize = 20_000;

/// A task, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownTask {
    /// The job.
    pub(crate) job: JobId,
    /// The model that it was made with.
    pub(crate) model: Model,
    /// The attempt that created it.
    pub(crate) attempt: Attempt,
    /// The task.
    pub(crate) task: TaskId,
    at: Duration,
}

/// The tasks that this process wrote down lately.
#[derive(Debug, Default)]
pub(crate) struct Created(Mutex<VecDeque<KnownTask>>);

impl Created {
    /// Takes note of a commit, at `now` by the boot clock: only one that gave the job a task counts.
    pub(crate) fn note(&self, before: &Job, after: &Job, now: Duration) {
        let (Some(task), Some(attempt)) = (after.state.task(), after.state.attempt()) else { return };
        if after.state_name() != StateName::Polling || before.state.task() == Some(task) {
            return;
        }
        let known = KnownTask {
            job: after.id,
            model: after.model,
            attempt: attempt.clone(),
            task: task.clone(),
            at: now,
        };
        let mut tasks = self.lock();
        tasks.push_back(known);
        while tasks.len() > REMEMBERED_MAX || tasks.front().is_some_and(|task| is_old(task, now)) {
            tasks.pop_front();
        }
    }

    /// Those that are remembered at `now`, oldest first.
    pub(crate) fn lately(&self, now: Duration) -> Vec<KnownTask> {
        self.lock().iter().filter(|task| !is_old(task, now)).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<KnownTask>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn is_old(task: &KnownTask, now: Duration) -> bool {
    now.saturating_sub(task.at) > REMEMBERED_FOR
}

#[cfg(test)]
mod tests {
    use job::{Event, Rules, TaskPhase};

    use super::*;
    use crate::testing::{World, start};

    fn tasks(created: &Created, now: Duration) -> Vec<String> {
        created.lately(now).into_iter().map(|known| known.task.to_string()).collect()
    }

    #[test]
    fn a_task_is_remembered_for_a_while_from_the_commit_that_brought_it() {
        let (world, created) = (World::new(), Created::default());
        let (before, _) = world.submitting(1);
        let attempt = before.state.attempt().unwrap().clone();
        let event = Event::TaskCreated { attempt, task: "t1".parse().unwrap(), request_id: None };
        let after = before.apply(event, start(), &Rules::default(), 0.5).unwrap().job;
        created.note(&before, &after, Duration::from_secs(10));
        let event = Event::StillGoing { phase: TaskPhase::Running, began_after: None };
        let later = after.apply(event, start(), &Rules::default(), 0.5).unwrap().job;
        created.note(&after, &later, Duration::from_secs(20));
        assert_eq!(tasks(&created, Duration::from_secs(10) + REMEMBERED_FOR), ["t1"]);
        assert!(tasks(&created, Duration::from_secs(11) + REMEMBERED_FOR).is_empty());
    }

    #[test]
    fn only_so_many_tasks_are_remembered() {
        let (world, created) = (World::new(), Created::default());
        let (before, _) = world.submitting(1);
        let attempt = before.state.attempt().unwrap().clone();
        for n in 0..=REMEMBERED_MAX {
            let event = Event::TaskCreated {
                attempt: attempt.clone(),
                task: format!("t{n}").parse().unwrap(),
                request_id: None,
            };
            let after = before.apply(event, start(), &Rules::default(), 0.5).unwrap().job;
            created.note(&before, &after, Duration::ZERO);
        }
        let kept = tasks(&created, Duration::ZERO);
        assert_eq!((kept.len(), kept[0].as_str()), (REMEMBERED_MAX, "t1"));
    }
}
