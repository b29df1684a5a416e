//! `enqueue --refresh`: the same as a tick of a schedule, for those who have a crontab.

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use job::{BatchName, BatchTemplate, Cron, RefreshRule, Ticks, Timestamp};
use queue::Queue;

use super::became::Sent;
use super::judging::{bad_input, judge_all};
use super::send::{Load, send};
use super::spend::too_dear;
use super::view::EnqueueView;
use super::{A_BATCH_FOR_EACH_RUN, finish, never, open, rules, seal, warn_of_changes, warn_of_never_made};
use crate::app::{App, queue_failure};
use crate::args::{BatchArg, EnqueueArgs};
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::progress::ReadProgress;
use crate::output::unreadable;
use crate::output::words::counted;
use crate::refresh::{Judgement, Objects, Plan, Refreshing, plan};

/// Puts those items of the file into the queue that need new images.
pub(super) async fn run(app: &App, mut args: EnqueueArgs, rule: RefreshRule) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let collection = collection(&args)?;
    if !settings.template().is_stable() {
        let template = settings.template().as_str();
        let text = format!("a refresh needs keys that stay the same, but `results.template` is {template}");
        let failure = Failure::message(text).exit(exit_code::SETTINGS);
        return Err(failure.hint("it must contain {custom_id} and not {job_id}"));
    }
    // The shape is judged before anything is asked for; the time is Redis's, as everywhere.
    batch(&args, &collection, Timestamp::UNIX_EPOCH)?;
    let queue = app.queue(&settings).await?;
    if let Err(unsafe_redis) = queue.check_safety().await {
        app.out.note(&format!("warning: {unsafe_redis} (hint: {})", unsafe_redis.hint()));
    }
    let now = queue.now();
    let batch = batch(&args, &collection, now)?;
    args.batch = Some(BatchArg::Name(batch.clone()));
    let mut rules = rules(&args, &settings);
    rules.collection = Some(collection.clone());
    let (source, rules) = (Arc::new(open(&args).await?), Arc::new(rules));
    let (judged, images) = judge_all(app, &source, &rules, args.errors.clone()).await?;
    let prices = settings.prices();
    let mut view = EnqueueView::judged(Some(&batch), &judged, &prices, args.dry_run);
    if judged.jobs == 0 || (judged.faulty_lines > 0 && !args.skip_invalid) {
        if app.out.json {
            app.out.print_json(&view)?;
        }
        return Err(bad_input(&source, &judged, None));
    }
    let objects = Objects::open(app, &settings).await?;
    let refreshing = Refreshing { collection, keep: args.keep, rule, tick: now };
    let has_uploads = judged.has_uploads;
    let judgement = Judgement { source, rules, images, judged: Arc::new(judged) };
    let (mut plan, judgement) = plan(app, &queue, &objects, &refreshing, judgement).await?;
    view.refreshed(&plan, plan.busy);
    if let Some(said) = unreadable::said(plan.unreadable, &plan.unreadable_manifests) {
        app.out.note(&format!("warning: {}", said.trim_end()));
    }
    if let Some(note) = of_a_complete_run(&queue, &batch, rule, plan.there).await? {
        app.out.note(&note);
    }
    let changed = |plan: &mut Plan| Sent {
        changed: plan.changed,
        changed_lines: std::mem::take(&mut plan.changed_lines),
        ..Sent::default()
    };
    if args.dry_run {
        view.would(&plan.work, &prices);
        say(app, &view)?;
        warn_of_changes(app, &changed(&mut plan), true);
        let never = never::made(&queue, &settings, Some(&batch), args.budget, &plan.work).await;
        warn_of_never_made(app, never);
        return Ok(exit_code::DONE);
    }
    too_dear(args.max_cost, &prices, plan.work.cost_max(&prices))?;
    if plan.jobs() > 0 {
        crate::commands::budget::before_enqueue(&queue, args.batch(), args.budget).await?;
    }
    let (there, of_another_run) = (plan.there, changed(&mut plan));
    let mut sent = enqueue(app, &queue, &objects, has_uploads, judgement, &mut plan, &refreshing).await?;
    seal(app, &queue, &batch).await?;
    sent.duplicates += there;
    sent.changed += of_another_run.changed;
    sent.changed_lines.extend(of_another_run.changed_lines);
    view.sent(&sent, &prices, false);
    view.refreshed(&plan, plan.busy + sent.busy);
    say(app, &view)?;
    warn_of_changes(app, &sent, true);
    if sent.enqueued + sent.duplicates == 0 {
        // There is no batch to wait for.
        return Ok(if sent.changed > 0 { exit_code::BAD_INPUT } else { exit_code::DONE });
    }
    finish(app, &queue, &args, &settings, &sent).await
}

