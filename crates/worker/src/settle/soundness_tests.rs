//! Random truths: attempts that created a task or not, a list that shows what it must. Every verdict has to be true, and most
//! groups have to be decided.

use std::time::Duration;

use dashscope::TaskStatus;
use job::{Attempt, Rules, Timestamp};
use proptest::prelude::*;

use super::decide::{Case, Listed, Listing, Open, Owner, Round, Verdict, Weighing};
use crate::config::SettleConfig;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
}

/// What happened, in ms.
#[derive(Debug, Clone)]
struct Truth {
    /// Of each attempt: when it was claimed, whether it is decided now, and how long after the claim its task was created, if one was.
    attempts: Vec<(i64, bool, Option<i64>)>,
    /// How far the provider's clock is ahead.
    offset: i64,
    /// From claim to creation of tasks whose owners are known: these come one each second, before and after the attempts.
    latencies: Vec<i64>,
}

impl Truth {
    fn round(&self) -> Round {
        let attempt = |claimed: i64| Attempt {
            number: 1,
            account: "a".parse().unwrap(),
            claimed_at: at(claimed),
            send_by: at(claimed + 5_000),
        };
        let listed = |name: String, created: i64, owner| Listed {
            task: name.parse().unwrap(),
            created_at: Some(at(created + self.offset)),
            status: TaskStatus::Succeeded,
            owner,
        };
        let half = self.latencies.len() / 2;
        let claimed = |n: usize| if n < half { -1_000 * (n as i64 + 1) } else { 400_000 + 1_000 * n as i64 };
        let known = self.latencies.iter().enumerate().map(|(n, latency)| {
            listed(format!("o{n}"), claimed(n) + latency, Owner::Ours(Some(at(claimed(n)))))
        });
        let unowned = self.attempts.iter().enumerate().filter_map(|(n, (claimed, _, latency))| {
            Some(listed(format!("x{n}"), claimed + (*latency)?, Owner::Nobody))
        });
        Round {
            now: at(500_000),
            held_for: Duration::from_secs(300),
            listing: Listing { whole: true, tasks: known.chain(unowned).collect() },
            open: self
                .attempts
                .iter()
                .map(|(claimed, ..)| Open { attempt: attempt(*claimed), on_the_way: false })
                .collect(),
        }
    }

    /// What is said of each attempt that is decided now.
    fn verdicts(&self) -> Vec<(usize, Verdict)> {
        let (round, config, rules) = (self.round(), SettleConfig::default(), Rules::default());
        let weighing = Weighing::new(&round, &config, &rules);
        let asked = (0..self.attempts.len()).filter(|n| self.attempts[*n].1);
        asked.map(|open| (open, weighing.judge(Case { open, looks: 0 }, 0.5))).collect()
    }
}

/// Latencies of 40 to 240 ms, of attempts within so many ms.
fn truth(attempts: std::ops::Range<usize>, within: i64) -> impl Strategy<Value = Truth> {
    let latency = || 40i64..=240;
    let attempt = (0..within, proptest::bool::weighted(0.8), proptest::option::of(latency()));
    let known = proptest::collection::vec(latency(), 20..60).prop_map(|mut latencies| {
        // The bounds themselves are among what was seen: an attempt is never outside of what was learned.
        latencies.extend([40, 240]);
        latencies
    });
    (proptest::collection::vec(attempt, attempts), -600_000i64..600_000, known)
        .prop_map(|(attempts, offset, latencies)| Truth { attempts, offset, latencies })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_verdict_is_true(truth in truth(1..8, 3_000)) {
        for (n, verdict) in truth.verdicts() {
            match verdict {
                Verdict::Found(task) => {
                    prop_assert_eq!(task.to_string(), format!("x{n}"));
                    prop_assert!(truth.attempts[n].2.is_some());
                }
                Verdict::NotCreated => prop_assert_eq!(truth.attempts[n].2, None),
                Verdict::LookAgain(_) | Verdict::Undecidable { .. } => {}
            }
        }
    }

    #[test]
    fn a_verdict_stays_true_when_a_task_of_nobody_known_is_listed(mut truth in truth(1..5, 3_000), ago in 1i64..20) {
        // An hour or more before: no attempt explains it. Nothing is adopted then, and what is said is still true.
        truth.latencies.push(0);
        let mut round = truth.round();
        let stranger = Listed {
            task: "stranger".parse().unwrap(),
            created_at: Some(at(-3_600_000 * ago + truth.offset)),
            status: TaskStatus::Succeeded,
            owner: Owner::Nobody,
        };
        round.listing.tasks.push(stranger);
        let (config, rules) = (SettleConfig::default(), Rules::default());
        let weighing = Weighing::new(&round, &config, &rules);
        for n in 0..truth.attempts.len() {
            match weighing.judge(Case { open: n, looks: 0 }, 0.5) {
                Verdict::Found(task) => prop_assert!(false, "{task} was adopted"),
                Verdict::NotCreated => prop_assert_eq!(truth.attempts[n].2, None),
                Verdict::LookAgain(_) | Verdict::Undecidable { .. } => {}
            }
        }
    }
}

#[test]
fn most_groups_of_spread_claims_are_decided() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, TestRunner};
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let (mut decided, mut all) = (0, 0);
    for _ in 0..500 {
        let truth = truth(2..5, 5_000).new_tree(&mut runner).unwrap().current();
        for (_, verdict) in truth.verdicts() {
            all += 1;
            decided += usize::from(matches!(verdict, Verdict::Found(_) | Verdict::NotCreated));
        }
    }
    // Windows of 300 ms, three claims within 5 s: a quarter of them must have a neighbour that fits as well.
    assert!(decided * 100 >= all * 70, "{decided} of {all} are decided");
}

#[test]
fn sixty_four_creates_of_one_killed_worker_are_weighed_at_once() {
    let attempts = (0..64).map(|n| (n, true, (n % 2 == 0).then_some(100))).collect();
    let latencies = vec![100; 200];
    let truth = Truth { attempts, offset: 0, latencies };
    // Too close together to be told apart, and nobody says so at random.
    assert!(truth.verdicts().iter().all(|(_, verdict)| matches!(verdict, Verdict::LookAgain(_))));
}
