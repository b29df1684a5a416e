//! All that a step may touch: the jobs, the provider, the bucket.
//!
//! Three object-safe traits, so that a test can run a step, or a whole worker, on twins in virtual time. What stands behind them in production
//! is in [`crate::adapters`]. No port decides anything; what failed is plain data, so that the tables that turn it into events need no socket.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

pub use crate::leftovers::Leftovers;
pub use crate::listings::Listings;
pub use crate::quotas::KnownQuotas;
use async_trait::async_trait;
use bytes::Bytes;
use dashscope::error::ErrorClass;
use dashscope::request::OssUri;
use dashscope::response::{QuotaPage, TaskPage, TaskReport};
use dashscope::{ImageRequest, ImageUrl};
use futures::future::BoxFuture;
use job::{
    AccountName, Attempt, CopyBacklog, Event, IllegalTransition, Job, JobId, JobSpec, Micros, Model,
    ObjectKey, Outcome, Prices, StateName, StoredImage, TaskId, Timestamp,
};
pub use queue::{Became, CreateTime, Pausable, Permit, Recovery, Resting, Rewritten, Sweep, Turn};
use queue::{PlacesLeft, TaskOwner};

/// Any error from below, for the `source` chain.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The jobs, and what all workers know together of an account.
#[async_trait]
pub trait Jobs: Leftovers + Listings + KnownQuotas {
    /// The clock that all times in records are on.
    fn now(&self) -> Timestamp;

    /// Writes down what happened to a claimed job, and ends the claim. Waits for as long as the queue is away.
    async fn commit(
        &self,
        job: &Job,
        event: Event,
        outcome: Option<&Outcome>,
    ) -> Result<Written, CommitFault>;

    /// Writes down what happened to a job, claimed or not. Waits for as long as the queue is away.
    async fn commit_unfenced(&self, id: JobId, event: Event) -> Result<Written, CommitFault>;

    /// What a job asks for.
    async fn spec(&self, id: JobId) -> Result<Option<JobSpec>, JobsFault>;

    /// Takes a query permit of the account, or says how long to wait for one.
    async fn query_permit(&self, account: &AccountName) -> Result<Permit, JobsFault>;

    /// Takes another time at which a create is to be sent, no sooner than after `lead` and within `within`.
    async fn create_time(
        &self,
        account: &AccountName,
        model: Model,
        lead: Duration,
        within: Duration,
    ) -> Result<CreateTime, JobsFault>;

    /// Whether creates of the account and model are held back by now: a pause, or a breaker that is open. No question for probes.
    async fn creates_held_back(&self, account: &AccountName, model: Model) -> Result<bool, JobsFault>;

    /// Lowers the places of the account and model, for every worker, because a create that was claimed then was refused for their
    /// number: how many may be taken now.
    async fn lower_places(
        &self,
        account: &AccountName,
        model: Model,
        claimed_at: Timestamp,
    ) -> Result<PlacesLeft, JobsFault>;

    /// Writes down, for people, that this worker lets a call of the account rest.
    async fn note_rest(
        &self,
        account: &AccountName,
        call: Resting,
        rest: Duration,
        why: &str,
    ) -> Result<(), JobsFault>;

    /// Holds one of an account's calls back, for every worker.
    async fn pause(
        &self,
        account: &AccountName,
        call: Pausable,
        pause: Duration,
        why: &str,
    ) -> Result<(), JobsFault>;

    /// Opens, closes or releases the breaker of one of an account's calls, for every worker. `probe` names the claim that was let
    /// through an open breaker; `*`: whichever is out.
    async fn turn_breaker(
        &self,
        account: &AccountName,
        call: PausedCall,
        probe: Option<&str>,
        turn: &Turn,
    ) -> Result<Became, JobsFault>;

    /// Who owns each of `tasks`, or nobody here.
    async fn owners(
        &self,
        account: &AccountName,
        tasks: &[TaskId],
    ) -> Result<Vec<Option<TaskOwner>>, JobsFault>;

