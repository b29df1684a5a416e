//! Waiting for jobs to end, for `watch`, `enqueue --watch` and `enqueue --wait`.

use std::cell::Cell;
use std::time::Duration;

use futures::future;
use indicatif::{MultiProgress, ProgressDrawTarget};
use job::{BatchName, Eta, JobId, JobState, StateName, Timestamp};
use queue::{Budgets, Queue, QueueError};
use serde::Serialize;

use super::outlook::{eta_of_all, eta_of_batch};

use crate::app::{App, queue_failure};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::batch::{BatchView, JobCounts};
use crate::output::eta::BatchEta;
use crate::output::progress::JobProgress;
use crate::output::since::Since;
use crate::settings::Settings;

/// How often Redis is asked. One read of a few fields: cheap, and quick enough to feel immediate.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often a forecast is asked for while nothing has ended. Source: ours; by then a pause or a breaker may have come or gone.
const FORECAST_EVERY: Duration = Duration::from_secs(10);

/// What is waited for.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A batch.
    Batch(BatchName),
    /// Everything in the queue, from the first look on.
    Everything,
    /// These jobs.
    Jobs(Vec<JobId>),
}

/// What is shown meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// Progress, for people; a line of JSON for each change, for programs.
    Progress,
    /// Nothing.
    Nothing,
}

/// Where the target is.
#[derive(Debug)]
struct Seen {
    jobs: JobCounts,
    batch: Option<BatchView>,
    over: bool,
}

/// Waits until all that is left of the target waits for a person, and answers with the exit code that says how it ended.
///
/// # Errors
///
/// There is no such batch, Redis answers nonsense, or Ctrl-C. While Redis is away this waits on.
pub(super) async fn until_over(
    app: &App,
    queue: &Queue,
    target: &Target,
    show: Show,
    settings: &Settings,
) -> Result<u8, Failure> {
    until_all_over(app, queue, std::slice::from_ref(target), show, settings).await
}

/// The same for several targets at once; the exit code is that of all their jobs together.
///
/// # Errors
///
/// As [`until_over`].
pub(super) async fn until_all_over(
    app: &App,
    queue: &Queue,
    targets: &[Target],
    show: Show,
    settings: &Settings,
) -> Result<u8, Failure> {
    let away = Cell::new(false);
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let widest = targets.iter().map(|target| target.name().len()).max().unwrap_or(0);
    let all = targets.iter().map(|target| {
        let shown = Shown { show, bars: &bars, name: format!("{:widest$}", target.name()), away: &away };
        follow(app, queue, target, shown, settings)
    });
    tokio::select! {
        ended = future::try_join_all(all) => {
            end_on_interrupt();
            Ok(JobCounts::sum(ended?).exit_code())
        }
        // Whatever it is doing, a look at a Redis that does not answer among it.
        _ = tokio::signal::ctrl_c() => {
            let failure = Failure::message("interrupted; the jobs go on without this command");
            Err(failure.exit(exit_code::INTERRUPTED))
        }
    }
}

/// Has Ctrl-C end the process, as where nobody ever listened: listening once keeps the signal from doing so for good.
fn end_on_interrupt() {
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(i32::from(exit_code::INTERRUPTED));
        }
    });
}

/// How one of several targets is shown.
struct Shown<'a> {
    show: Show,
    bars: &'a MultiProgress,
    name: String,
    /// Whether Redis is away: it is said once for all of them.
    away: &'a Cell<bool>,
}

