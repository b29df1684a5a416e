//! Single steps that carry a promise.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::time::Duration;

use job::{
    AccountName, Action, AskedFor, Attempt, CanceledBy, Doubt, Event, Failure, FailureClass, HeldReason, Job,
    JobId, JobState, Micros, Model, PinnedTo, Priority, Refusal, Rules, StateName, TaskPhase, Timestamp,
};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn queued() -> Job {
    Job::queued(JobId::fresh(0, 1), None, Model::Wan27Image, None, 1, Priority::default(), "d".into(), at(0))
}

fn submitting() -> Job {
    queued().begin_attempt(AccountName::parse("a").unwrap(), at(0), at(5), Micros(0))
}

fn attempt(job: &Job) -> Attempt {
    job.state.attempt().unwrap().clone()
}

fn apply(job: &Job, event: Event, seconds: i64) -> Job {
    job.apply(event, at(seconds), &Rules::default(), 1.0).unwrap().job
}

fn polling() -> Job {
    let job = submitting();
    apply(
        &job,
        Event::TaskCreated { attempt: attempt(&job), task: "t".parse().unwrap(), request_id: None },
        1,
    )
}

fn archiving(images: u8) -> Job {
    let cost = Micros(30_000).times(images.into());
    apply(&polling(), Event::TaskSucceeded { images, billed: images, cost, deadline: at(86_400) }, 10)
}

fn failure(class: FailureClass, code: &str) -> Failure {
    Failure { class, code: code.into(), message: "m".into(), request_id: None }
}

#[test]
fn a_create_without_an_answer_is_settled_not_sent_again() {
    let job = apply(&submitting(), Event::NoAnswer { cause: "reset".into() }, 2);
    // No earlier than send_by + the time for which the provider's gateway may hold the request.
    assert_eq!(job.state.due(), Some(at(305)));
    assert_eq!(job.next_action(at(304)), Action::Wait(at(305)));
    assert_eq!(job.next_action(at(305)), Action::Settle);
}

#[test]
fn a_vanished_worker_leaves_an_attempt_to_settle() {
    let job = apply(&submitting(), Event::Rescued, 12);
    assert_eq!(job.state_name(), StateName::Settling);
    assert!(job.state.slot().is_some(), "its place at the provider may be taken");
    assert_eq!(job.state.due(), Some(at(312)), "the request may be at the provider's gateway still");
}

#[test]
fn a_held_attempt_gives_up_its_place_once_nothing_can_be_there() {
    let settling = apply(&submitting(), Event::NoAnswer { cause: "reset".into() }, 2);
    let undecidable =
        |slot_free| Event::Undecidable { reason: HeldReason::CannotTell, slot_free, doubt: Doubt::default() };
    let held = apply(&settling, undecidable(false), 2_000);
    assert!(held.state.slot().is_some());
    let released = apply(&held, Event::SlotReleased, 12_000);
    assert!(released.state.slot().is_none());
    assert!(
        matches!(released.state, JobState::Held { unsettled: true, .. }),
        "it is a person's business all the same"
    );
    assert!(apply(&settling, undecidable(true), 2_000).state.slot().is_none());
}

#[test]
fn a_paid_answer_without_readable_images_is_held_and_booked() {
    let event = Event::TaskSucceeded { images: 0, billed: 2, cost: Micros(60_000), deadline: at(86_400) };
    let held = apply(&polling(), event, 10);
    assert!(matches!(
        held.state,
        JobState::Held { reason: HeldReason::UnreadableResult, unsettled: false, .. }
    ));
    assert_eq!((held.billed, held.cost), (2, Micros(60_000)));
    assert!(held.state.slot().is_none());
}

#[test]
fn paid_images_are_copied_for_as_long_as_their_links_live_whoever_vanishes() {
    let mut job = archiving(1);
    for _ in 0..50 {
        job = apply(&job, Event::Rescued, 20);
        assert_eq!(job.state_name(), StateName::Archiving);
        assert!(job.state.due().unwrap() <= at(20 + 60));
    }
    assert_eq!(apply(&job, Event::Rescued, 86_400).state_name(), StateName::Held);
}

