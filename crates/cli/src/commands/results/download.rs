//! `--download`: the images of a batch into a folder, several at once, each checked.

use std::path::{Path, PathBuf};

use archive::{ByteBudget, Store, StoreError, StoreErrorKind};
use futures::StreamExt as _;
use futures::stream;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use job::{ImageState, KeyTemplate, Known, StoredImage};
use serde::Serialize;

use super::super::in_vain::{Asked, InVain};
use super::fetched::{PlaceError, Wanted};
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::Output;
use crate::output::words::{count, counted, size};

/// Images that are fetched at once.
///
/// Source: ours; enough to fill a line to a store in another region, and few enough for one on the same machine.
const AT_ONCE: usize = 8;

/// How many images that could not be fetched are named; the rest is counted.
const FAILURES_SHOWN_MAX: usize = 10;

/// How often an image is asked for before it is given up. Source: ours; the store's client tries each time several times by itself.
const TRIES: u32 = 2;

/// The images of a batch on their way into a folder.
pub(super) struct Download {
    out: Output,
    folder: PathBuf,
    /// Whether its file system does not tell capitals from small letters.
    one_case: bool,
    store: Store,
    budget: ByteBudget,
    bar: ProgressBar,
    done: Done,
    shown: usize,
    in_vain: InVain,
}

/// What became of the images; what `--download --json` prints.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Done {
    /// Fetched now.
    fetched: u64,
    /// How many bytes these have.
    bytes: u64,
    /// There and right before.
    there: u64,
    /// Not in the bucket any more as they were: a later job has put others in their place, or the version of a refresh is kept no more.
    replaced: u64,
    /// Could not be had.
    failed: u64,
    /// Not tried any more, since so many before them could not be had.
    #[serde(skip_serializing_if = "is_zero")]
    not_tried: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why an image is not in the folder.
#[derive(Debug, thiserror::Error)]
enum NotFetched {
    #[error("it is not in the bucket any more")]
    Gone,
    #[error("it was replaced since: the bucket holds another image there")]
    Replaced,
    #[error("it is not kept any more: later refreshes have replaced the item's images")]
    Refreshed,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl NotFetched {
    /// What it says of other images. A full disk takes none of them.
    fn asked(&self) -> Asked {
        match self {
            Self::Store(error) => Asked::of(error),
            Self::Place(PlaceError::Io { .. }) => Asked::InVain,
            Self::Gone | Self::Replaced | Self::Refreshed | Self::Place(_) => Asked::Answered,
        }
    }
}

impl Download {
    /// How many images there are, for the progress.
    pub(super) fn expects(&self, images: u64) {
        self.bar.set_length(images);
    }

