//! The real adapters under the statements that the twins are under in `crates/worker/tests/conformance.rs`: what the fault sweep
//! finds on the twins counts only as far as these are alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::{Archiver, ByteBudget, DownloadSettings, Downloader, ResultHosts};
use async_trait::async_trait;
use dashscope::{ApiKey, ImageRequest, ImageUrl};
use dashscope_sim::{Config, Durations, Limits, Retention, Simulator};
use job::{AccountName, Job, JobId, JobSpec, Outcome, Rules, Timestamp};
use queue::{AccountLimits, Leases, Queue, SubmitAsk, SubmitClaim};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tests::{RedisServer, SeaweedFs};
use tokio_util::sync::{CancellationToken, DropGuard};
use worker::adapters::{BucketArchive, DashScopeApi, QueueJobs};
use worker::ports::{ImageApi, ImageArchive, Jobs, OpenAttempt};
use worker::testing::conformance::{API, ARCHIVE, ApiBench, ArchiveBench, JOBS, JobsBench, PICTURES, rules};
use worker::{AccountConfig, BootClock, Chance, WorkerConfig};

/// Long enough for a statement to end within it on a busy machine, short enough to be waited for.
const LEASE: Duration = Duration::from_secs(2);

fn limits() -> AccountLimits {
    AccountLimits {
        create_per_second: 1e6,
        queries_per_second: 1e6,
        in_flight: 1_000,
        queue_ahead: 0,
        images_per_day: None,
        cost_per_day: None,
    }
}

fn account() -> AccountName {
    "main".parse().unwrap()
}

fn accounts(base_url: &str) -> Vec<AccountConfig> {
    vec![AccountConfig {
        name: account(),
        base_url: base_url.parse().unwrap(),
        api_keys: vec![ApiKey::new("sk-0123456789abcdef").unwrap()],
        region: None,
        weight: 1,
        workspace: None,
        limits: BTreeMap::from([(PICTURES, limits())]),
        set: BTreeMap::new(),
    }]
}

struct RealQueue {
    redis: RedisServer,
    queue: Queue,
    jobs: QueueJobs,
    _over: DropGuard,
}

impl RealQueue {
    async fn new() -> Self {
        let redis = RedisServer::start().await.unwrap();
        let queue = redis.queue_with(1, |settings| settings.lease = LEASE).await.unwrap();
        let mut config = WorkerConfig::new(accounts("http://127.0.0.1:1/api/v1"));
        config.rules = rules();
        let (began, over) = (Instant::now(), CancellationToken::new());
        // Nobody renews: a bench lets leases run out.
        let leases = Leases::start(
            queue.clone(),
            Duration::from_secs(3_600),
            Arc::new(move || began.elapsed()),
            over.clone(),
        );
        let jobs = QueueJobs::new(queue.clone(), leases, &config);
        Self { redis, queue, jobs, _over: over.drop_guard() }
    }
}

#[async_trait]
impl JobsBench for RealQueue {
    fn jobs(&self) -> &dyn Jobs {
        &self.jobs
    }

    async fn enqueue(&self, spec: JobSpec) -> JobId {
        let batch = spec.batch.clone();
        let job = self.queue.new_job(spec);
        let id = job.id;
        self.queue.enqueue(batch.as_ref(), &[job]).await.unwrap();
        id
    }

    async fn claim_submit(&self) -> Option<Job> {
        let ask = SubmitAsk {
            account: account(),
            region: None,
            weight: 1,
            others: Vec::new(),
            model: PICTURES,
            limits: limits(),
            send_within: Duration::ZERO,
            lead: Duration::ZERO,
            price: job::Micros(0),
            budgets: queue::Budgets::default(),
            probe_window: Duration::from_secs(1),
        };
        match self.queue.claim_submit(&ask, &self.queue.nonce()).await.unwrap() {
            SubmitClaim::Claimed { job, .. } => Some(*job),
            SubmitClaim::Wait { .. } => None,
        }
    }

    async fn claim_poll(&self) -> Option<Job> {
        let claimed = self.queue.claim_polls(&account(), &limits(), 1, &self.queue.nonce()).await.unwrap();
        claimed.jobs.into_iter().next().map(|claimed| claimed.job)
    }

    async fn claim_archive(&self) -> Option<(Job, Option<Outcome>)> {
        let claimed = self.queue.claim_archives(1, Duration::ZERO, &self.queue.nonce()).await.unwrap();
        claimed.jobs.into_iter().next().map(|claimed| (claimed.job, claimed.outcome))
    }

    async fn outlive_a_lease(&self) {
        self.pass(LEASE).await;
    }

