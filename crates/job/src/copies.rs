//! Whether the images that wait can be copied before their links die. Pure.
//!
//! Owns the estimate: how fast copies end, how many links die by when, and so how many will be too late. It decides nothing:
//! the order of copies is the queue's, and what is late is tried all the same. Driven by the worker's warning and by `status`.

use std::time::Duration;

use crate::Timestamp;

/// The times from now up to which dying links are counted.
///
/// Source: ours; the first are as near as an operator can act, the last is the life of a link.
pub const HORIZONS: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(3 * 3_600),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(12 * 3_600),
    Duration::from_secs(24 * 3_600),
];

/// How far back copies count for the pace of late.
///
/// Source: ours; long enough for a few copies of a slow store, short enough to notice that it has become slow.
pub const PACE_WINDOW: Duration = Duration::from_secs(5 * 60);

/// How long the counts of copies are that a pace is made of. Source: ours; a pace is known after a few of them.
pub const PACE_STEP: Duration = Duration::from_secs(10);

/// With nothing copied of late, how near the first link's end is a reason to say so. Source: ours.
const STANDSTILL: Duration = Duration::from_secs(3_600);

/// Jobs whose images wait to be copied, and how copying goes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CopyBacklog {
    /// Redis's time.
    pub now: Timestamp,
    /// Jobs that wait, or are being copied.
    pub jobs: u64,
    /// Their images that are not in the bucket.
    pub images: u64,
    /// When the first link of them dies, or died.
    pub first_link_dies_at: Option<Timestamp>,
    /// For each of [`HORIZONS`], how many of the jobs have a link that is dead by then.
    pub dying: [u64; HORIZONS.len()],
    /// Jobs that were copied, by the begin of the [`PACE_STEP`] in which they were.
    pub copied: Vec<(Timestamp, u64)>,
}

/// What is to be feared for images that wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CopyTrouble {
    /// At the pace of late, not all can be copied in time.
    Late {
        /// At least so many jobs will be too late, or are.
        jobs: u64,
        /// Jobs that are copied per minute.
        per_minute: f64,
    },
    /// Nothing was copied of late, and links die soon.
    Standstill,
}

impl CopyBacklog {
    /// Jobs copied per minute, by all workers together, since the first copy of the last minutes; `None` if there was none.
    pub fn per_minute(&self) -> Option<f64> {
        let since = self.now - PACE_WINDOW;
        let lately = self.copied.iter().filter(|(at, jobs)| *at + PACE_STEP > since && *jobs > 0);
        let (first, jobs) = lately.fold((None, 0_u64), |(first, sum), (at, jobs)| {
            (Some(first.map_or(*at, |first: Timestamp| first.min(*at))), sum + jobs)
        });
        let over = Duration::try_from(self.now.duration_since(first?)).unwrap_or_default().max(PACE_STEP);
        Some(jobs as f64 * 60.0 / over.as_secs_f64())
    }

    /// How many jobs, at least, are too late at this pace, if those go first whose links die first and nothing else comes.
    ///
    /// Of the links that die by a horizon, no more can be copied than fit into the time until then. Within two horizons all
    /// links count as living until the later one, so that the real number may be greater.
    pub fn late(&self, per_minute: f64) -> u64 {
        let by_horizon = HORIZONS.iter().zip(self.dying).map(|(horizon, jobs)| {
            let fit = (per_minute * horizon.as_secs_f64() / 60.0).floor();
            // Truncates at u64::MAX, which is as good as all of them.
            jobs.saturating_sub(fit as u64)
        });
        by_horizon.max().unwrap_or(0)
    }

    /// What is to be feared, if anything is.
    pub fn trouble(&self) -> Option<CopyTrouble> {
        let Some(per_minute) = self.per_minute() else {
            let soon = self.first_link_dies_at.is_some_and(|dies| dies <= self.now + STANDSTILL);
            return (self.jobs > 0 && soon).then_some(CopyTrouble::Standstill);
        };
        let jobs = self.late(per_minute);
        (jobs > 0).then_some(CopyTrouble::Late { jobs, per_minute })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn backlog(dying: &[u64], copied: &[(i64, u64)]) -> CopyBacklog {
        let last = dying.last().copied().unwrap_or(0);
        let mut all = [last; HORIZONS.len()];
        all[..dying.len()].copy_from_slice(dying);
        CopyBacklog {
            now: at(1_000),
            jobs: last,
            images: last,
            first_link_dies_at: Some(at(1_030)),
            dying: all,
            copied: copied.iter().map(|(second, jobs)| (at(*second), *jobs)).collect(),
        }
    }

    #[test]
    fn the_pace_counts_from_the_first_copy_of_the_last_minutes() {
        assert_eq!(backlog(&[], &[]).per_minute(), None);
        assert_eq!(backlog(&[], &[(600, 50), (650, 9)]).per_minute(), None, "that was long ago");
        assert_eq!(backlog(&[], &[(600, 50), (940, 30), (970, 30)]).per_minute(), Some(60.0));
        assert_eq!(backlog(&[], &[(990, 5)]).per_minute(), Some(30.0));
        assert_eq!(backlog(&[], &[(1_000, 5)]).per_minute(), Some(30.0), "no shorter than a step");
    }

    #[test]
    fn what_does_not_fit_before_a_horizon_is_late() {
        let copied = [(940, 60)]; // 60 a minute
        assert_eq!(backlog(&[0, 60, 300], &copied).trouble(), None);
        let late = |jobs| Some(CopyTrouble::Late { jobs, per_minute: 60.0 });
        assert_eq!(backlog(&[0, 75, 300], &copied).trouble(), late(15));
        assert_eq!(backlog(&[0, 75, 400], &copied).trouble(), late(100), "the fullest horizon counts");
        assert_eq!(backlog(&[3], &copied).trouble(), late(3), "a dead link is late at any pace");
    }

    #[test]
    fn without_a_pace_the_first_link_s_end_decides() {
        assert_eq!(backlog(&[0, 1], &[]).trouble(), Some(CopyTrouble::Standstill));
        let far = CopyBacklog { first_link_dies_at: Some(at(5_000)), ..backlog(&[0, 0, 0, 0, 0, 1], &[]) };
        assert_eq!(far.trouble(), None);
        assert_eq!(CopyBacklog { jobs: 0, ..backlog(&[0], &[]) }.trouble(), None);
    }

    proptest! {
        /// One server that copies one job a minute, those first whose links die first, loses what the estimate says.
        #[test]
        fn the_estimate_is_what_a_steady_copier_loses(mut ends in prop::collection::vec(0_usize..9, 0..200)) {
            ends.sort_unstable();
            let minutes = HORIZONS.map(|horizon| horizon.as_secs() / 60);
            let mut dying = [0; HORIZONS.len()];
            for (at, count) in dying.iter_mut().enumerate() {
                *count = ends.iter().filter(|end| **end <= at).count() as u64;
            }
            let mut copied = 0;
            for end in &ends {
                if copied < minutes[*end] {
                    copied += 1;
                }
            }
            prop_assert_eq!(backlog(&dying, &[]).late(1.0), ends.len() as u64 - copied);
        }
    }
}
