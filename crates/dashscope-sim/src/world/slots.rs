//! Slots: which task runs when.
//!
//! One model's tasks wait first in, first out for one of its slots. Everything is an event at a time on one heap, so a
//! hundred thousand waiting tasks cost no sleeping future, and the schedule is a function of the calls alone. Pure:
//! time arrives with each call and never goes back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use crate::ledger::ModelEntry;
use crate::model::Model;

/// The place of a task in the world's list.
pub(crate) type TaskIndex = u32;

/// A task that moved on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Started(TaskIndex),
    Ended(TaskIndex),
}

/// The slots of both models.
#[derive(Debug)]
pub(crate) struct Slots {
    models: [ModelSlots; 2],
    /// Events by time, then by order of arrival.
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    arrivals: u64,
    now_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A slot is about to become free. Sorts before `Ready` only by its number of arrival.
    End { model: usize, task: TaskIndex },
    /// A task may take a slot from now on.
    Ready { model: usize, task: TaskIndex, run_ms: i64 },
}

impl Slots {
    /// `slots` places for each model; 0 means no limit. Time begins at `now_ms`.
    pub(crate) fn new(slots: [u32; 2], now_ms: i64) -> Self {
        let model = |slots| ModelSlots { slots, at_ms: now_ms, ..ModelSlots::default() };
        Self { models: slots.map(model), events: BinaryHeap::new(), arrivals: 0, now_ms }
    }

    /// A task that becomes PENDING at `now_ms`, may start after `wait_ms`, and will run for `run_ms`.
    ///
    /// The caller has advanced to `now_ms`.
    pub(crate) fn submit(&mut self, model: Model, task: TaskIndex, now_ms: i64, wait_ms: i64, run_ms: i64) {
        let slots = &mut self.models[model.index()];
        slots.settle(now_ms);
        slots.first_ms.get_or_insert(now_ms);
        slots.created += 1;
        slots.pending += 1;
        slots.pending_max = slots.pending_max.max(slots.pending);
        self.push(now_ms + wait_ms, Event::Ready { model: model.index(), task, run_ms });
    }

    /// Takes a PENDING task out.
    pub(crate) fn cancel(&mut self, model: Model, task: TaskIndex, now_ms: i64) {
        let slots = &mut self.models[model.index()];
        slots.settle(now_ms);
        slots.pending -= 1;
        slots.canceled.insert(task);
    }

    /// Plays everything up to and including `now_ms`; `moved` hears each transition with its time, in order.
    pub(crate) fn advance(&mut self, now_ms: i64, mut moved: impl FnMut(Transition, i64)) {
        while let Some(&Reverse((at_ms, _, event))) = self.events.peek()
            && at_ms <= now_ms
        {
            self.events.pop();
            self.now_ms = at_ms;
            let index = match event {
                Event::Ready { model, task, run_ms } => {
                    self.models[model].ready.push_back((task, run_ms));
                    model
                }
                Event::End { model, task } => {
                    self.models[model].end(at_ms);
                    moved(Transition::Ended(task), at_ms);
                    model
                }
            };
            while let Some((task, run_ms)) = self.models[index].start_next(at_ms) {
                moved(Transition::Started(task), at_ms);
                self.push(at_ms + run_ms, Event::End { model: index, task });
            }
        }
        self.now_ms = self.now_ms.max(now_ms);
        self.models.iter_mut().for_each(|model| model.settle(now_ms));
    }

    /// When something will happen next; `None` if nothing waits or runs.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.events.peek().map(|Reverse((at_ms, ..))| *at_ms)
    }

    pub(crate) fn pending(&self, model: Model) -> u32 {
        self.models[model.index()].pending
    }

    /// The figures for the ledger.
    pub(crate) fn report(&self, model: Model) -> ModelEntry {
        let slots = &self.models[model.index()];
        let end_ms = if slots.running > 0 { slots.at_ms } else { slots.last_end_ms };
        ModelEntry {
            tasks_created: slots.created,
            slots: slots.slots,
            running_max: slots.running_max,
            pending_max: slots.pending_max,
            busy_ms: slots.busy_ms,
            idle_while_pending_ms: slots.idle_while_pending_ms,
            span_ms: slots.first_ms.map_or(0, |first| u64::try_from(end_ms - first).unwrap_or(0)),
        }
    }

    fn push(&mut self, at_ms: i64, event: Event) {
        self.arrivals += 1;
        self.events.push(Reverse((at_ms.max(self.now_ms), self.arrivals, event)));
    }
}

#[derive(Debug, Default)]
struct ModelSlots {
    slots: u32,
    ready: VecDeque<(TaskIndex, i64)>,
    /// Cancelled tasks that an event or the queue still names.
    canceled: HashSet<TaskIndex>,
    pending: u32,
    running: u32,
    created: u64,
    pending_max: u32,
    running_max: u32,
    busy_ms: u64,
    idle_while_pending_ms: u64,
    first_ms: Option<i64>,
    last_end_ms: i64,
    /// Up to when the two sums above are made.
    at_ms: i64,
}

