//! `enqueue`: judge everything, then send it.

mod errors_file;
#[cfg(test)]
mod faults_tests;
mod patience;
pub(crate) mod send;
mod view;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use job::{BatchName, PinnedTo};
use queue::Queue;
use rand::RngExt as _;

use self::errors_file::ErrorsFile;
use self::patience::patiently;
use self::send::{Load, Sent, send};
use self::view::EnqueueView;
use super::wait::{Show, Target, until_over};
use crate::app::{App, queue_failure};
use crate::args::EnqueueArgs;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::images::Images;
use crate::input::judge::{Judged, Seen, judge};
use crate::input::line::Defaults;
use crate::input::prepare::Rules;
use crate::input::rows::Format;
use crate::input::source::{PromptFlags, Source};
use crate::output::progress::ReadProgress;
use crate::output::words::{count, counted};
use crate::settings::{Account, Settings};

/// Puts jobs into the queue.
pub(super) async fn run(app: &App, args: EnqueueArgs) -> Result<u8, Failure> {
    refuse_unclear(&args)?;
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
    let mut view = EnqueueView::judged(args.batch.as_ref(), &judged, &settings.prices(), args.dry_run);
    if judged.jobs == 0 || (judged.faulty_lines > 0 && !args.skip_invalid) {
        if app.out.json {
            app.out.print_json(&view)?;
        }
        return Err(bad_input(&source, &judged, &args));
    }
    if args.dry_run {
        if app.out.json {
            app.out.print_json(&view)?
        } else {
            app.out.print(&view.render_dry(&judged))?
        }
        return Ok(exit_code::DONE);
    }

    let queue = app.queue(&settings).await?;
    super::budget::before_enqueue(&queue, args.batch.as_ref(), args.budget).await?;
    if let Err(unsafe_redis) = queue.check_safety().await {
        app.out.note(&format!("warning: {unsafe_redis} (hint: {})", unsafe_redis.hint()));
    }
    let store = if judged.has_uploads { Some(app.store(&settings).await?) } else { None };
    let progress = ReadProgress::new(app.out, "enqueueing", judged.jobs);
    let load = Load { source, rules, images, judged: Arc::new(judged), choose: Box::new(|_, job| Some(job)) };
    let sent = send(app, &queue, store, load, &progress).await;
    progress.clear();
    let sent = sent?;
    if let Some(batch) = &args.batch {
        seal(app, &queue, batch).await?;
    }
    view.sent(&sent, &settings.prices(), args.file.is_none());
    if app.out.json {
        app.out.print_json(&view)?;
    } else {
        app.out.print(&view.render())?;
    }
    warn_of_changes(app, &sent);
    finish(app, &queue, &args, &settings, &sent).await
}

async fn finish(
    app: &App,
    queue: &Queue,
    args: &EnqueueArgs,
    settings: &Settings,
    sent: &Sent,
) -> Result<u8, Failure> {
    let changed = if sent.changed > 0 { exit_code::BAD_INPUT } else { exit_code::DONE };
    if !args.watch && !args.wait {
        if let (Some(batch), true) = (&args.batch, app.out.stdout_is_terminal && !app.out.json) {
            app.out.note(&format!("Follow them with `imagemill watch {batch}`."));
        }
        return Ok(changed);
    }
    let target = match &args.batch {
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
        batch: args.batch.clone(),
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

async fn judge_all(
    app: &App,
    source: &Arc<Source>,
    rules: &Arc<Rules>,
    errors: Option<PathBuf>,
) -> Result<(Judged, Images), Failure> {
    let progress = ReadProgress::new(app.out, "judging", source.bytes());
    let (source, rules) = (source.clone(), rules.clone());
    blocking(move || {
        let mut images = Images::new(source.folder());
        let begin = |path: &Path| ErrorsFile::begin(path, &source);
        let mut faulty = errors.as_deref().map(begin).transpose()?;
        let writer = faulty.as_mut().map(|file| file as &mut dyn Write);
        let judged = judge(&source, &rules, &mut images, writer, |seen| {
            if let Seen::Bytes(bytes) = seen {
                progress.at(bytes);
            }
        });
        progress.clear();
        let judged = judged.or_fail(format!("failed to read {}; nothing was enqueued", source.shown()));
        let judged = judged.map_err(|failure| failure.exit(exit_code::BAD_INPUT))?;
        if let Some(file) = faulty {
            file.end().or_fail("failed to write the faulty lines")?;
        }
        Ok((judged, images))
    })
    .await?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.or_fail("a part of this command panicked")
}

fn bad_input(source: &Source, judged: &Judged, args: &EnqueueArgs) -> Failure {
    let shown = source.shown();
    if judged.jobs == 0 && judged.faulty_lines == 0 {
        let failure = Failure::message(format!("there are no jobs in {shown}"));
        let hint = match source.format() {
            Format::Jsonl => "each line is one job, such as {\"prompt\": \"a lighthouse\"}",
            Format::Csv => "a header names the columns, and each line below it is one job",
        };
        return failure.exit(exit_code::BAD_INPUT).hint(hint);
    }
    let from_flags = args.file.is_none();
    let mut details: Vec<String> = judged
        .shown
        .iter()
        .map(
            |fault| {
                if from_flags && args.prompt.len() == 1 { fault.without_place() } else { fault.to_string() }
            },
        )
        .collect();
    let more = judged.faults - details.len() as u64;
    if more > 0 {
        details.push(format!("… and {} more", counted(more, "fault")));
    }
    let text = if from_flags {
        "the prompt cannot be enqueued".to_owned()
    } else if judged.is_header_faulty {
        format!("the header of {shown} cannot be used; nothing was enqueued")
    } else {
        let lines = judged.faulty_lines + judged.jobs;
        let of =
            format!("{} of {} in {shown} cannot be used", count(judged.faulty_lines), counted(lines, "line"));
        format!("{of}; nothing was enqueued")
    };
    let failure = Failure::message(text).details(details).exit(exit_code::BAD_INPUT);
    if from_flags || judged.jobs == 0 {
        return failure;
    }
    failure.hint("mend them, or enqueue the others with --skip-invalid --errors faulty.jsonl")
}

async fn seal(app: &App, queue: &Queue, batch: &BatchName) -> Result<(), Failure> {
    let sealed = patiently(app.rng().random(), || queue.seal(batch), queue::QueueError::is_retryable).await;
    sealed.map_err(|error| queue_failure(error, "end the batch").hint(send::AGAIN))?;
    Ok(())
}

fn warn_of_changes(app: &App, sent: &Sent) {
    if sent.changed == 0 {
        return;
    }
    let lines: Vec<String> = sent.changed_lines.iter().map(u64::to_string).collect();
    let more = if sent.changed > lines.len() as u64 { ", …" } else { "" };
    app.out.note(&format!(
        "warning: {} (line {}{more}) asks for something else than the job of the same custom_id that is there already; the \
         one that is there stands. For new images take another custom_id or batch.",
        counted(sent.changed, "job"),
        lines.join(", "),
    ));
}
