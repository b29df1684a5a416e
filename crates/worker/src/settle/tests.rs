//! The table of verdicts, and what must never happen.

use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::limits::SERVICE_STOP;
use job::{Attempt, HeldReason, Micros, Rules, Timestamp};
use proptest::prelude::*;

use super::decide::{
    Case, Listed, Listing, Open, Owner, Round, Verdict, Weighing, by_policy, without_evidence,
};
use crate::config::{Adopt, Ambiguous, SettleConfig};

const SECOND: Duration = Duration::from_secs(1);

/// Seconds after the claim of the attempt in question.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        account: "a".parse().unwrap(),
        claimed_at: at(0),
        send_by: at(5),
        cost_max: Micros(0),
    }
}

fn listed(name: &str, created: Option<i64>, owner: Owner) -> Listed {
    let status = TaskStatus::Succeeded;
    Listed { task: name.parse().unwrap(), created_at: created.map(at), status, owner }
}

const OURS: Owner = Owner::Ours(None);

/// What is known when the attempt is decided on, `now` seconds after its claim.
#[derive(Debug, Clone)]
struct Evidence {
    now: i64,
    held_for: Duration,
    listing: Listing,
    /// Whether another attempt of the same time is open.
    rivals: bool,
}

fn evidence(now: i64, tasks: Vec<Listed>) -> Evidence {
    Evidence { now, held_for: Duration::ZERO, listing: Listing { whole: true, tasks }, rivals: false }
}

fn decide(evidence: &Evidence, config: &SettleConfig) -> Outcome {
    let open = |on_the_way| Open { attempt: attempt(), on_the_way };
    let round = Round {
        now: at(evidence.now),
        held_for: evidence.held_for,
        listing: evidence.listing.clone(),
        open: if evidence.rivals { vec![open(false), open(false)] } else { vec![open(false)] },
    };
    let rules = Rules::default();
    match Weighing::new(&round, config, &rules).judge(Case { open: 0, looks: 0 }, 1.0) {
        Verdict::Found(task) => Outcome::Found(task.to_string()),
        Verdict::NotCreated => Outcome::NotCreated,
        Verdict::LookAgain(wait) => Outcome::LookAgain(wait),
        Verdict::Undecidable { slot_free, .. } => Outcome::AskPerson { slot_free },
    }
}

/// A verdict without its words.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Found(String),
    NotCreated,
    LookAgain(Duration),
    AskPerson { slot_free: bool },
}

fn judge(evidence: &Evidence) -> Outcome {
    decide(evidence, &SettleConfig::default())
}

const LOOK_AGAIN: Outcome = Outcome::LookAgain(Duration::from_secs(10));
const ASK_PERSON: Outcome = Outcome::AskPerson { slot_free: true };
const ASK_PERSON_AND_KEEP_THE_PLACE: Outcome = Outcome::AskPerson { slot_free: false };

#[test]
fn nothing_unowned_and_a_later_task_of_ours_mean_not_created() {
    assert_eq!(judge(&evidence(60, vec![listed("t", Some(45), OURS)])), Outcome::NotCreated);
}

#[test]
fn a_list_without_a_later_task_of_ours_proves_nothing() {
    assert_eq!(judge(&evidence(40, vec![listed("t", Some(44), OURS)])), LOOK_AGAIN);
    assert_eq!(judge(&evidence(40, vec![listed("t", None, OURS)])), LOOK_AGAIN);
    assert_eq!(judge(&evidence(40, vec![listed("t", Some(50), Owner::Foreign)])), LOOK_AGAIN);
    assert_eq!(judge(&evidence(40, Vec::new())), LOOK_AGAIN);
}

#[test]
fn on_an_idle_account_an_older_task_of_ours_and_ten_minutes_are_enough() {
    let older = || vec![listed("t", Some(-3_600), OURS)];
    assert_eq!(judge(&evidence(604, older())), LOOK_AGAIN);
    assert_eq!(judge(&evidence(605, older())), Outcome::NotCreated);
    assert_eq!(judge(&evidence(605, Vec::new())), LOOK_AGAIN);
}

