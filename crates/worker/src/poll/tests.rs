//! What answers about tasks mean, and the step on twins.

use std::time::Duration;

use dashscope::error::{AccountFault, ApiError, ErrorClass};
use dashscope::response::{Output, ResultImage, ResultText, TaskReport, UnusableItem, Usage};
use dashscope::{ImageUrl, TaskStatus};
use job::{Event, FailureClass, ImageState, Job, JobState, Micros, StateName, TaskPhase, Timestamp};

use super::answer::{Reading, read, unanswered};
use super::{PollClaim, run};
use crate::ports::{Answer, CallFault, PausedCall, Turn};
use crate::testing::{FakeLease, World, report, start};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(start().as_second() + seconds).unwrap()
}

fn image(choice: usize, item: usize, link: &str) -> ResultImage {
    ResultImage {
        choice,
        item,
        url: ImageUrl::new(link.to_owned()).unwrap(),
        finish_reason: Some("stop".into()),
    }
}

fn succeeded(images: Vec<ResultImage>, billed: Option<u32>) -> TaskReport {
    TaskReport {
        output: Output { images, ..Output::default() },
        usage: Some(Usage { image_count: billed, size: Some((2048, 1024)), ..Usage::default() }),
        ended_at: Some(at(20)),
        ..report(TaskStatus::Succeeded)
    }
}

fn understood(report: TaskReport) -> (Event, Option<job::Outcome>) {
    let task = "t1".parse().unwrap();
    let reading =
        Reading { task: &task, created_at: start(), now: at(30), retention: DAY, price: Micros(30_000) };
    read(report, reading)
}

#[test]
fn a_task_under_way_is_asked_again() {
    let cases = [
        (TaskStatus::Pending, TaskPhase::Pending),
        (TaskStatus::Running, TaskPhase::Running),
        (TaskStatus::Other("SUSPENDED".into()), TaskPhase::Unrecognised),
    ];
    for (status, phase) in cases {
        assert_eq!(understood(report(status)).0, Event::StillGoing { phase, began_after: None });
    }
    assert_eq!(understood(report(TaskStatus::Unknown)).0, Event::TaskUnknown);
    assert_eq!(understood(report(TaskStatus::Canceled)).0, Event::TaskCanceled);
}

#[test]
fn images_are_numbered_in_order_and_paid_for_as_billed() {
    let images =
        vec![image(1, 0, "https://h/b.png"), image(0, 0, "https://h/a.png"), image(0, 1, "https://h/a.png")];
    let (event, outcome) = understood(succeeded(images, Some(3)));
    let Event::TaskSucceeded { images, billed, cost, deadline } = event else { panic!("{event:?}") };
    assert_eq!((images, billed, cost), (3, 3, Micros(90_000)));
    assert_eq!(deadline, at(20) + DAY);
    let outcome = outcome.unwrap();
    let places: Vec<_> = outcome.images.iter().map(|image| (image.index, image.choice, image.item)).collect();
    assert_eq!(places, [(0, 0, 0), (1, 0, 1), (2, 1, 0)]);
    assert_eq!((outcome.size.as_deref(), outcome.billed), (Some("2048*1024"), 3));
}

#[test]
fn without_a_count_the_links_are_billed() {
    let (event, _) = understood(succeeded(vec![image(0, 0, "https://h/a.png")], None));
    assert!(matches!(event, Event::TaskSucceeded { billed: 1, images: 1, .. }), "{event:?}");
}

