//! The paid call, step by step, on twins.

mod inputs;

use std::sync::Arc;
use std::time::Duration;

use dashscope::ImageInput;
use dashscope::error::{AccountFault, ErrorClass, Throttle};
use job::{Event, FailureClass, InputImage, Job, JobSpec, JobState, Micros, Rules, StateName};

use super::{SubmitClaim, run};
use crate::config::InputTransport;
use crate::ports::{Answer, CallFault, CreateFault, CreateTime, PausedCall, Turn};
use crate::rests::Resting;
use crate::testing::{CreateAct, FakeLease, World, fresh_lease, start};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n...";

fn claim(job: &Job, spec: &Arc<JobSpec>) -> SubmitClaim {
    SubmitClaim {
        job: job.clone(),
        spec: Ok(spec.clone()),
        lease: fresh_lease(),
        claimed_at: Duration::ZERO,
        send_at: Duration::ZERO,
        probe: false,
    }
}

fn state(world: &World, job: &Job) -> StateName {
    world.jobs.job(job.id).state_name()
}

#[tokio::test]
async fn a_created_task_is_written_down_and_polled() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    run(&world.env, claim(&job, &spec)).await;
    let after = world.jobs.job(job.id);
    assert_eq!(after.state.task().unwrap().as_str(), "t1");
    assert_eq!((after.state_name(), after.tasks, after.claimed), (StateName::Polling, 1, false));
    assert_eq!(world.env.tally.summary(true, false).submitted, 1);
}

#[tokio::test]
async fn a_create_without_an_answer_is_settled_and_not_sent_again() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.api.on_create(CreateAct::Answer(Err(CreateFault::Unknown { cause: "http_502".into() })));
    run(&world.env, claim(&job, &spec)).await;
    let JobState::Settling { due, .. } = world.jobs.job(job.id).state else { panic!("not settling") };
    assert!(due >= start() + Rules::default().held_request_timeout);
    assert_eq!(world.api.log(), ["create"]);
}

#[tokio::test]
async fn a_claim_that_is_too_old_or_lost_sends_nothing() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.clock.advance(Duration::from_millis(5_001));
    run(&world.env, claim(&job, &spec)).await;
    let JobState::Queued { due, cause } = world.jobs.job(job.id).state else { panic!("not queued") };
    assert_eq!(cause.as_deref(), Some("ConnectTooSlow"));
    assert_eq!(due, start(), "another worker may take it");
    assert!(world.jobs.pauses().is_empty(), "and none is held back");
    let account = "a".parse().unwrap();
    let now = crate::clock::Clock::elapsed(&*world.clock);
    assert!(
        !world.env.rests.left(&account, Resting::Creates, now).is_zero(),
        "it does not go round at once here"
    );

    for age in [None, Some(Duration::from_secs(4))] {
        let world = World::new();
        let (job, spec) = world.submitting(1);
        run(&world.env, SubmitClaim { lease: Arc::new(FakeLease(age)), ..claim(&job, &spec) }).await;
        assert_eq!(world.jobs.events(), ["Refused"]);
        assert!(world.api.log().is_empty());
        assert_eq!(state(&world, &job), StateName::Queued);
    }
}

#[tokio::test]
async fn a_create_that_missed_its_moment_is_sent_at_another_and_once() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    // It was paused for a while between claim and send.
    world.clock.advance(Duration::from_millis(300));
    world.jobs.on_create_time(CreateTime::Wait(Duration::from_millis(10)));
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    run(&world.env, claim(&job, &spec)).await;
    assert_eq!((state(&world, &job), world.api.log()), (StateName::Polling, vec!["create".to_owned()]));
}

#[tokio::test]
async fn a_create_that_missed_its_moment_and_gets_no_other_goes_back_without_a_word_about_the_network() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.clock.advance(Duration::from_millis(300));
    world.jobs.on_create_time(CreateTime::Wait(Duration::from_secs(60)));
    run(&world.env, claim(&job, &spec)).await;
    assert_eq!(world.jobs.events(), ["NotSent"]);
    assert!(world.api.log().is_empty() && world.jobs.pauses().is_empty());
    assert_eq!(state(&world, &job), StateName::Queued);
}

/// Lets virtual time and the world's clock run together.
async fn clock_runs(world: &World) {
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.clock.advance(Duration::from_millis(1));
    }
}

