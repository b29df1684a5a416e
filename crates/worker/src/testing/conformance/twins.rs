//! The twins on the bench. They need a runtime whose clock is paused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dashscope::ImageUrl;
use jiff::SignedDuration;
use job::{AccountName, Job, JobId, JobSpec, Outcome};
use queue::AccountLimits;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::jobs::{PICTURES, rules};
use super::{ApiBench, ArchiveBench, JobsBench};
use crate::chance::Chance;
use crate::ports::{ImageApi, ImageArchive, Jobs};
use crate::testing::bucket::{Bucket, TwinArchive};
use crate::testing::fault::Faults;
use crate::testing::leases::TwinLeases;
use crate::testing::process::Process;
use crate::testing::provider::{Habits, ListLag, Provider, TwinApi};
use crate::testing::queue::{Due, LEASE, SubmitAsk, SubmitClaimed, TwinJobs, TwinQueue};
use crate::testing::time::VirtualTime;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// The queue's twin.
pub fn twin_jobs() -> impl JobsBench {
    let time = VirtualTime::begin();
    let limits = AccountLimits {
        create_per_second: 1e6,
        queries_per_second: 1e6,
        in_flight: 1_000,
        queue_ahead: 0,
        images_per_day: None,
        cost_per_day: None,
    };
    Queue(TwinJobs {
        queue: TwinQueue::new(time, rules(), limits, Vec::new()),
        process: Arc::new(Process::default()),
        faults: Faults::new(Vec::new()),
        leases: TwinLeases::new(time),
        chance: Chance::new(Box::new(rng(1))),
        seen: Mutex::default(),
        ahead: SignedDuration::ZERO,
    })
}

struct Queue(TwinJobs);

impl Queue {
    async fn claim_due(&self, what: Due) -> Option<(Job, Option<Outcome>)> {
        let nonce = self.0.nonce();
        self.0.claim_due(what, 1, nonce).await.expect("the twin is never away here").jobs.pop()
    }
}

#[async_trait]
impl JobsBench for Queue {
    fn jobs(&self) -> &dyn Jobs {
        &self.0
    }

    async fn enqueue(&self, spec: JobSpec) -> JobId {
        let custom_id = spec.custom_id.as_ref().expect("jobs under the statements have names");
        let id = JobId::of_custom_id("virtual", spec.batch.as_ref(), custom_id);
        let (batch, model, images) = (spec.batch.clone(), spec.request.model, spec.request.n);
        let now = self.0.now();
        let job = Job::queued(id, batch, model, None, images, spec.priority, "d".to_owned(), now);
        self.0.queue.enqueue(job, spec);
        id
    }

    async fn claim_submit(&self) -> Option<Job> {
        let account: AccountName = "main".parse().expect("a word is a name");
        let (send_within, probe_window) = (Duration::ZERO, Duration::from_secs(1));
        let ask = SubmitAsk { account, model: PICTURES, send_within, lead: Duration::ZERO, probe_window };
        let nonce = self.0.nonce();
        let claimed = self.0.claim_submit(&ask, nonce).await;
        match claimed.expect("the twin is never away here") {
            SubmitClaimed::Claimed { claim, .. } => Some(claim.0),
            SubmitClaimed::Wait(_) => None,
        }
    }

    async fn claim_poll(&self) -> Option<Job> {
        self.claim_due(Due::Poll).await.map(|(job, _)| job)
    }

    async fn claim_archive(&self) -> Option<(Job, Option<Outcome>)> {
        self.claim_due(Due::Archive).await
    }

    async fn outlive_a_lease(&self) {
        self.pass(LEASE).await;
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn provider(time: VirtualTime) -> Arc<Provider> {
    let ms = Duration::from_millis;
    let habits = Habits {
        latency: ms(20)..ms(40),
        pending: ms(900)..ms(1_000),
        running: ms(900)..ms(1_000),
        list_lag: ListLag::Uniform(Duration::ZERO),
        clock_offset: SignedDuration::ZERO,
        link_life: Duration::from_secs(60),
        size: None,
        fates: Vec::new(),
        create_timeout: Duration::from_secs(30),
    };
    Provider::new(time, habits, rng(2))
}

/// The provider's twin.
pub fn twin_api() -> impl ApiBench {
    Api(TwinApi {
        provider: provider(VirtualTime::begin()),
        process: Arc::new(Process::default()),
        faults: Faults::new(Vec::new()),
    })
}

struct Api(TwinApi);

#[async_trait]
impl ApiBench for Api {
    fn api(&self) -> &dyn ImageApi {
        &self.0
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The bucket's twin.
pub fn twin_archive() -> impl ArchiveBench {
    let time = VirtualTime::begin();
    Archive {
        archive: TwinArchive {
            bucket: Bucket::new(time, Vec::new(), 1),
            provider: provider(time),
            process: Arc::new(Process::default()),
            faults: Faults::new(Vec::new()),
        },
        time,
    }
}

struct Archive {
    archive: TwinArchive,
    time: VirtualTime,
}

#[async_trait]
impl ArchiveBench for Archive {
    fn archive(&self) -> &dyn ImageArchive {
        &self.archive
    }

    async fn link(&self, number: u32) -> ImageUrl {
        let task = "t".parse().expect("a letter is a task id");
        self.archive.provider.link(&task, number, self.time.now())
    }

    async fn dead_link(&self) -> ImageUrl {
        let link = self.link(9).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        link
    }
}