    /// The jobs whose attempts hold, or may hold, one of the account's places for the model.
    async fn placed(&self, account: &AccountName, model: Model) -> Result<Vec<Job>, JobsFault>;

    /// Attempts of the account and model that may yet turn out to have created a task, whatever their job's state.
    async fn open_attempts(&self, account: &AccountName, model: Model)
    -> Result<Vec<OpenAttempt>, JobsFault>;

    /// Claims attempts without an answer that are due to be looked into.
    async fn claim_settles(&self, max: usize) -> Result<Vec<Claimed>, JobsFault>;

    /// Whether a job that is to be run alone is due and it is this worker's turn: for `hold` it is nobody else's.
    async fn take_quarantine_turn(&self, hold: Duration) -> Result<bool, JobsFault>;

    /// Keeps that turn for another `hold`.
    async fn keep_quarantine_turn(&self, hold: Duration) -> Result<(), JobsFault>;

    /// Claims one job that is to be run alone, and what its task brought. Waits for as long as the queue is away.
    async fn claim_alone(&self) -> Result<Option<(Claimed, Option<Outcome>)>, JobsFault>;

    /// A sign of life of the queue's server.
    async fn beat(&self) -> Result<Beat, JobsFault>;

    /// Takes over jobs whose lease has run out.
    async fn rescue(&self, max: usize) -> Result<Rescued, JobsFault>;

    /// Whether the queue is an older one than it was: restored from a copy, flushed, or started without its last writes.
    async fn went_back(&self) -> Result<bool, JobsFault>;

    /// Gives up every lease that this process holds.
    fn lose_leases(&self);

    /// Works with the queue as it is now, after all that it forgot was written down again. Waits for as long as it is away.
    async fn recover(&self, rewritten: Rewritten, hold: Duration) -> Result<Recovery, JobsFault>;

    /// Moves what has become due to where claims look; the time until the next is due, if that is known.
    async fn promote(&self, max: usize) -> Result<Option<Duration>, JobsFault>;

    /// Gives jobs their turns again whose batch has room in its budget by now; how many lanes came back.
    async fn bring_back(&self, prices: &Prices, per_batch: Option<Micros>) -> Result<u64, JobsFault>;

    /// Removes a chunk of what need not be kept any longer; how much went.
    async fn retain(&self) -> Result<u64, JobsFault>;

    /// One step of the slow sweep, if it is this worker's turn; a whole pass takes about `every`.
    async fn sweep(&self, every: Duration) -> Result<Sweep, JobsFault>;

    /// What waits to be copied, and how copying goes.
    async fn copy_backlog(&self) -> Result<CopyBacklog, JobsFault>;

    /// Jobs by state.
    async fn counts(&self) -> Result<BTreeMap<StateName, u64>, JobsFault>;
}

/// An attempt that may yet turn out to have created a task.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAttempt {
    /// The job; any, for a create that belongs to none.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Whether it may yet be answered.
    pub on_the_way: bool,
}

/// A held lease.
pub trait Lease: Send + Sync {
    /// How long ago the lease was last known to be ours; `None` once it is lost.
    fn age_of_renewal(&self) -> Option<Duration>;
}

/// A job under a lease.
pub struct Claimed {
    /// The job.
    pub job: Job,
    /// Its lease, renewed for as long as this lives.
    pub lease: Box<dyn Lease>,
}

/// Jobs that were taken over.
#[derive(Debug)]
pub struct Rescued {
    /// The jobs, each with the time since its lease ran out.
    pub jobs: Vec<(Job, Duration)>,
    /// Whether there may be more.
    pub more: bool,
}

/// A sign of life of the queue's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Changes with every start of the server.
    pub run_id: String,
    /// The server's clock.
    pub time: Timestamp,
}

/// What a commit left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The job as it now is.
    pub job: Job,
    /// A task that exists and that the job could not take.
    pub extra_task: Option<TaskId>,
}

/// Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitFault {
    /// The job is somebody else's now.
    #[error("the job was taken over")]
    Fenced,
    /// The event does not fit the job's state.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// There is no such job.
    #[error("there is no such job")]
    Missing,
    /// The task that was found for the job is another job's.
    #[error("the task is owned by job {0}")]
    TaskOwned(JobId),
    /// The queue is unusable in a way that waiting does not mend.
    #[error("the queue cannot be used")]
    Broken(#[source] BoxError),
}

/// The queue could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum JobsFault {
    /// It is away: the same call may succeed later.
    #[error("the queue is away")]
    Away(#[source] BoxError),
    /// It answers, but not as it should.
    #[error("the queue cannot be used")]
    Broken(#[source] BoxError),
    /// The account is not in this worker's settings.
    #[error("account `{0}` is not in the settings of this worker")]
    UnknownAccount(AccountName),
}

/// A call that a breaker holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausedCall {
    /// Creations of every model.
    Create,
    /// Creations of one model.
    CreateModel(Model),
    /// Queries, lists and cancels.
    Query,
}

impl From<Pausable> for PausedCall {
    fn from(call: Pausable) -> Self {
        match call {
            Pausable::Creates(model) => Self::CreateModel(model),
            Pausable::Queries => Self::Query,
        }
    }
}

/// The last moment before a create.
pub struct Gate {
    /// Waited for once the connection is open.
    pub ready: BoxFuture<'static, ()>,
    /// Asked once, when the body is about to go out. An error keeps it back, for certain.
    pub pass: Box<dyn FnOnce() -> Result<(), Withheld> + Send>,
}

impl Gate {
    /// One that nothing is waited for at.
    pub fn now(pass: impl FnOnce() -> Result<(), Withheld> + Send + 'static) -> Self {
        Self { ready: Box::pin(std::future::ready(())), pass: Box::new(pass) }
    }

    /// Waits, and asks: what a provider's twin does at this moment.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn go(self) -> Result<(), Withheld> {
        self.ready.await;
        (self.pass)()
    }
}

/// Why a create was kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The time in which the attempt may be sent is over.
    #[error("the time in which it may be sent is over")]
    TooLate,
    /// The lease is lost, or was not renewed lately.
    #[error("the lease is not fresh")]
    StaleLease,
    /// The moment at which it was to be sent has passed: it needs another.
    #[error("the moment at which it was to be sent has passed")]
    Missed,
    /// The account's creates are held back by now, or there is no other moment in which it may be sent.
    #[error("the account's creates are held back")]
    HeldBack,
    /// The worker is going down.
    #[error("the worker is going down")]
    Stopping,
}

/// The provider.
#[async_trait]
pub trait ImageApi: Send + Sync {
    /// Creates a task: one request, sent at most once.
    async fn create(
        &self,
        account: &AccountName,
        request: &ImageRequest,
        gate: Gate,
    ) -> Result<Created, CreateFault>;

    /// Asks about a task.
    async fn fetch(&self, account: &AccountName, task: &TaskId) -> Result<TaskReport, CallFault>;

    /// One page of the account's tasks of a model, from 1.
    async fn list(&self, account: &AccountName, model: Model, page: u32) -> Result<TaskPage, CallFault>;

    /// Asks to cancel a task. Whether that happened, a query says.
    async fn cancel(&self, account: &AccountName, task: &TaskId) -> Result<(), CallFault>;

    /// Asks for the account's limits of a model. Not every host answers.
    async fn quotas(&self, account: &AccountName, model: Model) -> Result<QuotaPage, CallFault>;

    /// Puts an image into the provider's temporary store, for requests for `model`. `ending` is that of its format: `png`.
    async fn upload(
        &self,
        account: &AccountName,
        model: Model,
        body: Bytes,
        ending: &str,
    ) -> Result<OssUri, CallFault>;
}

/// A task that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The task.
    pub task: TaskId,
    /// The service's id of the call.
    pub request_id: Option<String>,
}