#[test]
fn a_link_dies_when_it_says_but_never_later_than_a_day_after_the_end() {
    let deadline = |expires: i64| {
        let link = format!("https://h/a.png?Expires={}&Signature=x", at(expires).as_second());
        match understood(succeeded(vec![image(0, 0, &link)], Some(1))).0 {
            Event::TaskSucceeded { deadline, .. } => deadline,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(deadline(3_600), at(3_600));
    assert_eq!(deadline(7 * 86_400), at(20) + DAY);
    assert_eq!(deadline(-3_600), at(-3_600), "a dead link is no other link");
}

#[test]
fn what_should_have_been_an_image_is_lost_and_texts_are_kept() {
    let mut report = succeeded(vec![image(1, 0, "https://h/a.png")], Some(2));
    report.output.texts = vec![ResultText { choice: 0, item: 0, text: "a caption".into() }];
    let reason = ApiError::new("InternalError.Upload", "not stored");
    report.output.unusable = vec![UnusableItem { choice: 0, item: 1, reason }];
    let (event, outcome) = understood(report);
    assert!(matches!(event, Event::TaskSucceeded { images: 2, billed: 2, .. }), "{event:?}");
    let outcome = outcome.unwrap();
    assert_eq!(outcome.texts, ["a caption"]);
    assert!(
        matches!(&outcome.images[0].state, ImageState::Lost { code, .. } if code == "InternalError.Upload")
    );
    assert!(matches!(outcome.images[1].state, ImageState::Waiting { .. }));
}

#[test]
fn success_without_an_image_that_costs_nothing_is_a_fault_of_the_service() {
    for billed in [None, Some(0)] {
        let (event, outcome) = understood(succeeded(Vec::new(), billed));
        let Event::TaskFailed(failure) = event else { panic!("{event:?}") };
        assert_eq!(
            (failure.class, failure.code.as_str(), outcome),
            (FailureClass::Service, "NoImages", None)
        );
    }
}

#[test]
fn a_billed_answer_without_a_readable_image_is_booked_and_brings_none() {
    let (event, outcome) = understood(succeeded(Vec::new(), Some(2)));
    let Event::TaskSucceeded { images, billed, cost, .. } = event else { panic!("{event:?}") };
    assert_eq!((images, billed, cost), (0, 2, Micros(60_000)));
    assert!(outcome.unwrap().images.is_empty());

    // A link that cannot be read, and no word of what is billed: it looks paid for.
    let mut report = succeeded(Vec::new(), None);
    let reason = ApiError::new("UnusableLink", "no address");
    report.output.unusable = vec![UnusableItem { choice: 0, item: 0, reason }];
    let (event, _) = understood(report);
    assert!(matches!(event, Event::TaskSucceeded { images: 0, .. }), "{event:?}");
}

#[tokio::test]
async fn a_billed_answer_that_cannot_be_read_is_held_and_not_paid_for_again() {
    let world = World::new();
    let job = world.polling(1, TaskPhase::Running);
    world.api.on_fetch(Ok(succeeded(Vec::new(), Some(1))));
    run(&world.env, claim(&job)).await;
    let after = world.jobs.job(job.id);
    let JobState::Held { reason, .. } = after.state else { panic!("{:?}", after.state) };
    assert_eq!(reason, job::HeldReason::UnreadableResult);
    assert_eq!((after.billed, after.cost, after.retries), (1, Micros(30_000), job.retries));
}

#[tokio::test]
async fn an_adopted_task_that_brought_something_else_is_held_with_its_images() {
    let brought = |size| {
        let links = ["https://a.example/1.png?Expires=1800050000"];
        let mut report = succeeded(links.iter().map(|link| image(0, 0, link)).collect(), Some(1));
        report.usage = Some(Usage { image_count: Some(1), size: Some(size), ..Usage::default() });
        report
    };
    // The twin's jobs ask for 2K.
    for (adopted, size, state) in [
        (true, (1024, 1024), StateName::Held),
        (true, (2048, 2048), StateName::Archiving),
        (false, (1024, 1024), StateName::Archiving),
    ] {
        let world = World::new();
        let job = world.polling(1, TaskPhase::Running);
        world.jobs.meddle(job.id, |job| job.adopted = adopted);
        world.api.on_fetch(Ok(brought(size)));
        run(&world.env, claim(&world.jobs.job(job.id))).await;
        let after = world.jobs.job(job.id);
        assert_eq!(after.state_name(), state, "{adopted} {size:?}");
        assert_eq!((after.billed, after.cost), (1, Micros(30_000)));
        assert_eq!(world.jobs.outcome(job.id).unwrap().images.len(), 1, "the links are kept");
        if state == StateName::Held {
            let note = world.jobs.notes(job.id).pop().unwrap();
            assert_eq!(
                note.message.unwrap(),
                "the adopted task brought images of 1024*1024, the job asks for 2K"
            );
        }
    }
}

#[test]
fn a_failed_task_fails_in_a_class_that_a_person_understands() {
    let failed = |code: &str| {
        let failure = Some(ApiError::new(code, "said why"));
        match understood(TaskReport { failure, ..report(TaskStatus::Failed) }).0 {
            Event::TaskFailed(failure) => failure,
            other => panic!("{other:?}"),
        }
    };
    let cases = [
        ("DataInspectionFailed", FailureClass::Moderation),
        ("InvalidParameter", FailureClass::InvalidRequest),
        ("InvalidURL.Timeout", FailureClass::InputDownload),
        ("InternalError.Timeout", FailureClass::ServiceTimeout),
        ("InternalError.Algo", FailureClass::Service),
        ("BrandNewCode", FailureClass::Service),
    ];
    for (code, class) in cases {
        let failure = failed(code);
        assert_eq!(
            (failure.class, failure.code.as_str(), failure.message.as_str()),
            (class, code, "said why")
        );
    }
    let Event::TaskFailed(failure) = understood(report(TaskStatus::Failed)).0 else { panic!("not failed") };
    assert_eq!(failure.code, "Unexplained");
}

fn refusal(http_status: u16, class: ErrorClass, retry_after: Option<u64>) -> CallFault {
    CallFault::Refused(Answer {
        http_status,
        class,
        code: "Code".into(),
        message: "message".into(),
        request_id: None,
        retry_after: retry_after.map(Duration::from_secs),
    })
}

#[test]
fn a_query_without_a_report_is_asked_again() {
    let task = "t1".parse().unwrap();
    let young = Reading { task: &task, created_at: start(), now: at(30), retention: DAY, price: Micros(0) };
    let old = Reading { now: at(86_400), ..young };
    let again = |retry_after: Option<u64>| Event::PollUnanswered {
        retry_after: retry_after.map(Duration::from_secs),
    };

    let silent = CallFault::Unanswered { message: "reset".into() };
    assert_eq!(unanswered(&silent, young), again(None));
    assert_eq!(unanswered(&refusal(429, ErrorClass::Capacity, Some(2)), young), again(Some(2)));
    let key = ErrorClass::AccountFault { kind: AccountFault::Key };
    assert_eq!(unanswered(&refusal(401, key, None), young), again(None), "that is the breaker's");
    assert_eq!(unanswered(&refusal(404, ErrorClass::NotFound, None), young), again(None));
    assert_eq!(unanswered(&refusal(404, ErrorClass::NotFound, None), old), Event::TaskUnknown);
}

fn claim(job: &Job) -> PollClaim {
    PollClaim { job: job.clone(), lease: Box::new(FakeLease(Some(Duration::ZERO))), probe: false }
}

#[tokio::test]
async fn a_task_that_ended_hands_its_images_to_the_archive() {
    let world = World::new();
    let job = world.polling(1, TaskPhase::Running);
    world.api.on_fetch(Ok(succeeded(vec![image(0, 0, "https://h/a.png")], Some(1))));
    run(&world.env, claim(&job)).await;
    let after = world.jobs.job(job.id);
    assert_eq!((after.state_name(), after.billed, after.cost), (StateName::Archiving, 1, Micros(30_000)));
    assert_eq!(world.jobs.outcome(job.id).unwrap().task.as_str(), "t1");
    assert_eq!(world.jobs.permits(), 0);
}

#[tokio::test]
async fn a_cancel_is_asked_for_while_pending_and_confirmed_by_a_query() {
    let world = World::new();
    let job = Job { cancel_requested: true, ..world.polling(1, TaskPhase::Pending) };
    world.jobs.meddle(job.id, |record| record.cancel_requested = true);
    world.api.on_fetch(Ok(report(TaskStatus::Canceled)));
    run(&world.env, claim(&job)).await;
    assert_eq!(world.api.log(), ["cancel t1", "fetch t1"]);
    assert_eq!(world.jobs.permits(), 1);
    let JobState::Canceled { by, .. } = world.jobs.job(job.id).state else { panic!("not canceled") };
    assert_eq!(by, job::CanceledBy::User);
}

#[tokio::test]
async fn a_cancel_that_came_too_late_leaves_the_task_to_be_finished() {
    let world = World::new();
    let job = Job { cancel_requested: true, ..world.polling(1, TaskPhase::Pending) };
    world.jobs.meddle(job.id, |record| record.cancel_requested = true);
    world.api.on_cancel(Err(refusal(400, ErrorClass::NotCancellable, None)));
    world.api.on_fetch(Ok(report(TaskStatus::Running)));
    run(&world.env, claim(&job)).await;
    let JobState::Polling { phase, .. } = world.jobs.job(job.id).state else { panic!("not polling") };
    assert_eq!(phase, TaskPhase::Running);
}

#[tokio::test]
async fn a_worker_that_goes_down_gives_a_poll_back_without_asking() {
    let world = World::new();
    let job = world.polling(1, TaskPhase::Running);
    world.env.stop.cancel();
    run(&world.env, claim(&job)).await;
    assert!(world.api.log().is_empty());
    assert_eq!(world.jobs.events(), ["GivenBack"]);
    assert!(!world.jobs.job(job.id).claimed);
}

#[tokio::test]
async fn a_bad_key_opens_the_breaker_of_the_queries_and_fails_no_job() {
    let world = World::new();
    let job = world.polling(1, TaskPhase::Running);
    world.api.on_fetch(Err(refusal(401, ErrorClass::AccountFault { kind: AccountFault::Key }, None)));
    run(&world.env, claim(&job)).await;
    assert_eq!(world.jobs.job(job.id).state_name(), StateName::Polling);
    let [(PausedCall::Query, Some(probe), Turn::Open { .. })] = &world.jobs.turns()[..] else {
        panic!("{:?}", world.jobs.turns())
    };
    assert_eq!(probe, "*");
    // The next answer to a probe that is no such fault closes it, and no other answer costs a call.
    for probe in [false, true, false] {
        let job = world.polling(1, TaskPhase::Running);
        world.api.on_fetch(Err(refusal(404, ErrorClass::NotFound, None)));
        run(&world.env, PollClaim { probe, ..claim(&job) }).await;
    }
    let turns = world.jobs.turns();
    assert_eq!(turns[1..], [(PausedCall::Query, Some("*".to_owned()), Turn::Close)]);
}

#[tokio::test]
async fn queries_that_are_too_many_rest_for_as_long_as_the_service_asks_or_a_little_longer_each_time() {
    let world = World::new();
    let ask = async |answer| {
        let job = world.polling(1, TaskPhase::Running);
        world.api.on_fetch(answer);
        run(&world.env, claim(&job)).await;
        world.clock.advance(Duration::from_secs(60));
        world.jobs.pauses().last().map(|(call, wait, _)| (*call, *wait))
    };
    let too_many = |retry_after| Err(refusal(429, ErrorClass::Capacity, retry_after));
    assert_eq!(ask(too_many(Some(2))).await, Some((PausedCall::Query, Duration::from_secs(2))));
    let second = ask(too_many(None)).await.unwrap().1;
    assert!(second <= Duration::from_millis(400), "{second:?}");
    assert!(ask(too_many(None)).await.unwrap().1 > second / 2);
    ask(Ok(report(TaskStatus::Running))).await;
    let first = ask(too_many(None)).await.unwrap().1;
    assert!(first <= Duration::from_millis(200), "a good answer ends the row: {first:?}");
    assert_eq!(world.jobs.pauses().len(), 4);
}

fn silence() -> CallFault {
    CallFault::Unanswered { message: "timed out".into() }
}

#[tokio::test]
async fn an_account_that_does_not_answer_gets_longer_and_longer_rests() {
    let world = World::new();
    for _ in 0..4 {
        let job = world.polling(1, TaskPhase::Running);
        world.api.on_fetch(Err(silence()));
        run(&world.env, claim(&job)).await;
        world.clock.advance(Duration::from_secs(60));
    }
    let pauses = world.jobs.rests();
    // One lost connection is no outage, and what one worker does not hear is no reason for the others to rest.
    assert_eq!((pauses.len(), world.jobs.pauses().len()), (3, 0));
    assert!(pauses.iter().all(|(call, _)| *call == "query"));
    assert!(pauses[0].1 < pauses[1].1 && pauses[1].1 < pauses[2].1, "{pauses:?}");
}

#[tokio::test]
async fn an_answer_of_any_kind_ends_the_silence() {
    for answer in [Ok(report(TaskStatus::Running)), Err(refusal(404, ErrorClass::NotFound, None))] {
        let world = World::new();
        for answer in [Err(silence()), answer, Err(silence())] {
            let job = world.polling(1, TaskPhase::Running);
            world.api.on_fetch(answer);
            run(&world.env, claim(&job)).await;
            world.clock.advance(Duration::from_secs(60));
        }
        assert!(world.jobs.rests().is_empty());
    }
}
