//! One tick of a schedule: the list of items, which of them need new images, their jobs.
//!
//! Everything is named by the tick's own time, so that a tick which another scheduler began is done to the same end. What fails for
//! a reason that passes is tried again; a list with faulty lines fails as a whole, until the next tick.

use std::sync::Arc;
use std::time::Duration;

use job::{BatchName, Curve, PinnedTo};
use queue::{ClaimedTick, Queue, RunNote};
use rand::RngExt as _;
use tracing::{info, warn};

use super::source;
use crate::app::App;
use crate::commands::enqueue::judging::judge_all;
use crate::commands::enqueue::seal;
use crate::commands::enqueue::send::{Load, send};
use crate::exit_code;
use crate::failure::Failure;
use crate::input::line::Defaults;
use crate::input::prepare::Rules;
use crate::output::progress::ReadProgress;
use crate::output::words::counted;
use crate::refresh::{Judgement, Objects, Refreshing, plan};
use crate::settings::{Account, Schedule, Settings};

/// The waits before a tick is tried again. Source: ours; a store that is back is found within a quarter of an hour.
const AGAIN: Curve = Curve { first: Duration::from_secs(15), factor: 2.0, cap: Duration::from_secs(900) };

/// Faulty lines whose faults are kept in the history. Source: ours; enough to see what is wrong with a list.
const FAULTS_KEPT: usize = 10;

/// How a try ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The line of the history.
    pub(crate) note: RunNote,
    /// When it is tried again, if it failed for a reason that may pass.
    pub(crate) again_in: Option<Duration>,
    /// The tick was taken over by another scheduler meanwhile: nothing was written down.
    pub(crate) lost: bool,
}

/// Does a claimed tick, and writes down what came of it.
///
/// # Errors
///
/// Redis could not be told. The lease runs out, and another does the tick once more.
pub(crate) async fn run(
    app: &App,
    settings: &Settings,
    queue: &Queue,
    schedule: &Schedule,
    claimed: &ClaimedTick,
    by: &str,
    by_hand: bool,
) -> Result<Ended, queue::QueueError> {
    let mut note = RunNote {
        tick: claimed.tick,
        started: queue.now(),
        by: by.to_owned(),
        by_hand,
        tries: claimed.tries,
        ..RunNote::default()
    };
    info!(schedule.name = %schedule.name, tick = %claimed.tick, "Tick {} of schedule {} begins", claimed.tick, schedule.name);
    let done = tokio::select! {
        done = enqueue(app, settings, queue, schedule, claimed, &mut note) => done,
        () = lease_lost(queue, claimed) => {
            warn!(schedule.name = %schedule.name, tick = %claimed.tick, "Tick {} of schedule {} is another scheduler's by now", claimed.tick, schedule.name);
            return Ok(Ended { note, again_in: None, lost: true });
        }
    };
    let mut again_in = None;
    if let Err(failure) = done {
        // A list with faulty lines will be no better in a minute.
        let passes = note.faulty == 0 || failure.exit_code != exit_code::BAD_INPUT;
        // What a person asked for is not asked for by anybody else; a tick that was begun before is still due.
        let wanted = !by_hand || claimed.was_begun;
        again_in = (passes && wanted).then(|| AGAIN.wait_with_jitter(claimed.tries, app.rng().random()));
        note.error = Some(failure.chain());
        warn!(schedule.name = %schedule.name, tick = %claimed.tick, again = again_in.is_some(), "Tick {} of schedule {} failed: {}", claimed.tick, schedule.name, failure.chain());
    }
    note.ended = queue.now();
    let nonce = queue.nonce();
    let written = loop {
        match queue.end_tick(claimed, &note, again_in, &nonce).await {
            Err(error) if error.is_retryable() => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "What came of a tick is not written down yet: {error}"
                );
                tokio::time::sleep(queue.lease() / 4).await;
            }
            written => break written?,
        }
    };
    if note.error.is_none() {
        info!(
            schedule.name = %schedule.name, tick = %claimed.tick, jobs.new = note.new, items.unchanged = note.unchanged, items.given_up = note.given_up, items.busy = note.busy,
            "Tick {} of schedule {} enqueued {}", claimed.tick, schedule.name, counted(note.new, "job")
        );
    }
    Ok(Ended { note, again_in, lost: !written })
}

