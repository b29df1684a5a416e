//! `enqueue`: judge everything, then send it.

pub(crate) mod became;
mod dry;
mod errors_file;
#[cfg(test)]
mod faults_tests;
mod forecast;
pub(crate) mod judging;
mod look;
pub(crate) mod never;
mod refreshing;
pub(crate) mod send;
mod spend;
mod view;

use std::sync::Arc;

use job::{BatchName, PinnedTo};
use queue::{Queue, patiently};
use rand::RngExt as _;

use self::became::Sent;
use self::dry::{Input, dry_run};
use self::judging::{bad_input, blocking, judge_all};
use self::look::look;
use self::send::{Load, Replace, send};
use self::spend::{question, too_dear};
use self::view::EnqueueView;
use super::agree::agree;
use super::wait::{Show, Target, until_over};
use crate::app::{App, queue_failure};
use crate::args::{BatchArg, EnqueueArgs};
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::line::Defaults;
use crate::input::marks::Marks;
use crate::input::prepare::Rules;
use crate::input::source::{PromptFlags, Source};
use crate::output::progress::ReadProgress;
use crate::output::words::{count, counted};
use crate::settings::{Account, Settings};

/// Puts jobs into the queue.
pub(super) async fn run(app: &App, args: EnqueueArgs) -> Result<u8, Failure> {
    refuse_unclear(&args)?;
    if let Some(rule) = args.refresh {
        return refreshing::run(app, args, rule).await;
    }
    let settings = app.settings()?;
    let rules = Arc::new(rules(&args, &settings));
    let source = Arc::new(open(&args).await?);
    let (judged, images) = judge_all(app, &source, &rules, args.errors.clone()).await?;
    for warning in &judged.warnings_shown {
        app.out.note(&format!("warning: {warning}"));
    }
    if let Some(more) =
        judged.warnings.checked_sub(judged.warnings_shown.len() as u64).filter(|more| *more > 0)
    {
        app.out.note(&format!("warning: {} more like these", count(more)));
    }
    if let Some(warning) = refreshed_by(&settings, args.batch()) {
        app.out.note(&warning);
    }
    let prices = settings.prices();
    let mut view = EnqueueView::judged(args.batch(), &judged, &prices, args.dry_run);
    if judged.jobs == 0 || (judged.faulty_lines > 0 && !args.skip_invalid) {
        if app.out.json {
            app.out.print_json(&view)?;
        }
        let single = args.file.is_none().then_some(args.prompt.len() == 1);
        return Err(bad_input(&source, &judged, single));
    }
    let judged = Arc::new(judged);
    if args.dry_run {
        return dry_run(app, &args, &settings, Input { source, rules, judged, images }, view).await;
    }

    let queue = app.queue(&settings).await?;
    if let Err(unsafe_redis) = queue.check_safety().await {
        app.out.note(&format!("warning: {unsafe_redis} (hint: {})", unsafe_redis.hint()));
    }
    let (mut images, mut replaceable) = (images, Marks::default());
    if args.replace || args.max_cost.is_some() {
        let (stand, looked) = look(&queue, &source, &rules, &judged, images).await?;
        images = looked;
        too_dear(args.max_cost, &prices, stand.cost_max(&prices, args.replace))?;
        if stand.replaced() > 0 && args.replace && !agree(app.out, args.yes, &question(&stand, &prices))? {
            app.out.note("Nothing was enqueued.");
            return Ok(exit_code::FAILED);
        }
        replaceable = stand.replaceable;
    }
    let store = if judged.has_uploads { Some(app.store(&settings).await?) } else { None };
    // Only once nothing can be refused any more: a raised budget lets jobs go on that wait for it.
    super::budget::before_enqueue(&queue, args.batch(), args.budget).await?;
    let progress = ReadProgress::new(app.out, "enqueueing", judged.jobs);
    let replace = args.replace.then(|| Arc::new(Replace { rules: settings.rules(), lines: replaceable }));
    let load =
        Load { source, rules, images, judged, choose: Box::new(|_, job| Some(job)), replace, tick: None };
    let sent = send(app, &queue, store, load, &progress).await;
    progress.clear();
    let sent = sent?;
    if let Some(batch) = args.batch() {
        seal(app, &queue, batch).await?;
    }
    view.sent(&sent, &prices, args.file.is_none());
    if app.out.json {
        app.out.print_json(&view)?;
    } else {
        app.out.print(&view.render())?;
    }
    warn_of_changes(app, &sent, false);
    finish(app, &queue, &args, &settings, &sent).await
}

