//! The servers of one run, all of them private, and the queue with its jobs in it.

use dashscope_sim::{Ledger, Simulator};
use job::BatchName;
use queue::{Queue, RedisSettings, ServerFigures};

use super::setup::{BATCH, Setup, key_variable};
use super::steps;
use crate::app::{App, queue_failure, settings_failure};
use crate::commands::stand_ins::{self, Binary, LocalStore, RedisChild, Scratch};
use crate::failure::{Failure, OrFail as _};
use crate::settings::{Settings, Sources};

/// The name of the settings file in the run's folder, which commands find by themselves.
const SETTINGS_FILE: &str = "imagemill.toml";

/// Everything that a run needs, until it is dropped. Fields end in their order: those that talk before those that they talk to.
pub(super) struct World {
    /// The queue, as this process sees it.
    pub(super) queue: Queue,
    /// One for each account.
    pub(super) simulators: Vec<Simulator>,
    /// Settings for workers, as `section.name=value`.
    pub(super) worker_settings: Vec<String>,
    environment: Vec<(&'static str, String)>,
    store: LocalStore,
    redis: RedisChild,
    folder: Scratch,
}

impl World {
    /// Starts the servers. Nothing is in the queue, and nobody works.
    pub(super) async fn start(app: &App, setup: &Setup) -> Result<Self, Failure> {
        let folder = Scratch::make("bench").or_fail("failed to make a temporary folder")?;
        let redis = RedisChild::start("redis-server", &folder.path("redis")).await?;
        let store = LocalStore::start(&folder.path("store"), setup.store).await.map_err(Failure::new)?;
        let mut simulators = Vec::with_capacity(setup.accounts.len());
        for (number, account) in setup.accounts.iter().enumerate() {
            let config = account.simulator(setup.scale, setup.seed.wrapping_add(number as u64 * 1_000));
            simulators.push(Simulator::start(config).await.or_fail("failed to start the simulator")?);
        }
        let base_urls: Vec<String> = simulators.iter().map(Simulator::base_url).collect();
        let file = folder.path(SETTINGS_FILE);
        std::fs::write(&file, setup.settings_file(&base_urls)).or_fail("failed to write the settings")?;
        let mut environment = stand_ins::environment(&redis, &store);
        environment
            .extend((0..simulators.len()).map(|number| (key_variable(number), format!("sk-bench-{number}"))));

        let own = |(name, value): &(&'static str, String)| ((*name).to_owned(), value.clone());
        let sources = Sources {
            file: Some(file),
            flags: steps::flags_of(&app.sources.flags),
            environment: environment.iter().map(own).collect(),
        };
        let settings = Settings::load(&sources).map_err(settings_failure)?;
        let mut worker_settings = steps::settings(&sources.flags, &settings, setup.scale);
        worker_settings.extend(setup.settings.iter().cloned());
        let redis_settings = RedisSettings { url: redis.url(), ..settings.redis() };
        let queue = Queue::connect(&redis_settings, app.rng()).await.or_fail("failed to open the queue")?;
        Ok(Self { queue, simulators, worker_settings, environment, store, redis, folder })
    }

    /// This binary, pointed at these servers.
    pub(super) fn binary(&self) -> Result<Binary, Failure> {
        Binary::new(self.folder.folder(), self.environment.clone()).or_fail("failed to find this binary")
    }

    /// The run's folder.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.folder()
    }

    /// Enqueues these lines of JSONL into a batch, as a user would.
    pub(super) async fn enqueue(&self, batch: &str, lines: &str) -> Result<(), Failure> {
        let file = format!("{batch}.jsonl");
        std::fs::write(self.folder.path(&file), lines).or_fail("failed to write the jobs")?;
        let output = self.binary()?.command(&["enqueue", &file, "--batch", batch]).output().await;
        let output = output.or_fail("failed to enqueue")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        Err(Failure::message(format!("enqueueing ended with {}", output.status)).details(said))
    }

    /// The ledgers, an account each, with every task.
    pub(super) fn ledgers(&self) -> Vec<Ledger> {
        self.simulators.iter().map(Simulator::ledger).collect()
    }

    /// What Redis has done so far.
    pub(super) async fn redis_figures(&self) -> Result<ServerFigures, Failure> {
        self.queue.server_figures().await.map_err(|error| queue_failure(error, "read Redis's figures"))
    }

    /// How many PNG files are in the bucket.
    pub(super) fn images_stored(&self) -> std::io::Result<u64> {
        let mut images = 0;
        let mut folders = vec![self.folder.path("store").join(stand_ins::BUCKET)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if entry.path().extension().is_some_and(|extension| extension == "png") {
                    images += 1;
                }
            }
        }
        Ok(images)
    }

    /// Ends the servers.
    pub(super) async fn end(self) {
        for simulator in self.simulators {
            simulator.shutdown().await;
        }
        drop(self.store);
        drop(self.redis);
    }
}

/// The batch of a run.
pub(super) fn batch() -> BatchName {
    BatchName::parse(BATCH).expect("the name is a plain word")
}
