//! One run before it begins: what a seed makes of it, before a row adds its fault.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use dashscope::{ApiKey, Model};
use jiff::SignedDuration;
use queue::AccountLimits;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::config::{AccountConfig, WorkerConfig};
use crate::testing::fault::{Act, Armed, Hook};
use crate::testing::provider::{Habits, ListLag};
use crate::testing::worker::WorkerClock;

/// A job that will be asked for.
#[derive(Debug, Clone)]
pub(crate) struct JobPlan {
    /// When, since the run began.
    pub(crate) at: Duration,
    pub(crate) images: u8,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person {
    /// Cancels the job of this number.
    Cancels(usize),
    /// Wants the job of this number to run again.
    Retries(usize),
    /// Gives held jobs up.
    GivesUp,
    /// Resolves held jobs as the provider's console shows them: adopts what is there, else sends again.
    Resolves,
    /// Sends held jobs again.
    SendsAgain,
    /// Adopts, for the held job of this number, a task that is another's.
    AdoptsWrongly(usize),
    /// Takes doubtful images for those of their jobs.
    Delivers,
    /// Asks for images that the job of this number did not deliver.
    AsksForMissing(usize),
    /// Copies the queue.
    CopiesQueue,
    /// Starts the queue from the last copy.
    RestoresQueue,
    /// Starts the queue anew with all that it has.
    RestartsQueue,
    /// Removes what is known of images that are being copied: what nobody should do.
    RemovesOutcomes,
}

/// A run, ready to begin.
pub(crate) struct Setup {
    pub(crate) jobs: Vec<JobPlan>,
    pub(crate) workers: usize,
    pub(crate) habits: Habits,
    pub(crate) config: WorkerConfig,
    pub(crate) faults: Vec<Armed>,
    pub(crate) queue_outages: Vec<(Duration, Duration)>,
    pub(crate) store_outages: Vec<(Duration, Duration)>,
    pub(crate) slow_store: u32,
    /// The clocks of the workers, in the order in which they begin, over and over.
    pub(crate) clocks: Vec<WorkerClock>,
    /// When a worker is told to stop; another one begins.
    pub(crate) stops: Vec<Duration>,
    pub(crate) people: Vec<(Duration, Person)>,
    /// When every job must be at its end.
    pub(crate) deadline: Duration,
}

/// Chance, for setting up.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }

    pub(crate) fn secs(&mut self, range: Range<u64>) -> Duration {
        self.millis(range.start * 1_000..range.end * 1_000)
    }

    pub(crate) fn number(&mut self, range: Range<u32>) -> u32 {
        self.0.random_range(range)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.0.random()
    }

    pub(crate) fn fork(&mut self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0.random())
    }
}

/// The model of every job of a run.
pub(crate) const MODEL: Model = Model::Wan27Image;

impl Setup {
    /// What the dice make of it. Everything is within the settings, and nothing fails.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut jobs: Vec<JobPlan> = (0..dice.number(1..5))
            .map(|_| JobPlan { at: dice.secs(0..20), images: dice.number(1..4) as u8 })
            .collect();
        // Later work is what shows that the provider's list is up to date; not every account has it.
        for _ in 0..dice.number(0..3) {
            jobs.push(JobPlan { at: dice.secs(330..700), images: 1 });
        }
        let limits = AccountLimits {
            in_flight: dice.number(1..4),
            queue_ahead: dice.number(0..4),
            ..AccountLimits::default()
        };
        let account = AccountConfig {
            name: "a".parse().expect("a letter is a name"),
            base_url: "http://127.0.0.1:1/api/v1".parse().expect("this is an address"),
            api_keys: vec![ApiKey::new("sk-0123456789abcdef").expect("this is in the form of a key")],
            region: None,
            weight: 1,
            workspace: None,
            limits: BTreeMap::from([(MODEL, limits)]),
            set: BTreeMap::new(),
        };
        let mut config = WorkerConfig::new(vec![account]);
        // As often as by default it would be most of what happens in a run.
        config.rules.list.every = Duration::from_secs(5);
        // A second less, since the list is asked a moment before it answers.
        let lag_max = config.settle.settle_lag.as_secs() - 1;
        let list_lag = if dice.coin() {
            ListLag::Uniform(dice.secs(0..lag_max))
        } else {
            ListLag::PerTask(Duration::ZERO..dice.secs(1..lag_max))
        };
        let habits = Habits {
            latency: Duration::from_millis(20)..dice.millis(100..2_000),
            pending: Duration::ZERO..dice.secs(1..20),
            running: Duration::from_secs(2)..dice.secs(3..60),
            list_lag,
            clock_offset: SignedDuration::from_secs(i64::from(dice.number(0..17)) - 8),
            link_life: Duration::from_secs(24 * 3600),
            size: None,
            fates: Vec::new(),
            create_timeout: config.rules.create_timeout,
        };
        Self {
            jobs,
            workers: 2,
            habits,
            config,
            faults: Vec::new(),
            queue_outages: Vec::new(),
            store_outages: Vec::new(),
            slow_store: 1,
            clocks: Vec::new(),
            stops: Vec::new(),
            people: Vec::new(),
            deadline: Duration::from_secs(5 * 3600),
        }
    }

    /// Adds a fault, at one of the first passings.
    pub(crate) fn arm(&mut self, dice: &mut Dice, hook: Hook, act: Act) {
        let nth = self.passing(dice);
        self.arm_at(hook, act, nth, 1);
    }

    /// One of the first passings of a place that every job passes.
    pub(crate) fn passing(&self, dice: &mut Dice) -> u32 {
        dice.number(1..(self.jobs.len() as u32).min(3) + 1)
    }

    pub(crate) fn arm_at(&mut self, hook: Hook, act: Act, nth: u32, times: u32) {
        self.faults.push(Armed { hook, nth, times, act });
    }
}
