//! The least that must be lost when copies cannot all be made in time. Pure.

use std::collections::BinaryHeap;

/// How many of `jobs`, each `(takes, deadline)`, are late in the best of all orders on one machine that begins at 0.
///
/// Moore and Hodgson: in the order of their deadlines, the longest so far is given up whenever one would be late. Several equal
/// copiers count as one that is so many times faster, which loses no more than they; jobs count as there from the beginning, which
/// loses no more than waiting for them. So it is a bound that nobody can beat.
pub fn least_late(jobs: &[(u64, u64)]) -> usize {
    let mut jobs = jobs.to_vec();
    jobs.sort_unstable_by_key(|(_, deadline)| *deadline);
    let (mut kept, mut ends, mut late) = (BinaryHeap::new(), 0, 0);
    for (takes, deadline) in jobs {
        kept.push(takes);
        ends += takes;
        if ends > deadline
            && let Some(longest) = kept.pop()
        {
            ends -= longest;
            late += 1;
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// The same by looking at every choice of jobs: those that are kept go by their deadlines.
    fn by_trying(jobs: &[(u64, u64)]) -> usize {
        let mut sorted = jobs.to_vec();
        sorted.sort_unstable_by_key(|(_, deadline)| *deadline);
        let kept_in_time = |choice: u32| {
            let mut ends = 0;
            let kept = sorted.iter().enumerate().filter(|(at, _)| choice & (1 << at) != 0);
            kept.map(|(_, job)| job).all(|(takes, deadline)| {
                ends += takes;
                ends <= *deadline
            })
        };
        let most = (0..1_u32 << jobs.len()).filter(|choice| kept_in_time(*choice)).map(u32::count_ones).max();
        jobs.len() - most.unwrap_or(0) as usize
    }

    #[test]
    fn no_order_loses_fewer() {
        assert_eq!(least_late(&[]), 0);
        assert_eq!(least_late(&[(1, 1), (1, 1), (1, 3)]), 1);
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..300 {
            let jobs: Vec<_> = (0..rng.random_range(0..9_usize))
                .map(|_| (rng.random_range(1..6_u64), rng.random_range(0..20_u64)))
                .collect();
            assert_eq!(least_late(&jobs), by_trying(&jobs), "{jobs:?}");
        }
    }
}
