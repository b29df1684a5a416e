//! Enqueueing: idempotent, in chunks, refused clearly while Redis is nearly full.

use job::{BatchName, JobId, JobSpec, Shape};

use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::{ENQUEUE, SEAL};
use crate::{ClaimedTick, Queue, keys};

/// The most jobs in one call: a longer one would hold Redis up for everybody else.
///
/// Source: measured, 9 us of Redis's time for each job; so a call takes about 2 ms, and stays under 10 ms on a busy machine.
pub const CHUNK_MAX: usize = 250;

/// The part of `maxmemory` above which nothing is enqueued: what is there must still be able to finish.
const MEMORY_SHARE_MAX: f64 = 0.85;

/// A job to enqueue.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id: see [`Queue::new_job`].
    pub id: JobId,
    /// What it asks for.
    pub spec: JobSpec,
    /// Its line in the [`SourceFile`] that it comes from, from 1.
    pub line: Option<u64>,
    /// Of a job that refreshes an item ([`JobSpec::refresh`]): the item's last job as it was when this one was planned.
    pub follows: Option<JobId>,
}

impl NewJob {
    /// The same, from this line of its source.
    #[must_use]
    pub fn at(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }
}

/// What many jobs come from, where their order counts.
///
/// A batch keeps places for all lines of a source when its first jobs come, and the same places when it comes again. So the jobs stand
/// in the order of their lines, in whatever order the chunks arrive, and though some arrive only when an interrupted command is run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// What tells it from all others, such as a digest of its bytes; short.
    pub digest: String,
    /// How many lines it has.
    pub lines: u64,
}

/// What jobs come from, beside their caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The source whose lines they are, where their order counts.
    pub source: Option<&'a SourceFile>,
    /// The tick that they are the jobs of.
    pub tick: Option<&'a ClaimedTick>,
}

/// What became of a job that was to be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is new.
    New,
    /// The same job is there already.
    Same,
    /// A job of the same id is there, with another spec. It stays as it is.
    Changed,
    /// A job of the same id was there, ended, and was removed by retention. It is not paid for again.
    RemovedBefore,
    /// Its item has another job that is not over, or had one since this was planned.
    Busy,
}

/// Nothing of the chunk was enqueued; the same call may be repeated safely.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// Redis is nearly full.
    #[error("Redis uses {used_percent} % of its `maxmemory`; above {:.0} % nothing is enqueued", MEMORY_SHARE_MAX * 100.0)]
    NearlyFull {
        /// Used, of `maxmemory`.
        used_percent: u64,
    },
    /// More than [`CHUNK_MAX`] jobs.
    #[error("{0} jobs in one call are more than {CHUNK_MAX}")]
    TooMany(usize),
    /// The jobs are those of a tick that has ended meanwhile, or is another scheduler's.
    #[error("the tick has ended meanwhile, or another scheduler does it")]
    TickLost,
    /// Jobs that refresh items of different collections.
    #[error("the jobs of one call refresh items of different collections")]
    Collections,
    /// Redis could not be asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl EnqueueError {
    /// Whether the same call may succeed in a moment. A Redis that is nearly full takes longer than that.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Queue(error) if error.is_retryable())
    }
}

impl Queue {
    /// A job with its id: a digest of namespace, batch and `custom_id`, so that the same line is the same job; without a
    /// `custom_id` a fresh one.
    pub fn new_job(&self, spec: JobSpec) -> NewJob {
        let id = match &spec.custom_id {
            Some(custom_id) => JobId::of_custom_id(self.keys().namespace(), spec.batch.as_ref(), custom_id),
            None => {
                let ms = u64::try_from(self.now().as_millisecond()).unwrap_or(0);
                JobId::fresh(ms, u128::from(self.link().random()) << 64 | u128::from(self.link().random()))
            }
        };
        NewJob { id, spec, line: None, follows: None }
    }

    /// Enqueues up to [`CHUNK_MAX`] jobs of one batch, all of them or (on an error) none. They stand behind all that the batch has.
    ///
    /// # Errors
    ///
    /// Redis is away, refuses, or is nearly full. The call is not retried here: repeat it as it is.
    pub async fn enqueue(
        &self,
        batch: Option<&BatchName>,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        self.enqueue_from(batch, Origin::default(), jobs).await
    }

