//! `batch sheet`: thumbnails of a batch's images on pages that need nothing else.
//!
//! A batch is read a page of results at a time, and tiles are written as they come: memory does not grow with the batch.

mod page;
mod pages;
mod thumbnail;

use std::path::PathBuf;

use archive::{ByteBudget, Sha256Digest, Store};
use futures::StreamExt as _;
use futures::stream;
use job::{BucketPlace, ImageLine, Known, ObjectKey, ResultLine};
use queue::RESULTS_PAGE_MAX;

use self::page::Tile;
use self::pages::Pages;
use self::thumbnail::thumbnail;
use super::batch::no_batch;
use super::in_vain::{Asked, InVain};
use crate::app::{App, queue_failure};
use crate::args::BatchSheet;
use crate::exit_code;
use crate::failure::Failure;
use crate::output::batch::BatchView;
use crate::output::progress::ReadProgress;
use crate::output::words::{count, counted, money};

/// Images that are fetched and made small at once. Source: ours; making them small takes a core, and few machines have more to spare.
const AT_ONCE: usize = 4;

/// How often an object is asked for where the store does not answer.
const TRIES: u32 = 3;

/// Makes the pages.
pub(super) async fn run(app: &App, args: BatchSheet) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let summary =
        queue.batch(Some(&args.name)).await.map_err(|error| queue_failure(error, "read the batch"))?;
    let summary = summary.ok_or_else(|| no_batch(&args.name))?;
    let store = app.store(&settings).await?;
    let currency = settings.prices().currency;
    let view = BatchView::new(&summary, &currency);
    let said = format!(
        "{} of {} over, {} stored, {}",
        count(view.jobs.over()),
        counted(view.jobs.total, "job"),
        counted(view.images.stored, "image"),
        money(summary.cost, &currency)
    );
    let out = args.out.unwrap_or_else(|| PathBuf::from(format!("{}.html", args.name)));
    let mut pages = Pages::begin(out, args.name.as_str(), &said, usize::from(args.per_page))?;
    let maker = Maker { store, budget: ByteBudget::new(settings.image_memory()), side: args.thumb };
    let place = settings.store().ok().map(|store| BucketPlace::new(store.bucket, &store.prefix));
    let progress = ReadProgress::new(app.out, "thumbnails", view.images.stored);
    let (mut after, mut images, mut unreadable) = (None, 0_u64, 0_u64);
    let mut in_vain = InVain::default();
    loop {
        let results = queue.results(&args.name, after, &[], RESULTS_PAGE_MAX).await;
        let results = results.map_err(|error| queue_failure(error, "read the results"))?;
        let wanted: Vec<Wanted> =
            results.jobs.iter().flat_map(|known| wanted(known, place.as_ref(), &currency)).collect();
        let mut tiles = stream::iter(wanted.into_iter().map(|wanted| maker.tile(wanted))).buffered(AT_ONCE);
        while let Some((tile, store)) = tiles.next().await {
            if let Some(asked) = store {
                in_vain.note(asked);
            }
            if let (Tile::Missing { reason, .. }, true) = (&tile, in_vain.is_enough()) {
                progress.clear();
                let text =
                    format!("{} images in a row could not be had, the last of them: {reason}", InVain::MAX);
                let failure = Failure::message(text).exit(exit_code::UNAVAILABLE);
                return Err(failure.hint("run the same command again when the store answers"));
            }
            match &tile {
                Tile::Image { .. } => images += 1,
                Tile::Missing { word, .. } if word == UNREADABLE => unreadable += 1,
                Tile::Missing { .. } => {}
            }
            progress.at(images + unreadable);
            pages.add(&tile)?;
        }
        after = results.next;
        if after.is_none() {
            break;
        }
    }
    progress.clear();
    let files = pages.end()?;
    if app.out.json {
        app.out
            .print_json(&serde_json::json!({ "images": images, "unreadable": unreadable, "files": files }))?;
    } else {
        let more = if files.len() > 1 {
            format!(" and {} more", count(files.len() as u64 - 1))
        } else {
            String::new()
        };
        app.out.print(&format!("{} on {}{more}", counted(images, "image"), files[0]))?;
    }
    if unreadable > 0 {
        app.out
            .note(&format!("{} could not be read: they are named on the page", counted(unreadable, "image")));
        return Ok(exit_code::FAILED);
    }
    Ok(exit_code::DONE)
}