async fn follow(
    app: &App,
    queue: &Queue,
    target: &Target,
    shown: Shown<'_>,
    settings: &Settings,
) -> Result<JobCounts, Failure> {
    let Shown { show, bars, name, away } = shown;
    let (prices, budgets) = (settings.prices(), settings.budgets());
    let least = prices.pro.min(prices.standard);
    // The pace of late says nothing about what a day has room for: the forecast does.
    let by_day = budgets.per_day.is_some() || settings.accounts().iter().any(|account| account.has_budget());
    let json = app.out.json && show == Show::Progress;
    let mut progress = JobProgress::among(app.out, name, json || show == Show::Nothing, bars);
    let mut printed: Option<JobCounts> = None;
    let mut since = Since::default();
    let mut forecast = Forecast::default();
    let mut told = false;
    loop {
        match look(queue, target, &mut since, &prices.currency, budgets).await {
            Ok(Some(seen)) => {
                away.set(false);
                let (at, now) = (app.clock.elapsed(), queue.now());
                let eta = match progress.pace(at, &seen.jobs) {
                    _ if seen.jobs.left() == 0 => None,
                    _ if seen.batch.as_ref().is_some_and(|batch| batch.is_short(least)) => {
                        Some(BatchEta::Unknown(Eta::Budget, None))
                    }
                    Some(left) if !by_day => now.checked_add(left).ok().map(BatchEta::AtPace),
                    _ if show == Show::Progress => forecast.look(at, queue, settings, target, &seen).await,
                    _ => None,
                };
                progress.show(at, &seen.jobs, eta.as_ref().and_then(|eta| eta.left(now)).as_deref());
                let waits = seen.batch.as_ref().is_some_and(|batch| !batch.waits_for.is_empty());
                if waits && seen.jobs.in_flight == 0 && !told {
                    told = true;
                    let name = target.name();
                    app.out.note(&format!(
                        "jobs of {name} wait for its budget; `imagemill batch budget` raises it"
                    ));
                }
                if json && printed != Some(seen.jobs) {
                    printed = Some(seen.jobs);
                    print_line(app, seen.batch.clone(), &seen.jobs, eta.as_ref(), now)?;
                }
                if seen.over {
                    progress.finish(&seen.jobs);
                    return Ok(seen.jobs);
                }
            }
            Ok(None) => {
                let text = format!("there is no {}", target.name());
                return Err(Failure::message(text).hint("`imagemill batch ls` lists the batches"));
            }
            Err(error) if error.is_retryable() => {
                if !away.replace(true) {
                    app.out.note("Redis is away; waiting for it");
                }
            }
            Err(error) => return Err(queue_failure(error, "look at the jobs")),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn print_line(
    app: &App,
    batch: Option<BatchView>,
    jobs: &JobCounts,
    eta: Option<&BatchEta>,
    now: Timestamp,
) -> Result<(), Failure> {
    match batch {
        Some(batch) => app.out.print_json(&batch.with_eta(eta, now)),
        None => app.out.print_json(&LineView { jobs, eta: eta.and_then(BatchEta::at) }),
    }
}

/// A line for what is no batch. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
struct LineView<'a> {
    jobs: &'a JobCounts,
    /// When they will be over, where that can be foretold.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta: Option<Timestamp>,
}

/// What can be foretold before anything has ended: asked for now and then, since it takes more than a look.
#[derive(Debug, Default)]
struct Forecast {
    asked_at: Option<Duration>,
    eta: Option<BatchEta>,
}

impl Forecast {
    async fn look(
        &mut self,
        at: Duration,
        queue: &Queue,
        settings: &Settings,
        target: &Target,
        seen: &Seen,
    ) -> Option<BatchEta> {
        if self.asked_at.is_none_or(|last| at >= last.saturating_add(FORECAST_EVERY)) {
            self.asked_at = Some(at);
            // Where Redis is away, the next look at the jobs says so.
            self.eta = match (target, &seen.batch) {
                (Target::Batch(name), Some(batch)) => {
                    eta_of_batch(queue, settings, name, batch).await.map(|(eta, _)| eta)
                }
                (Target::Everything, _) => eta_of_all(queue, settings, &seen.jobs).await,
                _ => Ok(None),
            }
            .unwrap_or_default();
        }
        self.eta.clone()
    }
}

impl Target {
    fn name(&self) -> String {
        match self {
            Self::Batch(name) => format!("batch {name}"),
            Self::Everything => "all jobs".to_owned(),
            Self::Jobs(ids) => match &ids[..] {
                [id] => format!("job {id}"),
                ids => format!("{} jobs", ids.len()),
            },
        }
    }
}

async fn look(
    queue: &Queue,
    target: &Target,
    since: &mut Since,
    currency: &str,
    budgets: Budgets,
) -> Result<Option<Seen>, QueueError> {
    Ok(match target {
        Target::Batch(name) => queue.batch(Some(name)).await?.map(|summary| {
            let batch = BatchView::new(&summary, currency).with_budget(&summary, budgets.per_batch);
            let over = batch.jobs.left() == 0 && batch.sealed;
            Seen { jobs: batch.jobs, batch: Some(batch), over }
        }),
        Target::Everything => {
            let counts = queue.counts().await?;
            let jobs = JobCounts::of(|state| counts.get(&state).copied().unwrap_or(0), None);
            let jobs = since.look(jobs);
            Some(Seen { jobs, batch: None, over: jobs.left() == 0 })
        }
        Target::Jobs(ids) => {
            let mut states = Vec::with_capacity(ids.len());
            for id in ids {
                states.extend(queue.job(*id).await?.map(|job| job.state));
            }
            let count = |name: StateName| states.iter().filter(|state| state.name() == name).count() as u64;
            let partial = states
                .iter()
                .filter(|state| matches!(state, JobState::Succeeded { partial: true, .. }))
                .count();
            let jobs = JobCounts::of(count, Some(partial as u64));
            Some(Seen { jobs, batch: None, over: jobs.left() == 0 })
        }
    })
}
