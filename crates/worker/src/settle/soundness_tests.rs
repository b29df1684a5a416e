//! Random truths: attempts that created a task or not, a list that shows what it must. Every verdict has to be true, and most
//! groups have to be decided.

use std::time::Duration;

use dashscope::TaskStatus;
use job::{Attempt, JobId, Micros, Rules, Timestamp};
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
            cost_max: Micros(0),
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

    /// What is said of each attempt, look by look: a task that was found has an owner in the next one, and an attempt that was
    /// decided is open no more.
    fn all_verdicts(&self) -> Vec<(usize, Verdict)> {
        let (mut round, config, rules) = (self.round(), SettleConfig::default(), Rules::default());
        let mut open: Vec<usize> = (0..self.attempts.len()).collect();
        let mut all = Vec::new();
        loop {
            let weighing = Weighing::new(&round, &config, &rules);
            let asked = (0..open.len()).filter(|at| self.attempts[open[*at]].1);
            let judged: Vec<(usize, Verdict)> =
                asked.map(|at| (open[at], weighing.judge(Case { open: at, looks: 0 }, 0.5))).collect();
            let (over, left): (Vec<_>, Vec<_>) = judged
                .into_iter()
                .partition(|(_, verdict)| matches!(verdict, Verdict::Found(_) | Verdict::NotCreated));
            if over.is_empty() {
                all.extend(left);
                return all;
            }
            for (n, verdict) in &over {
                let at = open.iter().position(|other| other == n).unwrap();
                round.open.remove(at);
                open.remove(at);
                if let Verdict::Found(found) = verdict {
                    let task = round.listing.tasks.iter_mut().find(|task| task.task == *found).unwrap();
                    task.owner = Owner::Found(JobId::fresh(9, 9));
                }
            }
            all.extend(over);
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
    fn a_create_that_was_sent_or_acted_upon_late_is_neither_taken_for_another_nor_sent_again(
        truth in truth(2..6, 6_000),
        late in proptest::collection::vec(prop_oneof![Just(0), 0i64..=5_000, 0i64..=300_000], 6),
    ) {
        // A worker that stood still between claim and send, and still sent in time, or a request that the gateway held for as
        // long as it may: far later than what was learned.
        let attempts = truth.attempts.iter().zip(late);
        let attempts = attempts.map(|(&(claimed, asked, latency), late)| (claimed, asked, latency.map(|ms| ms + late)));
        let truth = Truth { attempts: attempts.collect(), ..truth };
        for (n, verdict) in truth.all_verdicts() {
            match verdict {
                Verdict::Found(task) => prop_assert_eq!(task.to_string(), format!("x{n}")),
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

/// How many of the attempts of 500 groups are decided, in per cent.
fn decided_of(change: impl Fn(Truth) -> Truth) -> usize {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, TestRunner};
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let (mut decided, mut all) = (0, 0);
    for _ in 0..500 {
        let truth = change(truth(2..5, 5_000).new_tree(&mut runner).unwrap().current());
        for (_, verdict) in truth.all_verdicts() {
            all += 1;
            decided += usize::from(matches!(verdict, Verdict::Found(_) | Verdict::NotCreated));
        }
    }
    decided * 100 / all
}

#[test]
fn creates_that_all_made_their_tasks_are_told_apart() {
    let decided = decided_of(|truth| {
        let apart = |(n, (_, _, latency)): (usize, &(i64, bool, Option<i64>))| {
            (300 * n as i64, true, Some(latency.unwrap_or(40)))
        };
        Truth { attempts: truth.attempts.iter().enumerate().map(apart).collect(), ..truth }
    });
    assert_eq!(decided, 100);
}

#[test]
fn many_groups_of_spread_claims_are_decided() {
    // Three claims within 5 s, of which every other one made nothing: a task may be that of each earlier one whose request the
    // gateway held, unless that one's own is known.
    let decided = decided_of(|truth| truth);
    assert!(decided >= 35, "{decided} % are decided");
}

#[test]
fn sixty_four_creates_of_one_killed_worker_are_weighed_at_once() {
    let attempts = (0..64).map(|n| (n, true, (n % 2 == 0).then_some(100))).collect();
    let latencies = vec![100; 200];
    let truth = Truth { attempts, offset: 0, latencies };
    // Too close together to be told apart, and nobody says so at random.
    assert!(truth.verdicts().iter().all(|(_, verdict)| matches!(verdict, Verdict::LookAgain(_))));
}
