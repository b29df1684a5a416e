//! One tick of a schedule: the list of items, which of them need new images, their jobs.
//!
//! Everything is named by the tick's own time, so that a tick which another scheduler began is done to the same end. What fails for
//! a reason that passes is tried again; a list with faulty lines fails as a whole, until the next tick. However a tick ends for good,
//! its batch gets no more jobs and is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dashscope::Model;
use job::{BatchName, PinnedTo, Prices, Timestamp};
use queue::{ClaimedTick, EnqueueError, Queue, RunNote, TICK_AGAIN, TickEnd};
use rand::RngExt as _;
use tracing::{info, warn};

use super::source;
use crate::app::App;
use crate::commands::enqueue::judging::judge_all;
use crate::commands::enqueue::never;
use crate::commands::enqueue::send::{Load, send};
use crate::exit_code;
use crate::failure::Failure;
use crate::input::line::Defaults;
use crate::input::prepare::Rules;
use crate::input::work::Work;
use crate::output::progress::ReadProgress;
use crate::output::words::counted;
use crate::refresh::{Judgement, Objects, Refreshing, plan};
use crate::settings::{Account, Schedule, Settings};

/// What is said of a run by hand that was broken off, there or by its process going away.
const STOPPED: &str = "the run was broken off; what it had enqueued goes on";

/// What is said of a tick that a scheduler left, and whose schedule is off by now.
const OFF: &str = "the schedule was switched off before the tick was done; what it had enqueued goes on";

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
    /// What a command ends with that did it.
    pub(crate) exit_code: u8,
}

/// Who does a tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    /// The scheduler, or the person.
    pub(crate) by: &'a str,
    /// Whether it is a person.
    pub(crate) by_hand: bool,
}

/// Why a try came to nothing.
enum Trouble {
    /// Its list has faulty lines, and will be no better in a minute.
    List(Failure),
    /// It was told to stop.
    Stopped,
    /// Its schedule was switched off.
    Off,
    /// The tick has ended meanwhile, or another does it.
    Lost,
    /// What another try may overcome.
    Other(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure.error.downcast_ref::<EnqueueError>() {
            Some(EnqueueError::TickLost) => Self::Lost,
            _ => Self::Other(failure),
        }
    }
}

/// The batch that the jobs of a tick go to; of a run that a person asks for, one of its own.
pub(crate) fn batch_of(
    schedule: &Schedule,
    tick: Timestamp,
    by_hand: bool,
) -> Result<BatchName, job::InvalidName> {
    match by_hand {
        true => schedule.batch.batch_by_hand(schedule.name.as_str(), &schedule.ticks, tick),
        false => schedule.batch.batch(schedule.name.as_str(), &schedule.ticks, tick),
    }
}

