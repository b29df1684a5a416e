//! What every queue must do.

#![expect(clippy::unwrap_used, reason = "a statement that panics does not hold, and says where")]

use std::time::Duration;

use async_trait::async_trait;
use dashscope::{ImageRequest, Model};
use job::{
    AccountName, Attempt, BatchName, Event, HeldReason, Job, JobId, JobSpec, JobState, Micros,
    OUTCOME_FORMAT, Outcome, Refusal, Rules, StateName, TaskId, TaskPhase, Timestamp,
};
use queue::{ExtraState, ExtraTask, Heeded, Listed};

use super::{Statement, statements};
use crate::ports::{Became, CommitFault, Jobs, Pausable, PausedCall, Permit, Turn, Written};

/// A queue under the statements, with what the stages ask of it.
#[async_trait]
pub trait JobsBench: Send + Sync {
    /// The port.
    fn jobs(&self) -> &dyn Jobs;
    /// Accepts this job.
    async fn enqueue(&self, spec: JobSpec) -> JobId;
    /// Claims a job for submit, for account `main`, under limits that hold nothing back.
    async fn claim_submit(&self) -> Option<Job>;
    /// Claims a task that is due to be asked.
    async fn claim_poll(&self) -> Option<Job>;
    /// Claims a job whose images can be copied, with what its task brought.
    async fn claim_archive(&self) -> Option<(Job, Option<Outcome>)>;
    /// Waits for longer than a lease, which nobody renews.
    async fn outlive_a_lease(&self);
    /// Waits.
    async fn pass(&self, time: Duration);
}

/// The rules of every queue under the statements: nothing has to be waited for.
pub fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.poll.first = Duration::ZERO;
    (rules.create_timeout, rules.held_request_timeout) = (Duration::ZERO, Duration::ZERO);
    rules
}

/// The model of all jobs.
pub const PICTURES: Model = Model::Wan27Image;

/// What is stated.
pub const JOBS: &[Statement<dyn JobsBench>] = statements![
    a_claimed_job_is_nobody_elses_and_its_commit_ends_the_claim,
    a_rescued_job_refuses_its_old_claim_and_takes_its_task_all_the_same,
    a_job_under_way_is_not_rescued_before_its_lease_is_over,
    the_same_task_twice_is_one_task_and_has_an_owner,
    a_task_that_another_owns_is_not_found_for_a_job,
    a_task_that_is_answered_goes_to_its_own_job,
    a_task_too_many_is_written_down_and_closed_once,
    places_are_held_from_the_claim_until_the_task_is_over,
    open_attempts_are_those_that_may_yet_turn_out_to_have_a_task,
    a_pause_holds_claims_back_until_it_is_over,
    an_open_breaker_holds_creates_back_and_only_its_probe_moves_it,
    what_the_list_shows_moves_due_times_and_nothing_else,
    the_list_is_read_by_one_at_a_time,
    an_event_that_does_not_fit_changes_nothing,
    a_refused_job_comes_back_when_it_is_due_and_promoted,
    what_a_task_brought_comes_with_the_claim_for_copying,
    attempts_without_an_answer_are_claimed_to_be_settled,
    jobs_are_counted_by_state,
    orphans_are_counted_by_one_at_a_time,
    quotas_are_asked_for_by_one_and_known_to_all,
];

fn account() -> AccountName {
    AccountName::parse("main").unwrap()
}

fn task(name: &str) -> TaskId {
    name.parse().unwrap()
}

fn attempt(job: &Job) -> Attempt {
    job.state.attempt().unwrap().clone()
}

async fn enqueue(bench: &dyn JobsBench, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for number in 0..count {
        let batch: Option<BatchName> = Some("b".parse().unwrap());
        let spec = JobSpec {
            batch,
            custom_id: Some(format!("job-{number}").parse().unwrap()),
            ..JobSpec::new(ImageRequest::new(PICTURES, format!("picture {number}")))
        };
        ids.push(bench.enqueue(spec).await);
    }
    ids
}

