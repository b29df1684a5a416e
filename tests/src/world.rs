//! Everything that the main job needs, together: Redis, an S3 server, the simulator, and the binary pointed at them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use archive::{Sha256Digest, Store};
use dashscope_sim::{Config, Durations, Ledger, Limits, Simulator};
use job::{ImageState, StateName};
use queue::{JobFilter, Queue};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{Imagemill, RedisServer, SeaweedFs};

/// Servers, and the binary pointed at them.
pub struct World {
    /// Redis.
    pub redis: RedisServer,
    /// The store.
    pub store: SeaweedFs,
    /// DashScope.
    pub simulator: Simulator,
    /// The binary.
    pub imagemill: Imagemill,
    folder: TempDir,
}

/// What a finished run amounts to, once all of it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Jobs by state.
    pub jobs: BTreeMap<StateName, u64>,
    /// Tasks in the simulator's ledger.
    pub tasks: u64,
    /// Images billed, by the ledger.
    pub billed: u64,
    /// Images in the bucket, each byte-equal to what was served.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl World {
    /// A world whose tasks are quick and whose limits are high: for going through many jobs.
    pub async fn quick() -> anyhow::Result<Self> {
        let limits = Limits::unlimited(64);
        Self::with(Config { limits, durations: Durations::fixed_ms(300), ..Config::default() }).await
    }

    /// A world with this simulator. The worker's limits are raised far beyond any account's.
    pub async fn with(config: Config) -> anyhow::Result<Self> {
        let (redis, store) = tokio::try_join!(RedisServer::start(), SeaweedFs::start())?;
        let simulator = Simulator::start(config).await?;
        let folder = TempDir::with_prefix("imagemill-test-")?;
        let mut environment = store.environment();
        environment.extend(
            [
                ("DASHSCOPE_API_KEY", "sk-test".to_owned()),
                ("DASHSCOPE_HTTP_BASE_URL", simulator.base_url()),
                ("IMAGEMILL_REDIS_URL", redis.url()),
                ("IMAGEMILL_CREATE_PER_SECOND", "2000".to_owned()),
                ("IMAGEMILL_QUERIES_PER_SECOND", "5000".to_owned()),
                ("IMAGEMILL_IN_FLIGHT", "64".to_owned()),
                ("IMAGEMILL_QUEUE_AHEAD", "64".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let imagemill = Imagemill::new(folder.path(), environment);
        Ok(Self { redis, store, simulator, imagemill, folder })
    }

    /// Writes a file into the folder that the binary runs in.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// The folder that the binary runs in.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Leaves its folder, with the logs in it, where it is, and says so.
    pub fn keep(&mut self) {
        self.folder.disable_cleanup(true);
        #[expect(clippy::print_stderr, reason = "whoever runs the test wants to read the logs")]
        {
            eprintln!("the logs are in {}", self.folder.path().display());
        }
    }

    /// Holds every job, object and bill against each other: each job final and well, each expected image in the bucket and
    /// byte-equal (SHA-256) to what the simulator served, one billed task for each prompt, no object that nobody expects.
    pub async fn check_all_succeeded(&self) -> anyhow::Result<Checked> {
        let checked = self.check_all_accounted_for().await?;
        let Checked { jobs, tasks, billed, images, .. } = &checked;
        ensure!(jobs.keys().all(|state| *state == StateName::Succeeded), "not all jobs succeeded: {jobs:?}");
        ensure!(*tasks == jobs.values().sum::<u64>(), "{tasks} tasks for {jobs:?}");
        ensure!(billed == images, "{billed} images billed, {images} stored");
        Ok(checked)
    }

    /// The same, but jobs may also be held for a person: then no more tasks may exist than jobs that succeeded or are held, and
    /// still none twice.
    pub async fn check_all_accounted_for(&self) -> anyhow::Result<Checked> {
        let over = |state: &StateName| matches!(state, StateName::Succeeded | StateName::Held);
        self.check_all_are(over).await
    }

    /// The same, but jobs may also have expired or be canceled or failed: what is in the bucket is then of those that succeeded.
    pub async fn check_all_over(&self) -> anyhow::Result<Checked> {
        self.check_all_are(|state| state.is_final()).await
    }

    async fn check_all_are(&self, allowed: impl Fn(&StateName) -> bool) -> anyhow::Result<Checked> {
        let queue = self.redis.queue(99).await?;
        let ledger = self.simulator.ledger();
        let (jobs, expected) = expected_objects(&queue, &ledger).await?;
        ensure!(jobs.keys().all(allowed), "jobs are in states that nobody expects: {jobs:?}");
        ensure!(ledger.totals.tasks_of_one_prompt_max <= 1, "a prompt was sent twice");
        ensure!(
            ledger.totals.tasks_created <= jobs.values().sum(),
            "{} tasks for {jobs:?}",
            ledger.totals.tasks_created
        );
        let repairs = queue.repairs().await?;
        ensure!(repairs.is_empty(), "index entries were lost: {repairs:?}");
        let (images, bytes) = check_bucket(&self.store.store().await?, &expected).await?;
        Ok(Checked {
            jobs,
            tasks: ledger.totals.tasks_created,
            billed: ledger.totals.images_billed,
            images,
            bytes,
        })
    }
}

/// Jobs by state, and for each object that should be in the bucket the digest of what the simulator served (manifests: none).
async fn expected_objects(
    queue: &Queue,
    ledger: &Ledger,
) -> anyhow::Result<(BTreeMap<StateName, u64>, BTreeMap<String, Option<String>>)> {
    let tasks: BTreeMap<&str, _> = ledger.tasks.iter().map(|task| (task.task_id.as_str(), task)).collect();
    let (mut jobs, mut objects) = (BTreeMap::new(), BTreeMap::new());
    let mut cursor = None;
    loop {
        let page = queue.jobs(&JobFilter::default(), cursor.as_ref(), 500).await?;
        for job in page.items {
            *jobs.entry(job.state_name()).or_default() += 1;
            if job.state_name() != StateName::Succeeded {
                continue;
            }
            let outcome =
                queue.outcome(job.id).await?.with_context(|| format!("job {} has no outcome", job.id))?;
            let task = tasks
                .get(outcome.task.as_str())
                .with_context(|| format!("job {} has a strange task", job.id))?;
            let spec = queue.spec(job.id).await?.context("a job has a spec")?;
            let prompt = hex::encode(Sha256::digest(spec.request.prompt.expose().as_bytes()));
            ensure!(prompt == task.prompt_sha256, "job {} has the task of another prompt", job.id);
            ensure!(outcome.images.len() == usize::from(task.images_billed), "job {}: {outcome:?}", job.id);
            for image in &outcome.images {
                let ImageState::Stored(stored) = &image.state else { bail!("job {}: {image:?}", job.id) };
                let served = task.served_sha256.get(usize::from(image.index)).cloned().flatten();
                let served = served.with_context(|| format!("{} was stored and never served", stored.key))?;
                ensure!(served == stored.sha256, "{} is not what was served", stored.key);
                ensure!(
                    objects.insert(stored.key.to_string(), Some(served)).is_none(),
                    "{} has two owners",
                    stored.key
                );
                if image.index == 0 {
                    let manifest = job::KeyTemplate::manifest_key(&stored.key)?;
                    objects.insert(manifest.to_string(), None);
                }
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok((jobs, objects));
        }
    }
}

/// Reads every object of the bucket. Inputs are not results, and stand under `inputs/`; what a batch came to stands in its
/// `manifest.jsonl`, once its end was told.
async fn check_bucket(
    store: &Store,
    expected: &BTreeMap<String, Option<String>>,
) -> anyhow::Result<(u64, u64)> {
    let (mut found, mut images, mut bytes) = (BTreeSet::new(), 0, 0);
    let mut after: Option<String> = None;
    loop {
        let page = store.list("", after.as_deref(), 1_000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for object in page {
            if object.key.starts_with("inputs/") || object.key.ends_with("/manifest.jsonl") {
                continue;
            }
            let wanted =
                expected.get(&object.key).with_context(|| format!("nobody expects {}", object.key))?;
            if let Some(sha256) = wanted {
                let key = job::ObjectKey::parse(&object.key)?;
                let body =
                    store.get(&key, u64::MAX).await?.context("an object that is listed can be read")?;
                ensure!(
                    Sha256Digest::of(&body).to_string() == *sha256,
                    "{} is not what was served",
                    object.key
                );
                images += 1;
                bytes += body.len() as u64;
            }
            found.insert(object.key);
        }
    }
    let missing: Vec<_> = expected.keys().filter(|key| !found.contains(*key)).take(10).collect();
    ensure!(missing.is_empty(), "objects are missing, such as {missing:?}");
    Ok((images, bytes))
}
