//! The second pass over an input: images into the bucket, jobs into the queue, in chunks, several at once.
//!
//! A chunk is enqueued only after every image that its jobs name is in the bucket. What fails because Redis is away is tried
//! again; a job that is there already is not enqueued twice, so that the whole command may be run again after a failure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use archive::{ByteBudget, Reservation, Sha256Digest, Store};
use bytes::Bytes;
use dashscope::Model;
use job::{BatchName, Curve, JobId, JobSpec};
use queue::{CHUNK_MAX, EnqueueError, Enqueued, NewJob, Queue};
use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::app::App;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::images::{Images, Upload};
use crate::input::prepare::{Preparer, Rules};
use crate::input::reader::Lines;
use crate::input::source::Source;
use crate::output::progress::ReadProgress;
use crate::output::words::count;

/// Chunks on their way to Redis at once.
const CHUNKS_AT_ONCE: usize = 4;

/// Images on their way to the bucket at once.
const UPLOADS_AT_ONCE: usize = 8;

/// The most bytes of images that wait for their upload.
const UPLOAD_BYTES: u64 = 128 * 1024 * 1024;

/// Lines that were read ahead of their upload.
const LINES_AHEAD: usize = 256;

/// The waits between tries while Redis is away, and how long they may take together.
const RETRY: Curve = Curve { first: Duration::from_millis(100), factor: 2.0, cap: Duration::from_secs(5) };
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines that are named where a job differs from the one that is there.
const CHANGED_SHOWN_MAX: usize = 10;

/// What to do after a failure.
pub(super) const AGAIN: &str =
    "run the same command again: what is in the queue already is not enqueued twice";

/// What became of the jobs.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// New ones.
    pub(super) enqueued: u64,
    /// Those that were there, or were there once.
    pub(super) duplicates: u64,
    /// Those of which another one with the same `custom_id` is there.
    pub(super) changed: u64,
    /// The first lines of those.
    pub(super) changed_lines: Vec<u64>,
    /// The most images that the new ones can bring, by model.
    pub(super) images: BTreeMap<Model, u64>,
    /// The first job ids, in the order of the input: enough for prompts given by flag.
    pub(super) jobs: Vec<JobId>,
}

/// Job ids that are kept: whoever gives more prompts by flag than this has a file.
const IDS_MAX: usize = 1_000;

/// A line on its way.
struct Ready {
    line: u64,
    spec: JobSpec,
    uploads: Vec<(Upload, Arc<Reservation>)>,
}

/// Sends everything. `expected` jobs were judged good.
#[expect(clippy::too_many_arguments, reason = "the parts of one command, with one caller")]
pub(super) async fn send(
    app: &App,
    queue: &Queue,
    store: Option<Store>,
    source: Arc<Source>,
    rules: Arc<Rules>,
    images: Images,
    expected: u64,
    progress: &ReadProgress,
) -> Result<Sent, Failure> {
    let batch = rules.batch.clone();
    let (lines, mut ready) = mpsc::channel(LINES_AHEAD);
    let reader = tokio::task::spawn_blocking(move || read(&source, &rules, images, &lines));
    let mut sender = Sender {
        queue: queue.clone(),
        store,
        batch,
        rng: app.rng(),
        uploads: JoinSet::new(),
        chunks: JoinSet::new(),
        sent: Sent::default(),
    };
    let mut chunk = Vec::with_capacity(CHUNK_MAX);
    let work = async {
        while let Some(Ready { line, spec, uploads }) = ready.recv().await {
            for (upload, reservation) in uploads {
                sender.upload(upload, reservation).await?;
            }
            let job = queue.new_job(spec);
            if sender.sent.jobs.len() < IDS_MAX {
                sender.sent.jobs.push(job.id);
            }
            chunk.push((line, job));
            if chunk.len() == CHUNK_MAX {
                sender.enqueue(std::mem::take(&mut chunk)).await?;
                progress.at(sender.count());
            }
        }
        sender.enqueue(std::mem::take(&mut chunk)).await?;
        sender.chunks_done(0).await
    };
    let result = work.await;
    // The reader ends by itself once nobody takes its lines.
    drop(ready);
    let read = reader.await.or_fail("a part of this command panicked")?;
    let total = sender.count();
    let partly = |failure: Failure| {
        let failure = failure.context(format!(
            "failed to enqueue: {} of {} jobs are done",
            count(total),
            count(expected)
        ));
        if failure.hint.is_some() { failure } else { failure.hint(AGAIN) }
    };
    result.map_err(partly)?;
    let read = read.or_fail("the input cannot be read again").map_err(partly)?;
    if read != expected {
        let failure = Failure::message("the input, or an image that it names, changed while it was read");
        return Err(partly(failure.exit(exit_code::BAD_INPUT)));
    }
    Ok(sender.sent)
}