    async fn pass(&self, time: Duration) {
        // Redis's clock and this one are the same machine's; its times are whole milliseconds.
        tokio::time::sleep(time + Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn redis_does_what_every_queue_must_do() {
    for (name, holds) in JOBS {
        println!("{name}");
        holds(&RealQueue::new().await).await;
    }
}

/// One task at a time, so that a second one waits.
async fn simulator() -> Simulator {
    let config = Config {
        limits: Limits::unlimited(1),
        durations: Durations::fixed_ms(300),
        retention: Retention { link_s: 3_600, ..Retention::default() },
        ..Config::default()
    };
    Simulator::start(config).await.unwrap()
}

#[tokio::test]
async fn a_record_that_cannot_be_read_may_be_of_any_open_create_and_keeps_nobody_from_being_looked_at() {
    let real = RealQueue::new().await;
    let mut jobs = Vec::new();
    for name in ["a", "b", "c"] {
        let spec = JobSpec {
            batch: Some("b".parse().unwrap()),
            custom_id: Some(name.parse().unwrap()),
            ..JobSpec::new(ImageRequest::new(PICTURES, "a kite"))
        };
        JobsBench::enqueue(&real, spec).await;
        jobs.push(JobsBench::claim_submit(&real).await.unwrap());
    }
    let open = async || {
        let open = real.jobs.open_attempts(&account(), PICTURES).await.unwrap();
        let unknown = |open: &&OpenAttempt| open.attempt.claimed_at == Timestamp::UNIX_EPOCH;
        (open.len(), open.iter().filter(unknown).count())
    };
    assert_eq!(open().await, (3, 0));
    let mut connection = real.redis.connection().await.unwrap();
    let mut damage = async |n: usize, field: &str, value: &str| {
        let mut set = redis::cmd("HSET");
        set.arg(real.queue.keys().job(jobs[n].id)).arg(field).arg(value);
        let _: i64 = set.query_async(&mut connection).await.unwrap();
    };
    damage(0, "k", "many").await;
    assert_eq!(open().await, (3, 1), "it is as open as before, at any time");
    damage(1, "v", "latest").await;
    assert_eq!(open().await, (2, 1), "one stands for all of them");
    // What still says that it is another account's is none of this one's.
    damage(0, "aa", "another").await;
    damage(1, "aa", "another").await;
    assert_eq!(open().await, (1, 0));
}

fn client(simulator: &Simulator) -> DashScopeApi {
    // Once for the process; a second time is no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chance = Chance::new(Box::new(StdRng::seed_from_u64(1)));
    let create_timeout = Rules::default().create_timeout;
    DashScopeApi::new(&accounts(&simulator.base_url()), create_timeout, Arc::new(BootClock), chance).unwrap()
}

struct RealApi {
    _simulator: Simulator,
    api: DashScopeApi,
}

#[async_trait]
impl ApiBench for RealApi {
    fn api(&self) -> &dyn ImageApi {
        &self.api
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[tokio::test]
async fn the_client_does_what_every_provider_must_do() {
    for (name, holds) in API {
        println!("{name}");
        let simulator = simulator().await;
        let api = client(&simulator);
        holds(&RealApi { _simulator: simulator, api }).await;
    }
}

struct RealArchive {
    store: SeaweedFs,
    simulator: Simulator,
    archive: BucketArchive,
    /// Links to pictures, by their number.
    links: tokio::sync::Mutex<BTreeMap<u32, ImageUrl>>,
}

impl RealArchive {
    async fn new() -> Self {
        let (store, simulator) = (SeaweedFs::start().await.unwrap(), simulator().await);
        let hosts = ResultHosts::none().allow("127.0.0.1").unwrap();
        let downloader = Downloader::new(DownloadSettings { hosts, ..DownloadSettings::default() }).unwrap();
        let archiver = Archiver::new(downloader, store.store().await.unwrap(), ByteBudget::new(1 << 28));
        let archive = BucketArchive::new(archiver, None);
        Self { store, simulator, archive, links: Default::default() }
    }

    async fn empty(&self) {
        let store = self.store.store().await.unwrap();
        for object in store.list("", None, 1_000).await.unwrap() {
            store.delete(&job::ObjectKey::parse(&object.key).unwrap()).await.unwrap();
        }
    }
}

#[async_trait]
impl ArchiveBench for RealArchive {
    fn archive(&self) -> &dyn ImageArchive {
        &self.archive
    }

    async fn link(&self, number: u32) -> ImageUrl {
        let mut links = self.links.lock().await;
        if let Some(link) = links.get(&number) {
            return link.clone();
        }
        let api = client(&self.simulator);
        let request = ImageRequest::new(PICTURES, format!("picture {number}"));
        let task = api.create(&account(), &request, worker::ports::Gate::now(|| Ok(()))).await.unwrap().task;
        let link = tests::eventually("a picture", Duration::from_secs(60), async || {
            let report = api.fetch(&account(), &task).await.map_err(|fault| fault.to_string())?;
            let image = report.output.images.first().map(|image| image.url.clone());
            image.ok_or_else(|| report.status.to_string())
        })
        .await;
        links.insert(number, link.clone());
        link
    }

    async fn dead_link(&self) -> ImageUrl {
        let link = self.link(9).await;
        self.simulator.advance_clock(Duration::from_secs(3_601));
        link
    }
}

#[tokio::test]
async fn a_real_store_does_what_every_bucket_must_do() {
    // One server for all: it takes seconds to start.
    let bench = RealArchive::new().await;
    for (name, holds) in ARCHIVE {
        println!("{name}");
        bench.empty().await;
        holds(&bench).await;
    }
}