/// The next job, claimed for submit.
async fn submitting(bench: &dyn JobsBench) -> Job {
    bench.claim_submit().await.expect("a job waits")
}

fn created(job: &Job, name: &str) -> Event {
    Event::TaskCreated { attempt: attempt(job), task: task(name), request_id: None }
}

async fn commit(bench: &dyn JobsBench, job: &Job, event: Event) -> Written {
    bench.jobs().commit(job, event, None).await.unwrap()
}

async fn unfenced(bench: &dyn JobsBench, id: JobId, event: Event) -> Written {
    bench.jobs().commit_unfenced(id, event).await.unwrap()
}

/// A job whose create got no answer.
async fn settling(bench: &dyn JobsBench) -> Job {
    let job = submitting(bench).await;
    commit(bench, &job, Event::NoAnswer { cause: "reset".to_owned() }).await.job
}

/// The record's version. (Its times are whole milliseconds; those of what a commit gives back need not be.)
async fn version(bench: &dyn JobsBench, job: &Job) -> u64 {
    bench.jobs().job(job.id).await.unwrap().unwrap().version
}

async fn a_claimed_job_is_nobody_elses_and_its_commit_ends_the_claim(bench: &dyn JobsBench) {
    let ids = enqueue(bench, 1).await;
    let job = submitting(bench).await;
    assert_eq!(
        (job.id, job.state_name(), job.claimed, job.attempts),
        (ids[0], StateName::Submitting, true, 1)
    );
    assert!(bench.claim_submit().await.is_none());
    let after = commit(bench, &job, created(&job, "t")).await.job;
    assert_eq!((after.state_name(), after.claimed), (StateName::Polling, false));
    let again = bench.jobs().commit(&job, Event::NotSent, None).await;
    assert!(matches!(again, Err(CommitFault::Fenced)), "{again:?}");
    assert_eq!(bench.jobs().job(job.id).await.unwrap().unwrap().state_name(), StateName::Polling);
}

async fn a_rescued_job_refuses_its_old_claim_and_takes_its_task_all_the_same(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = submitting(bench).await;
    bench.outlive_a_lease().await;
    let rescued = bench.jobs().rescue(10).await.unwrap();
    assert!(!rescued.more);
    let [(taken, _)] = &rescued.jobs[..] else { panic!("{rescued:?}") };
    assert!(taken.id == job.id && taken.fence > job.fence);
    let late = bench.jobs().commit(&job, created(&job, "t"), None).await;
    assert!(matches!(late, Err(CommitFault::Fenced)), "{late:?}");
    assert_eq!(commit(bench, taken, Event::Rescued).await.job.state_name(), StateName::Settling);
    let kept = unfenced(bench, job.id, created(&job, "t")).await;
    assert_eq!((kept.job.state.task(), kept.extra_task), (Some(&task("t")), None));
}

async fn a_job_under_way_is_not_rescued_before_its_lease_is_over(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    submitting(bench).await;
    assert!(bench.jobs().rescue(10).await.unwrap().jobs.is_empty());
    bench.outlive_a_lease().await;
    assert_eq!(bench.jobs().rescue(10).await.unwrap().jobs.len(), 1);
    assert!(bench.jobs().rescue(10).await.unwrap().jobs.is_empty(), "the rescuer holds a lease of its own");
}

async fn the_same_task_twice_is_one_task_and_has_an_owner(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = submitting(bench).await;
    commit(bench, &job, created(&job, "t")).await;
    let again = unfenced(bench, job.id, created(&job, "t")).await;
    assert_eq!((again.job.tasks, again.extra_task), (1, None));
    let owners = bench.jobs().owners(&account(), &[task("t"), task("other")]).await.unwrap();
    let owner = owners[0].clone().unwrap();
    let claimed_at = Some(attempt(&job).claimed_at);
    assert_eq!((owner.job, owner.attempt, owner.claimed_at), (job.id, 1, claimed_at));
    assert!(owners[1].is_none());
}

