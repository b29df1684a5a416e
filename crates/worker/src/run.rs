//! Starts everything, and brings it down in order.

use std::sync::Arc;
use std::time::Duration;

use queue::claims::{Gate, Wakes};
use queue::{Leases, Queue, QueueError};
use rand::Rng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::accounts::Accounts;
use crate::accounts::reload::{self, Reloads};
use crate::adapters::{
    ApiSetupError, BucketArchive, BucketManifests, DashScopeApi, HttpReceivers, QueueJobs, QueueOutbox,
};
use crate::archive_step::{CopiesAtOnce, CopyTime};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{ConfigError, WorkerConfig};
use crate::created::Created;
use crate::env::Env;
use crate::keys_held::{self, HeldElsewhere, KeysHeld};
use crate::outbox::{Courier, Outbox, Webhooks};
use crate::place::Places;
use crate::poll::durations::KnownDurations;
use crate::ports::BoxError;
use crate::silence::QueryProbes;
use crate::stages::Stages;
use crate::streaks::Streaks;
use crate::tally::{Summary, Tally};
use crate::wire::OnTheWire;
use crate::{
    alone, backlog, budgets, extras, idle, poll, promote, quotas, release, rescue, restore, retention,
    settle, sweep,
};

/// How long a worker that is told to stop takes to give its steps back. With Redis in reach it takes milliseconds; without, the
/// jobs come back when their leases end.
const GIVE_BACK: Duration = Duration::from_millis(800);

/// How long the loops beside the stages get to end after that.
const LOOPS_END: Duration = Duration::from_millis(150);

/// How long, beyond the create timeout, a worker that is told to stop waits for its steps: for the commits after the last
/// answers.
const GRACE: Duration = Duration::from_secs(2);

