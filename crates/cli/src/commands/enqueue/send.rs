//! The second pass over an input: images into the bucket, jobs into the queue, in chunks, several at once.
//!
//! Which of the good lines go is the caller's to say ([`Choose`]): `enqueue` sends all of them, others only what they have planned.
//! A chunk is enqueued only after every image that its jobs name is in the bucket. What fails because Redis is away is tried
//! again; a job with a `custom_id` that is there already is not enqueued twice, so that the whole command may be run again after a
//! failure. Single prompts have no such name; their ids are said instead.

use std::collections::HashSet;
use std::sync::Arc;

use archive::{ByteBudget, Reservation, Sha256Digest, Store};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use job::{BatchName, JobId};
use queue::{CHUNK_MAX, ClaimedTick, EnqueueError, Enqueued, NewJob, Origin, Queue, SourceFile, patiently};
use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::became::{Became, Sent, became, replaced};
use crate::app::App;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::again::again;
use crate::input::images::{Images, Upload};
use crate::input::judge::Judged;
use crate::input::marks::Marks;
use crate::input::prepare::Rules;
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

/// Jobs of a chunk that are replaced at once: each takes two round trips.
const REPLACED_AT_ONCE: usize = 32;

/// What to do after a failure, where the jobs have no name of their own.
const LOOK_FIRST: &str = "look with `imagemill job show ID` first: a job that is there must not be enqueued again, or it is made and paid for twice";

/// What to do after a failure, where every job has a `custom_id`.
pub(crate) const AGAIN: &str =
    "run the same command again: what is in the queue already is not enqueued twice";

/// Job ids that are kept: whoever gives more prompts by flag than this has a file.
const IDS_MAX: usize = 1_000;

/// Says of a good line's job whether it goes, and with what. Called in the order of the lines, on a thread of its own.
pub(crate) type Choose = Box<dyn FnMut(u64, NewJob) -> Option<NewJob> + Send>;

/// What is to be sent: an input that was judged.
pub(crate) struct Load {
    /// The input.
    pub(crate) source: Arc<Source>,
    /// What it was judged by.
    pub(crate) rules: Arc<Rules>,
    /// The images that were looked at.
    pub(crate) images: Images,
    /// What the first pass found.
    pub(crate) judged: Arc<Judged>,
    /// Which of the good lines go.
    pub(crate) choose: Choose,
    /// Which jobs that are there and ask for something else are replaced.
    pub(crate) replace: Option<Arc<Replace>>,
    /// The tick that the jobs are those of: once it is lost, none is enqueued any more.
    pub(crate) tick: Option<Arc<ClaimedTick>>,
}

/// What may be replaced.
pub(crate) struct Replace {
    /// How jobs go on.
    pub(crate) rules: job::Rules,
    /// The lines that somebody agreed to. A job of another line was under way when that was asked, and is left, though it may be over by
    /// now: nobody has agreed to what it costs.
    pub(crate) lines: Marks,
}

/// A line on its way.
struct Ready {
    line: u64,
    job: NewJob,
    uploads: Vec<(Upload, Arc<Reservation>)>,
}