async fn a_task_that_another_owns_is_not_found_for_a_job(bench: &dyn JobsBench) {
    enqueue(bench, 2).await;
    let (owner, job) = (submitting(bench).await, settling(bench).await);
    commit(bench, &owner, created(&owner, "t")).await;
    let found = bench.jobs().commit_unfenced(job.id, Event::TaskFound { task: task("t") }).await;
    assert!(matches!(found, Err(CommitFault::TaskOwned(by)) if by == owner.id), "{found:?}");
    assert_eq!(version(bench, &job).await, job.version, "nothing was written");
    let own = unfenced(bench, job.id, Event::TaskFound { task: task("own") }).await.job;
    assert!(own.adopted && own.state_name() == StateName::Polling);
}

async fn a_task_that_is_answered_goes_to_its_own_job(bench: &dyn JobsBench) {
    enqueue(bench, 2).await;
    let (owner, adopter) = (submitting(bench).await, settling(bench).await);
    unfenced(bench, adopter.id, Event::TaskFound { task: task("t") }).await;
    assert!(bench.jobs().taken_tasks(&account()).await.unwrap().is_empty());
    let by_its_time = bench.jobs().owners(&account(), &[task("t")]).await.unwrap().remove(0).unwrap();
    assert_eq!((by_its_time.job, by_its_time.claimed_at, by_its_time.found), (adopter.id, None, true));
    commit(bench, &owner, created(&owner, "t")).await;
    let answered = bench.jobs().owners(&account(), &[task("t")]).await.unwrap().remove(0).unwrap();
    assert_eq!((answered.job, answered.found), (owner.id, false));
    assert!(answered.claimed_at.is_some());
    assert_eq!(bench.jobs().taken_tasks(&account()).await.unwrap(), [(task("t"), adopter.id)]);
    let told = unfenced(bench, adopter.id, Event::TaskTakenBack { task: task("t") }).await.job;
    assert_eq!((told.state_name(), told.state.task()), (StateName::Held, None));
    bench.jobs().told_of_taken(&account(), &task("t")).await.unwrap();
    assert!(bench.jobs().taken_tasks(&account()).await.unwrap().is_empty());
}

async fn a_task_too_many_is_written_down_and_closed_once(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = submitting(bench).await;
    commit(bench, &job, created(&job, "t")).await;
    let extra = unfenced(bench, job.id, created(&job, "u")).await;
    assert_eq!((extra.job.state.task(), extra.extra_task), (Some(&task("t")), Some(task("u"))));
    let extras = bench.jobs().extras(&account()).await.unwrap();
    let [open] = &extras[..] else { panic!("{extras:?}") };
    assert_eq!((&open.task, open.job, open.state), (&task("u"), job.id, ExtraState::Open));
    assert!(bench.jobs().owners(&account(), &[task("u")]).await.unwrap()[0].is_some());
    let paid = ExtraTask { state: ExtraState::Paid, images: 1, cost: Micros(30_000), ..open.clone() };
    assert!(bench.jobs().close_extra(&account(), open, &paid).await.unwrap());
    assert!(!bench.jobs().close_extra(&account(), open, &paid).await.unwrap());
    assert_eq!(bench.jobs().extras(&account()).await.unwrap(), [paid]);
    bench.jobs().forget_extras(&account(), &[task("u")]).await.unwrap();
    assert!(bench.jobs().extras(&account()).await.unwrap().is_empty());
}

async fn placed(bench: &dyn JobsBench) -> Vec<JobId> {
    let jobs = bench.jobs().placed(&account(), PICTURES).await.unwrap();
    jobs.iter().map(|job| job.id).collect()
}