/// Reads the input a second time and hands on what is good. Returns how many lines were.
fn read(
    source: &Source,
    rules: &Rules,
    mut images: Images,
    lines: &mpsc::Sender<Ready>,
) -> std::io::Result<u64> {
    let runtime = tokio::runtime::Handle::current();
    let budget = ByteBudget::new(UPLOAD_BYTES);
    let mut preparer = Preparer::new(rules, &mut images);
    let mut input = Lines::new(source.lines()?);
    let mut uploaded: HashSet<Sha256Digest> = HashSet::new();
    let mut good = 0;
    while let Some((line, text)) = input.next()? {
        // What is faulty was said, and written out, by the first pass.
        let Ok(prepared) = preparer.line(line, &text) else { continue };
        let new: Vec<Upload> =
            prepared.uploads.into_iter().filter(|upload| uploaded.insert(upload.digest)).collect();
        // An image inside of its line is held twice: as text and as bytes. All of a line are reserved at once: taken one by
        // one, the first would hold what the last waits for.
        let bytes: u64 = new.iter().map(|upload| upload.bytes.saturating_mul(2)).sum();
        let held = Arc::new(runtime.block_on(budget.reserve(bytes)));
        let uploads = new.into_iter().map(|upload| (upload, held.clone())).collect();
        good += 1;
        if lines.blocking_send(Ready { line, spec: prepared.spec, uploads }).is_err() {
            break;
        }
    }
    Ok(good)
}

/// What is under way.
struct Sender {
    queue: Queue,
    store: Option<Store>,
    batch: Option<BatchName>,
    rng: Box<rand::rngs::StdRng>,
    uploads: JoinSet<Result<(), Failure>>,
    chunks: JoinSet<Result<Vec<Answered>, Failure>>,
    sent: Sent,
}

/// A line's job and what Redis said of it.
type Answered = (u64, NewJob, Enqueued);

impl Sender {
    /// Jobs that are done.
    fn count(&self) -> u64 {
        self.sent.enqueued + self.sent.duplicates + self.sent.changed
    }

    /// Begins an upload, once there is room for it.
    async fn upload(&mut self, upload: Upload, held: Arc<Reservation>) -> Result<(), Failure> {
        self.uploads_done(UPLOADS_AT_ONCE - 1).await?;
        let store = self
            .store
            .clone()
            .ok_or_else(|| Failure::message("an image appeared while the input was read"))?;
        self.uploads.spawn(async move {
            let mime = upload.mime;
            let read = tokio::task::spawn_blocking(move || upload.read());
            let body = read.await.or_fail("a part of this command panicked")?;
            let changed =
                || Failure::message("an input image changed while it was read").exit(exit_code::BAD_INPUT);
            let stored = store.store_input(Bytes::from(body.ok_or_else(changed)?), mime).await;
            drop(held);
            stored
                .map(drop)
                .or_fail("failed to put an input image into the bucket")
                .map_err(|failure| failure.exit(exit_code::UNAVAILABLE))
        });
        Ok(())
    }

    /// Waits until at most `left` uploads are under way.
    async fn uploads_done(&mut self, left: usize) -> Result<(), Failure> {
        while self.uploads.len() > left {
            if let Some(ended) = self.uploads.join_next().await {
                ended.or_fail("a part of this command panicked")??;
            }
        }
        Ok(())
    }

