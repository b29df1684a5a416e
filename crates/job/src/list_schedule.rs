//! When the provider's list of tasks is read, in place of many single questions. Pure.
//!
//! A list is a hint. That a task is over is believed only after it was asked by itself; and that it is not over, only for a while.

use std::time::Duration;

use crate::Likely;

/// The part of the time in which one in fifty tasks is over that a task may be old and still count as young: what was learned is
/// off by up to a twentieth, and a list moves on while it is read.
const YOUNG_SHARE: f64 = 0.9;

/// The shortest step is `every` divided by this. Source: ours; reading faster than ten times a second brings nobody anything.
const STEP_DIVISOR: u32 = 12;

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
    /// The time between two looks while something may be over. Shorter where so much ends that every page brings an end all the same.
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

/// What one look costs, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How many pages it reads.
    pub pages: u32,
    /// The time in which the account may send one query.
    pub query_every: Duration,
    /// How many tasks are in flight.
    pub in_flight: u64,
}

impl ListSchedule {
    /// Up to which age a task is so young that it is not looked for; zero: there is no such age.
    pub fn young_for(likely: Option<Likely>) -> Duration {
        likely.map_or(Duration::ZERO, |likely| likely.earliest.mul_f64(YOUNG_SHARE))
    }

    /// The one page of young tasks, of so many that are passed over, that is read all the same: a task may end much sooner than the
    /// others, and its place is wanted. `chance`, from 0 to 1, chooses it.
    pub fn glance(passed_over: u32, chance: f64) -> Option<u32> {
        let page = (chance.clamp(0.0, 1.0) * f64::from(passed_over)) as u32 + 1;
        (passed_over > 0).then_some(page.min(passed_over))
    }

    /// The time between two such looks while something may be over.
    ///
    /// Where much ends it is shorter than `every`: ends that are noticed together are due together, and wait for each other's
    /// permits. It is so long that each page may be expected to bring an end, and that half of the queries that asking about
    /// the ends leaves is enough for it.
    pub fn step(&self, look: Look, likely: Option<Likely>) -> Duration {
        let pages = f64::from(look.pages);
        let queries = 1.0 / look.query_every.as_secs_f64().max(1e-6);
        let Some(likely) = likely else {
            return self.every.max(Duration::from_secs_f64(2.0 * pages / queries));
        };
        let ends = look.in_flight as f64 / likely.mean.as_secs_f64().max(1e-3);
        let spare = (queries - ends).max(queries / 10.0);
        let wanted = Duration::from_secs_f64(pages / ends.max(1e-3));
        let affordable = Duration::from_secs_f64(2.0 * pages / spare);
        wanted.clamp(self.every / STEP_DIVISOR, self.every).max(affordable)
    }

    /// The wait before the next look, after one that showed nothing that is waited for.
    pub fn quiet(&self) -> Duration {
        self.every * QUIET_STEPS
    }

    /// The wait before the next look, after one that showed these.
    pub fn wait(&self, shown: &[InFlight], look: Look, likely: Option<Likely>) -> Duration {
        let least = self.step(look, likely);
        let Some(likely) = likely else { return least };
        let left = |task: &InFlight| likely.earliest.saturating_sub(task.running_for.unwrap_or_default());
        let quiet = shown.iter().map(left).min().unwrap_or_default();
        least.max(quiet.min(self.quiet()))
    }