#[test]
fn links_that_are_refused_again_are_not_asked_for_at_once() {
    let first = apply(&archiving(1), Event::FreshLinks { deadline: at(86_400) }, 20);
    assert_eq!(first.state.due(), Some(at(20)));
    let second = apply(&first, Event::FreshLinks { deadline: at(86_400) }, 21);
    assert!(second.state.due().unwrap() >= at(23), "{second:?}");
}

#[test]
fn a_refusal_spends_no_retry_however_often_it_comes() {
    let mut job = submitting();
    for n in 0..1_000 {
        let refusal = Refusal { retry_after: Some(7 * SECOND), ..Refusal::ours("Throttling", "slow down") };
        let refused = apply(&job, Event::Refused(refusal), n);
        assert_eq!(refused.state.due(), Some(at(n + 7)));
        job = refused.begin_attempt(AccountName::parse("a").unwrap(), at(n), at(n + 5), Micros(0));
    }
    assert_eq!(job.retries, Default::default());
}

#[test]
fn a_job_keeps_its_turn_while_its_account_is_held_back_but_not_for_ever() {
    let mut job = submitting();
    let mut waits = Vec::new();
    for n in 0..14 {
        let refusal = Refusal { account_waits: true, ..Refusal::ours("Throttling", "slow down") };
        let refused = apply(&job, Event::Refused(refusal), n);
        let wait = refused.state.due().unwrap().duration_since(at(n));
        waits.push(wait.as_secs());
        job = refused.begin_attempt(AccountName::parse("a").unwrap(), at(n), at(n + 5), Micros(0));
    }
    assert!(waits[..10].iter().all(|wait| *wait == 0), "{waits:?}");
    assert!(waits[10..].is_sorted() && waits[10] >= 2, "then it makes way: {waits:?}");
}

#[test]
fn moderation_fails_at_once_and_a_service_fault_after_its_retries() {
    let job =
        apply(&polling(), Event::TaskFailed(failure(FailureClass::Moderation, "DataInspectionFailed")), 9);
    assert!(
        matches!(&job.state, JobState::Failed { class: FailureClass::Moderation, code, .. } if code == "DataInspectionFailed")
    );

    let mut job = polling();
    let mut retries = 0;
    while job.state_name() == StateName::Polling {
        job = apply(&job, Event::TaskFailed(failure(FailureClass::Service, "InternalError")), 9);
        if job.state_name() == StateName::Queued {
            retries += 1;
            job = job.begin_attempt(AccountName::parse("a").unwrap(), at(9), at(14), Micros(0));
            let task = format!("t{retries}").parse().unwrap();
            job = apply(&job, Event::TaskCreated { attempt: attempt(&job), task, request_id: None }, 9);
        }
    }
    assert_eq!((retries, job.state_name()), (3, StateName::Failed));
}

#[test]
fn a_local_deadline_never_fails_a_job() {
    let mut job = polling();
    let mut now = 3;
    while now < 24 * 3_600 {
        job = apply(&job, Event::StillGoing { phase: TaskPhase::Running, began_after: None }, now);
        let due = job.state.due().unwrap().as_second();
        assert!(due > now && due <= now + 67, "{due} after {now}");
        now = due;
    }
    assert_eq!(job.state_name(), StateName::Polling);
}

#[test]
fn an_unknown_task_is_asked_again_then_held_and_after_a_day_expired() {
    let mut job = polling();
    for _ in 0..3 {
        job = apply(&job, Event::TaskUnknown, 60);
        assert_eq!(job.state_name(), StateName::Polling);
    }
    let held = apply(&job, Event::TaskUnknown, 60);
    assert!(matches!(held.state, JobState::Held { reason: HeldReason::UnknownTask, unsettled: true, .. }));
    let expired = apply(&polling(), Event::TaskUnknown, 24 * 3_600 + 1);
    assert_eq!(expired.state_name(), StateName::Expired);
}