/// Keeps the lease, and returns once it is lost.
async fn lease_lost(queue: &Queue, claimed: &ClaimedTick) {
    loop {
        tokio::time::sleep(queue.lease() / 3).await;
        match queue.renew_tick(claimed).await {
            Ok(true) => {}
            Ok(false) => return,
            // An outage loses nothing: whoever claims the tick meanwhile changes its fence, and the end is refused.
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "A tick's lease is not renewed: {error}")
            }
        }
    }
}

async fn enqueue(
    app: &App,
    settings: &Settings,
    queue: &Queue,
    schedule: &Schedule,
    claimed: &ClaimedTick,
    note: &mut RunNote,
) -> Result<(), Failure> {
    let batch = schedule.batch.batch(schedule.name.as_str(), &schedule.ticks, claimed.tick);
    let batch = batch.map_err(Failure::new)?;
    let objects = Objects::open(app, settings).await?;
    let format = schedule.format();
    let source = Arc::new(source::open(&schedule.source, &settings.folder(), &objects, format).await?);
    let rules = Arc::new(rules(settings, schedule, &batch));
    let (judged, images) = judge_all(app, &source, &rules, None).await?;
    note.faulty = judged.faulty_lines;
    note.faults = judged.shown.iter().take(FAULTS_KEPT).map(ToString::to_string).collect();
    if judged.faulty_lines > 0 && (judged.jobs == 0 || !schedule.row.skip_invalid.value) {
        let faulty = counted(judged.faulty_lines, "line");
        let said = format!("{faulty} of {} cannot be used; nothing was enqueued", source.shown());
        return Err(Failure::message(said).exit(exit_code::BAD_INPUT));
    }
    let has_uploads = judged.has_uploads;
    let refreshing = Refreshing {
        collection: schedule.collection.clone(),
        keep: schedule.keep(),
        rule: schedule.rule,
        tick: claimed.tick,
    };
    let judgement = Judgement { source, rules, images, judged: Arc::new(judged) };
    let (mut plan, judgement) = plan(app, queue, &objects, &refreshing, judgement).await?;
    (note.unchanged, note.busy, note.new) = (plan.unchanged, plan.busy, plan.there);
    note.given_up = plan.given_up;
    if plan.jobs() + plan.there > 0 {
        note.batch = Some(batch.clone());
    }
    let Judgement { source, rules, images, judged } = judgement;
    let load = Load { source, rules, images, judged, choose: plan.choose(&refreshing), replace: None };
    let store = has_uploads.then(|| objects.store().clone());
    let sent = send(app, queue, store, load, &ReadProgress::hidden()).await?;
    note.new += sent.enqueued + sent.duplicates + sent.changed;
    note.busy += sent.busy;
    let prices = settings.prices();
    for (model, images) in &sent.images {
        note.images_max += images;
        note.cost_max_micros += prices.per_image(*model).times(*images).0;
    }
    seal(app, queue, &batch).await
}

fn rules(settings: &Settings, schedule: &Schedule, batch: &BatchName) -> Rules {
    let row = &schedule.row;
    let mut defaults = Defaults {
        size: row.size.value.map(|size| size.0),
        n: schedule.n(),
        priority: schedule.priority(),
        pinned_to: row.account.value.as_ref().map(|account| PinnedTo::Account(account.0.clone())),
        ..Defaults::default()
    };
    if let Some(model) = row.model.value {
        defaults.model = model.0;
    }
    Rules {
        batch: Some(batch.clone()),
        collection: Some(schedule.collection.clone()),
        namespace: settings.redis().namespace,
        defaults,
        accounts: settings.accounts().iter().map(|account| account.name().clone()).collect(),
        regions: settings.accounts().iter().filter_map(Account::region).collect(),
        template: settings.template().clone(),
        prompts: schedule.prompts(),
    }
}