/// What is to be said of a batch with the name of a collection: both put their images under the same keys.
fn refreshed_by(settings: &Settings, batch: Option<&BatchName>) -> Option<String> {
    let batch = batch?;
    let schedule = settings.schedules().iter().find(|schedule| schedule.collection == *batch)?;
    Some(format!(
        "warning: schedule {} refreshes the images of {batch}, and those of batch {batch} take the same keys: the last to come is \
         shown. Name the batch otherwise, or say --refresh --into {batch}",
        schedule.name
    ))
}

async fn finish(
    app: &App,
    queue: &Queue,
    args: &EnqueueArgs,
    settings: &Settings,
    sent: &Sent,
) -> Result<u8, Failure> {
    warn_of_never_made(app, never::made(queue, settings, args.batch(), None, &sent.made).await);
    let changed = if sent.changed + sent.under_way > 0 { exit_code::BAD_INPUT } else { exit_code::DONE };
    if !args.watch && !args.wait {
        if let (Some(batch), true) = (args.batch(), app.out.stdout_is_terminal && !app.out.json) {
            app.out.note(&format!("Follow them with `imagemill watch {batch}`."));
        }
        return Ok(changed);
    }
    let target = match args.batch() {
        Some(batch) => Target::Batch(batch.clone()),
        None => Target::Jobs(sent.jobs.clone()),
    };
    let show = if args.watch { Show::Progress } else { Show::Nothing };
    let ended = until_over(app, queue, &target, show, settings).await?;
    Ok(if ended == exit_code::DONE { changed } else { ended })
}

/// What `clap` cannot say.
fn refuse_unclear(args: &EnqueueArgs) -> Result<(), Failure> {
    let refuse =
        |text: &str, hint: &str| Err(Failure::message(text.to_owned()).exit(exit_code::USAGE).hint(hint));
    if args.file.is_some() && args.batch.is_none() {
        return refuse(
            "a file of jobs needs the name of a batch",
            "add --batch NAME; the same name and file again add nothing",
        );
    }
    if let (Some(BatchArg::Template(text)), None) = (&args.batch, args.refresh) {
        return refuse(
            &format!("--batch {text} is no name: places for the time are for --refresh"),
            "name the batch, or add --refresh if_changed",
        );
    }
    if args.custom_id.is_some() && args.prompt.len() != 1 {
        return refuse(
            "--custom-id names one job, and there are several prompts",
            "leave it away, or use a file",
        );
    }
    Ok(())
}

fn rules(args: &EnqueueArgs, settings: &Settings) -> Rules {
    let mut defaults = Defaults {
        size: args.request.size,
        n: args.request.n,
        seed: args.request.seed,
        priority: args.priority,
        pinned_to: args
            .account
            .clone()
            .map(PinnedTo::Account)
            .or_else(|| args.region.clone().map(PinnedTo::Region)),
        not_before: args.not_before,
        ..Defaults::default()
    };
    defaults.model = args.request.model.unwrap_or(defaults.model);
    Rules {
        batch: args.batch().cloned(),
        collection: None,
        namespace: settings.redis().namespace,
        defaults,
        accounts: settings.accounts().iter().map(|account| account.name().clone()).collect(),
        regions: settings.accounts().iter().filter_map(Account::region).collect(),
        template: settings.template().clone(),
        prompts: args.template.clone(),
    }
}

async fn open(args: &EnqueueArgs) -> Result<Source, Failure> {
    let Some(path) = args.file.clone() else {
        return Ok(Source::of_prompts(&PromptFlags {
            prompts: args.prompt.clone(),
            images: args.image.clone(),
            custom_id: args.custom_id.clone(),
        }));
    };
    let opened = blocking(move || Source::open(&path)).await?;
    let opened =
        opened.or_fail("failed to read the jobs").map_err(|failure| failure.exit(exit_code::BAD_INPUT))?;
    Ok(match args.format {
        Some(format) => opened.written_as(format),
        None => opened,
    })
}