#[test]
fn a_cancel_ends_what_is_free_and_finishes_what_is_paid() {
    assert_eq!(apply(&queued(), Event::CancelRequested, 1).state_name(), StateName::Canceled);
    let pending = apply(&polling(), Event::CancelRequested, 1);
    assert_eq!(pending.next_action(at(1)), Action::Cancel("t".parse().unwrap()));
    let canceled = apply(&pending, Event::TaskCanceled, 2);
    assert!(matches!(canceled.state, JobState::Canceled { by: CanceledBy::User, .. }));

    let running = apply(&polling(), Event::StillGoing { phase: TaskPhase::Running, began_after: None }, 4);
    let running = apply(&running, Event::CancelRequested, 5);
    assert!(matches!(running.next_action(at(10)), Action::Poll(_)));
    let stored = apply(
        &apply(&archiving(1), Event::CancelRequested, 11),
        Event::Copied { stored: 1, lost: 0, retry_after: None },
        12,
    );
    assert_eq!(stored.state_name(), StateName::Succeeded);
    assert!(stored.cancel_requested);

    // Nobody here asked for this one.
    let elsewhere = apply(&polling(), Event::TaskCanceled, 2);
    assert!(matches!(elsewhere.state, JobState::Canceled { by: CanceledBy::Provider, .. }));
}

#[test]
fn a_cancelled_job_is_not_sent_again() {
    let job = apply(&submitting(), Event::CancelRequested, 1);
    let refused = apply(&job, Event::Refused(Refusal::ours("Throttling", "slow down")), 2);
    assert_eq!(refused.state_name(), StateName::Canceled);
}

#[test]
fn images_are_counted_until_all_are_stored_or_lost() {
    let copied = |stored, lost| Event::Copied { stored, lost, retry_after: None };
    let job = archiving(3);
    assert_eq!((job.billed, job.cost), (3, Micros(90_000)));
    let some = apply(&job, copied(2, 0), 11);
    assert_eq!((some.state_name(), some.stored), (StateName::Archiving, 2));
    let whole = apply(&some, copied(3, 0), 12);
    assert!(matches!(whole.state, JobState::Succeeded { partial: false, .. }));
    let partial = apply(&some, copied(2, 1), 12);
    assert!(matches!(partial.state, JobState::Succeeded { partial: true, .. }));
    assert_eq!(apply(&job, copied(0, 3), 12).state_name(), StateName::Expired);
    assert_eq!(apply(&job, Event::LinksDead, 90_000).state_name(), StateName::Expired);
}

#[test]
fn a_step_that_kills_its_workers_is_run_alone_after_three_rescues_and_held_after_the_next() {
    let mut job = polling();
    for rescues in 1..=3 {
        job = apply(&job, Event::Rescued, 20);
        assert_eq!((job.state_name(), job.alone), (StateName::Polling, rescues == 3));
    }
    // That a worker was told to stop says nothing about the job.
    let job = apply(&job, Event::GivenBack, 20);
    assert_eq!((job.alone, job.rescues), (true, 3));
    let held = apply(&job, Event::Rescued, 20);
    assert!(matches!(held.state, JobState::Held { reason: HeldReason::Poison, .. }));
    assert!(!held.alone);
    // A commit between two rescues starts the count anew.
    let job = apply(&job, Event::StillGoing { phase: TaskPhase::Running, began_after: None }, 21);
    assert_eq!((job.rescues, job.alone), (0, false));
}

#[test]
fn paid_images_are_tried_alone_for_as_long_as_their_links_live() {
    let mut job = archiving(2);
    let JobState::Archiving { deadline, .. } = job.state else { panic!("not archiving") };
    for _ in 0..8 {
        job = apply(&job, Event::Rescued, 20);
        assert_eq!(job.state_name(), StateName::Archiving);
    }
    assert!(job.alone);
    let held = apply(&job, Event::Rescued, deadline.as_second() + 1);
    assert!(matches!(held.state, JobState::Held { reason: HeldReason::Poison, .. }));
}