#[test]
fn a_request_that_was_given_up_waiting_needs_a_control_after_the_providers_own_timeout() {
    let held = |now, created| {
        let tasks = vec![listed("t", Some(created), OURS)];
        judge(&Evidence { held_for: 300 * SECOND, ..evidence(now, tasks) })
    };
    // Acted upon at the last moment, its task may be listed `settle_lag` later.
    assert_eq!(held(400, 344), LOOK_AGAIN);
    assert_eq!(held(400, 345), Outcome::NotCreated);
}

#[test]
fn the_only_unowned_task_inside_the_window_is_the_attempts() {
    for created in [-10, 0, 45] {
        let tasks = vec![listed("o", Some(60), OURS), listed("x", Some(created), Owner::Nobody)];
        assert_eq!(judge(&evidence(60, tasks)), Outcome::Found("x".to_owned()), "created at {created}");
    }
}

#[test]
fn a_task_outside_of_the_window_or_beside_another_is_not_taken() {
    let ours = || listed("o", Some(60), OURS);
    for created in [Some(46), None] {
        let tasks = vec![ours(), listed("x", created, Owner::Nobody)];
        assert_eq!(judge(&evidence(60, tasks)), LOOK_AGAIN, "created at {created:?}");
    }
    let two = vec![listed("x", Some(1), Owner::Nobody), listed("y", Some(-80_000), Owner::Nobody)];
    assert_eq!(judge(&evidence(60, two)), LOOK_AGAIN);
}

#[test]
fn a_task_is_not_taken_from_a_rival_nor_against_the_settings_nor_from_half_a_list() {
    let tasks = || vec![listed("o", Some(60), OURS), listed("x", Some(1), Owner::Nobody)];
    assert_eq!(judge(&Evidence { rivals: true, ..evidence(60, tasks()) }), LOOK_AGAIN);
    let half = Listing { whole: false, tasks: tasks() };
    assert_eq!(judge(&Evidence { listing: half, ..evidence(60, Vec::new()) }), LOOK_AGAIN);
    let never = SettleConfig { adopt: Adopt::Never, ..SettleConfig::default() };
    assert_eq!(decide(&evidence(60, tasks()), &never), LOOK_AGAIN);
}

#[test]
fn an_unowned_task_from_long_before_the_claim_does_not_stand_in_the_way() {
    let judged = |created| {
        let tasks = vec![listed("o", Some(60), OURS), listed("x", Some(created), Owner::Nobody)];
        judge(&evidence(60, tasks))
    };
    assert_eq!(judged(-901), Outcome::NotCreated);
    // Too early to be taken, and too near to be ruled out: the provider's clock may be minutes off.
    assert_eq!(judged(-900), LOOK_AGAIN);
    assert_eq!(judged(-11), LOOK_AGAIN);
}

#[test]
fn a_held_attempt_keeps_its_place_while_a_task_that_may_be_its_own_may_be_at_work() {
    let seen = |status: TaskStatus, owner, whole| {
        let task = Listed { status, ..listed("x", Some(900), owner) };
        let tasks = vec![task, listed("y", Some(901), Owner::Nobody), listed("o", Some(1_000), OURS)];
        let listing = Listing { whole, tasks };
        judge(&Evidence { listing, ..evidence(1_805, Vec::new()) })
    };
    for status in [TaskStatus::Pending, TaskStatus::Running, TaskStatus::Other("SUSPENDED".into())] {
        assert_eq!(seen(status.clone(), Owner::Nobody, true), ASK_PERSON_AND_KEEP_THE_PLACE, "{status:?}");
        assert_eq!(seen(status, OURS, true), ASK_PERSON);
    }
    for status in [TaskStatus::Succeeded, TaskStatus::Failed, TaskStatus::Canceled] {
        assert_eq!(seen(status.clone(), Owner::Nobody, true), ASK_PERSON, "{status:?}");
        assert_eq!(seen(status, Owner::Nobody, false), ASK_PERSON_AND_KEEP_THE_PLACE, "half a list");
    }
}

#[test]
fn a_place_is_given_up_once_the_provider_has_stopped_whatever_was_in_it() {
    let running = Listed { status: TaskStatus::Running, ..listed("x", Some(900), Owner::Nobody) };
    let judged = |now| judge(&evidence(now, vec![running.clone()]));
    let stop = 5 + i64::try_from(SERVICE_STOP.as_secs()).unwrap();
    assert_eq!(judged(stop - 1), ASK_PERSON_AND_KEEP_THE_PLACE);
    assert_eq!(judged(stop), ASK_PERSON);
}