/// What is said of an image that is stored and cannot be shown.
const UNREADABLE: &str = "not readable";

/// A tile to be.
enum Wanted {
    /// Of an image in the bucket.
    Image { name: String, place: String, key: ObjectKey, bytes: u64, sha256: String },
    /// Without one.
    Ready(Tile),
}

/// The tiles of a job: one for each image that it brought or lost, or why it brought none. Of a job that is not over, what is there.
fn wanted(known: &Known, place: Option<&BucketPlace>, currency: &str) -> Vec<Wanted> {
    let line = ResultLine::new(known, place, currency);
    let name = line.custom_id.clone().unwrap_or_else(|| line.job_id.clone());
    let several = line.images.len() > 1;
    let named = |index: u8| if several { format!("{name} · {index}") } else { name.clone() };
    let mut tiles: Vec<Wanted> = line
        .images
        .iter()
        .filter_map(|image| match image {
            ImageLine::Stored { index, key, uri, bytes, sha256, .. } => Some(Wanted::Image {
                name: named(*index),
                place: uri.clone().unwrap_or_else(|| key.to_string()),
                key: key.clone(),
                bytes: *bytes,
                sha256: sha256.clone(),
            }),
            ImageLine::Lost { index, lost, reason } => Some(Wanted::Ready(Tile::Missing {
                name: named(*index),
                word: lost.clone(),
                reason: reason.clone(),
            })),
            ImageLine::Waiting { .. } => None,
        })
        .collect();
    if let (true, Some(error)) = (tiles.is_empty(), &line.error) {
        let reason = format!("{}: {}", error.code, error.message);
        tiles.push(Wanted::Ready(Tile::Missing { name, word: line.state.to_string(), reason }));
    }
    tiles
}

/// Makes tiles of images in the bucket.
struct Maker {
    store: Store,
    budget: ByteBudget,
    side: u16,
}

impl Maker {
    /// A tile, and what came of asking the store for its image, if it has one.
    async fn tile(&self, wanted: Wanted) -> (Tile, Option<Asked>) {
        let (name, place, key, bytes, sha256) = match wanted {
            Wanted::Ready(tile) => return (tile, None),
            Wanted::Image { name, place, key, bytes, sha256 } => (name, place, key, bytes, sha256),
        };
        let unreadable =
            |name: String, reason: String| Tile::Missing { name, word: UNREADABLE.to_owned(), reason };
        let missing = |name: String, reason: String| (unreadable(name, reason), Some(Asked::Answered));
        let room = self.budget.reserve(bytes).await;
        let mut tries = 0;
        let body = loop {
            tries += 1;
            match self.store.get(&key, bytes).await {
                Ok(Some(body)) => break body,
                Ok(None) => return missing(name, format!("{place} is not there any more")),
                Err(error) if error.is_retryable() && tries < TRIES => {}
                Err(error) => {
                    return (unreadable(name, format!("{place}: {error}")), Some(Asked::of(&error)));
                }
            }
        };
        if Sha256Digest::of(&body).to_string() != sha256 {
            return missing(name, format!("{place} holds another image by now"));
        }
        let side = self.side;
        let made = tokio::task::spawn_blocking(move || {
            let made = thumbnail(&body, side);
            drop(room);
            made
        });
        match made.await {
            Ok(Ok(thumbnail)) => (Tile::Image { name, place, thumbnail }, Some(Asked::Answered)),
            Ok(Err(error)) => missing(name, format!("{place}: {error}")),
            Err(_) => missing(name, format!("{place} brought its decoder down")),
        }
    }
}