async fn places_are_held_from_the_claim_until_the_task_is_over(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    assert!(placed(bench).await.is_empty());
    let job = submitting(bench).await;
    assert_eq!(placed(bench).await, [job.id]);
    commit(bench, &job, created(&job, "t")).await;
    assert_eq!(placed(bench).await, [job.id]);
    let job = bench.claim_poll().await.unwrap();
    commit(bench, &job, Event::StillGoing { phase: TaskPhase::Running, began_after: None }).await;
    assert_eq!(placed(bench).await, [job.id]);
    unfenced(bench, job.id, succeeded(bench)).await;
    assert!(placed(bench).await.is_empty());
}

fn succeeded(bench: &dyn JobsBench) -> Event {
    let deadline = bench.jobs().now() + Duration::from_secs(3_600);
    Event::TaskSucceeded { images: 1, billed: 1, cost: Micros(30_000), deadline }
}

async fn open_attempts_are_those_that_may_yet_turn_out_to_have_a_task(bench: &dyn JobsBench) {
    enqueue(bench, 4).await;
    let (on_the_way, unknown, polled) =
        (submitting(bench).await, settling(bench).await, submitting(bench).await);
    commit(bench, &polled, created(&polled, "t")).await;
    let held = settling(bench).await;
    let doubt = job::Doubt { why: "nothing shows".to_owned(), candidates: Vec::new() };
    let reason = HeldReason::CannotTell;
    unfenced(bench, held.id, Event::Undecidable { reason, slot_free: true, doubt }).await;
    let mut open = bench.jobs().open_attempts(&account(), PICTURES).await.unwrap();
    open.sort_by_key(|open| open.job);
    let mut expected = vec![(on_the_way.id, true), (unknown.id, false), (held.id, false)];
    expected.sort();
    assert_eq!(open.iter().map(|open| (open.job, open.on_the_way)).collect::<Vec<_>>(), expected);
    assert!(bench.jobs().open_attempts(&account(), Model::Wan27ImagePro).await.unwrap().is_empty());
}

async fn a_pause_holds_claims_back_until_it_is_over(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let pause = Duration::from_millis(400);
    bench.jobs().pause(&account(), Pausable::Creates(PICTURES), pause, "a test").await.unwrap();
    bench.jobs().pause(&account(), Pausable::Queries, pause, "a test").await.unwrap();
    assert!(bench.claim_submit().await.is_none());
    assert!(held_back(bench).await, "what was claimed before is held back as well");
    assert!(matches!(bench.jobs().query_permit(&account()).await.unwrap(), Permit::Wait(_)));
    bench.pass(pause).await;
    assert!(!held_back(bench).await);
    assert!(bench.claim_submit().await.is_some());
    assert!(matches!(bench.jobs().query_permit(&account()).await.unwrap(), Permit::In(_)));
}

async fn an_open_breaker_holds_creates_back_and_only_its_probe_moves_it(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let turn = async |turn: Turn, probe: Option<&str>| {
        bench.jobs().turn_breaker(&account(), PausedCall::Create, probe, &turn).await.unwrap()
    };
    let open =
        Turn::Open { code: "Arrearage".to_owned(), why: "a test".to_owned(), wait_min: Duration::ZERO };
    assert_eq!(turn(Turn::Close, None).await, Became::Unchanged);
    assert_eq!(turn(open.clone(), None).await, Became::Opened);
    assert_eq!(turn(open, None).await, Became::Unchanged);
    assert_eq!(turn(Turn::Close, Some("*")).await, Became::Unchanged, "no probe is out");
    assert!(bench.claim_submit().await.is_none());
    assert!(held_back(bench).await, "what was claimed before is held back as well");
}

async fn held_back(bench: &dyn JobsBench) -> bool {
    bench.jobs().creates_held_back(&account(), PICTURES).await.unwrap()
}