/// Runs one claim whose create is to be sent after `ms`.
async fn run_with_moment_in(world: &World, ms: u64, probe: bool) -> StateName {
    let (job, spec) = world.submitting(1);
    let claim = SubmitClaim { send_at: Duration::from_millis(ms), probe, ..claim(&job, &spec) };
    tokio::select! {
        () = run(&world.env, claim) => state(world, &job),
        () = clock_runs(world) => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_waits_for_its_moment_is_reached_by_a_pause_of_its_own_worker_up_to_the_last() {
    for (wait, expected) in [(3_000, StateName::Queued), (20, StateName::Polling)] {
        let world = World::new();
        world.api.on_create(CreateAct::Answer(Ok("t1")));
        let account = "a".parse().unwrap();
        let refused = async {
            tokio::time::sleep(Duration::from_millis(70)).await;
            let wait = Duration::from_millis(wait);
            super::pause(&world.env, &account, dashscope::Model::Wan27Image, wait, "slow down").await;
        };
        let (state, ()) = tokio::join!(run_with_moment_in(&world, 100, false), refused);
        assert_eq!(state, expected);
        assert_eq!(world.api.log().is_empty(), state == StateName::Queued);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_waits_for_its_moment_is_reached_by_what_another_worker_found_out() {
    let world = World::new();
    world.jobs.hold_creates_back();
    assert_eq!(run_with_moment_in(&world, 100, false).await, StateName::Queued);
    assert!(world.api.log().is_empty());
    assert_eq!(world.jobs.events(), ["NotSent"]);
    // A probe is what an open breaker waits for.
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    let now = crate::clock::Clock::elapsed(&*world.clock);
    assert_eq!(run_with_moment_in(&world, now.as_millis() as u64 + 1, true).await, StateName::Polling);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_goes_out_right_after_its_claim_asks_nobody_once_more() {
    let world = World::new();
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    assert_eq!(run_with_moment_in(&world, 30, false).await, StateName::Polling);
    assert_eq!(world.jobs.looks(), 0);
}

#[tokio::test]
async fn a_create_that_missed_its_moment_takes_no_other_through_an_open_breaker() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.clock.advance(Duration::from_millis(300));
    world.jobs.hold_creates_back();
    run(&world.env, claim(&job, &spec)).await;
    assert_eq!((world.jobs.events(), world.api.log()), (vec!["NotSent"], Vec::new()));
}

#[tokio::test]
async fn a_stop_before_the_body_goes_out_gives_the_job_back_at_once() {
    let world = World::new();
    *world.api.no_connection.lock().unwrap() = true;
    let (job, spec) = world.submitting(1);
    let stop = async {
        world.api.passed.notified().await;
        world.env.stop.cancel();
    };
    tokio::join!(run(&world.env, claim(&job, &spec)), stop);
    assert_eq!(state(&world, &job), StateName::Queued);
    assert!(world.api.log().is_empty());
}

#[tokio::test]
async fn a_stop_after_that_waits_for_the_task_and_keeps_it() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.api.on_create(CreateAct::Hang("t1"));
    let stop = async {
        world.api.passed.notified().await;
        world.env.stop.cancel();
        // The step sees the stop before the answer.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(futures::FutureExt::now_or_never(world.env.on_the_wire.none_left()).is_none());
        world.api.release.notify_one();
    };
    tokio::join!(run(&world.env, claim(&job, &spec)), stop);
    assert_eq!(state(&world, &job), StateName::Polling);
    world.env.on_the_wire.none_left().await;
}

#[tokio::test]
async fn a_task_is_kept_even_when_the_job_was_rescued_meanwhile() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.jobs.meddle(job.id, |job| {
        *job = job.apply(Event::Rescued, start(), &Rules::default(), 0.5).unwrap().job;
        job.fence += 1;
    });
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    run(&world.env, claim(&job, &spec)).await;
    let after = world.jobs.job(job.id);
    assert_eq!((after.state_name(), after.state.task().unwrap().as_str()), (StateName::Polling, "t1"));
}

#[tokio::test]
async fn a_task_that_the_job_cannot_take_is_cancelled_and_counted() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.jobs.meddle(job.id, |job| {
        let attempt = job.state.attempt().unwrap().clone();
        let task = "t0".parse().unwrap();
        *job = job
            .apply(Event::TaskCreated { attempt, task, request_id: None }, start(), &Rules::default(), 0.5)
            .unwrap()
            .job;
        job.fence += 1;
    });
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    run(&world.env, claim(&job, &spec)).await;
    assert_eq!(world.jobs.job(job.id).state.task().unwrap().as_str(), "t0");
    assert_eq!(world.api.log(), ["create", "cancel t1"]);
    assert_eq!((world.env.tally.summary(true, false).extra_tasks, world.jobs.permits()), (1, 1));
}

#[tokio::test]
async fn a_task_of_a_job_that_is_gone_is_cancelled() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.jobs.forget(job.id);
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    run(&world.env, claim(&job, &spec)).await;
    assert_eq!(world.api.log(), ["create", "cancel t1"]);
}