    /// Begins a download into `folder`, of `images` images or fewer.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub(super) fn begin(
        out: Output,
        folder: &Path,
        store: Store,
        memory_bytes: u64,
    ) -> Result<Self, Failure> {
        let context = format!("failed to make the folder {}", folder.display());
        std::fs::create_dir_all(folder).or_fail(context).map_err(|failure| failure.exit(exit_code::USAGE))?;
        let target = match out.stderr_is_terminal && !out.json {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("images {bar:30} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        let budget = ByteBudget::new(memory_bytes);
        let one_case = knows_one_case(folder);
        Ok(Self {
            out,
            folder: folder.to_owned(),
            one_case,
            store,
            budget,
            bar,
            done: Done::default(),
            shown: 0,
            in_vain: InVain::default(),
        })
    }

    /// Fetches the images of some jobs, unless so many in a row could not be had that the store, or the disk, is to blame.
    pub(super) async fn page(&mut self, jobs: &[Known]) {
        let wanted: Vec<Wanted> = jobs.iter().flat_map(|known| self.wanted(known)).collect();
        self.fetch(wanted).await;
    }

    async fn fetch(&mut self, wanted: Vec<Wanted>) {
        let (store, budget) = (self.store.clone(), self.budget.clone());
        let mut left = wanted.len() as u64;
        let fetches = wanted.into_iter().map(|wanted| fetch(store.clone(), budget.clone(), wanted));
        let mut fetches = stream::iter(fetches).buffer_unordered(AT_ONCE);
        while !self.in_vain.is_enough()
            && let Some((wanted, became)) = fetches.next().await
        {
            self.bar.inc(1);
            left -= 1;
            self.in_vain.note(became.as_ref().err().map_or(Asked::Answered, NotFetched::asked));
            match became {
                Ok(true) => {
                    self.done.fetched += 1;
                    self.done.bytes += wanted.image.bytes;
                    self.bar.set_message(size(self.done.bytes));
                }
                Ok(false) => self.done.there += 1,
                Err(why) => {
                    match why {
                        NotFetched::Replaced | NotFetched::Refreshed => self.done.replaced += 1,
                        _ => self.done.failed += 1,
                    }
                    self.say(&wanted.image, why);
                }
            }
        }
        self.done.not_tried += left;
    }

    fn wanted(&self, known: &Known) -> Vec<Wanted> {
        let custom_id = known.spec.as_ref().and_then(|spec| spec.custom_id.as_ref());
        let folder = self.folder.join(KeyTemplate::folder_name(custom_id, known.job.id, self.one_case));
        let images = known.outcome.iter().flat_map(|outcome| &outcome.images);
        let is_refresh = known.spec.as_ref().is_some_and(|spec| spec.refresh.is_some());
        let wanted = images.filter_map(|image| match &image.state {
            ImageState::Stored(stored) => Some(Wanted {
                folder: folder.clone(),
                name: format!("{}.png", image.index),
                image: stored.clone(),
                is_refresh,
            }),
            _ => None,
        });
        wanted.collect()
    }

    fn say(&mut self, image: &StoredImage, why: NotFetched) {
        self.shown += 1;
        if self.shown > FAILURES_SHOWN_MAX {
            return;
        }
        let failure = Failure::new(why);
        let causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
        let (out, text) = (self.out, format!("error: `{}`: {}", image.key, causes.join(": ")));
        self.bar.suspend(|| out.note(&text));
    }

    /// Says what became of them. The exit code of it: some failed, or are not there any more as they were.
    ///
    /// # Errors
    ///
    /// Stdout cannot be written.
    pub(super) fn end(self) -> Result<u8, Failure> {
        self.bar.finish_and_clear();
        let Done { fetched, bytes, there, replaced, failed, not_tried } = self.done;
        if self.shown > FAILURES_SHOWN_MAX {
            self.out.note(&format!("… and {} more", count((self.shown - FAILURES_SHOWN_MAX) as u64)));
        }
        if self.out.json {
            self.out.print_json(&self.done)?;
        } else {
            let mut text = format!("{} fetched ({})", counted(fetched, "image"), size(bytes));
            if there > 0 {
                text.push_str(&format!(", {} there already", count(there)));
            }
            if replaced > 0 {
                text.push_str(&format!(", {} replaced since", count(replaced)));
            }
            if failed > 0 {
                text.push_str(&format!(", {} failed", count(failed)));
            }
            if not_tried > 0 {
                text.push_str(&format!(", {} not tried", count(not_tried)));
            }
            if failed > 0 {
                text.push_str("; run the same command again for these");
            }
            self.out.print(&format!("{text}, in {}", self.folder.display()))?;
        }
        if self.in_vain.is_enough() {
            self.out.note(&format!(
                "error: {} images in a row could not be had, and no more were tried",
                InVain::MAX
            ));
            return Ok(exit_code::UNAVAILABLE);
        }
        Ok(if failed > 0 {
            exit_code::FAILED
        } else if replaced > 0 {
            exit_code::PARTIAL
        } else {
            exit_code::DONE
        })
    }
}

/// Whether the bucket says itself that it holds another image than the one that was stored for the job. If it says that it holds that one,
/// what it sent is damaged.
async fn was_replaced(store: &Store, wanted: &Wanted) -> bool {
    let facts = store.head(&wanted.image.key).await.ok().flatten();
    let sum = facts.and_then(|facts| facts.sha256);
    sum.is_some_and(|sum| sum.to_string() != wanted.image.sha256)
}

/// Whether names that differ only by capitals are one name in a folder: tried with a file that goes at once.
fn knows_one_case(folder: &Path) -> bool {
    let trial = tempfile::Builder::new().prefix(".imagemill-Case-").tempfile_in(folder);
    trial.is_ok_and(|trial| {
        let name = trial.path().file_name().map(|name| name.to_string_lossy().to_lowercase());
        name.is_some_and(|name| folder.join(name).symlink_metadata().is_ok())
    })
}

/// Brings one image to its place; `false` if it was there.
async fn fetch(store: Store, budget: ByteBudget, wanted: Wanted) -> (Wanted, Result<bool, NotFetched>) {
    let there = {
        let wanted = wanted.clone();
        tokio::task::spawn_blocking(move || wanted.is_there()).await.unwrap_or(false)
    };
    if there {
        return (wanted, Ok(false));
    }
    let _room = budget.reserve(wanted.image.bytes).await;
    let mut tries = 0;
    let body = loop {
        tries += 1;
        match store.get(&wanted.image.key, wanted.image.bytes).await {
            Ok(Some(body)) => break body,
            Ok(None) if wanted.is_refresh => return (wanted, Err(NotFetched::Refreshed)),
            Ok(None) => return (wanted, Err(NotFetched::Gone)),
            Err(error) if matches!(error.kind(), StoreErrorKind::TooLarge { .. }) => {
                return (wanted, Err(NotFetched::Replaced));
            }
            Err(error) if error.is_retryable() && tries < TRIES => {}
            Err(error) => return (wanted, Err(error.into())),
        }
    };
    if wanted.is_another(&body) && was_replaced(&store, &wanted).await {
        return (wanted, Err(NotFetched::Replaced));
    }
    let saved = {
        let wanted = wanted.clone();
        tokio::task::spawn_blocking(move || wanted.save(&body)).await
    };
    let became = match saved {
        Ok(saved) => saved.map(|()| true).map_err(NotFetched::from),
        // The task was ended from outside, which only the end of the process does.
        Err(_) => Err(NotFetched::Gone),
    };
    (wanted, became)
}

#[cfg(test)]
mod tests {
    use archive::{Credentials, SecretText, StoreSettings};

    use super::*;

    #[tokio::test]
    async fn a_store_that_is_away_is_not_asked_for_each_image_of_a_large_batch() {
        let credentials = Credentials::Static {
            access_key_id: "id".to_owned(),
            secret_access_key: SecretText::new("secret".to_owned()),
            session_token: None,
        };
        // Nothing listens there: the port of a listener that is gone.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let endpoint = Some(format!("http://{gone}").parse().unwrap());
        let settings =
            StoreSettings { credentials, endpoint, path_style: true, ..StoreSettings::new("jobs") };
        let store = Store::connect(&settings).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let out = Output { json: false, stdout_is_terminal: false, stderr_is_terminal: false };
        let mut download = Download::begin(out, folder.path(), store, 1 << 20).unwrap();
        let image = StoredImage {
            key: job::ObjectKey::parse("a/0.png").unwrap(),
            bytes: 9,
            sha256: "0".repeat(64),
            width: 1,
            height: 1,
        };
        let wanted =
            Wanted { folder: folder.path().join("a"), name: "0.png".to_owned(), image, is_refresh: false };
        for _ in 0..2 {
            download.fetch(vec![wanted.clone(); 1_000]).await;
        }
        assert_eq!((download.done.failed, download.done.not_tried), (InVain::MAX, 2_000 - InVain::MAX));
        assert_eq!(download.end().unwrap(), exit_code::UNAVAILABLE);
    }
}
