//! Tasks that were found in the provider's list, and turned out otherwise.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use job::{
    AccountName, Candidate, Doubt, Event, HeldReason, Job, JobId, JobState, Micros, Model, Priority, Rules,
    StateName, Timestamp, Transition,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn transition(job: &Job, event: Event, seconds: i64) -> Transition {
    job.apply(event, at(seconds), &Rules::default(), 0.5).unwrap()
}

fn apply(job: &Job, event: Event, seconds: i64) -> Job {
    transition(job, event, seconds).job
}

fn settling() -> Job {
    let id = JobId::fresh(1, 2);
    let queued = Job::queued(id, None, Model::Wan27Image, None, 1, Priority::default(), "d".into(), at(0));
    let submitting = queued.begin_attempt(AccountName::parse("a").unwrap(), at(0), at(5), Micros(0));
    apply(&submitting, Event::NoAnswer { cause: "reset".into() }, 1)
}

fn adopted() -> Job {
    apply(&settling(), Event::TaskFound { task: "t".parse().unwrap() }, 400)
}

fn doubtful() -> Job {
    let event = Event::TaskDoubtful { billed: 4, cost: Micros(120_000), why: "four images".into() };
    apply(&adopted(), event, 500)
}

#[test]
fn a_job_remembers_that_its_task_was_adopted_until_it_is_queued_again() {
    assert!(adopted().adopted);
    let failure = job::Failure {
        class: job::FailureClass::Service,
        code: "InternalError".into(),
        message: String::new(),
        request_id: None,
    };
    let queued = apply(&adopted(), Event::TaskFailed(failure), 500);
    assert_eq!((queued.state_name(), queued.adopted), (StateName::Queued, false));

    let JobState::Settling { attempt, .. } = settling().state else { panic!("not settling") };
    let answered =
        apply(&settling(), Event::TaskCreated { attempt, task: "t".parse().unwrap(), request_id: None }, 10);
    assert!(!answered.adopted);
}

#[test]
fn a_held_job_says_why_and_which_tasks_may_be_its_own() {
    let candidate =
        Candidate { task: "t".parse().unwrap(), created_at: Some(at(3)), status: "RUNNING".into() };
    let doubt = Doubt { why: "two fit".into(), candidates: vec![candidate.clone()] };
    let event = Event::Undecidable { reason: HeldReason::CannotTell, slot_free: false, doubt };
    let note = transition(&settling(), event, 2_000).note.unwrap();
    assert_eq!((note.what.as_str(), note.message.as_deref()), ("held", Some("two fit")));
    assert_eq!(note.candidates, [candidate]);
}

#[test]
fn a_doubtful_result_is_paid_for_once_and_waits_for_a_person() {
    let held = doubtful();
    assert!(matches!(
        held.state,
        JobState::Held { reason: HeldReason::DoubtfulAdoption, unsettled: false, task: Some(_), .. }
    ));
    assert_eq!((held.billed, held.cost), (4, Micros(120_000)));
    assert!(held.state.slot().is_none(), "its task is over");

    let deliver =
        |task: &str| Event::ResolvedDeliver { task: task.parse().unwrap(), images: 4, deadline: at(9_000) };
    let delivered = apply(&held, deliver("t"), 600);
    assert_eq!(delivered.state_name(), StateName::Archiving);
    assert_eq!((delivered.billed, delivered.cost), (4, Micros(120_000)), "it is not booked again");
    let other = held.apply(deliver("other"), at(600), &Rules::default(), 0.5);
    assert!(other.is_err(), "only the task that brought them");

    assert_eq!(apply(&held, Event::ResolvedResubmit, 600).state_name(), StateName::Queued);
    assert_eq!(apply(&held, Event::ResolvedFail, 600).state_name(), StateName::Failed);
}

#[test]
fn a_job_whose_task_is_another_s_is_held_and_open_again() {
    let deadline = at(86_400);
    let done = Event::TaskSucceeded { images: 1, billed: 1, cost: Micros(30_000), deadline };
    for job in [adopted(), apply(&adopted(), done, 500), doubtful()] {
        let back = apply(&job, Event::TaskTakenBack { task: "t".parse().unwrap() }, 600);
        assert!(
            matches!(
                back.state,
                JobState::Held { reason: HeldReason::DoubtfulAdoption, unsettled: true, task: None, .. }
            ),
            "{back:?}"
        );
        assert!(back.state.slot().is_some(), "its own task may be at work");
        let other =
            job.apply(Event::TaskTakenBack { task: "x".parse().unwrap() }, at(600), &Rules::default(), 0.5);
        assert!(other.is_err(), "another task is not its business");
    }
}
