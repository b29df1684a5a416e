//! The makespan that nobody could beat: the same tasks, first come first served, on the same slots, created as fast as the
//! documented rate allows. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Where tasks can run: one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    /// Tasks processed at once, at least one.
    pub(super) slots: u32,
    /// Tasks created in any one second; 0: no limit.
    pub(super) creates_per_second: u32,
}

impl Places {
    /// When the task number `created`, from 0, may be created at the earliest: a window of one second takes the whole of its rate
    /// at its beginning. No client is faster than that, whatever it does.
    fn created_ms(self, created: u64) -> i64 {
        match self.creates_per_second {
            0 => 0,
            rate => i64::try_from(created / u64::from(rate) * 1_000).unwrap_or(i64::MAX),
        }
    }
}

/// From the first creation to the last end, in ms, of tasks that run for `durations_ms`, in this order, each where it can begin
/// first. With several accounts a task keeps its duration wherever it runs.
pub(super) fn makespan_ms(durations_ms: &[i64], accounts: &[Places]) -> i64 {
    let mut free: Vec<BinaryHeap<Reverse<i64>>> =
        accounts.iter().map(|places| (0..places.slots.max(1)).map(|_| Reverse(0)).collect()).collect();
    let mut created = vec![0_u64; accounts.len()];
    let mut last_end = 0;
    for &duration in durations_ms {
        let begin = |at: usize| {
            let slot = free[at].peek().map_or(0, |Reverse(at)| *at);
            slot.max(accounts[at].created_ms(created[at]))
        };
        let Some((begins, at)) = (0..accounts.len()).map(|at| (begin(at), at)).min() else { return 0 };
        let ends = begins + duration.max(0);
        free[at].pop();
        free[at].push(Reverse(ends));
        created[at] += 1;
        last_end = last_end.max(ends);
    }
    last_end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(slots: u32, creates_per_second: u32) -> Places {
        Places { slots, creates_per_second }
    }

    #[test]
    fn tasks_take_the_first_slot_that_is_free_in_their_order() {
        assert_eq!(makespan_ms(&[4_000, 1_000, 3_000, 1_000], &[places(2, 0)]), 5_000);
        assert_eq!(makespan_ms(&[], &[places(2, 5)]), 0);
    }

    #[test]
    fn short_tasks_are_bound_by_the_rate_of_creation() {
        // 300 at 5 a second: the last five are created when 59 s have passed.
        assert_eq!(makespan_ms(&[300; 300], &[places(1_000, 5)]), 59_300);
    }

    #[test]
    fn two_accounts_share_the_tasks_by_what_they_can_begin() {
        assert_eq!(makespan_ms(&[1_000; 30], &[places(1, 0), places(2, 0)]), 10_000);
    }

    proptest! {
        /// Between what all slots together need at least and what list scheduling needs at most.
        #[test]
        fn it_lies_between_its_bounds(
            durations in prop::collection::vec(1i64..50_000, 1..80),
            slots in 1u32..12,
            rate in 0u32..8,
        ) {
            let ideal = makespan_ms(&durations, &[places(slots, rate)]);
            let (sum, longest) = (durations.iter().sum::<i64>(), *durations.iter().max().unwrap());
            prop_assert!(ideal * i64::from(slots) >= sum && ideal >= longest);
            let creation = places(slots, rate).created_ms(durations.len() as u64 - 1);
            prop_assert!(ideal >= creation);
            prop_assert!(ideal <= creation + sum / i64::from(slots) + longest);
        }

        #[test]
        fn more_slots_or_a_higher_rate_never_take_longer(
            durations in prop::collection::vec(1i64..50_000, 1..60),
            slots in 1u32..10,
            rate in 1u32..8,
        ) {
            let now = makespan_ms(&durations, &[places(slots, rate)]);
            prop_assert!(makespan_ms(&durations, &[places(slots + 1, rate)]) <= now);
            prop_assert!(makespan_ms(&durations, &[places(slots, rate + 1)]) <= now);
            prop_assert!(makespan_ms(&durations, &[places(slots, 0)]) <= now);
        }

        /// No schedule of the simulator, which serves the same order, is faster.
        #[test]
        fn an_account_more_never_takes_longer(
            durations in prop::collection::vec(1i64..50_000, 1..60),
            slots in 1u32..6,
            more in 1u32..6,
        ) {
            let one = makespan_ms(&durations, &[places(slots, 5)]);
            prop_assert!(makespan_ms(&durations, &[places(slots, 5), places(more, 2)]) <= one);
        }
    }
}