    /// The same, but jobs that have a line of the source get the place of that line; and those of a tick are enqueued only as long as it
    /// is the caller's.
    ///
    /// # Errors
    ///
    /// Redis is away, refuses, or is nearly full; the call is not retried here: repeat it as it is. Or the tick is lost.
    pub async fn enqueue_from(
        &self,
        batch: Option<&BatchName>,
        Origin { source, tick }: Origin<'_>,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        if jobs.len() > CHUNK_MAX {
            return Err(EnqueueError::TooMany(jobs.len()));
        }
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let collection = collection(jobs)?;
        self.refuse_when_nearly_full().await?;
        let keys = self.keys();
        let mut key_names = vec![
            keys.batch(batch),
            keys.members(batch),
            keys.batches(),
            keys.counts(),
            keys.seq(),
            keys.delayed(),
            keys.ended(),
            keys.tombstones(),
            keys.events(),
            keys.lanes(batch),
            keys.items(collection),
        ];
        key_names.extend(tick.map(|tick| keys.schedule(&tick.schedule)));
        let batch_name = batch.map_or("-", BatchName::as_str);
        let (digest, lines) =
            source.map_or((String::new(), 0), |source| (source.digest.clone(), source.lines));
        let fence = tick.map_or_else(String::new, |tick| tick.fence.clone());
        let mut args =
            vec![keys.prefix().to_owned(), batch_name.to_owned(), digest, lines.to_string(), fence];
        for new in jobs {
            let spec = &new.spec;
            args.push(new.id.to_string());
            args.push(serde_json::to_string(spec).expect("a spec is plain data and always serializes"));
            args.push(spec.digest());
            args.push(spec.request.model.to_string());
            args.push(keys::lane_place(spec.pinned_to().as_ref()));
            args.push(spec.images_max().to_string());
            args.push(spec.priority.to_string());
            args.push(spec.not_before.map_or(0, |time| time.as_millisecond()).to_string());
            args.push(Shape::of(&spec.request).to_string());
            args.push(new.line.filter(|line| (1..=lines).contains(line)).unwrap_or(0).to_string());
            let item = spec.refresh.as_ref().and(spec.custom_id.as_ref());
            args.push(item.map_or_else(String::new, ToString::to_string));
            args.push(new.follows.map_or_else(String::new, |job| job.to_string()));
        }
        let key_names: Vec<&str> = key_names.iter().map(String::as_str).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut reply = self.link().call("enqueue", &ENQUEUE, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        let answers = reply.text()?;
        if answers == "tick lost" {
            return Err(EnqueueError::TickLost);
        }
        let enqueued: Vec<Enqueued> = answers
            .chars()
            .filter_map(|letter| match letter {
                'n' => Some(Enqueued::New),
                's' => Some(Enqueued::Same),
                'c' => Some(Enqueued::Changed),
                't' => Some(Enqueued::RemovedBefore),
                'b' => Some(Enqueued::Busy),
                _ => None,
            })
            .collect();
        if enqueued.len() != jobs.len() {
            let problem = format!("{} answers for {} jobs", enqueued.len(), jobs.len());
            return Err(QueueError::Reply { call: "enqueue", problem }.into());
        }
        Ok(enqueued)
    }

    /// Says that nothing more will be enqueued into the batch, so that it can end. Returns how many of its jobs are not final,
    /// or `None` if there is no such batch.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn seal(&self, batch: &BatchName) -> Result<Option<u64>, QueueError> {
        let keys = self.keys();
        let key_names = [keys.batch(Some(batch)), keys.ended(), keys.outbox(), keys.outbox_entries()];
        let mut reply = self.script("seal", &SEAL, &key_names, &[batch.to_string()], TimeAt::First).await?;
        reply.int()?;
        Ok(u64::try_from(reply.int()?).ok())
    }

    async fn refuse_when_nearly_full(&self) -> Result<(), EnqueueError> {
        let facts = self.server_facts().await?;
        let Some(most) = facts.maxmemory_bytes.filter(|&most| most > 0) else { return Ok(()) };
        let share = facts.used_memory_bytes as f64 / most as f64;
        if share > MEMORY_SHARE_MAX {
            return Err(EnqueueError::NearlyFull { used_percent: (share * 100.0).round() as u64 });
        }
        Ok(())
    }
}

/// The collection whose items the jobs refresh, where some do.
fn collection(jobs: &[NewJob]) -> Result<Option<&BatchName>, EnqueueError> {
    let mut collections = jobs.iter().filter_map(|job| Some(&job.spec.refresh.as_ref()?.collection));
    let first = collections.next();
    if collections.any(|other| Some(other) != first) { Err(EnqueueError::Collections) } else { Ok(first) }
}