#[test]
fn half_a_list_never_shows_that_nothing_was_created() {
    let half = Listing { whole: false, tasks: vec![listed("o", Some(60), OURS)] };
    assert_eq!(judge(&Evidence { listing: half, ..evidence(60, Vec::new()) }), LOOK_AGAIN);
}

#[test]
fn a_person_is_asked_after_half_an_hour_of_doubt() {
    assert_eq!(judge(&evidence(1_804, Vec::new())), LOOK_AGAIN);
    // Nothing shows that the list is up to date: a task may be at work that it does not show yet.
    assert_eq!(judge(&evidence(1_805, Vec::new())), ASK_PERSON_AND_KEEP_THE_PLACE);
}

#[test]
fn a_list_that_has_forgotten_the_time_of_the_attempt_proves_nothing() {
    let day = 23 * 3_600 - 10;
    let ours = || vec![listed("t", Some(80_000), OURS)];
    assert_eq!(judge(&evidence(day - 1, ours())), Outcome::NotCreated);
    assert_eq!(judge(&evidence(day, ours())), ASK_PERSON);
}

#[test]
fn an_outage_is_waited_out_as_long_as_the_list_still_shows_the_attempt() {
    let config = SettleConfig::default();
    let after =
        |seconds, looks| without_evidence(&attempt(), looks, at(seconds), &config, &Rules::default(), 1.0);
    assert_eq!(after(60, 0), Verdict::LookAgain(10 * SECOND));
    assert_eq!(after(7_200, 9), Verdict::LookAgain(120 * SECOND));
    assert!(matches!(after(5 + 23 * 3_600, 9), Verdict::Undecidable { slot_free: true, .. }));
}

#[test]
fn the_policy_speaks_first() {
    assert_eq!(by_policy(Ambiguous::Settle), None);
    assert!(matches!(
        by_policy(Ambiguous::Hold),
        Some(Verdict::Undecidable { reason: HeldReason::Policy, slot_free: false, .. })
    ));
    assert_eq!(by_policy(Ambiguous::ResubmitMayPayTwice), Some(Verdict::NotCreated));
}

fn any_listed() -> impl Strategy<Value = Listed> {
    let owner = prop_oneof![Just(OURS), Just(Owner::Nobody), Just(Owner::Foreign)];
    let created = proptest::option::weighted(0.9, -90_000i64..90_000);
    (0u32..1_000, created, owner).prop_map(|(id, created, owner)| listed(&format!("t{id}"), created, owner))
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let tasks = proptest::collection::vec(any_listed(), 0..6);
    (5i64..100_000, any::<bool>(), any::<bool>(), prop_oneof![Just(0u64), Just(300)], tasks).prop_map(
        |(now, whole, rivals, held, tasks)| Evidence {
            now,
            held_for: Duration::from_secs(held),
            listing: Listing { whole, tasks },
            rivals,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_is_sent_again_while_a_task_is_listed_that_could_be_its_own(evidence in any_evidence()) {
        let until = at(5 + 30) + evidence.held_for;
        let suspect = evidence.listing.tasks.iter().any(|task| {
            task.owner == Owner::Nobody && task.created_at.is_none_or(|created| (at(-900)..=until).contains(&created))
        });
        if suspect {
            prop_assert_ne!(judge(&evidence), Outcome::NotCreated);
        }
    }

    #[test]
    fn nothing_is_sent_again_without_a_control(mut evidence in any_evidence()) {
        evidence.listing.tasks.retain(|task| task.owner != OURS);
        prop_assert_ne!(judge(&evidence), Outcome::NotCreated);
    }

    #[test]
    fn what_is_taken_is_the_only_task_that_nobody_owns(evidence in any_evidence()) {
        if let Outcome::Found(found) = judge(&evidence) {
            let nobodys: Vec<_> = evidence.listing.tasks.iter().filter(|task| task.owner == Owner::Nobody).collect();
            prop_assert_eq!(nobodys.len(), 1);
            prop_assert_eq!(nobodys[0].task.as_str(), &found);
            prop_assert!(!evidence.rivals && evidence.listing.whole);
            prop_assert!(nobodys[0].created_at.is_some_and(|created| created >= at(-10) && created <= at(45)));
        }
    }
}