#[test]
fn a_second_task_of_a_job_is_called_extra() {
    let job = polling();
    let first = Attempt { number: 1, ..attempt(&job) };
    let event = Event::TaskCreated { attempt: first, task: "another".parse().unwrap(), request_id: None };
    let transition = job.apply(event, at(9), &Rules::default(), 0.5).unwrap();
    assert_eq!(transition.extra_task, Some("another".parse().unwrap()));
    assert_eq!(transition.job, job);
    assert_eq!(transition.note.unwrap().what, "extra_task");
}

#[test]
fn an_illegal_pairing_says_both_sides() {
    let error = queued()
        .apply(
            Event::StillGoing { phase: TaskPhase::Running, began_after: None },
            at(0),
            &Rules::default(),
            0.5,
        )
        .unwrap_err();
    assert_eq!(error.to_string(), "a queued job cannot receive StillGoing");
}

#[test]
fn every_create_and_every_refusal_is_a_line_with_its_request_id() {
    let job = submitting();
    let note = |event: Event| job.apply(event, at(2), &Rules::default(), 1.0).unwrap().note.unwrap();
    let refusal = Refusal { request_id: Some("r-1".into()), ..Refusal::ours("Arrearage", "overdue") };
    let refused = note(Event::Refused(refusal));
    assert_eq!((refused.what.as_str(), refused.code.as_deref()), ("refused", Some("Arrearage")));
    assert_eq!((refused.message.as_deref(), refused.request_id.as_deref()), (Some("overdue"), Some("r-1")));
    assert_eq!((refused.attempt, refused.account.as_deref()), (1, Some("a")));
    assert!(refused.folds());
    let task = "t".parse().unwrap();
    let created = Event::TaskCreated { attempt: attempt(&job), task, request_id: Some("r-2".into()) };
    let created = note(created);
    assert_eq!((created.what.as_str(), created.request_id.as_deref()), ("created", Some("r-2")));
    assert_eq!((created.attempt, created.task.as_ref().map(|task| task.as_str())), (1, Some("t")));
    assert!(!created.folds());
    let unanswered = note(Event::NoAnswer { cause: "http_502".into() });
    assert_eq!((unanswered.what.as_str(), unanswered.code.as_deref()), ("no_answer", Some("http_502")));
}

#[test]
fn a_retried_job_keeps_what_it_has_cost_and_gets_its_retries_back() {
    let mut expired = apply(&archiving(2), Event::LinksDead, 90_000);
    assert_eq!((expired.state_name(), expired.billed, expired.cost), (StateName::Expired, 2, Micros(60_000)));
    (expired.retries.service, expired.refusals) = (3, 7);
    let again = apply(&expired, Event::RetryRequested, 90_001);
    assert_eq!((again.state_name(), again.billed, again.cost), (StateName::Queued, 2, Micros(60_000)));
    assert_eq!((again.retries, again.refusals, again.tasks), (Default::default(), 0, 1));
}

