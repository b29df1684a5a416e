//! When a task is asked: pure, from how long it has been going, what it last said, and how long such tasks take.

use std::time::Duration;

use crate::{Curve, Likely, TaskPhase};

/// When to ask about a single task.
///
/// Where it was learned how long such tasks run, the questions come while the end is likely, about `dense` apart, and beyond that
/// along `curve`; a task that is PENDING cannot end before it has begun and run. Where nothing was learned yet, the first question comes
/// `first` after the create and the next ones along `curve`, `pending_factor` longer while the task is PENDING. After `slow_after` a task
/// goes to the slow lane: one question every `slow_every`, until the provider's own stop at 3 h and the 24 h at which it forgets the task.
/// A local deadline never fails a job: the task may finish, and then it is billed.
///
/// An account with several tasks in flight is looked at through the provider's list instead: [`crate::ListSchedule`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PollSchedule {
    /// The wait before the first question while nothing is learned.
    pub first: Duration,
    /// The waits after it, and after the time by which such tasks have ended.
    pub curve: Curve,
    /// The longest time between two questions while the end is likely.
    pub dense: Duration,
    /// How much longer the waits along `curve` are while the task is PENDING.
    pub pending_factor: f64,
    /// From this age on the task is in the slow lane.
    pub slow_after: Duration,
    /// The wait in the slow lane.
    pub slow_every: Duration,
}

impl Default for PollSchedule {
    /// Source: the provider's own guide for images (3 s, × 1.5, at most 15 s); `dense` and the slow lane are ours: 1.5 s apart an end is
    /// noticed 0.75 s after it, in the middle.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(3),
            curve: Curve { first: Duration::from_secs(2), factor: 1.5, cap: Duration::from_secs(15) },
            dense: Duration::from_millis(1_500),
            pending_factor: 2.0,
            slow_after: Duration::from_secs(600),
            slow_every: Duration::from_secs(60),
        }
    }
}

/// What a task has said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How long ago it was created.
    pub age: Duration,
    /// How long it has been at work, where that is known.
    pub running_for: Option<Duration>,
    /// How often it has answered that it is not final.
    pub polls: u32,
    /// Where it is.
    pub phase: TaskPhase,
}

impl PollSchedule {
    /// The wait before the next question about a task. `chance` places it inside its jitter.
    pub fn wait(&self, asked: Asked, likely: Option<Likely>, chance: f64) -> Duration {
        let chance = chance.clamp(0.0, 1.0);
        if asked.age >= self.slow_after {
            return self.slow_every.mul_f64(0.9 + chance / 5.0);
        }
        if let Some(likely) = likely {
            return self.by_likelihood(asked, likely, chance).min(self.slow_every);
        }
        if asked.polls == 0 {
            return self.first;
        }
        let wait = self.curve.wait_with_jitter(asked.polls - 1, chance);
        let factor = if asked.phase == TaskPhase::Pending { self.pending_factor.max(1.0) } else { 1.0 };
        wait.mul_f64(factor).min(self.slow_every.max(self.curve.cap))
    }

    /// The time in which the end is likely is cut into equal parts of at most `dense`; a question comes at the end of each.
    fn by_likelihood(&self, asked: Asked, likely: Likely, chance: f64) -> Duration {
        let dense = self.dense.max(Duration::from_millis(1));
        let window = likely.latest.saturating_sub(likely.earliest);
        let parts = (window.as_secs_f64() / dense.as_secs_f64()).ceil().max(1.0);
        let part = window.div_f64(parts).max(dense / 8);
        let ran = match asked.phase {
            TaskPhase::Pending => Duration::ZERO,
            _ => asked.running_for.unwrap_or(asked.age),
        };
        if ran + part / 4 >= likely.latest {
            return self.beyond(ran.saturating_sub(likely.latest), chance);
        }
        // A question just before the end of a part is as good as that part's.
        let passed = (ran + part / 4).saturating_sub(likely.earliest).as_secs_f64() / part.as_secs_f64();
        let next = likely.earliest + part.mul_f64(passed.floor() + 1.0);
        // Tasks that began together are not to be asked together.
        (next.saturating_sub(ran) + part.mul_f64(chance / 4.0)).saturating_sub(part / 8).max(part / 4)
    }

