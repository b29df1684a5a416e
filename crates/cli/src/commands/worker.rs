//! `worker`.

use std::sync::Arc;

use job::StateName;
use queue::{Queue, UnsafeRedis};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use worker::adapters::StopAt;
use worker::{OpenPlaces, Places, RunError, Summary, Surroundings};

use super::{reload, schedule};
use crate::app::{App, key_failure, queue_failure, webhook_failure};
use crate::args::WorkerArgs;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::Output;
use crate::settings::Settings;

/// A place of [`worker::Place`] at which the process stops itself, for tests: `before_send`, or `before_send:3`.
const STOP_VARIABLE: &str = "IMAGEMILL_STOP_AT";

/// What is said when a worker goes down.
const GIVEN_BACK: &str =
    "stopping: everything is given back, unanswered create calls are awaited (again: at once)";

/// What `worker --json` prints at its end.
#[derive(Debug, Serialize)]
struct SummaryView {
    submitted: u64,
    succeeded: u64,
    partial: u64,
    failed: u64,
    canceled: u64,
    expired: u64,
    held: u64,
    images_stored: u64,
    extra_tasks: u64,
    drained: bool,
    idle: bool,
}

/// Works until it is told to stop, or until nothing is left.
pub(super) async fn run(app: &App, args: WorkerArgs) -> Result<u8, Failure> {
    let hangups = reload::hangups()?;
    let settings = app.settings()?;
    let config = settings.worker().map_err(key_failure)?;
    let mut config = worker::WorkerConfig { until_idle: args.until_idle, ..config };
    config.webhooks = settings.webhooks().map_err(webhook_failure)?;
    let start = |failure: Failure| failure.context("failed to start the worker");
    let queue = app.queue(&settings).await.map_err(start)?;
    refuse_unsafe(&queue, &settings, app.out).await.map_err(start)?;
    let archiver = app.archiver(&settings).await.map_err(start)?;
    let places = places(app)?;
    let stop = stop_on_signals(app.out, GIVEN_BACK)?;
    let around = Surroundings { clock: app.clock.clone(), rng: app.rng(), places };
    let (reloader, reloads) = worker::reloads();
    tokio::spawn(reload::on_hangup(hangups, app.sources.clone(), settings.clone(), reloader));
    let work = worker::run(config, queue.clone(), archiver, around, reloads, stop.clone());
    let summary = if args.with_scheduler {
        tokio::select! {
            summary = work => summary,
            () = schedule::beside_worker(app, &settings, &queue, &stop) => unreachable!("it never ends"),
        }
    } else {
        work.await
    };
    let summary = summary.map_err(run_failure)?;
    if app.out.json {
        app.out.print_json(&SummaryView::of(&summary))?;
    }
    exit(&queue, &args, &summary).await
}

fn run_failure(error: RunError) -> Failure {
    match error {
        RunError::Queue(error) => queue_failure(error, "start the worker"),
        RunError::KeyElsewhere { .. } => {
            let hint = "one namespace keeps an account's limits: set `redis.namespace` to that one, or use another key; ten minutes \
                        after the last worker of the other namespace the key is free";
            Failure::new(error).context("failed to start the worker").exit(exit_code::SETTINGS).hint(hint)
        }
        error => Failure::new(error).context("the worker ended early"),
    }
}

/// Tests name a place where the worker is to stop itself.
fn places(app: &App) -> Result<Arc<dyn Places>, Failure> {
    let Some(place) = app.sources.environment.get(STOP_VARIABLE) else { return Ok(Arc::new(OpenPlaces)) };
    let stop: StopAt = place.parse().map_err(|error| {
        Failure::new(error)
            .context(format!("{STOP_VARIABLE} names no place of a worker"))
            .exit(exit_code::SETTINGS)
    })?;
    Ok(Arc::new(stop))
}

async fn exit(queue: &Queue, args: &WorkerArgs, summary: &Summary) -> Result<u8, Failure> {
    if !args.until_idle {
        return Ok(exit_code::DONE);
    }
    if !summary.idle {
        return Err(Failure::message("stopped before the queue was empty").exit(exit_code::INTERRUPTED));
    }
    let counts = queue.counts().await.map_err(|error| queue_failure(error, "count the jobs"))?;
    let held = counts.get(&StateName::Held).copied().unwrap_or(0);
    Ok(code(held, summary))
}

/// How the jobs of this worker ended, and whether any wait for a person.
fn code(held: u64, summary: &Summary) -> u8 {
    if held > 0 {
        exit_code::HELD
    } else if summary.failed + summary.expired + summary.canceled > 0 {
        exit_code::FAILED
    } else if summary.partial > 0 {
        exit_code::PARTIAL
    } else {
        exit_code::DONE
    }
}

pub(super) async fn refuse_unsafe(queue: &Queue, settings: &Settings, out: Output) -> Result<(), Failure> {
    match queue.check_safety().await {
        Ok(()) => Ok(()),
        // A restart of Redis and of its workers at the same time is no fault of the settings.
        Err(loading @ UnsafeRedis::Loading) => {
            let hint = loading.hint();
            Err(Failure::new(loading)
                .context("Redis cannot be used yet")
                .exit(exit_code::UNAVAILABLE)
                .hint(hint))
        }
        Err(unsafe_redis) if settings.unsafe_redis() => {
            out.note(&format!("warning: {unsafe_redis}; going on all the same"));
            Ok(())
        }
        Err(unsafe_redis) => {
            let hint = unsafe_redis.hint();
            Err(Failure::new(unsafe_redis)
                .context("this Redis may lose jobs")
                .exit(exit_code::SETTINGS)
                .hint(hint))
        }
    }
}

/// A token that the first SIGTERM or SIGINT cancels. The second ends the process at once.
pub(super) fn stop_on_signals(out: Output, said: &'static str) -> Result<CancellationToken, Failure> {
    let listen = |kind| signal(kind).or_fail("failed to listen for signals");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !first {
                std::process::exit(i32::from(exit_code::INTERRUPTED));
            }
            token.cancel();
            out.note(said);
        }
    });
    Ok(stop)
}

impl SummaryView {
    fn of(summary: &Summary) -> Self {
        let Summary {
            submitted,
            images_stored,
            succeeded,
            partial,
            failed,
            canceled,
            expired,
            held,
            extra_tasks,
            drained,
            idle,
        } = *summary;
        Self {
            submitted,
            succeeded,
            partial,
            failed,
            canceled,
            expired,
            held,
            images_stored,
            extra_tasks,
            drained,
            idle,
        }
    }
}