async fn what_the_list_shows_moves_due_times_and_nothing_else(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = submitting(bench).await;
    commit(bench, &job, created(&job, "t")).await;
    let listed = |going_for: Option<Duration>| vec![Listed { task: task("t"), going_for }];
    let heed = async |going_for| bench.jobs().heed_list(&account(), &listed(going_for)).await.unwrap();
    // It is due: that it goes on does not put that off.
    assert_eq!(heed(Some(Duration::from_secs(3_600))).await, Heeded { waiting: 1, brought: 0 });
    let job = bench.claim_poll().await.expect("it is due");
    commit(bench, &job, Event::StillGoing { phase: TaskPhase::Running, began_after: None }).await;
    // Now it is not: it is put off, and that it is over brings it back.
    assert_eq!(heed(Some(Duration::from_secs(3_600))).await, Heeded { waiting: 1, brought: 0 });
    assert_eq!(heed(Some(Duration::from_secs(1))).await, Heeded { waiting: 1, brought: 0 });
    assert!(bench.claim_poll().await.is_none(), "it is only ever put off");
    assert_eq!(heed(None).await, Heeded { waiting: 1, brought: 1 });
    assert_eq!(heed(None).await, Heeded { waiting: 1, brought: 0 });
    let job = bench.claim_poll().await.expect("it is due");
    assert!(job.state.due().unwrap() <= bench.jobs().now());
    assert_eq!(heed(None).await, Heeded::default(), "somebody asks it already");
    commit(bench, &job, Event::StillGoing { phase: TaskPhase::Running, began_after: None }).await;
    assert!(bench.claim_poll().await.is_none(), "its own answer counts");
    let strangers = [Listed { task: task("another"), going_for: None }];
    assert_eq!(bench.jobs().heed_list(&account(), &strangers).await.unwrap(), Heeded::default());
}

async fn the_list_is_read_by_one_at_a_time(bench: &dyn JobsBench) {
    enqueue(bench, 2).await;
    submitting(bench).await;
    let hold = Duration::from_millis(500);
    let young = 10 * hold;
    let turn = async || bench.jobs().take_list_turn(&account(), PICTURES, hold, young).await.unwrap();
    let first = turn().await;
    assert!(first.taken && first.in_flight == 1 && first.young == 1, "{first:?}");
    let second = turn().await;
    assert!(!second.taken && second.over_in <= hold, "{second:?}");
    bench.pass(hold).await;
    let other = bench.jobs().take_list_turn(&account(), PICTURES, hold, hold).await.unwrap();
    assert!(other.taken, "whoever had it is gone");
    assert_eq!((other.in_flight, other.young), (1, 0), "it was taken longer ago");
    bench.jobs().end_list_turn(&account(), PICTURES, Duration::from_secs(60)).await.unwrap();
    bench.pass(hold).await;
    assert!(!turn().await.taken, "nobody looks before the time");
}

async fn an_event_that_does_not_fit_changes_nothing(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = submitting(bench).await;
    let refused = bench.jobs().commit(&job, Event::NotCreated, None).await;
    assert!(matches!(refused, Err(CommitFault::Illegal(_))), "{refused:?}");
    assert_eq!(version(bench, &job).await, job.version, "nothing was written");
    let gone = bench.jobs().commit_unfenced(JobId::fresh(1, 2), Event::CancelRequested).await;
    assert!(matches!(gone, Err(CommitFault::Missing)), "{gone:?}");
}

async fn a_refused_job_comes_back_when_it_is_due_and_promoted(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = submitting(bench).await;
    let wait = Duration::from_millis(400);
    let refusal = Refusal { retry_after: Some(wait), ..Refusal::ours("Throttling", "too many") };
    let after = commit(bench, &job, Event::Refused(refusal)).await.job;
    assert_eq!((after.state_name(), after.refusals), (StateName::Queued, 1));
    bench.jobs().promote(10).await.unwrap();
    assert!(bench.claim_submit().await.is_none());
    bench.pass(wait).await;
    bench.jobs().promote(10).await.unwrap();
    let again = submitting(bench).await;
    assert_eq!((again.id, again.attempts), (job.id, 2));
}