/// A create that brought no task id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateFault {
    /// The gate kept it back: nothing was sent.
    Withheld(Withheld),
    /// The request breaks a documented rule: nothing was sent.
    Invalid {
        /// The rules that it breaks.
        message: String,
    },
    /// There was no connection: nothing was sent.
    NotConnected {
        /// What went wrong, without secrets.
        message: String,
    },
    /// The service said no, and that proves that it created nothing.
    Refused(Answer),
    /// Anything else: a task may exist.
    Unknown {
        /// Such as `timeout`, `no_answer`, `http_502`.
        cause: String,
    },
}

/// A query, list, cancel or upload that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFault {
    /// The service said no.
    Refused(Answer),
    /// There was no usable answer.
    Unanswered {
        /// What went wrong, without secrets.
        message: String,
    },
    /// The account is not in this worker's settings.
    UnknownAccount,
}

/// An answer of the service that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub http_status: u16,
    /// What kind of trouble it is.
    pub class: ErrorClass,
    /// The service's code.
    pub code: String,
    /// The service's message, without secrets.
    pub message: String,
    /// The service's id of the call.
    pub request_id: Option<String>,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for CallFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(answer) => {
                write!(f, "HTTP {}, {}: {}", answer.http_status, answer.code, answer.message)
            }
            Self::Unanswered { message } => f.write_str(message),
            Self::UnknownAccount => f.write_str("the account is not in the settings of this worker"),
        }
    }
}

/// The bucket, and the way into it.
#[async_trait]
pub trait ImageArchive: Send + Sync {
    /// Copies the image behind `link` to `key`, checked. May be repeated, and dropped at any moment.
    async fn copy(
        &self,
        link: &ImageUrl,
        key: &ObjectKey,
        tags: &[(String, String)],
    ) -> Result<StoredImage, CopyFault>;

    /// Puts the image at `from` over whatever stands at `to`. May be repeated, even when `from` is gone by then.
    async fn put_over(&self, from: &ObjectKey, to: &ObjectKey, sha256: &str) -> Result<(), StoreFault>;

    /// Deletes an object; none there is no error.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreFault>;

    /// Writes JSON, over whatever stands there.
    async fn put_json(&self, key: &ObjectKey, value: &serde_json::Value) -> Result<(), StoreFault>;

    /// A link with which the provider can read an input. `bucket` is `None` for our own.
    async fn presign(
        &self,
        bucket: Option<&str>,
        key: &ObjectKey,
        life: Duration,
        now: Timestamp,
    ) -> Result<ImageUrl, StoreFault>;

    /// The bytes of an input of at most `bytes_max`, if it is there. `bucket` is `None` for our own.
    async fn read(
        &self,
        bucket: Option<&str>,
        key: &ObjectKey,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, StoreFault>;
}

/// An image that could not be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFault {
    /// A short stable code.
    pub code: &'static str,
    /// Why, for people, without any link.
    pub reason: String,
    /// What can be done about it.
    pub cure: CopyCure,
}

/// What can be done about an image that could not be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyCure {
    /// Try again later, by itself or after a person has put the store right.
    Later,
    /// The same, with fewer copies at once: who was asked has too much to do.
    Fewer,
    /// Ask the task for another link. That this one is refused may pass as well: the object's host has bad days.
    FreshLink,
    /// Ask the task for another link: its host says that this one is at its end.
    Expired,
    /// What the object's host sends is not the whole image: try again, now and then with another link.
    Damaged,
    /// A different object stands at the key: write beside it first.
    Beside,
    /// Nothing.
    None,
}

/// The store could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StoreFault {
    /// A short stable code.
    pub code: &'static str,
    /// Why, for people.
    pub reason: String,
    /// Whether trying again later, by itself or after a person has put the store right, can help.
    pub later: bool,
    /// Whether it lies in the object that was to be read, and not in the way to it: every try ends so, while others can be read.
    pub of_object: bool,
}
