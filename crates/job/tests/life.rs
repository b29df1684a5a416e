//! Random lives of a job: no illegal state is reachable, and every path ends.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::time::Duration;

use job::{
    AccountName, AskedFor, Doubt, Event, Failure, FailureClass, HeldReason, Job, JobId, JobState, Micros,
    Model, Priority, Refusal, Rules, StateName, TaskPhase, Timestamp,
};
use proptest::prelude::*;

/// One thing that may happen in a random life: an event, a claim, or time.
#[derive(Debug, Clone)]
enum Happening {
    Event(Event),
    ClaimForSubmit,
    TimePasses(Duration),
    /// The create call of the attempt under way is answered.
    Answered(&'static str),
}

fn failure(class: FailureClass) -> Failure {
    Failure { class, code: "Code".into(), message: "message".into(), request_id: None }
}

fn happening() -> impl Strategy<Value = Happening> {
    let secs = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let class = prop::sample::select(FailureClass::ALL.to_vec());
    let phase = prop::sample::select(vec![TaskPhase::Pending, TaskPhase::Running, TaskPhase::Unrecognised]);
    let held = prop::sample::select(vec![HeldReason::CannotTell, HeldReason::Policy]);
    let retry_after = prop::option::of(secs(0..700));
    let task = prop::sample::select(vec!["t1", "t2", "t3"]);
    let event = prop_oneof![
        class.clone().prop_map(|class| Event::Rejected(failure(class))),
        (retry_after.clone(), any::<bool>()).prop_map(|(retry_after, account_waits)| Event::Refused(
            Refusal { retry_after, account_waits, ..Refusal::ours("Throttling", "") }
        )),
        Just(Event::NotSent),
        Just(Event::NoAnswer { cause: "timeout".into() }),
        task.clone().prop_map(|task| Event::TaskFound { task: task.parse().unwrap() }),
        Just(Event::NotCreated),
        (0i64..1_000_000).prop_map(|s| Event::LookAgain { due: Timestamp::from_second(s).unwrap() }),
        (held, any::<bool>()).prop_map(|(reason, slot_free)| Event::Undecidable {
            reason,
            slot_free,
            doubt: Doubt::default(),
        }),
        (0u8..5).prop_map(|billed| Event::TaskDoubtful {
            billed,
            cost: Micros(30_000).times(billed.into()),
            why: "why".into(),
        }),
        task.clone().prop_map(|task| Event::TaskTakenBack { task: task.parse().unwrap() }),
        (task.clone(), 1u8..5, 0i64..100_000).prop_map(|(task, images, s)| Event::ResolvedDeliver {
            task: task.parse().unwrap(),
            images,
            deadline: Timestamp::from_second(s).unwrap(),
        }),
        Just(Event::SlotReleased),
        phase.prop_map(|phase| Event::StillGoing { phase, began_after: None }),
        (0u8..5, 0u8..5, 0i64..100_000).prop_map(|(images, billed, s)| Event::TaskSucceeded {
            images,
            billed,
            cost: Micros(30_000).times(billed.into()),
            deadline: Timestamp::from_second(s).unwrap(),
        }),
        class.prop_map(|class| Event::TaskFailed(failure(class))),
        Just(Event::TaskCanceled),
        Just(Event::TaskUnknown),
        retry_after.clone().prop_map(|retry_after| Event::PollUnanswered { retry_after }),
        (0u8..5, 0u8..5, retry_after).prop_map(|(stored, lost, retry_after)| Event::Copied {
            stored,
            lost,
            retry_after
        }),
        (0i64..100_000).prop_map(|s| Event::FreshLinks { deadline: Timestamp::from_second(s).unwrap() }),
        Just(Event::LinksDead),
        Just(Event::GivenBack),
        Just(Event::Rescued),
        Just(Event::CancelRequested),
        Just(Event::RetryRequested),
        (1u8..5).prop_map(|images_max| Event::Replaced(asked(images_max))),
        (1u8..5).prop_map(|images| Event::MissingRequested { job: JobId::fresh(0, 2), images }),
        task.clone().prop_map(|task| Event::ResolvedAdopt { task: task.parse().unwrap() }),
        Just(Event::ResolvedResubmit),
        Just(Event::ResolvedFail),
    ];
    prop_oneof![
        6 => event.prop_map(Happening::Event),
        2 => Just(Happening::ClaimForSubmit),
        2 => task.prop_map(Happening::Answered),
        1 => secs(0..4_000).prop_map(Happening::TimePasses),
    ]
}

fn asked(images_max: u8) -> AskedFor {
    AskedFor {
        model: Model::Wan27Image,
        pinned_to: None,
        images_max,
        shape: "2k".parse().unwrap(),
        priority: Priority::default(),
        not_before: None,
        digest: format!("another-{images_max}"),
    }
}

fn new_job() -> Job {
    let model = Model::Wan27Image;
    Job::queued(
        JobId::fresh(0, 1),
        None,
        model,
        None,
        4,
        Priority::default(),
        "d".into(),
        Timestamp::UNIX_EPOCH,
    )
}

fn begin(job: &Job, now: Timestamp) -> Job {
    job.begin_attempt(AccountName::parse("a").unwrap(), now, now + Duration::from_secs(5), Micros(0))
}

/// What must be true of every job that can be reached.
fn check(before: &Job, after: &Job, now: Timestamp) -> Result<(), TestCaseError> {
    prop_assert!(after.billed >= before.billed, "money is never unspent");
    prop_assert!(after.cost >= before.cost);
    prop_assert!(after.attempts >= before.attempts && after.tasks >= before.tasks);
    prop_assert_eq!((after.fence, after.version), (before.fence, before.version), "the queue's business");
    if let Some(attempt) = after.state.slot() {
        prop_assert!(attempt.number <= after.attempts && attempt.number > 0);
    }
    if let Some(due) = after.state.due() {
        let far = now + Duration::from_secs(24 * 3_600);
        prop_assert!(
            due <= far || before.state.due() == Some(due) || matches!(after.state, JobState::Settling { .. }),
            "{due}"
        );
    }
    if after.state_name().is_final() && before.state_name().is_final() {
        prop_assert_eq!(&before.state, &after.state, "what is over stays over, or is asked for again");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_life_reaches_an_illegal_state(happenings in prop::collection::vec(happening(), 1..60), chance in 0.0f64..=1.0) {
        let rules = Rules::default();
        let (mut job, mut now) = (new_job(), Timestamp::UNIX_EPOCH);
        for happening in happenings {
            let event = match happening {
                Happening::TimePasses(time) => { now += time; continue }
                Happening::ClaimForSubmit => {
                    if matches!(job.state, JobState::Queued { due, .. } if due <= now) {
                        job = begin(&job, now);
                    }
                    continue;
                }
                Happening::Answered(task) => {
                    let Some(attempt) = job.state.slot().cloned() else { continue };
                    Event::TaskCreated { attempt, task: task.parse().unwrap(), request_id: None }
                }
                Happening::Event(event) => event,
            };
            let name = event.name();
            match job.apply(event, now, &rules, chance) {
                Ok(transition) => {
                    check(&job, &transition.job, now)?;
                    // A task id is never dropped: the job has it, or it is called extra.
                    if name == "TaskCreated" {
                        prop_assert!(transition.extra_task.is_some() || transition.job.state.task().is_some());
                    }
                    job = transition.job;
                }
                // An illegal event names both sides and leaves nothing behind.
                Err(illegal) => prop_assert_eq!(illegal.event, name),
            }
        }
    }

    /// A provider and a store that answer somehow, but answer, bring every job to its end in bounded steps.
    #[test]
    fn every_path_ends(choices in prop::collection::vec(0usize..6, 400), chance in 0.0f64..=1.0) {
        let rules = Rules::default();
        let (mut job, mut now) = (new_job(), Timestamp::UNIX_EPOCH);
        let mut tasks = 0;
        for choice in choices {
            if let Some(due) = job.state.due() {
                now = now.max(due);
            }
            let event = match &job.state {
                JobState::Queued { .. } => { job = begin(&job, now); continue }
                JobState::Submitting { attempt } => {
                    tasks += 1;
                    let created = Event::TaskCreated { attempt: attempt.clone(), task: format!("t{tasks}").parse().unwrap(), request_id: None };
                    match choice {
                        0 => Event::Rejected(failure(FailureClass::InputDownload)),
                        1 => Event::NoAnswer { cause: "reset".into() },
                        _ => created,
                    }
                }
                JobState::Settling { .. } => if choice < 3 { Event::NotCreated } else { Event::TaskFound { task: format!("f{now}").replace(':', "").parse().unwrap() } },
                JobState::Polling { .. } => match choice {
                    0 => Event::StillGoing { phase: TaskPhase::Running, began_after: None },
                    1 => Event::TaskFailed(failure(FailureClass::Service)),
                    2 => Event::TaskUnknown,
                    3 => Event::PollUnanswered { retry_after: None },
                    _ => Event::TaskSucceeded { images: 2, billed: 2, cost: Micros(1), deadline: now + rules.task_retention },
                },
                JobState::Archiving { images, .. } => match choice {
                    0 => Event::Copied { stored: job.stored, lost: 0, retry_after: None },
                    1 => Event::FreshLinks { deadline: now + Duration::from_secs(60) },
                    2 => Event::LinksDead,
                    _ => Event::Copied { stored: *images, lost: 0, retry_after: None },
                },
                _ => break,
            };
            job = job.apply(event, now, &rules, chance).unwrap().job;
        }
        let name = job.state_name();
        prop_assert!(name.is_final() || name == StateName::Held, "still {name} after 400 steps: {job:?}");
    }
}