/// A worker cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its settings cannot work.
    #[error("the worker's settings cannot work")]
    Config(#[from] ConfigError),
    /// A client of the provider cannot be made.
    #[error("the provider's client cannot be set up")]
    Api(#[from] ApiSetupError),
    /// The client for webhooks cannot be made.
    #[error("the client for webhooks cannot be set up")]
    Receivers(#[source] BoxError),
    /// The queue cannot be asked whose keys these are.
    #[error("the queue cannot be asked")]
    Queue(#[from] QueueError),
    /// A key works for another namespace of the same Redis.
    #[error("the key of account `{account}` is in use by namespace `{namespace}` on this Redis")]
    KeyElsewhere {
        /// The account.
        account: job::AccountName,
        /// The other namespace.
        namespace: String,
    },
    /// A stage ended by itself.
    #[error("a stage of the worker ended early")]
    StageEnded,
}

/// What a worker finds around it.
pub struct Surroundings {
    /// The local clock, which must count the time in which the machine sleeps.
    pub clock: Arc<dyn Clock>,
    /// Places waits inside their jitter.
    pub rng: Box<dyn Rng + Send>,
    /// What happens between two steps: [`crate::OpenPlaces`] outside of tests.
    pub places: Arc<dyn Places>,
}

/// Works until `stop`, or, if the settings say so, until nothing is left to do.
///
/// `reloads` brings accounts and webhooks that were read again meanwhile.
///
/// # Errors
///
/// The worker cannot be started, or one of its stages ended by itself. What was claimed comes back when its lease ends.
pub async fn run(
    config: WorkerConfig,
    queue: Queue,
    archive: archive::Archiver,
    around: Surroundings,
    reloads: Reloads,
    stop: CancellationToken,
) -> Result<Summary, RunError> {
    let Surroundings { clock, mut rng, places } = around;
    let lease = queue.lease();
    config.check(lease)?;
    if let Some(HeldElsewhere { account, namespace }) = KeysHeld::of(&config.accounts).hold(&queue).await? {
        return Err(RunError::KeyElsewhere { account, namespace });
    }
    let uploads_chance = Chance::new(split(&mut *rng));
    let courier_chance = Chance::new(split(&mut *rng));
    let chance = Chance::new(rng);
    let name = format!("{}-{}", config.name, chance.suffix());

    // Leases are renewed while steps are awaited: their end is another token's.
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let boot = {
        let clock = clock.clone();
        Arc::new(move || clock.elapsed())
    };
    let leases = Leases::start(queue.clone(), config.renew_every, boot, over.clone());
    let timeout = config.rules.create_timeout;
    let api = Arc::new(DashScopeApi::new(&config.accounts, timeout, clock.clone(), uploads_chance)?);
    let accounts = Accounts::new(config.accounts.clone());
    let jobs = QueueJobs::new(queue.clone(), leases.clone(), &config);
    let webhooks = Webhooks::new(config.webhooks.clone());
    let config = WorkerConfig { accounts: Vec::new(), webhooks: Vec::new(), ..config };
    let outbox: Arc<dyn Outbox> = Arc::new(QueueOutbox(queue.clone()));
    let receivers = HttpReceivers::new().map_err(|error| RunError::Receivers(error.into()))?;
    let manifests = BucketManifests(archive.store().clone());
    // Our own token: `--until-idle` stops this worker, and nothing else of its process.
    let stop = stop.child_token();
    let gate = Gate::default();
    let wakes = Wakes::default();
    let copies_at_once = CopiesAtOnce::new(config.archive_concurrency);
    let env = Arc::new(Env {
        jobs: Arc::new(jobs.of_accounts(accounts.clone()).behind(gate.clone())),
        api: api.clone(),
        archive: Arc::new(BucketArchive::new(archive, config.input_store.clone())),
        clock,
        chance,
        config,
        accounts: accounts.clone(),
        stop: stop.clone(),
        places,
        put_off: Notify::new(),
        streaks: Streaks::default(),
        rests: Default::default(),
        query_probes: QueryProbes::default(),
        leads: Arc::default(),
        held_back: Arc::default(),
        on_the_wire: OnTheWire::new(),
        durations: KnownDurations::default(),
        polls_due: wakes.poll.clone(),
        copies_at_once,
        copy_time: CopyTime::default(),
        created: Created::default(),
        tally: Tally::default(),
    });
    info!(worker = name, accounts = accounts.now().current.len(), "Worker {name} begins");

    let mut loops = start_loops(&env, lease);
    let courier = Courier::new(
        outbox.clone(),
        Arc::new(manifests),
        Arc::new(receivers),
        env.config.outbox.clone(),
        webhooks.clone(),
        env.config.key_template.clone(),
        env.config.prices.currency.clone(),
        env.places.clone(),
        courier_chance,
        stop.clone(),
    );
    loops.spawn(async move { courier.run().await });
    loops.spawn(wakes.clone().follow(queue.clone(), stop.clone()));
    loops.spawn(keys_held::keep(accounts, queue.clone(), stop.clone()));
    {
        let (env, queue) = (env.clone(), queue.clone());
        loops.spawn(async move { reload::run(&env, &queue, &api, &webhooks, reloads).await });
    }
    let idle = env.config.until_idle.then(|| {
        let env = env.clone();
        tokio::spawn(async move {
            let idle = idle::run(&env, &*outbox).await;
            env.stop.cancel();
            idle
        })
    });

    let stages = Stages {
        env: env.clone(),
        queue,
        leases,
        wakes,
        gate: gate.clone(),
        name: name.clone(),
        stop: stop.clone(),
    };
    // What runs alone is a step like those of the stages, and gets the same time to be given back.
    let steps =
        async { tokio::join!(stages.run(), alone::run(&env, &gate, alone::PATIENCE_LEASES * lease)).0 };
    let drained = down_in_time(steps, &env).await;
    stop.cancel();
    // Looking for idleness is a loop like the others: with Redis away it has no more time than they.
    let ended = tokio::time::timeout(LOOPS_END, async {
        while loops.join_next().await.is_some() {}
        match idle {
            Some(idle) => idle.await.unwrap_or(false),
            None => false,
        }
    })
    .await;
    let summary = env.tally.summary(drained == Drained::Yes && ended.is_ok(), ended.unwrap_or(false));
    info!(worker = name, drained = summary.drained, "Worker {name} is down");
    if drained == Drained::StageFailed { Err(RunError::StageEnded) } else { Ok(summary) }
}

/// The loops beside the stages.
fn start_loops(env: &Arc<Env>, lease: Duration) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let of = env.clone();
    loops.spawn(async move { rescue::run(&of, lease).await });
    let of = env.clone();
    loops.spawn(async move { restore::run(&of, lease).await });
    let of = env.clone();
    loops.spawn(async move { promote::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { budgets::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { retention::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { sweep::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { poll::durations::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { poll::list::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { backlog::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { release::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { settle::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { settle::count_orphans(&of).await });
    let of = env.clone();
    loops.spawn(async move { extras::run(&of).await });
    let of = env.clone();
    loops.spawn(async move { quotas::run(&of).await });
    loops
}

/// How the stages ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// Every step ended.
    Yes,
    /// Steps were left behind; their jobs come back when their leases end.
    No,
    /// A stage ended with an error.
    StageFailed,
}

/// Runs the stages; once stopped, waits a moment for what is given back, and longer only for creates on the wire.
async fn down_in_time(stages: impl Future<Output = bool>, env: &Env) -> Drained {
    let out_of_patience = async {
        env.stop.cancelled().await;
        tokio::time::sleep(GIVE_BACK).await;
        let answers = env.on_the_wire.none_left();
        let _ = tokio::time::timeout(env.config.rules.create_timeout + GRACE, answers).await;
    };
    tokio::select! {
        biased;
        well = stages => if well { Drained::Yes } else { Drained::StageFailed },
        () = out_of_patience => {
            warn!("Some steps did not end in time; their jobs come back when their leases end");
            Drained::No
        }
    }
}

/// A second random source, so that the two need not share a lock.
fn split(rng: &mut (dyn Rng + Send)) -> Box<dyn Rng + Send> {
    use rand::SeedableRng as _;
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    Box::new(rand::rngs::StdRng::from_seed(seed))
}