async fn enqueue(
    app: &App,
    queue: &Queue,
    objects: &Objects,
    has_uploads: bool,
    judgement: Judgement,
    plan: &mut Plan,
    refreshing: &Refreshing,
) -> Result<Sent, Failure> {
    let progress = ReadProgress::new(app.out, "enqueueing", plan.jobs());
    let Judgement { source, rules, images, judged } = judgement;
    let load =
        Load { source, rules, images, judged, choose: plan.choose(refreshing), replace: None, tick: None };
    let store = has_uploads.then(|| objects.store().clone());
    let sent = send(app, queue, store, load, &progress).await;
    progress.clear();
    sent
}

/// What is to be said of items whose job is in the batch already, where that is not how an interrupted run goes on: its batch was ended. By
/// `if_changed` such items are what they would be.
async fn of_a_complete_run(
    queue: &Queue,
    batch: &BatchName,
    rule: RefreshRule,
    there: u64,
) -> Result<Option<String>, Failure> {
    if there == 0 || rule == RefreshRule::IfChanged {
        return Ok(None);
    }
    let before = queue.batch(Some(batch)).await.map_err(|error| queue_failure(error, "read the batch"))?;
    Ok(before.is_some_and(|batch| batch.sealed).then(|| {
        let (items, have) = (counted(there, "item"), if there == 1 { "has its job" } else { "have their jobs" });
        format!("note: {items} {have} in batch {batch} already, from a run that is complete, and nothing new is made in it. {A_BATCH_FOR_EACH_RUN}")
    }))
}

fn say(app: &App, view: &EnqueueView) -> Result<(), Failure> {
    if app.out.json { app.out.print_json(view) } else { app.out.print(&view.render()) }
}

/// The folder of the stable keys: as it is said, or the name of the file.
fn collection(args: &EnqueueArgs) -> Result<BatchName, Failure> {
    if let Some(collection) = &args.into {
        return Ok(collection.clone());
    }
    let file = args.file.as_deref().unwrap_or(Path::new("-"));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // Also of `shoes.csv.gz`.
    let stem = name.split('.').next().unwrap_or_default();
    BatchName::parse(stem).map_err(|_| {
        let failure = Failure::message("the collection that is refreshed has no name").exit(exit_code::USAGE);
        failure.hint("add --into NAME: the folder of the images' stable keys")
    })
}

/// The batch of a run at `now`. In a name with places for it, `{name}` is the collection; the time is UTC, to the second, so that two
/// runs have two batches.
fn batch(args: &EnqueueArgs, collection: &BatchName, now: Timestamp) -> Result<BatchName, Failure> {
    let text = match &args.batch {
        Some(BatchArg::Name(name)) => return Ok(name.clone()),
        Some(BatchArg::Template(text)) => text,
        None => {
            let failure = Failure::message("a refresh needs the name of a batch").exit(exit_code::USAGE);
            return Err(failure.hint("add --batch \"{name}-{date}T{time}\""));
        }
    };
    let template = BatchTemplate::parse(text, collection.as_str());
    let template = template
        .or_fail(format!("--batch {text} cannot be used"))
        .map_err(|failure| failure.exit(exit_code::USAGE))?;
    let every_minute = Cron::parse("* * * * *").or_fail("a constant expression cannot be read")?;
    let utc = Ticks { cron: every_minute, zone: TimeZone::UTC };
    template.batch(collection.as_str(), &utc, now).or_fail("the batch has no name")
}