    /// Begins to send a chunk, once its images are in the bucket.
    async fn enqueue(&mut self, chunk: Vec<(u64, NewJob)>) -> Result<(), Failure> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.uploads_done(0).await?;
        self.chunks_done(CHUNKS_AT_ONCE - 1).await?;
        let (queue, batch) = (self.queue.clone(), self.batch.clone());
        let chance: f64 = self.rng.random();
        self.chunks.spawn(async move {
            let (lines, jobs): (Vec<u64>, Vec<NewJob>) = chunk.into_iter().unzip();
            let retryable =
                |error: &EnqueueError| matches!(error, EnqueueError::Queue(error) if error.is_retryable());
            let answers = patiently(chance, || queue.enqueue(batch.as_ref(), &jobs), retryable)
                .await
                .map_err(refused)?;
            Ok(lines
                .into_iter()
                .zip(jobs)
                .zip(answers)
                .map(|((line, job), answer)| (line, job, answer))
                .collect())
        });
        Ok(())
    }

    /// Waits until at most `left` chunks are under way.
    async fn chunks_done(&mut self, left: usize) -> Result<(), Failure> {
        while self.chunks.len() > left {
            let Some(ended) = self.chunks.join_next().await else { break };
            for (line, job, answer) in ended.or_fail("a part of this command panicked")?? {
                self.note(line, &job, answer);
            }
        }
        Ok(())
    }

    fn note(&mut self, line: u64, job: &NewJob, answer: Enqueued) {
        match answer {
            Enqueued::New => {
                self.sent.enqueued += 1;
                *self.sent.images.entry(job.spec.request.model).or_default() +=
                    u64::from(job.spec.images_max());
            }
            Enqueued::Same | Enqueued::RemovedBefore => self.sent.duplicates += 1,
            Enqueued::Changed => {
                self.sent.changed += 1;
                if self.sent.changed_lines.len() < CHANGED_SHOWN_MAX {
                    self.sent.changed_lines.push(line);
                }
            }
        }
    }
}

fn refused(error: EnqueueError) -> Failure {
    let failure = Failure::new(error);
    let nearly_full = failure.error.downcast_ref::<EnqueueError>();
    match nearly_full {
        Some(EnqueueError::NearlyFull { .. }) => failure
            .exit(exit_code::UNAVAILABLE)
            .hint("wait until jobs have ended, or raise `maxmemory`; then run the same command again"),
        Some(EnqueueError::Queue(error)) if error.is_retryable() => failure.exit(exit_code::UNAVAILABLE),
        _ => failure,
    }
}

/// Calls until it works, as long as trying again may help and patience lasts. `chance` places the waits inside their jitter.
pub(super) async fn patiently<T, E, F: Future<Output = Result<T, E>>>(
    chance: f64,
    mut call: impl FnMut() -> F,
    retryable: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let (mut waited, mut step) = (Duration::ZERO, 0);
    loop {
        match call().await {
            Err(error) if retryable(&error) && waited < PATIENCE => {
                let wait = RETRY.wait_with_jitter(step, chance);
                tokio::time::sleep(wait).await;
                (waited, step) = (waited + wait, step + 1);
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often a call was made that fails with `error` the first `failures` times, and what came of it.
    async fn calls(failures: u32, error: &'static str) -> (u32, Result<(), &'static str>) {
        let made = Cell::new(0);
        let call = || {
            made.set(made.get() + 1);
            let fails = made.get() <= failures;
            async move { if fails { Err(error) } else { Ok(()) } }
        };
        let result = patiently(1.0, call, |error| *error == "away").await;
        (made.get(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_while_redis_is_away_and_no_longer_than_patience_lasts() {
        assert_eq!(calls(3, "away").await, (4, Ok(())));
        let (made, result) = calls(u32::MAX, "away").await;
        assert_eq!(result, Err("away"));
        assert!((10..40).contains(&made), "{made}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_refused_is_not_repeated() {
        assert_eq!(calls(1, "refused").await, (1, Err("refused")));
    }
}