async fn what_a_task_brought_comes_with_the_claim_for_copying(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = submitting(bench).await;
    commit(bench, &job, created(&job, "t")).await;
    let job = bench.claim_poll().await.unwrap();
    assert!(bench.claim_poll().await.is_none());
    let outcome = Outcome {
        format: OUTCOME_FORMAT,
        task: task("t"),
        request_id: None,
        submitted_at: None,
        started_at: None,
        ended_at: None,
        noticed_at: Timestamp::UNIX_EPOCH,
        billed: 1,
        size: None,
        texts: Vec::new(),
        unpublished: false,
        images: Vec::new(),
    };
    bench.jobs().commit(&job, succeeded(bench), Some(&outcome)).await.unwrap();
    let (claimed, brought) = bench.claim_archive().await.unwrap();
    assert_eq!((claimed.id, claimed.claimed, brought), (job.id, true, Some(outcome)));
    assert!(bench.claim_archive().await.is_none());
    let done = commit(bench, &claimed, Event::Copied { stored: 1, lost: 0, retry_after: None }).await.job;
    assert_eq!((done.state_name(), done.billed, done.stored), (StateName::Succeeded, 1, 1));
    assert!(bench.jobs().spec(job.id).await.unwrap().is_some());
}

async fn attempts_without_an_answer_are_claimed_to_be_settled(bench: &dyn JobsBench) {
    enqueue(bench, 1).await;
    let job = settling(bench).await;
    let mut claimed = bench.jobs().claim_settles(4).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(bench.jobs().claim_settles(4).await.unwrap().is_empty());
    let claimed = claimed.remove(0);
    assert!(claimed.job.id == job.id && claimed.job.fence > job.fence);
    assert!(claimed.lease.age_of_renewal().is_some());
    let due = bench.jobs().now() + Duration::from_secs(60);
    let after = commit(bench, &claimed.job, Event::LookAgain { due }).await.job;
    assert!(matches!(after.state, JobState::Settling { looks: 1, .. }));
    assert!(bench.jobs().claim_settles(4).await.unwrap().is_empty());
}

async fn jobs_are_counted_by_state(bench: &dyn JobsBench) {
    enqueue(bench, 3).await;
    submitting(bench).await;
    let counts = bench.jobs().counts().await.unwrap();
    let of = |state| counts.get(&state).copied().unwrap_or_default();
    assert_eq!((of(StateName::Queued), of(StateName::Submitting), of(StateName::Held)), (2, 1, 0));
}

async fn orphans_are_counted_by_one_at_a_time(bench: &dyn JobsBench) {
    let hold = Duration::from_millis(400);
    assert!(bench.jobs().take_orphans_turn(&account(), hold).await.unwrap());
    assert!(!bench.jobs().take_orphans_turn(&account(), hold).await.unwrap());
    bench.pass(hold).await;
    assert!(bench.jobs().take_orphans_turn(&account(), hold).await.unwrap());
}

async fn quotas_are_asked_for_by_one_and_known_to_all(bench: &dyn JobsBench) {
    let (jobs, account) = (bench.jobs(), AccountName::parse("main").unwrap());
    let hold = Duration::from_millis(300);
    assert_eq!(jobs.quotas(&account).await.unwrap(), None);
    assert!(jobs.take_quotas_turn(&account, hold).await.unwrap());
    assert!(!jobs.take_quotas_turn(&account, hold).await.unwrap());
    bench.pass(hold * 2).await;
    assert!(jobs.take_quotas_turn(&account, hold).await.unwrap(), "whoever had the turn said nothing");
    let quota = queue::Quota { create_per_second: Some(2.5), in_flight: Some(20), pending: None };
    let models = [(PICTURES, quota)].into();
    let quotas = queue::Quotas { at: jobs.now(), base_url: "https://a/api/v1".to_owned(), models };
    jobs.store_quotas(&account, &quotas, Duration::from_secs(60)).await.unwrap();
    bench.pass(hold * 2).await;
    assert!(!jobs.take_quotas_turn(&account, hold).await.unwrap(), "what was told is fresh");
    assert_eq!(jobs.quotas(&account).await.unwrap(), Some(quotas));
}