#[tokio::test]
async fn a_throttled_create_pauses_the_model_for_everybody_and_spends_nothing() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    world.api.on_create(CreateAct::Answer(Err(CreateFault::Refused(Answer {
        http_status: 429,
        class: ErrorClass::Throttled { kind: Throttle::Rate },
        code: "Throttling.RateQuota".into(),
        message: "slow down".into(),
        request_id: None,
        retry_after: Some(Duration::from_secs(9)),
    }))));
    run(&world.env, claim(&job, &spec)).await;
    let after = world.jobs.job(job.id);
    assert_eq!(after.state.due(), Some(start()), "the account waits in its place");
    assert_eq!(after.retries, job.retries);
    let [(call, wait, why)] = &world.jobs.pauses()[..] else { panic!("no single pause") };
    assert_eq!((*call, *wait), (PausedCall::CreateModel(job.model), Duration::from_secs(9)));
    assert_eq!(why, "HTTP 429 Throttling.RateQuota: slow down");
}

#[tokio::test]
async fn too_many_tasks_take_places_away_and_a_pause_only_where_the_service_asks_for_one() {
    for asked in [None, Some(Duration::from_secs(3))] {
        let world = World::new();
        let (job, spec) = world.submitting(1);
        world.api.on_create(CreateAct::Answer(Err(CreateFault::Refused(Answer {
            http_status: 429,
            class: ErrorClass::Throttled { kind: Throttle::Concurrency },
            code: "Throttling.Concurrency".into(),
            message: "too many tasks".into(),
            request_id: None,
            retry_after: asked,
        }))));
        let before = world.jobs.places();
        run(&world.env, claim(&job, &spec)).await;
        assert_eq!(world.jobs.places(), before - 1, "{asked:?}");
        let pauses: Vec<Duration> = world.jobs.pauses().into_iter().map(|(_, wait, _)| wait).collect();
        assert_eq!(pauses, Vec::from_iter(asked));
    }
}

fn refused(http_status: u16, class: ErrorClass, code: &str) -> CreateAct {
    let (code, message, request_id) = (code.to_owned(), "said why".to_owned(), Some("r-1".to_owned()));
    let refusal = Answer { http_status, class, code, message, request_id, retry_after: None };
    CreateAct::Answer(Err(CreateFault::Refused(refusal)))
}

#[tokio::test]
async fn a_bad_key_opens_the_accounts_breaker_and_only_a_probe_closes_it() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    let key = ErrorClass::AccountFault { kind: AccountFault::Key };
    world.api.on_create(refused(401, key, "InvalidApiKey"));
    run(&world.env, claim(&job, &spec)).await;
    let JobState::Queued { cause, .. } = world.jobs.job(job.id).state else { panic!("not queued") };
    assert_eq!(cause.as_deref(), Some("InvalidApiKey"));
    assert!(world.jobs.pauses().is_empty());
    let [(PausedCall::Create, None, Turn::Open { code, why, .. })] = &world.jobs.turns()[..] else {
        panic!("{:?}", world.jobs.turns())
    };
    assert_eq!((code.as_str(), why.as_str()), ("InvalidApiKey", "HTTP 401 InvalidApiKey: said why"));

    // A create that went out before is no proof; the probe's is, though its prompt is refused.
    for (probe, act) in [
        (false, CreateAct::Answer(Ok("t1"))),
        (true, refused(400, ErrorClass::Moderation, "DataInspectionFailed")),
    ] {
        let (job, spec) = world.submitting(1);
        world.api.on_create(act);
        run(&world.env, SubmitClaim { probe, ..claim(&job, &spec) }).await;
    }
    let token = Some(format!("{}:1", job.id));
    let closed = [PausedCall::Create, PausedCall::CreateModel(job.model)]
        .map(|call| (call, token.clone(), Turn::Close));
    assert_eq!(world.jobs.turns()[1..], closed);
}

#[tokio::test]
async fn a_probe_that_is_not_sent_lets_another_one_go() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    let claim = SubmitClaim { probe: true, spec: Err("line 1".into()), ..claim(&job, &spec) };
    run(&world.env, claim).await;
    let turns: Vec<Turn> = world.jobs.turns().into_iter().map(|(_, _, turn)| turn).collect();
    assert_eq!(turns, [Turn::Release, Turn::Release]);
}

#[tokio::test]
async fn creates_without_an_answer_open_the_accounts_breaker_with_the_third_in_a_row() {
    let world = World::new();
    for _ in 0..3 {
        assert!(world.jobs.turns().is_empty());
        let (job, spec) = world.submitting(1);
        world.api.on_create(CreateAct::Answer(Err(CreateFault::Unknown { cause: "http_502".into() })));
        let claimed_at = crate::clock::Clock::elapsed(&*world.clock);
        run(&world.env, SubmitClaim { claimed_at, ..claim(&job, &spec) }).await;
        world.clock.advance(Duration::from_secs(60));
    }
    let [(PausedCall::Create, None, Turn::Open { code, .. })] = &world.jobs.turns()[..] else {
        panic!("{:?}", world.jobs.turns())
    };
    assert_eq!(code, "NoAnswer");
}