    /// The wait of a task that should have ended `overdue` ago: along the curve, wherever it is on it.
    fn beyond(&self, overdue: Duration, chance: f64) -> Duration {
        /// No sensible curve has more steps below its cap.
        const STEPS_MAX: u32 = 64;
        let mut over = Duration::ZERO;
        let step = (0..STEPS_MAX).find(|step| {
            over += self.curve.wait(*step);
            over > overdue
        });
        self.curve.wait_with_jitter(step.unwrap_or(STEPS_MAX), chance)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn asked(age: Duration, polls: u32, phase: TaskPhase) -> Asked {
        Asked { age, running_for: None, polls, phase }
    }

    fn likely(earliest_s: f64, latest_s: f64) -> Likely {
        let secs = Duration::from_secs_f64;
        Likely {
            earliest: secs(earliest_s),
            mean: secs((earliest_s + latest_s) / 2.0),
            latest: secs(latest_s),
        }
    }

    #[test]
    fn the_first_question_waits_and_the_later_ones_grow_to_the_cap() {
        let schedule = PollSchedule::default();
        let wait = |polls| schedule.wait(asked(SECOND, polls, TaskPhase::Running), None, 1.0).as_secs_f64();
        assert_eq!((0..8).map(wait).collect::<Vec<_>>(), [3.0, 2.0, 3.0, 4.5, 6.75, 10.125, 15.0, 15.0]);
    }

    #[test]
    fn a_pending_task_is_asked_less_often() {
        let schedule = PollSchedule::default();
        assert_eq!(schedule.wait(asked(SECOND, 1, TaskPhase::Pending), None, 1.0), 4 * SECOND);
        // It cannot end before it has begun and run.
        let wait = schedule.wait(asked(50 * SECOND, 9, TaskPhase::Pending), Some(likely(10.0, 25.0)), 0.5);
        assert!(wait > 10 * SECOND && wait <= 12 * SECOND, "{wait:?}");
    }

    #[test]
    fn an_old_task_is_in_the_slow_lane_whatever_it_says() {
        let schedule = PollSchedule::default();
        for likely in [None, Some(likely(10.0, 25.0))] {
            assert_eq!(schedule.wait(asked(600 * SECOND, 1, TaskPhase::Running), likely, 0.5), 60 * SECOND);
        }
    }

    /// The times, since the begin of work, at which a task is asked that ends after `end`.
    fn questions(likely: Likely, end: Duration) -> Vec<Duration> {
        let schedule = PollSchedule::default();
        let (mut at, mut polls) = (Duration::ZERO, 0);
        let mut times = Vec::new();
        while at < end {
            let phase = if polls == 0 { TaskPhase::Pending } else { TaskPhase::Running };
            at += schedule.wait(Asked { age: at, running_for: Some(at), polls, phase }, Some(likely), 0.5);
            polls += 1;
            times.push(at);
        }
        times
    }

    #[test]
    fn a_kind_that_always_takes_alike_long_is_asked_once() {
        let likely = likely(19.5, 20.4);
        let (early, late) =
            (questions(likely, 19 * SECOND), questions(likely, Duration::from_millis(20_300)));
        assert_eq!((early.len(), late.len()), (1, 1), "{early:?} {late:?}");
        assert!(early[0] < 21 * SECOND);
    }

    #[test]
    fn while_the_end_is_likely_questions_are_dense_and_beyond_it_they_grow_apart() {
        let times = questions(likely(10.0, 25.0), 60 * SECOND);
        assert!(times[0] > 10 * SECOND, "{times:?}");
        let gaps = |from: u32, to: u32| {
            let within = |pair: &&[Duration]| pair[0] >= from * SECOND && pair[1] <= to * SECOND;
            times.windows(2).filter(within).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
        };
        assert!(gaps(10, 25).iter().all(|gap| *gap <= Duration::from_millis(1_700)), "{times:?}");
        let late = gaps(26, 90);
        assert!(late.last() > late.first(), "{late:?}");
    }

    proptest! {
        #[test]
        fn no_wait_is_zero_or_endless(
            age in 0u64..100_000, ran in 0u64..100_000, polls in 0u32..1_000, chance in 0.0f64..=1.0,
            window in prop::option::of((0.0f64..900.0, 0.0f64..900.0)), pending: bool,
        ) {
            let phase = if pending { TaskPhase::Pending } else { TaskPhase::Running };
            let asked = Asked { age: Duration::from_secs(age), running_for: Some(Duration::from_secs(ran)), polls, phase };
            let likely = window.map(|(earliest, more)| likely(earliest, earliest + more));
            let wait = PollSchedule::default().wait(asked, likely, chance);
            prop_assert!(wait >= Duration::from_millis(40) && wait <= 66 * SECOND, "{wait:?}");
        }

        #[test]
        fn an_end_within_its_time_is_noticed_within_a_dense_step(end in 10.0f64..25.0) {
            let end = Duration::from_secs_f64(end);
            let noticed = *questions(likely(10.0, 25.0), end).last().unwrap();
            prop_assert!(noticed - end <= PollSchedule::default().dense * 5 / 4, "{:?}", noticed - end);
        }
    }
}