/// Sends what is chosen of an input. `progress` is told how many jobs are done.
///
/// # Errors
///
/// Redis or the bucket is away, or the input changed since it was judged. The same call again goes on where this one ended.
pub(crate) async fn send(
    app: &App,
    queue: &Queue,
    store: Option<Store>,
    load: Load,
    progress: &ReadProgress,
) -> Result<Sent, Failure> {
    let (batch, judged) = (load.rules.batch.clone(), load.judged.clone());
    let (replace, tick) = (load.replace.clone(), load.tick.clone());
    // One chunk is one step, in the order of its lines. Several must know their places beforehand.
    let source = (judged.jobs > CHUNK_MAX as u64)
        .then(|| Arc::new(SourceFile { digest: judged.digest.clone(), lines: judged.lines }));
    let (lines, mut ready) = mpsc::channel(LINES_AHEAD);
    let reading = queue.clone();
    let reader = tokio::task::spawn_blocking(move || read(&reading, load, &lines));
    let mut sender = Sender {
        queue: queue.clone(),
        store,
        batch,
        source,
        replace,
        tick,
        rng: app.rng(),
        uploads: JoinSet::new(),
        chunks: JoinSet::new(),
        sent: Sent::default(),
        unnamed: Vec::new(),
    };
    let mut chunk = Vec::with_capacity(CHUNK_MAX);
    let work = async {
        while let Some(Ready { line, job, uploads }) = ready.recv().await {
            for (upload, reservation) in uploads {
                sender.upload(upload, reservation).await?;
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
        let said = format!("failed to enqueue: {} of {} jobs are done", count(total), count(judged.jobs));
        advised(failure.context(said), &sender.unnamed)
    };
    result.map_err(partly)?;
    if !read.or_fail("the input cannot be read again").map_err(partly)? {
        let failure = Failure::message("the input, or an image that it names, changed while it was read");
        return Err(partly(failure.exit(exit_code::BAD_INPUT)));
    }
    Ok(sender.sent)
}

/// Reads the input a second time and hands on what goes. Returns whether it is still what was judged.
fn read(queue: &Queue, load: Load, lines: &mpsc::Sender<Ready>) -> std::io::Result<bool> {
    let Load { source, rules, mut images, judged, mut choose, .. } = load;
    let runtime = tokio::runtime::Handle::current();
    let budget = ByteBudget::new(UPLOAD_BYTES);
    let mut uploaded: HashSet<Sha256Digest> = HashSet::new();
    again(&source, &rules, &mut images, &judged, |line, prepared| {
        let Some(job) = choose(line, queue.new_job(prepared.spec).at(line)) else { return true };
        let new: Vec<Upload> =
            prepared.uploads.into_iter().filter(|upload| uploaded.insert(upload.digest)).collect();
        // An image inside of its line is held twice: as text and as bytes. All of a line are reserved at once: taken one by
        // one, the first would hold what the last waits for.
        let bytes: u64 = new.iter().map(|upload| upload.bytes.saturating_mul(2)).sum();
        let held = Arc::new(runtime.block_on(budget.reserve(bytes)));
        let uploads = new.into_iter().map(|upload| (upload, held.clone())).collect();
        lines.blocking_send(Ready { line, job, uploads }).is_ok()
    })
}

/// What is under way.
struct Sender {
    queue: Queue,
    store: Option<Store>,
    batch: Option<BatchName>,
    source: Option<Arc<SourceFile>>,
    replace: Option<Arc<Replace>>,
    tick: Option<Arc<ClaimedTick>>,
    rng: Box<rand::rngs::StdRng>,
    uploads: JoinSet<Result<(), Failure>>,
    chunks: JoinSet<Result<Vec<Answered>, Failure>>,
    sent: Sent,
    /// The first jobs that were sent and have no `custom_id`: sent again by the same command, they would be other jobs.
    unnamed: Vec<JobId>,
}

/// A line's job and what became of it.
type Answered = (u64, NewJob, Became);

impl Sender {
    /// Jobs that are done.
    fn count(&self) -> u64 {
        let Sent { enqueued, duplicates, busy, changed, replaced, under_way, .. } = &self.sent;
        enqueued + duplicates + busy + changed + replaced + under_way
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
        let ids = chunk.iter().map(|(_, job)| job.id);
        self.sent.jobs.extend(ids.take(IDS_MAX - self.sent.jobs.len()));
        let unnamed = chunk.iter().filter(|(_, job)| job.spec.custom_id.is_none()).map(|(_, job)| job.id);
        self.unnamed.extend(unnamed.take(IDS_MAX - self.unnamed.len()));
        let (queue, batch, source) = (self.queue.clone(), self.batch.clone(), self.source.clone());
        let (chance, replace, tick): (f64, _, _) =
            (self.rng.random(), self.replace.clone(), self.tick.clone());
        self.chunks.spawn(async move {
            let (lines, jobs): (Vec<u64>, Vec<NewJob>) = chunk.into_iter().unzip();
            let origin = Origin { source: source.as_deref(), tick: tick.as_deref() };
            let answers = patiently(
                chance,
                || queue.enqueue_from(batch.as_ref(), origin, &jobs),
                EnqueueError::is_retryable,
            )
            .await
            .map_err(refused)?;
            let jobs = stream::iter(lines.into_iter().zip(jobs).zip(answers)).map(|((line, job), answer)| {
                let (queue, replace) = (&queue, replace.as_deref());
                async move {
                    let became = match (answer, replace) {
                        (Enqueued::Changed, Some(replace)) if !replace.lines.contains(line) => {
                            Became::UnderWay
                        }
                        (Enqueued::Changed, Some(replace)) => replaced(queue, &job, &replace.rules).await?,
                        (answer, _) => became(answer),
                    };
                    Ok((line, job, became))
                }
            });
            jobs.buffered(REPLACED_AT_ONCE).try_collect().await
        });
        Ok(())
    }

    /// Waits until at most `left` chunks are under way.
    async fn chunks_done(&mut self, left: usize) -> Result<(), Failure> {
        while self.chunks.len() > left {
            let Some(ended) = self.chunks.join_next().await else { break };
            for (line, job, answer) in ended.or_fail("a part of this command panicked")?? {
                self.sent.note(line, &job, answer);
            }
        }
        Ok(())
    }
}

/// Says how to go on after a failure. A job with a `custom_id` is the same job when it is sent again; of one without, only its
/// id tells whether it is there.
fn advised(mut failure: Failure, unnamed: &[JobId]) -> Failure {
    let advice = if unnamed.is_empty() { AGAIN } else { LOOK_FIRST };
    failure.details.extend(unnamed.iter().map(|id| format!("job {id} may be in the queue")));
    let hint = match failure.hint.take() {
        Some(hint) => format!("{hint}; then {advice}"),
        None => advice.to_owned(),
    };
    failure.hint(hint)
}

fn refused(error: EnqueueError) -> Failure {
    let failure = Failure::new(error);
    let nearly_full = failure.error.downcast_ref::<EnqueueError>();
    match nearly_full {
        Some(EnqueueError::NearlyFull { .. }) => {
            failure.exit(exit_code::UNAVAILABLE).hint("wait until jobs have ended, or raise `maxmemory`")
        }
        Some(EnqueueError::Queue(error)) if error.is_retryable() => failure.exit(exit_code::UNAVAILABLE),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_with_a_name_of_their_own_may_be_sent_again_unseen() {
        let away = || Failure::message("Redis cannot be reached");
        let named = advised(away(), &[]);
        assert_eq!((named.hint.as_deref(), named.details.len()), (Some(AGAIN), 0));
        let id = JobId::fresh(0, 1);
        let unnamed = advised(away().hint("raise `maxmemory`"), &[id]);
        assert_eq!(unnamed.details, [format!("job {id} may be in the queue")]);
        assert_eq!(unnamed.hint, Some(format!("raise `maxmemory`; then {LOOK_FIRST}")));
    }
}