    /// For how long a task of this age that the list shows as going need not be asked by itself. `wait` is the time until the next look,
    /// which may come later: a short one counts as `every`. A young task may not be shown again before it is likely to be over.
    ///
    /// From a certain age on it is asked now and then all the same: a list may be wrong for ever.
    pub fn relied_upon(
        &self,
        age: Duration,
        task: InFlight,
        wait: Duration,
        likely: Option<Likely>,
    ) -> Duration {
        let left = likely.map_or(Duration::ZERO, |likely| {
            likely.earliest.saturating_sub(task.running_for.unwrap_or_default())
        });
        let mut doubted = match likely {
            Some(likely) => (likely.latest * DOUBTED_AFTER).max(self.every),
            None => self.every * DOUBTED_AFTER_STEPS,
        };
        while doubted <= age {
            doubted = doubted * 3 / 2;
        }
        (wait.max(self.every) * LOOKS_MISSED).max(left).min(doubted - age)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const EVERY: Duration = Duration::from_millis(1_200);
    const DOCUMENTED: Look = Look { pages: 1, query_every: Duration::from_millis(53), in_flight: 5 };

    fn likely() -> Option<Likely> {
        Some(Likely { earliest: 10 * SECOND, mean: 16 * SECOND, latest: 25 * SECOND })
    }

    fn running(seconds: &[u64]) -> Vec<InFlight> {
        seconds.iter().map(|s| InFlight { running_for: Some(Duration::from_secs(*s)) }).collect()
    }

    #[test]
    fn while_something_may_be_over_the_list_is_read_at_every_step() {
        let schedule = ListSchedule::default();
        assert_eq!(schedule.wait(&running(&[1, 3, 12]), DOCUMENTED, likely()), EVERY);
        assert_eq!(schedule.wait(&running(&[1, 3, 5]), DOCUMENTED, None), EVERY);
    }

    #[test]
    fn while_nothing_can_be_over_it_is_left_alone_for_a_while() {
        let schedule = ListSchedule::default();
        let pending = [InFlight { running_for: None }];
        assert_eq!(schedule.wait(&running(&[1, 7]), DOCUMENTED, likely()), 3 * SECOND);
        assert_eq!(schedule.wait(&pending, DOCUMENTED, likely()), 4 * EVERY);
    }

    #[test]
    fn many_pages_use_half_of_the_queries_that_the_ends_leave() {
        let schedule = ListSchedule::default();
        let look = Look { pages: 60, query_every: SECOND / 142, in_flight: 1_600 };
        // 100 end in a second, 42 queries are left.
        assert_eq!(schedule.step(look, likely()).as_millis(), 2_857);
        assert_eq!(schedule.step(Look { in_flight: 0, ..look }, None), EVERY);
        let hopeless = Look { in_flight: 1_000_000, ..look };
        assert_eq!(schedule.step(hopeless, likely()).as_millis(), 8_450, "a tenth of the queries, at least");
    }

    #[test]
    fn where_much_ends_the_list_is_read_more_often() {
        let schedule = ListSchedule::default();
        let look = |pages, in_flight| Look { pages, query_every: SECOND / 142, in_flight };
        assert_eq!(schedule.step(look(1, 5), likely()), EVERY);
        assert_eq!(schedule.step(look(1, 32), likely()), SECOND / 2, "a page for each end");
        assert_eq!(schedule.step(look(1, 1_600), likely()), EVERY / 12);
        assert_eq!(schedule.step(look(7, 1_600), likely()).as_millis(), 333, "21 pages in a second");
    }

    #[test]
    fn one_page_of_young_tasks_is_read_all_the_same() {
        let pages =
            |passed_over| [0.0, 0.3, 0.6, 1.0].map(|chance| ListSchedule::glance(passed_over, chance));
        assert_eq!(pages(0), [None; 4]);
        assert_eq!(pages(1), [Some(1); 4]);
        assert_eq!(pages(10), [Some(1), Some(4), Some(7), Some(10)]);
    }

    #[test]
    fn what_can_be_over_is_not_young() {
        assert_eq!(ListSchedule::young_for(likely()), 9 * SECOND);
        assert_eq!(ListSchedule::young_for(None), Duration::ZERO);
    }

    #[test]
    fn a_young_task_is_not_asked_before_it_is_likely_to_be_over() {
        let schedule = ListSchedule::default();
        let relied = |running_for: Option<u64>| {
            let task = InFlight { running_for: running_for.map(Duration::from_secs) };
            schedule.relied_upon(6 * SECOND, task, SECOND / 4, likely())
        };
        assert_eq!(relied(None), 10 * SECOND, "it has to run yet");
        assert_eq!(relied(Some(2)), 8 * SECOND);
        assert_eq!(relied(Some(6)), 4 * EVERY);
    }

    proptest! {
        #[test]
        fn what_the_list_says_of_one_task_is_doubted_again_and_again(knows: bool, waits in prop::collection::vec(1u64..6_000, 1..400)) {
            let schedule = ListSchedule::default();
            let (mut age, mut asked_at) = (Duration::ZERO, vec![Duration::ZERO]);
            // A list that shows the task as going for ever: how long is it until it is asked by itself?
            for wait in waits {
                let wait = Duration::from_millis(wait);
                let task = InFlight { running_for: Some(age) };
                let relied = schedule.relied_upon(age, task, wait, if knows { likely() } else { None });
                prop_assert!(relied > Duration::ZERO && relied <= (wait.max(EVERY) * LOOKS_MISSED).max(10 * SECOND));
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