impl ModelSlots {
    fn start_next(&mut self, at_ms: i64) -> Option<(TaskIndex, i64)> {
        while self.slots == 0 || self.running < self.slots {
            let (task, run_ms) = self.ready.pop_front()?;
            if self.canceled.remove(&task) {
                continue;
            }
            self.settle(at_ms);
            self.pending -= 1;
            self.running += 1;
            self.running_max = self.running_max.max(self.running);
            return Some((task, run_ms));
        }
        None
    }

    fn end(&mut self, at_ms: i64) {
        self.settle(at_ms);
        self.running -= 1;
        self.last_end_ms = at_ms;
    }

    /// Adds the time since the last change to the sums.
    fn settle(&mut self, now_ms: i64) {
        let Ok(passed_ms) = u64::try_from(now_ms - self.at_ms) else { return };
        self.busy_ms += passed_ms * u64::from(self.running);
        if self.pending > 0 {
            self.idle_while_pending_ms += passed_ms * u64::from(self.slots.saturating_sub(self.running));
        }
        self.at_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timeline(slots: &mut Slots, until_ms: i64) -> Vec<(i64, Transition)> {
        let mut seen = Vec::new();
        slots.advance(until_ms, |transition, at_ms| seen.push((at_ms, transition)));
        seen
    }

    #[test]
    fn tasks_take_slots_in_order_of_creation_and_the_next_starts_the_moment_one_ends() {
        use Transition::{Ended, Started};
        let mut slots = Slots::new([2, 2], 0);
        for (task, run_ms) in [(0, 100), (1, 300), (2, 50)] {
            slots.submit(Model::Pro, task, 0, 10, run_ms);
        }
        let expected = [
            (10, Started(0)),
            (10, Started(1)),
            (110, Ended(0)),
            (110, Started(2)),
            (160, Ended(2)),
            (310, Ended(1)),
        ];
        assert_eq!(timeline(&mut slots, 1_000), expected);
        let report = slots.report(Model::Pro);
        assert_eq!((report.running_max, report.pending_max, report.busy_ms), (2, 3, 450));
        assert_eq!(report.idle_while_pending_ms, 20, "two free slots during the scheduling delay of 10 ms");
        assert_eq!(report.span_ms, 310);
    }

    #[test]
    fn of_many_waiting_tasks_the_oldest_starts_first() {
        let mut slots = Slots::new([1, 1], 0);
        for task in 0..5 {
            slots.submit(Model::Pro, task, 0, 0, 10);
        }
        let started = timeline(&mut slots, 100).into_iter().filter_map(|(_, transition)| match transition {
            Transition::Started(task) => Some(task),
            Transition::Ended(_) => None,
        });
        assert_eq!(started.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_canceled_task_never_starts_and_leaves_its_place() {
        let mut slots = Slots::new([1, 1], 0);
        for task in 0..3 {
            slots.submit(Model::Standard, task, 0, 0, 100);
        }
        slots.advance(50, |_, _| {});
        slots.cancel(Model::Standard, 1, 50);
        assert_eq!(slots.pending(Model::Standard), 1);
        let started = timeline(&mut slots, 1_000);
        assert!(!started.iter().any(|(_, transition)| *transition == Transition::Started(1)));
        assert!(started.contains(&(100, Transition::Started(2))));
    }

    #[test]
    fn the_models_do_not_share_slots() {
        let mut slots = Slots::new([1, 1], 0);
        slots.submit(Model::Pro, 0, 0, 0, 100);
        slots.submit(Model::Standard, 1, 0, 0, 100);
        let started = timeline(&mut slots, 0);
        assert_eq!(started, [(0, Transition::Started(0)), (0, Transition::Started(1))]);
    }

    proptest! {
        /// However coarse the steps of time are, the schedule is the same, and no more than the slots ever run.
        #[test]
        fn the_schedule_depends_on_calls_and_not_on_when_anybody_looks(
            tasks in prop::collection::vec((0i64..50, 1i64..200), 1..40),
            slots in 1u32..6,
            step_ms in 1i64..500,
        ) {
            let run = |step_ms: i64| {
                let mut world = Slots::new([slots, slots], 0);
                let (mut now, mut seen, mut running) = (0, Vec::new(), 0i64);
                for (index, (gap, run_ms)) in tasks.iter().enumerate() {
                    now += gap;
                    world.advance(now, |transition, at| seen.push((at, transition)));
                    world.submit(Model::Pro, index as u32, now, 5, *run_ms);
                }
                while world.next_ms().is_some() {
                    now += step_ms;
                    world.advance(now, |transition, at| seen.push((at, transition)));
                }
                for (_, transition) in &seen {
                    running += if matches!(transition, Transition::Started(_)) { 1 } else { -1 };
                    assert!((0..=i64::from(slots)).contains(&running));
                }
                let busy: i64 = tasks.iter().map(|(_, run_ms)| run_ms).sum();
                assert_eq!(world.report(Model::Pro).busy_ms, busy as u64);
                seen
            };
            prop_assert_eq!(run(step_ms), run(1));
        }
    }
}