#[tokio::test]
async fn connections_that_fail_again_and_again_rest_longer_and_longer_at_this_worker() {
    let world = World::new();
    for _ in 0..3 {
        let (job, spec) = world.submitting(1);
        world.api.on_create(CreateAct::Answer(Err(CreateFault::NotConnected { message: "refused".into() })));
        let claimed_at = crate::clock::Clock::elapsed(&*world.clock);
        run(&world.env, SubmitClaim { claimed_at, ..claim(&job, &spec) }).await;
        world.clock.advance(Duration::from_secs(60));
    }
    assert!(world.jobs.pauses().is_empty(), "the others may have a network");
    let waits: Vec<Duration> = world.jobs.rests().into_iter().map(|(_, wait)| wait).collect();
    assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_fails_the_job_and_says_so() {
    let world = World::new();
    let (job, spec) = world.submitting(1);
    let claim = SubmitClaim { spec: Err("line 1: missing field".into()), ..claim(&job, &spec) };
    run(&world.env, claim).await;
    let JobState::Failed { class, code, .. } = world.jobs.job(job.id).state else { panic!("not failed") };
    assert_eq!((class, code.as_str()), (FailureClass::Local, "UnreadableSpec"));
}

/// A world whose accounts `a` and `b` share the work.
fn two_accounts() -> World {
    World::with(|config| {
        let mut second = config.accounts[0].clone();
        second.name = "b".parse().unwrap();
        second.region = Some("eu".parse().unwrap());
        config.accounts.push(second);
    })
}

#[tokio::test]
async fn a_job_that_one_account_refused_is_free_for_the_others_at_once() {
    let key = ErrorClass::AccountFault { kind: AccountFault::Key };
    let waits = async |world: &World, job: &Job, spec: &Arc<JobSpec>| {
        world.api.on_create(refused(401, key, "InvalidApiKey"));
        run(&world.env, claim(job, spec)).await;
        let JobState::Queued { due, .. } = world.jobs.job(job.id).state else { panic!("not queued") };
        due.duration_since(world.env.jobs.now())
    };
    let (short, long) = (jiff::SignedDuration::from_millis(100), jiff::SignedDuration::from_secs(2));

    let world = two_accounts();
    let (job, spec) = world.submitting(1);
    assert!(waits(&world, &job, &spec).await <= short);
    // The breaker of the account that refused it was opened before.
    assert!(matches!(&world.jobs.turns()[..], [(PausedCall::Create, None, Turn::Open { .. })]));
    // The others have refused it as well.
    world.jobs.meddle(job.id, |job| {
        *job = job.begin_attempt("b".parse().unwrap(), start(), start() + Duration::from_secs(5), Micros(0));
    });
    assert!(waits(&world, &world.jobs.job(job.id), &spec).await > long);

    for (pinned_to, free) in [
        (job::PinnedTo::Account("a".parse().unwrap()), false),
        (job::PinnedTo::Region("asia".parse().unwrap()), false),
        (job::PinnedTo::Region("eu".parse().unwrap()), true),
    ] {
        let world = two_accounts();
        let (job, spec) = world.submitting(1);
        world.jobs.meddle(job.id, |job| job.pinned_to = Some(pinned_to.clone()));
        let wait = waits(&world, &world.jobs.job(job.id), &spec).await;
        assert_eq!(wait <= short, free, "{pinned_to:?}: {wait:?}");
    }
    let world = World::new();
    let (job, spec) = world.submitting(1);
    assert!(waits(&world, &job, &spec).await > long, "nobody else is there");
}

#[tokio::test]
async fn a_job_whose_inputs_are_not_ready_waits_as_it_would_with_a_single_account() {
    let waits = async |world: World| {
        let (job, spec) = world.submitting(1);
        world.archive.fail_store(true);
        run(&world.env, claim(&job, &inputs::with_input(&spec))).await;
        let JobState::Queued { due, .. } = world.jobs.job(job.id).state else { panic!("not queued") };
        assert_eq!(world.jobs.events(), ["Refused"]);
        due.duration_since(start())
    };
    let inline = |config: &mut crate::config::WorkerConfig| config.inputs = InputTransport::Inline;
    let alone = waits(World::with(inline)).await;
    let world = World::with(|config| {
        inline(config);
        let mut second = config.accounts[0].clone();
        second.name = "b".parse().unwrap();
        config.accounts.push(second);
    });
    assert_eq!(waits(world).await, alone);
    assert!(alone > jiff::SignedDuration::from_secs(2));
}
