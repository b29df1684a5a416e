//! When the provider's list of tasks is read, in place of many single questions. Pure.
//!
//! A list is a hint. That a task is over is believed only after it was asked by itself; and that it is not over, only for a while.

use std::time::Duration;

use crate::Likely;

/// How many steps of `every` the list is left alone at the most while nothing can be over: the provider's clock may not be ours.
const QUIET_STEPS: u32 = 4;

/// How many looks a listed task may miss before it is asked by itself.
const LOOKS_MISSED: u32 = 4;

/// After how many times the time that such tasks take at the latest a task is asked by itself for the first time, whatever the list says:
/// it may have been PENDING for as long as it runs.
const DOUBTED_AFTER: u32 = 3;

/// Where nothing is learned, a task is asked by itself after so many steps of `every` for the first time, whatever the list says.
const DOUBTED_AFTER_STEPS: u32 = 60;

/// When the list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListSchedule {
    /// From so many tasks in flight of one model on; with fewer, single questions are cheaper. 0: never.
    pub from: u32,
    /// The shortest time between two looks.
    pub every: Duration,
}

impl Default for ListSchedule {
    /// Source: ours. At the documented limits (5 tasks at once, 10 to 25 s each) a look every 1.2 s makes under 3 requests for a task, and
    /// one question more; ends are noticed 0.6 s after they come, in the middle.
    fn default() -> Self {
        Self { from: 3, every: Duration::from_millis(1_200) }
    }
}

/// A task that the last look showed, and that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// How long it has been at work; `None` while it is PENDING.
    pub running_for: Option<Duration>,
}

impl ListSchedule {
    /// The wait before the next look, after one that showed nothing that is waited for.
    pub fn quiet(&self) -> Duration {
        self.every * QUIET_STEPS
    }

    /// The wait before the next look, after one that read `pages` pages, each of which costs `page_every` of the account's queries.
    pub fn wait(
        &self,
        in_flight: &[InFlight],
        pages: u32,
        page_every: Duration,
        likely: Option<Likely>,
    ) -> Duration {
        // Half of the queries are left for those that are over, and for what else is to be asked.
        let least = self.every.max(page_every * pages * 2);
        let Some(likely) = likely else { return least };
        let left = |task: &InFlight| likely.earliest.saturating_sub(task.running_for.unwrap_or_default());
        let quiet = in_flight.iter().map(left).min().unwrap_or_default();
        least.max(quiet.min(self.quiet()))
    }

    /// For how long a task of this age that the list shows as going need not be asked by itself. `wait` is the time until the next look.
    ///
    /// From a certain age on it is asked now and then all the same: a list may be wrong for ever.
    pub fn relied_upon(&self, age: Duration, wait: Duration, likely: Option<Likely>) -> Duration {
        let mut doubted = match likely {
            Some(likely) => (likely.latest * DOUBTED_AFTER).max(self.every),
            None => self.every * DOUBTED_AFTER_STEPS,
        };
        while doubted <= age {
            doubted = doubted * 3 / 2;
        }
        (wait * LOOKS_MISSED).min(doubted - age)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const EVERY: Duration = Duration::from_millis(1_200);

    fn likely() -> Option<Likely> {
        Some(Likely { earliest: 10 * SECOND, mean: 16 * SECOND, latest: 25 * SECOND })
    }

    fn running(seconds: &[u64]) -> Vec<InFlight> {
        seconds.iter().map(|s| InFlight { running_for: Some(Duration::from_secs(*s)) }).collect()
    }

    #[test]
    fn while_something_may_be_over_the_list_is_read_at_every_step() {
        let schedule = ListSchedule::default();
        assert_eq!(schedule.wait(&running(&[1, 3, 12]), 1, SECOND / 19, likely()), EVERY);
        assert_eq!(schedule.wait(&running(&[1, 3, 5]), 1, SECOND / 19, None), EVERY);
    }

    #[test]
    fn while_nothing_can_be_over_it_is_left_alone_for_a_while() {
        let schedule = ListSchedule::default();
        let pending = [InFlight { running_for: None }];
        assert_eq!(schedule.wait(&running(&[1, 7]), 1, SECOND / 19, likely()), 3 * SECOND);
        assert_eq!(schedule.wait(&pending, 1, SECOND / 19, likely()), 4 * EVERY);
    }

    #[test]
    fn many_pages_use_no_more_than_half_of_the_queries() {
        let wait = ListSchedule::default().wait(&running(&[20; 2_000]), 200, SECOND / 142, likely());
        assert!(wait > 2 * 200 * SECOND / 143, "{wait:?}");
    }

    proptest! {
        #[test]
        fn what_the_list_says_of_one_task_is_doubted_again_and_again(knows: bool, waits in prop::collection::vec(1u64..6_000, 1..400)) {
            let schedule = ListSchedule::default();
            let (mut age, mut asked_at) = (Duration::ZERO, vec![Duration::ZERO]);
            // A list that shows the task as going for ever: how long is it until it is asked by itself?
            for wait in waits {
                let wait = Duration::from_millis(wait);
                let relied = schedule.relied_upon(age, wait, if knows { likely() } else { None });
                prop_assert!(relied > Duration::ZERO && relied <= wait * LOOKS_MISSED);
                if relied <= wait {
                    asked_at.push(age + relied);
                }
                age += wait;
            }
            for pair in asked_at.windows(2) {
                prop_assert!(pair[1] - pair[0] <= (pair[1] * 2).max(90 * SECOND));
            }
            let last = *asked_at.last().unwrap();
            prop_assert!(age <= (last * 2).max(90 * SECOND), "not asked since {last:?}, at {age:?}");
        }
    }
}
