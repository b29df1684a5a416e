//! How well the provider's slots were used while work waited. Pure: from the intervals in the simulator's ledger.

use dashscope_sim::TaskEntry;

/// When a task was created, began and ended, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    /// When it was created.
    pub(super) created_ms: i64,
    /// When it got a slot.
    pub(super) began_ms: Option<i64>,
    /// When it left it.
    pub(super) ended_ms: Option<i64>,
}

impl From<&TaskEntry> for Interval {
    fn from(task: &TaskEntry) -> Self {
        Self { created_ms: task.created_ms, began_ms: task.scheduled_ms, ended_ms: task.ended_ms }
    }
}

/// A stretch of time, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Its begin.
    pub(super) from_ms: i64,
    /// Its end.
    pub(super) to_ms: i64,
}

impl Window {
    /// While work waits: from the first creation until the last task got its slot. After that nothing is left that could fill a
    /// slot which becomes free.
    pub(super) fn of_waiting_work(tasks: &[Interval]) -> Option<Self> {
        let from_ms = tasks.iter().map(|task| task.created_ms).min()?;
        let to_ms = tasks.iter().filter_map(|task| task.began_ms).max()?;
        (to_ms > from_ms).then_some(Self { from_ms, to_ms })
    }

    /// Up to `to_ms` at most.
    pub(super) fn until(self, to_ms: i64) -> Option<Self> {
        let to_ms = self.to_ms.min(to_ms);
        (to_ms > self.from_ms).then_some(Self { to_ms, ..self })
    }
}

/// The share of `slots` that these tasks were RUNNING on in this window: 0 to 1.
pub(super) fn share(tasks: &[Interval], slots: u32, window: Window) -> f64 {
    let used_ms: i64 = tasks
        .iter()
        .filter_map(|task| {
            let from = task.began_ms?.max(window.from_ms);
            let to = task.ended_ms.unwrap_or(i64::MAX).min(window.to_ms);
            Some((to - from).max(0))
        })
        .sum();
    used_ms as f64 / (f64::from(slots.max(1)) * (window.to_ms - window.from_ms) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn task(created_ms: i64, began_ms: i64, ended_ms: i64) -> Interval {
        Interval { created_ms, began_ms: Some(began_ms), ended_ms: Some(ended_ms) }
    }

    #[test]
    fn the_end_of_the_last_tasks_counts_for_nothing() {
        let tasks = [task(0, 0, 10), task(0, 0, 20), task(5, 10, 30)];
        let window = Window::of_waiting_work(&tasks).unwrap();
        assert_eq!(window, Window { from_ms: 0, to_ms: 10 });
        assert!((share(&tasks, 2, window) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_slot_that_waits_for_a_task_is_missing() {
        let tasks = [task(0, 0, 10), task(10, 20, 30)];
        let window = Window::of_waiting_work(&tasks).unwrap();
        assert!((share(&tasks, 1, window) - 0.5).abs() < 1e-9);
        let early = window.until(10).unwrap();
        assert!((share(&tasks, 1, early) - 1.0).abs() < 1e-9);
        assert_eq!(window.until(0), None);
    }

    #[test]
    fn without_a_task_that_ran_there_is_no_window() {
        assert_eq!(Window::of_waiting_work(&[]), None);
        let waits = Interval { created_ms: 0, began_ms: None, ended_ms: None };
        assert_eq!(Window::of_waiting_work(&[waits]), None);
    }

    proptest! {
        /// Tasks that come one after the other on each slot never use more than there is.
        #[test]
        fn it_is_a_share(runs in prop::collection::vec((0i64..50, 1i64..100), 1..40), slots in 1u32..5) {
            let mut free = vec![0i64; slots as usize];
            let tasks: Vec<Interval> = runs
                .iter()
                .enumerate()
                .map(|(number, (gap, length))| {
                    let slot = &mut free[number % slots as usize];
                    let began = *slot + gap;
                    *slot = began + length;
                    task(began, began, *slot)
                })
                .collect();
            if let Some(window) = Window::of_waiting_work(&tasks) {
                let share = share(&tasks, slots, window);
                prop_assert!((0.0..=1.0 + 1e-9).contains(&share), "{share}");
            }
        }
    }
}