#[test]
fn a_replaced_job_runs_for_its_new_spec_and_keeps_what_it_has_cost() {
    let asked = AskedFor {
        model: Model::Wan27ImagePro,
        pinned_to: Some(PinnedTo::Account("b".parse().unwrap())),
        images_max: 3,
        shape: "4k+".parse().unwrap(),
        priority: Priority::try_from(1).unwrap(),
        not_before: Some(at(500)),
        digest: "new".into(),
    };
    let copied = |stored| Event::Copied { stored, lost: 2 - stored, retry_after: None };
    let partial = apply(&archiving(2), copied(1), 100);
    assert_eq!((partial.state_name(), partial.lost_images()), (StateName::Succeeded, 1));
    let replaced = apply(&partial, Event::Replaced(asked.clone()), 200);
    assert!(matches!(replaced.state, JobState::Queued { due, .. } if due == at(500)));
    assert_eq!(AskedFor { digest: replaced.digest.clone(), ..asked.clone() }, asked);
    assert_eq!((replaced.model, replaced.images_max, replaced.priority), (asked.model, 3, asked.priority));
    assert_eq!((replaced.billed, replaced.cost, replaced.tasks), (2, Micros(60_000), 1));
    // What was lost before stays lost, what was delivered was delivered.
    let claimed = replaced.begin_attempt(AccountName::parse("b").unwrap(), at(600), at(605), Micros(225_000));
    let created =
        Event::TaskCreated { attempt: attempt(&claimed), task: "t2".parse().unwrap(), request_id: None };
    let cost = Micros(75_000).times(3);
    let brought = Event::TaskSucceeded { images: 3, billed: 3, cost, deadline: at(86_400) };
    let again = apply(&apply(&claimed, created, 601), brought, 620);
    let over = apply(&again, Event::Copied { stored: 3, lost: 0, retry_after: None }, 700);
    assert_eq!((over.billed, over.stored, over.lost_images(), over.tasks), (5, 3, 1, 2));
    // The same again changes nothing, so that nothing is paid for twice.
    let same = over.apply(Event::Replaced(asked.clone()), at(800), &Rules::default(), 0.5).unwrap();
    assert_eq!((same.job, same.note), (over, None));
    for busy in [submitting(), polling(), archiving(2)] {
        assert!(busy.apply(Event::Replaced(asked.clone()), at(9), &Rules::default(), 0.5).is_err());
    }
}

#[test]
fn a_task_of_the_spec_before_is_none_of_the_new_one() {
    let late = |job: &Job, number| {
        let attempt = Attempt { number, ..attempt(&submitting()) };
        let event = Event::TaskCreated { attempt, task: "late".parse().unwrap(), request_id: None };
        job.apply(event, at(900), &Rules::default(), 0.5).unwrap()
    };
    let given_back = apply(&submitting(), Event::NotSent, 10);
    assert_eq!(late(&given_back, 1).extra_task, None);
    let asked = AskedFor {
        model: Model::Wan27Image,
        pinned_to: None,
        images_max: 1,
        shape: "1k".parse().unwrap(),
        priority: Priority::default(),
        not_before: None,
        digest: "new".into(),
    };
    let replaced = apply(&given_back, Event::Replaced(asked), 20);
    let extra = late(&replaced, 1);
    assert_eq!((extra.extra_task.is_some(), extra.job), (true, replaced));
}

#[test]
fn asking_for_missing_images_leaves_the_job_as_it_is_and_says_which_job_has_them() {
    let asked = Event::MissingRequested { job: JobId::fresh(0, 2), images: 2 };
    let expired = apply(&archiving(2), Event::LinksDead, 90_000);
    let after = expired.apply(asked.clone(), at(90_001), &Rules::default(), 1.0).unwrap();
    assert_eq!(after.job, expired);
    let message = after.note.unwrap().message.unwrap();
    assert!(message.contains(&JobId::fresh(0, 2).to_string()), "{message}");
    assert!(polling().apply(asked, at(2), &Rules::default(), 1.0).is_err());
}

#[test]
fn a_known_task_of_a_held_job_is_looked_after_when_the_job_goes_on_without_it() {
    let resolved = |held: &Job, event| held.apply(event, at(90_000), &Rules::default(), 1.0).unwrap();
    let killed = |mut job: Job, seconds| {
        while job.state_name() != StateName::Held {
            job = apply(&job, Event::Rescued, seconds);
        }
        job
    };
    for event in [Event::ResolvedResubmit, Event::ResolvedFail] {
        let left = resolved(&killed(polling(), 20), event.clone());
        assert_eq!(left.extra_task.as_ref().map(ToString::to_string).as_deref(), Some("t"));
        assert_eq!(left.note.unwrap().task, left.extra_task);
        // One that is being copied has ended and is booked.
        assert_eq!(resolved(&killed(archiving(2), 86_401), event.clone()).extra_task, None);
        // Nothing is known of one.
        let settling = apply(&submitting(), Event::NoAnswer { cause: "reset".into() }, 2);
        assert_eq!(resolved(&killed(settling, 20), event).extra_task, None);
    }
}
