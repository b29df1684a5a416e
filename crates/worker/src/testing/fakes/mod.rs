//! Twins of the ports, for tests of single steps: a queue in memory that applies events as the real one does, a provider and a
//! bucket that do what they are told.

mod api;
mod archive;
mod jobs;
mod quotas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use dashscope::Model;
use job::{
    Attempt, BatchName, CustomId, Job, JobId, JobSpec, JobState, Micros, Priority, TaskPhase, Timestamp,
};
use queue::AccountLimits;
use queue::claims::Wake;
use rand::SeedableRng as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use self::api::{CreateAct, FakeApi, report};
pub(crate) use self::archive::FakeArchive;
pub(crate) use self::jobs::FakeJobs;
use crate::accounts::Accounts;
use crate::archive_step::{CopiesAtOnce, CopyTime};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{AccountConfig, WorkerConfig};
use crate::created::Created;
use crate::env::Env;
use crate::poll::durations::KnownDurations;
use crate::ports::Lease;
use crate::silence::QueryProbes;
use crate::streaks::Streaks;
use crate::tally::Tally;
use crate::wire::OnTheWire;

/// An environment on twins, with the twins in hand.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) jobs: Arc<FakeJobs>,
    pub(crate) api: Arc<FakeApi>,
    pub(crate) archive: Arc<FakeArchive>,
    pub(crate) clock: Arc<FakeClock>,
}

/// A clock that stands until it is moved.
#[derive(Default)]
pub(crate) struct FakeClock(Mutex<Duration>);

impl FakeClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for FakeClock {
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

/// A lease of this age; `None` is a lost one.
pub(crate) struct FakeLease(pub(crate) Option<Duration>);

impl Lease for FakeLease {
    fn age_of_renewal(&self) -> Option<Duration> {
        self.0
    }
}

/// A lease that was just renewed.
pub(crate) fn fresh_lease() -> Arc<dyn Lease> {
    Arc::new(FakeLease(Some(Duration::ZERO)))
}

/// The time at which every test begins, by the queue's clock.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A world whose settings were changed.
    pub(crate) fn with(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        let account = AccountConfig {
            name: "a".parse().unwrap(),
            base_url: "http://127.0.0.1:1/api/v1".parse().unwrap(),
            api_keys: vec![dashscope::ApiKey::new("sk-0123456789abcdef").unwrap()],
            region: None,
            weight: 1,
            workspace: None,
            limits: BTreeMap::from([(Model::Wan27Image, AccountLimits::default())]),
            set: BTreeMap::new(),
        };
        let mut config = WorkerConfig::new(vec![account]);
        change(&mut config);
        let jobs = Arc::new(FakeJobs::new(config.rules.clone(), start()));
        let (api, archive, clock) =
            (Arc::new(FakeApi::default()), Arc::new(FakeArchive::default()), Arc::default());
        let copies_at_once = CopiesAtOnce::new(config.archive_concurrency);
        let env = Env {
            jobs: jobs.clone(),
            api: api.clone(),
            archive: archive.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            chance: Chance::new(Box::new(rand_chacha::ChaCha8Rng::seed_from_u64(7))),
            accounts: Accounts::new(std::mem::take(&mut config.accounts)),
            config,
            stop: CancellationToken::new(),
            places: Arc::new(crate::place::OpenPlaces),
            put_off: Notify::new(),
            streaks: Streaks::default(),
            rests: Default::default(),
            query_probes: QueryProbes::default(),
            leads: Arc::default(),
            held_back: Arc::default(),
            on_the_wire: OnTheWire::new(),
            durations: KnownDurations::default(),
            polls_due: Wake::new(),
            copies_at_once,
            copy_time: CopyTime::default(),
            created: Created::default(),
            tally: Tally::default(),
        };
        Self { env, jobs, api, archive, clock }
    }

    /// A job of batch `b` with custom id `sku`, known to the queue, as the claim for submit leaves it.
    pub(crate) fn submitting(&self, n: u8) -> (Job, Arc<JobSpec>) {
        let batch: BatchName = "b".parse().unwrap();
        let mut request = dashscope::ImageRequest::new(Model::Wan27Image, "a lighthouse at dusk");
        request.n = n;
        let spec = JobSpec {
            batch: Some(batch.clone()),
            custom_id: Some(CustomId::parse("sku").unwrap()),
            ..JobSpec::new(request)
        };
        let id = JobId::fresh(1, 7);
        let queued = Job::queued(
            id,
            Some(batch),
            Model::Wan27Image,
            None,
            n,
            Priority::default(),
            "d".into(),
            start(),
        );
        let job =
            queued.begin_attempt("a".parse().unwrap(), start(), start() + Duration::from_secs(5), Micros(0));
        self.jobs.put(job.clone(), spec.clone());
        (job, Arc::new(spec))
    }

    /// The same job, in `state`, claimed.
    pub(crate) fn in_state(&self, n: u8, state: impl FnOnce(Attempt) -> JobState) -> Job {
        let (job, spec) = self.submitting(n);
        let attempt = job.state.attempt().unwrap().clone();
        let job = Job { state: state(attempt), tasks: 1, ..job };
        self.jobs.put(job.clone(), (*spec).clone());
        job
    }

    /// The same job, with task `t1` due to be asked.
    pub(crate) fn polling(&self, n: u8, phase: TaskPhase) -> Job {
        self.in_state(n, |attempt| JobState::Polling {
            attempt,
            task: "t1".parse().unwrap(),
            created_at: start(),
            due: start(),
            polls: 0,
            unknowns: 0,
            phase,
            running_since: None,
        })
    }
}