/// Does a claimed tick, and writes down what came of it. A run by hand ends at `stop`; a tick that a person asked for and left is not
/// done, but ended, and so is one of a schedule that was switched off.
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
    Who { by, by_hand }: Who<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Ended, queue::QueueError> {
    let mut note = RunNote {
        tick: claimed.tick,
        started: queue.now(),
        by: by.to_owned(),
        by_hand: claimed.by_hand || by_hand,
        tries: claimed.tries,
        ..RunNote::default()
    };
    if claimed.tries > 1 {
        warn!(schedule.name = %schedule.name, tick = %claimed.tick, tries = claimed.tries, "Tick {} of schedule {} has had {} tries, which failed or whose schedulers went away", claimed.tick, schedule.name, claimed.tries);
    }
    info!(schedule.name = %schedule.name, tick = %claimed.tick, "Tick {} of schedule {} begins", claimed.tick, schedule.name);
    let batch = claimed.batch.clone().map_or_else(|| batch_of(schedule, claimed.tick, claimed.by_hand), Ok);
    let is_off = !schedule.row.enabled.value;
    let done = async {
        let batch = batch.as_ref().map_err(|error| Failure::new(error.clone()))?;
        let ends = if claimed.by_hand { Some(Trouble::Stopped) } else { is_off.then_some(Trouble::Off) };
        if let (Some(trouble), false) = (ends, by_hand) {
            note_what_is_there(queue, batch, &mut note).await;
            return Err(trouble);
        }
        enqueue(app, settings, queue, schedule, claimed, batch, &mut note).await
    };
    let done = tokio::select! {
        done = done => done,
        () = stop => Err(Trouble::Stopped),
        () = lease_lost(queue, claimed) => Err(Trouble::Lost),
    };
    let (mut again_in, mut code) = (None, exit_code::DONE);
    if let Err(trouble) = done {
        let passes = !matches!(trouble, Trouble::List(_) | Trouble::Off);
        let (failure, exit_code) = match trouble {
            Trouble::List(failure) => (failure, exit_code::BAD_INPUT),
            Trouble::Other(failure) => (failure, exit_code::FAILED),
            Trouble::Stopped => (Failure::message(STOPPED), exit_code::INTERRUPTED),
            Trouble::Off => (Failure::message(OFF), exit_code::FAILED),
            // Nothing more comes from here: the queue refuses it.
            Trouble::Lost => {
                warn!(schedule.name = %schedule.name, tick = %claimed.tick, "Tick {} of schedule {} has ended, or is another scheduler's by now", claimed.tick, schedule.name);
                return Ok(Ended { note, again_in: None, lost: true, exit_code: exit_code::FAILED });
            }
        };
        code = exit_code;
        // What a person asked for is not asked for by anybody else; a tick that was begun before is still due.
        again_in = (passes && !claimed.by_hand)
            .then(|| TICK_AGAIN.wait_with_jitter(claimed.tries, app.rng().random()));
        note.error = Some(failure.chain());
        warn!(schedule.name = %schedule.name, tick = %claimed.tick, again = again_in.is_some(), "Tick {} of schedule {} failed: {}", claimed.tick, schedule.name, failure.chain());
    }
    note.ended = queue.now();
    let nonce = queue.nonce();
    let end = again_in.map_or(TickEnd::Over(batch.as_ref().ok()), TickEnd::Again);
    let written = loop {
        match queue.end_tick(claimed, &note, end, &nonce).await {
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
            schedule.name = %schedule.name, tick = %claimed.tick, jobs.new = note.new, items.unchanged = note.unchanged, items.given_up = note.given_up, items.unreadable = note.unreadable, items.busy = note.busy,
            "Tick {} of schedule {} enqueued {}", claimed.tick, schedule.name, counted(note.new, "job")
        );
    }
    Ok(Ended { note, again_in, lost: !written, exit_code: code })
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
    batch: &BatchName,
    note: &mut RunNote,
) -> Result<(), Trouble> {
    let objects = Objects::open(app, settings).await?;
    let format = schedule.format();
    let source = Arc::new(source::open(&schedule.source, &settings.folder(), &objects, format).await?);
    let rules = Arc::new(rules(settings, schedule, batch));
    let (judged, images) = judge_all(app, &source, &rules, None).await?;
    note.faulty = judged.faulty_lines;
    note.faults = judged.shown.iter().take(FAULTS_KEPT).map(ToString::to_string).collect();
    if judged.faulty_lines > 0 && (judged.jobs == 0 || !schedule.row.skip_invalid.value) {
        let faulty = counted(judged.faulty_lines, "line");
        let said = format!("{faulty} of {} cannot be used; nothing was enqueued", source.shown());
        return Err(Trouble::List(Failure::message(said)));
    }
    let (has_uploads, prices) = (judged.has_uploads, settings.prices());
    let refreshing = Refreshing {
        collection: schedule.collection.clone(),
        keep: schedule.keep(),
        rule: schedule.rule,
        tick: claimed.tick,
    };
    let judgement = Judgement { source, rules, images, judged: Arc::new(judged) };
    let (mut plan, judgement) = plan(app, queue, &objects, &refreshing, judgement).await?;
    (note.unchanged, note.busy, note.new) = (plan.unchanged, plan.busy, plan.there);
    (note.given_up, note.changed) = (plan.given_up, plan.changed);
    (note.unreadable, note.unreadable_manifests) = (plan.unreadable, plan.unreadable_manifests.clone());
    if note.unreadable > 0 {
        let named = note.unreadable_manifests.join("; ");
        warn!(schedule.name = %schedule.name, tick = %claimed.tick, items.unreadable = note.unreadable, "No new images for {} of schedule {}, since what stands as a manifest cannot be read: look at these objects, and delete one to have its item made anew: {named}", counted(note.unreadable, "item"), schedule.name);
    }
    cost(note, &plan.there_images, &prices);
    if plan.jobs() + plan.there > 0 {
        note.batch = Some(batch.clone());
    }
    let Judgement { source, rules, images, judged } = judgement;
    let load = Load {
        source,
        rules,
        images,
        judged,
        choose: plan.choose(&refreshing),
        replace: None,
        tick: Some(Arc::new(claimed.clone())),
    };
    let store = has_uploads.then(|| objects.store().clone());
    let sent = send(app, queue, store, load, &ReadProgress::hidden()).await?;
    // Another try of this tick that still lived may have sent some meanwhile.
    note.new += sent.enqueued + sent.duplicates;
    note.changed += sent.changed;
    note.busy += sent.busy;
    cost(note, &sent.made.images(), &prices);
    warn_of_never_made(queue, settings, claimed, batch, &sent.made).await;
    Ok(())
}

/// What earlier tries of a tick have enqueued, for the history, as far as it can be had now.
async fn note_what_is_there(queue: &Queue, batch: &BatchName, note: &mut RunNote) {
    if let Ok(Some(summary)) = queue.batch(Some(batch)).await {
        (note.batch, note.new, note.images_max) = (Some(batch.clone()), summary.total, summary.expected);
    }
}

/// Says of the jobs of this try which no budget will ever pay for.
async fn warn_of_never_made(
    queue: &Queue,
    settings: &Settings,
    ClaimedTick { schedule, tick, .. }: &ClaimedTick,
    batch: &BatchName,
    work: &Work,
) {
    // Nothing has failed where that is not known: what is enqueued is enqueued.
    for sentence in never::made(queue, settings, Some(batch), None, work).await.unwrap_or_default() {
        warn!(schedule.name = %schedule, tick = %tick, batch = %batch, "In tick {tick} of schedule {schedule}, {sentence}");
    }
}

/// Counts images that the tick's jobs may bring.
fn cost(note: &mut RunNote, images: &BTreeMap<Model, u64>, prices: &Prices) {
    for (model, images) in images {
        note.images_max += images;
        note.cost_max_micros += prices.per_image(*model).times(*images).0;
    }
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
