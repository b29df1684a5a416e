//! Pairs of state and event that cannot be: refused by name, and nothing is changed.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::time::Duration;

use job::{
    AccountName, AskedFor, Attempt, CanceledBy, Doubt, Event, Failure, FailureClass, HeldReason, Job, JobId,
    JobState, Micros, Model, Priority, Refusal, Rules, TaskPhase, Timestamp,
};
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (1u32..4, 0i64..100_000).prop_map(|(number, s)| Attempt {
        number,
        account: AccountName::parse("a").unwrap(),
        claimed_at: at(s),
        send_by: at(s + 5),
        cost_max: Micros(s),
    })
}

fn task() -> impl Strategy<Value = job::TaskId> {
    prop::sample::select(vec!["t1", "t2", "t3"]).prop_map(|task| task.parse().unwrap())
}

fn state() -> impl Strategy<Value = JobState> {
    let time = || (0i64..200_000).prop_map(at);
    let phase = prop::sample::select(vec![TaskPhase::Pending, TaskPhase::Running, TaskPhase::Unrecognised]);
    let by = prop::sample::select(vec![CanceledBy::User, CanceledBy::Provider]);
    prop_oneof![
        time().prop_map(|due| JobState::Queued { due, cause: None }),
        attempt().prop_map(|attempt| JobState::Submitting { attempt }),
        (attempt(), time(), any::<u16>()).prop_map(|(attempt, due, looks)| JobState::Settling {
            attempt,
            due,
            looks,
            cause: "timeout".into()
        }),
        (attempt(), task(), time(), time(), 0u32..100, 0u8..5, phase).prop_map(
            |(attempt, task, created_at, due, polls, unknowns, phase)| JobState::Polling {
                attempt,
                task,
                created_at,
                due,
                polls,
                unknowns,
                phase,
                running_since: (polls % 2 == 1).then_some(due),
            }
        ),
        (attempt(), task(), time(), time(), time(), 1u8..5, 0u16..9, 0u8..4).prop_map(
            |(attempt, task, created_at, due, deadline, images, tries, refetches)| JobState::Archiving {
                attempt,
                task,
                created_at,
                due,
                deadline,
                images,
                tries,
                refetches
            }
        ),
        (task(), time(), any::<bool>()).prop_map(|(task, at, partial)| JobState::Succeeded {
            task,
            at,
            partial
        }),
        time().prop_map(|at| JobState::Failed { at, class: FailureClass::Service, code: "C".into() }),
        (time(), by).prop_map(|(at, by)| JobState::Canceled { at, by }),
        (time(), task()).prop_map(|(at, task)| JobState::Expired { at, task }),
        (time(), attempt(), any::<bool>(), any::<bool>(), prop::option::of(task())).prop_map(
            |(since, attempt, unsettled, slot_free, task)| JobState::Held {
                since,
                reason: HeldReason::CannotTell,
                attempt,
                unsettled,
                slot_free,
                task
            }
        ),
    ]
}

fn asked() -> AskedFor {
    AskedFor {
        model: Model::Wan27ImagePro,
        pinned_to: None,
        images_max: 2,
        shape: "2k".parse().unwrap(),
        priority: Priority::default(),
        not_before: Some(at(5)),
        digest: "another".to_owned(),
    }
}

fn event() -> impl Strategy<Value = Event> {
    let failure =
        || Failure { class: FailureClass::Service, code: "C".into(), message: "m".into(), request_id: None };
    let doubt = || Doubt { why: "w".into(), candidates: Vec::new() };
    prop_oneof![
        (attempt(), task()).prop_map(|(attempt, task)| Event::TaskCreated {
            attempt,
            task,
            request_id: None
        }),
        task().prop_map(|task| Event::TaskFound { task }),
        task().prop_map(|task| Event::TaskTakenBack { task }),
        task().prop_map(|task| Event::ResolvedAdopt { task }),
        task().prop_map(|task| Event::ResolvedDeliver { task, images: 1, deadline: at(9) }),
        prop::sample::select(vec![
            Event::Rejected(failure()),
            Event::Refused(Refusal::ours("NotConnected", "m")),
            Event::NotSent,
            Event::NoAnswer { cause: "timeout".into() },
            Event::NotCreated,
            Event::LookAgain { due: at(7) },
            Event::Undecidable { reason: HeldReason::CannotTell, slot_free: false, doubt: doubt() },
            Event::StillGoing { phase: TaskPhase::Running, began_after: None },
            Event::TaskSucceeded { images: 1, billed: 1, cost: Micros(1), deadline: at(9) },
            Event::TaskDoubtful { billed: 1, cost: Micros(1), why: "w".into() },
            Event::TaskFailed(failure()),
            Event::TaskCanceled,
            Event::TaskUnknown,
            Event::PollUnanswered { retry_after: Some(Duration::from_secs(1)) },
            Event::Copied { stored: 1, lost: 0, retry_after: None },
            Event::FreshLinks { deadline: at(9) },
            Event::LinksDead,
            Event::GivenBack,
            Event::Rescued,
            Event::SlotReleased,
            Event::CancelRequested,
            Event::RetryRequested,
            Event::Replaced(asked()),
            Event::MissingRequested { job: JobId::fresh(0, 2), images: 1 },
            Event::ResolvedResubmit,
            Event::ResolvedFail,
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_event_that_does_not_fit_is_refused_by_name_and_changes_nothing(
        state in state(), event in event(), now in 0i64..300_000, claimed: bool, cancel_requested: bool, chance in 0.0f64..=1.0,
    ) {
        let queued = Job::queued(
            JobId::fresh(0, 1), None, Model::Wan27Image, None, 1, Priority::default(), "d".into(), at(0),
        );
        let job = Job { state, claimed, cancel_requested, attempts: 3, tasks: 1, ..queued };
        let (before, name) = (job.clone(), event.name());
        if let Err(illegal) = job.apply(event, at(now), &Rules::default(), chance) {
            prop_assert_eq!(illegal.state, before.state_name());
            prop_assert_eq!(illegal.event, name);
            prop_assert_eq!(illegal.to_string(), format!("a {} job cannot receive {name}", before.state_name()));
        } else if before.state_name().is_final() {
            // What is over is moved by a person's wish, and by nothing else.
            prop_assert!(["TaskCreated", "RetryRequested", "Replaced", "MissingRequested"].contains(&name), "{name}");
        }
        prop_assert_eq!(job, before);
    }
}
