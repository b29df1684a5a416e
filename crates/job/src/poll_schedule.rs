//! When a task is asked: pure, from how long it has been going and what it last said.

use std::time::Duration;

use crate::{Curve, TaskPhase};

/// When to ask about a task.
///
/// The first question comes `first` after the create, the next ones along `curve`. A task that is PENDING has not begun, so
/// its steps are `pending_factor` longer. After `slow_after` a task goes to the slow lane: one question every `slow_every`,
/// until the provider's own stop at 3 h and the 24 h at which it forgets the task. A local deadline never fails a job: the
/// task may finish, and then it is billed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PollSchedule {
    /// The wait before the first question.
    pub first: Duration,
    /// The waits after it.
    pub curve: Curve,
    /// How much longer the waits are while the task is PENDING.
    pub pending_factor: f64,
    /// From this age on the task is in the slow lane.
    pub slow_after: Duration,
    /// The wait in the slow lane.
    pub slow_every: Duration,
}

impl Default for PollSchedule {
    /// Source: the provider's own guide for images (3 s, × 1.5, at most 15 s); the slow lane is ours.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(3),
            curve: Curve { first: Duration::from_secs(2), factor: 1.5, cap: Duration::from_secs(15) },
            pending_factor: 2.0,
            slow_after: Duration::from_secs(600),
            slow_every: Duration::from_secs(60),
        }
    }
}

impl PollSchedule {
    /// The wait before the next question about a task of this `age` that has answered `polls` times that it is not final.
    pub fn wait(&self, age: Duration, polls: u32, phase: TaskPhase, chance: f64) -> Duration {
        if age >= self.slow_after {
            return self.slow_every.mul_f64(0.9 + chance.clamp(0.0, 1.0) / 5.0);
        }
        if polls == 0 {
            return self.first;
        }
        let wait = self.curve.wait_with_jitter(polls - 1, chance);
        let factor = if phase == TaskPhase::Pending { self.pending_factor.max(1.0) } else { 1.0 };
        wait.mul_f64(factor).min(self.slow_every.max(self.curve.cap))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_question_waits_and_the_later_ones_grow_to_the_cap() {
        let schedule = PollSchedule::default();
        let waits: Vec<f64> =
            (0..8).map(|polls| schedule.wait(SECOND, polls, TaskPhase::Running, 1.0).as_secs_f64()).collect();
        assert_eq!(waits, [3.0, 2.0, 3.0, 4.5, 6.75, 10.125, 15.0, 15.0]);
    }

    #[test]
    fn a_pending_task_is_asked_less_often() {
        let schedule = PollSchedule::default();
        assert_eq!(schedule.wait(SECOND, 1, TaskPhase::Pending, 1.0), 4 * SECOND);
    }

    #[test]
    fn an_old_task_is_in_the_slow_lane_whatever_it_says() {
        let schedule = PollSchedule::default();
        assert_eq!(schedule.wait(600 * SECOND, 1, TaskPhase::Running, 0.5), 60 * SECOND);
    }

    proptest! {
        #[test]
        fn no_wait_is_zero_or_endless(age in 0u64..100_000, polls in 0u32..1_000, chance in 0.0f64..=1.0) {
            let wait = PollSchedule::default().wait(Duration::from_secs(age), polls, TaskPhase::Pending, chance);
            prop_assert!(wait >= SECOND && wait <= 66 * SECOND, "{wait:?}");
        }
    }
}