pub(crate) async fn seal(app: &App, queue: &Queue, batch: &BatchName) -> Result<(), Failure> {
    let sealed = patiently(app.rng().random(), || queue.seal(batch), queue::QueueError::is_retryable).await;
    sealed.map_err(|error| queue_failure(error, "end the batch").hint(send::AGAIN))?;
    Ok(())
}

/// Says what no budget will ever pay for. Nothing has failed where that is not known: what is enqueued is enqueued.
fn warn_of_never_made(app: &App, said: Result<Vec<String>, queue::QueueError>) {
    match said {
        Ok(said) => said.iter().for_each(|sentence| app.out.note(&format!("warning: {sentence}"))),
        Err(error) => app.out.note(&format!("note: the budget of the batch is not known: {error}")),
    }
}

fn warn_of_changes(app: &App, sent: &Sent, refresh: bool) {
    for warning in warnings(sent, refresh) {
        app.out.note(&warning);
    }
}

/// What to do where a batch is an earlier run's.
const A_BATCH_FOR_EACH_RUN: &str =
    "For new images give each run a batch of its own: --batch \"{name}-{date}T{time}\".";

/// What a person should know of jobs that were there already, of a refresh or not.
fn warnings(sent: &Sent, refresh: bool) -> Vec<String> {
    let of = |jobs: u64, lines: &[u64], verbs: [&str; 2], what: &str| {
        let shown: Vec<String> = lines.iter().map(u64::to_string).collect();
        let (shown, more) = (shown.join(", "), if jobs > lines.len() as u64 { ", …" } else { "" });
        let (noun, verb) = if jobs == 1 { ("line", verbs[0]) } else { ("lines", verbs[1]) };
        (jobs > 0).then(|| format!("warning: {} ({noun} {shown}{more}) {verb} {what}", counted(jobs, "job")))
    };
    let changed = "for something else than the job of the same custom_id that is there already; the one that is there stands.";
    let changed = match refresh {
        true => format!("{changed} The batch is an earlier run's. {A_BATCH_FOR_EACH_RUN}"),
        false => format!("{changed} For new images take another batch or custom_id, or say --replace."),
    };
    let under_way = "under way or held, and not replaced: run the same command again when that is over.";
    let removed = (sent.removed > 0).then(|| {
        format!(
            "note: {} of the jobs had been made before, and removed since; for new images take another custom_id or batch.",
            count(sent.removed)
        )
    });
    let changed = of(sent.changed, &sent.changed_lines, ["asks", "ask"], &changed);
    let under_way = of(sent.under_way, &sent.under_way_lines, ["is", "are"], under_way);
    [changed, under_way, removed].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_already_is_said_with_its_lines() {
        let sent = Sent {
            changed: 12,
            changed_lines: (1..=10).collect(),
            under_way: 1,
            under_way_lines: vec![7],
            duplicates: 3,
            removed: 2,
            ..Sent::default()
        };
        insta::assert_snapshot!(warnings(&sent, false).join("\n"), @r"
        warning: 12 jobs (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …) ask for something else than the job of the same custom_id that is there already; the one that is there stands. For new images take another batch or custom_id, or say --replace.
        warning: 1 job (line 7) is under way or held, and not replaced: run the same command again when that is over.
        note: 2 of the jobs had been made before, and removed since; for new images take another custom_id or batch.
        ");
        insta::assert_snapshot!(warnings(&Sent { changed: 1, changed_lines: vec![4], ..Sent::default() }, true).join("\n"), @r#"warning: 1 job (line 4) asks for something else than the job of the same custom_id that is there already; the one that is there stands. The batch is an earlier run's. For new images give each run a batch of its own: --batch "{name}-{date}T{time}"."#);
        assert!(warnings(&Sent { duplicates: 3, ..Sent::default() }, false).is_empty());
    }
}
