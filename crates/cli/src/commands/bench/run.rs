//! One run: servers, jobs, workers, and what was seen of them until every job was over.

use std::time::{Duration, Instant};

use dashscope_sim::{Ledger, Simulator};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use job::{BatchName, JobState, StateName, Timestamp};
use queue::{JobFilter, ServerFigures};

use super::crew::Crew;
use super::director::{Director, Look};
use super::machine::{self, Used};
use super::setup::{BATCH, Setup};
use super::world::{World, batch};
use crate::app::{App, queue_failure};
use crate::failure::{Failure, OrFail as _};
use crate::output::batch::JobCounts;
use crate::output::progress::JobProgress;
use crate::output::words::span;

/// How often a run is looked at. Source: ours; often enough to see a stop of the work, too rare to be work.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Outcomes that are fetched at once.
const FETCHES: usize = 64;

/// A job that is over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    /// Its state.
    pub(super) state: StateName,
    /// Its task at the provider.
    pub(super) task: Option<String>,
    /// When a worker noticed that the task had ended.
    pub(super) noticed: Option<Timestamp>,
    /// When its last copy was committed.
    pub(super) stored: Option<Timestamp>,
}

/// All that was seen of a run.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The accounts' ledgers.
    pub(super) ledgers: Vec<Ledger>,
    /// The jobs.
    pub(super) jobs: Vec<Ended>,
    /// PNG files in the bucket.
    pub(super) images_stored: u64,
    /// What each worker used.
    pub(super) workers: Vec<Used>,
    /// By how many ms polls were late.
    pub(super) late_ms: Vec<i64>,
    /// What Redis did before the jobs were enqueued.
    pub(super) redis_empty: ServerFigures,
    /// Before anybody worked.
    pub(super) redis_full: ServerFigures,
    /// When all was over.
    pub(super) redis_over: ServerFigures,
    /// How long anybody worked, in real time.
    pub(super) elapsed: Duration,
    /// The share of the machine that was busy meanwhile, and this process's time on a processor: simulators and store.
    pub(super) busy: Option<f64>,
    /// See `busy`.
    pub(super) own_cpu: Option<Duration>,
}

/// Enqueues the jobs, lets workers do them, and looks until all are over. At each look `director` may make something happen.
pub(super) async fn driven(
    app: &App,
    setup: &Setup,
    title: &str,
    director: &mut dyn Director,
) -> Result<Seen, Failure> {
    let world = World::start(app, setup).await?;
    let redis_empty = world.redis_figures().await?;
    world.enqueue(BATCH, &setup.input()).await?;
    let redis_full = world.redis_figures().await?;

    let (ticks, own) = (machine::ticks(), machine::used_by(std::process::id()));
    let began = Instant::now();
    let mut crew = Crew::new(world.binary()?, world.folder().to_owned(), &world.worker_settings);
    for _ in 0..setup.workers {
        crew.start()?;
    }
    until_over(app, &world, setup, &mut crew, title, director).await?;
    let elapsed = began.elapsed();
    let redis_over = world.redis_figures().await?;
    let busy = machine::ticks().zip(ticks).map(|(now, then)| now.busy_since(then));
    let own_now = machine::used_by(std::process::id());
    crew.stop_all().await?;
    director.over(&world).await?;

    let seen = Seen {
        ledgers: world.ledgers(),
        jobs: ended(&world, &batch()).await?,
        images_stored: world.images_stored().or_fail("failed to count the images")?,
        workers: crew.ended().to_vec(),
        late_ms: crew.lateness().or_fail("failed to read the workers' logs")?,
        redis_empty,
        redis_full,
        redis_over,
        elapsed,
        busy,
        own_cpu: own_now.zip(own).map(|(now, then)| now.cpu.saturating_sub(then.cpu)),
    };
    world.end().await;
    Ok(seen)
}

/// Looks until every job is final, or held for a person.
async fn until_over(
    app: &App,
    world: &World,
    setup: &Setup,
    crew: &mut Crew,
    title: &str,
    director: &mut dyn Director,
) -> Result<(), Failure> {
    let mut progress = JobProgress::new(app.out, title.to_owned(), !app.out.stderr_is_terminal);
    let mut watch = Watch::new(setup.patience);
    let began = Instant::now();
    loop {
        let counts = counts(world).await?;
        let left = progress.pace(began.elapsed(), &counts).map(|left| format!("{} left", span(left)));
        progress.show(began.elapsed(), &counts, left.as_deref());
        if counts.left() == 0 {
            progress.finish(&counts);
            return Ok(());
        }
        crew.look()?;
        director.look(Look { world, counts: &counts, crew }).await?;
        if watch.stands_still(&counts, &world.simulators) {
            let jobs = format!("{counts:?}");
            let details = std::iter::once(jobs).chain(crew.end_of_log()).collect();
            let what = format!("nothing has moved for {:?}", setup.patience);
            return Err(Failure::message(what).details(details));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The jobs of the run by where they are.
async fn counts(world: &World) -> Result<JobCounts, Failure> {
    let batch =
        world.queue.batch(Some(&batch())).await.map_err(|error| queue_failure(error, "read the batch"))?;
    Ok(batch.map_or_else(JobCounts::default, |batch| JobCounts::of(|state| batch.count(state), None)))
}

/// Notices that nothing moves any more.
struct Watch {
    patience: Duration,
    last: (JobCounts, u64),
    since: Instant,
}

impl Watch {
    fn new(patience: Duration) -> Self {
        Self { patience, last: (JobCounts::default(), 0), since: Instant::now() }
    }

    fn stands_still(&mut self, counts: &JobCounts, simulators: &[Simulator]) -> bool {
        let done: u64 = simulators
            .iter()
            .map(|simulator| {
                let totals = simulator.totals().totals;
                totals.tasks_created + totals.succeeded + totals.images_served
            })
            .sum();
        if self.last != (*counts, done) {
            self.last = (*counts, done);
            self.since = Instant::now();
        }
        self.since.elapsed() > self.patience
    }
}

/// All jobs of a batch, with what their tasks brought.
pub(super) async fn ended(world: &World, batch: &BatchName) -> Result<Vec<Ended>, Failure> {
    let filter = JobFilter { batch: Some(Some(batch.clone())), states: Vec::new() };
    let read = |error| queue_failure(error, "read the jobs");
    let (mut jobs, mut cursor) = (Vec::new(), None);
    loop {
        let page = world.queue.jobs(&filter, cursor.as_ref(), 500).await.map_err(read)?;
        jobs.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let fetch = |job: job::Job| async move {
        let outcome = world.queue.outcome(job.id).await.map_err(read)?;
        Ok(Ended {
            state: job.state_name(),
            task: outcome.as_ref().map(|outcome| outcome.task.to_string()),
            noticed: outcome.map(|outcome| outcome.noticed_at),
            stored: match job.state {
                JobState::Succeeded { at, .. } => Some(at),
                _ => None,
            },
        })
    };
    stream::iter(jobs).map(fetch).buffered(FETCHES).try_collect().await
}
