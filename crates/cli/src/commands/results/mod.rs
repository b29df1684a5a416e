//! `batch results`: what came of a batch, a line for each job in the order of the input; the jobs to mend; the images themselves.
//!
//! A batch is read a page at a time, and each page is written before the next is read: memory does not grow with the batch.

mod download;
mod fetched;
mod lines;
mod mend;

use std::path::{Path, PathBuf};

use archive::Store;
use job::{BucketPlace, ResultLine};
use queue::{BatchSummary, Queue, RESULTS_PAGE_MAX};

use self::download::Download;
use self::lines::Lines;
use self::mend::MendFile;
use super::batch::no_batch;
use super::wait::{Show, Target, until_over};
use crate::app::{App, queue_failure};
use crate::args::BatchResults;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::batch::BatchView;
use crate::output::words::{count, counted};
use crate::settings::Settings;
use crate::whole_file::OutFile;

/// Prints, writes and fetches what was asked for.
pub(super) async fn run(app: &App, args: BatchResults) -> Result<u8, Failure> {
    refuse_one_file_for_two(&args)?;
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let mut summary = summary_of(&queue, &args).await?;
    // Before a wait of hours: a folder that cannot be written is said at once.
    let sinks = Sinks::begin(app, &settings, &args).await?;
    if args.wait {
        let show = if app.out.json { Show::Nothing } else { Show::Progress };
        let _ = until_over(app, &queue, &Target::Batch(args.name.clone()), show, &settings).await?;
        summary = summary_of(&queue, &args).await?;
    }
    let view = BatchView::new(&summary, &settings.prices().currency);
    if view.jobs.left() > 0 || !view.sealed {
        let (over, total) = (count(view.jobs.over()), counted(view.jobs.total, "job"));
        let note = format!("batch {} is not over: this is what came of {over} of {total} so far", args.name);
        app.out.note(&format!("{note} (--wait waits for the rest)"));
    }
    let fetched = sinks.fill(app, &queue, &settings, &args, summary.stored).await?;
    // How the jobs ended says more, unless all is well with them, or an image could not be had that ought to be there.
    let code = view.jobs.exit_code();
    let outweighs = code == exit_code::DONE
        || fetched == exit_code::UNAVAILABLE
        || (fetched == exit_code::FAILED && code != exit_code::HELD);
    Ok(if outweighs { fetched } else { code })
}

async fn summary_of(queue: &Queue, args: &BatchResults) -> Result<BatchSummary, Failure> {
    let summary =
        queue.batch(Some(&args.name)).await.map_err(|error| queue_failure(error, "read the batch"))?;
    summary.ok_or_else(|| no_batch(&args.name))
}

/// Two writers of one file would leave the one that ends last.
fn refuse_one_file_for_two(args: &BatchResults) -> Result<(), Failure> {
    let (Some(out), Some(errors)) = (&args.out, &args.errors) else { return Ok(()) };
    if whole_name(out) != whole_name(errors) {
        return Ok(());
    }
    let text = format!("--out and --errors name the same file, {}", out.display());
    Err(Failure::message(text).exit(exit_code::USAGE).hint("name two files"))
}

/// A file's name with that of its folder, whether the file is there or not.
fn whole_name(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Where what came of the batch goes.
struct Sinks {
    /// Every job's line.
    lines: Option<Lines>,
    /// The lines to mend.
    errors: Option<MendFile>,
    /// The images.
    download: Option<Download>,
    /// What signs links.
    signer: Option<Store>,
    /// The bucket, for addresses.
    place: Option<BucketPlace>,
}

impl Sinks {
    /// Opens everything before anything is read.
    async fn begin(app: &App, settings: &Settings, args: &BatchResults) -> Result<Self, Failure> {
        let lines = match &args.out {
            Some(path) => {
                let context = format!("failed to create {} for the results", path.display());
                Some(Lines::File(OutFile::begin(path).or_fail(context)?))
            }
            // The images are the answer then, and a thousand lines would hide what became of them.
            None if args.download.is_some() => None,
            None => Some(Lines::stdout()),
        };
        let errors = args.errors.as_deref().map(MendFile::begin).transpose()?;
        let signer = match args.links {
            Some(_) => Some(app.store_unasked(settings).await?),
            None => None,
        };
        let download = match &args.download {
            Some(folder) => {
                let store = app.store(settings).await?;
                Some(Download::begin(app.out, folder, store, settings.image_memory())?)
            }
            None => None,
        };
        let place = settings.store().ok().map(|store| BucketPlace::new(store.bucket, &store.prefix));
        Ok(Self { lines, errors, download, signer, place })
    }

    /// Goes through the batch, which has so many images. The exit code of what was fetched.
    async fn fill(
        mut self,
        app: &App,
        queue: &Queue,
        settings: &Settings,
        args: &BatchResults,
        images: u64,
    ) -> Result<u8, Failure> {
        if let Some(download) = &self.download {
            download.expects(images);
        }
        let currency = settings.prices().currency;
        let mut after = None;
        loop {
            let page = queue.results(&args.name, after, &args.state, RESULTS_PAGE_MAX).await;
            let page = page.map_err(|error| queue_failure(error, "read the results"))?;
            let mut text = String::new();
            for known in &page.jobs {
                let mut line = ResultLine::new(known, self.place.as_ref(), &currency);
                if let Some(errors) = &mut self.errors {
                    errors.add(known, &line, self.place.as_ref())?;
                }
                if self.lines.is_none() {
                    continue;
                }
                if let (Some(store), Some(life)) = (&self.signer, args.links) {
                    for (key, link) in line.links() {
                        let signed = store.presign_get(key, life, queue.now()).await;
                        *link = Some(signed.or_fail("failed to sign a link")?.expose().to_owned());
                    }
                }
                if args.with_request {
                    line = line.with_request(known.spec.as_ref());
                }
                text.push_str(&line.to_json_line());
            }
            if let Some(lines) = &mut self.lines
                && !lines.write(&text)?
            {
                // Its reader has gone, as of `| head`.
                self.lines = None;
                if self.errors.is_none() && self.download.is_none() {
                    return Ok(exit_code::DONE);
                }
            }
            if let Some(download) = &mut self.download {
                download.page(&page.jobs).await;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if let Some(errors) = self.errors.take() {
            errors.end(app.out, &args.name)?;
        }
        if let Some(lines) = self.lines.take() {
            lines.end()?;
        }
        match self.download.take() {
            Some(download) => download.end(),
            None => Ok(exit_code::DONE),
        }
    }
}
