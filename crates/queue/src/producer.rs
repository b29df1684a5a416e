//! Jobs from a program: the one type that a producer needs.
//!
//! Owns chunks, the order, and trying again; what a chunk does in Redis is [`Queue::enqueue`]'s business. Programs in other languages
//! write a file and call `imagemill enqueue`.

use job::{BatchName, CustomId, JobSpec, Violations};

use crate::Queue;
use crate::error::QueueError;
use crate::patience::patiently;
use crate::produce::{CHUNK_MAX, EnqueueError, Enqueued, NewJob};

/// How many names of changed jobs are kept. Source: ours; enough to see what they have in common.
const CHANGED_MAX: usize = 100;

/// Puts jobs into one batch, in the order in which they are pushed.
///
/// **Safe to repeat.** A job's id is a digest of namespace, batch and `custom_id`: whoever pushes the same jobs into the same batch again,
/// after a crash or a month later, adds what is not there yet, and nothing is made or paid for twice. A job that is there and asks for
/// something else stays as it is, and is counted: see [`Tally::changed`] and [`Queue::replace`].
///
/// Jobs go out in chunks; a Redis that is away for less than a minute is waited for. After an error of [`Producer::push`] the same producer
/// may go on: what is taken is kept until Redis has answered for it, and [`PushError`] says whether the job of that call is. Or
/// another one may begin anew.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use dashscope::{ImageRequest, Model};
/// use job::JobSpec;
/// use queue::{Producer, Queue, RedisSettings};
/// use rand::SeedableRng as _;
///
/// let settings = RedisSettings { url: "redis://127.0.0.1:6379".to_owned(), ..RedisSettings::default() };
/// let rng = Box::new(rand::rngs::StdRng::try_from_rng(&mut rand::rngs::SysRng)?);
/// let queue = Queue::connect(&settings, rng).await?;
///
/// let mut producer = Producer::new(&queue, "spring".parse()?);
/// for article in ["shoe", "hat"] {
///     let request = ImageRequest::new(Model::Wan27Image, format!("studio photo of a {article}"));
///     producer.push(JobSpec::named(format!("sku-{article}").parse()?, request)).await?;
/// }
/// let tally = producer.finish().await?;
/// println!("{} new, {} there already", tally.new, tally.same);
/// # Ok(())
/// # }
/// ```
pub struct Producer {
    queue: Queue,
    batch: BatchName,
    /// What is to be sent: less than a chunk, unless sending has failed.
    waiting: Vec<NewJob>,
    tally: Tally,
}

/// What became of the jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// New ones.
    pub new: u64,
    /// Those that were there already.
    pub same: u64,
    /// Those of which another one with the same `custom_id` is there. That one stands.
    pub changed: u64,
    /// The first hundred of these.
    pub changed_ids: Vec<CustomId>,
    /// Those that were there once, ended, and were removed by retention. They are not made again.
    pub removed_before: u64,
}

/// A push went wrong. Which way says whether the producer has the job.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The job was not taken: it would be refused again.
    #[error(transparent)]
    Refused(#[from] JobRefused),
    /// The job was taken, and is kept with the others that are not sent yet. It need not be pushed again: the next push, or the end, sends
    /// what is kept.
    #[error("the job is kept, and was not sent yet")]
    Kept(#[source] EnqueueError),
}

/// Why a producer does not take a job.
#[derive(Debug, thiserror::Error)]
pub enum JobRefused {
    /// It has no `custom_id`: pushed again it would be another job, made and paid for twice.
    #[error("a job of a batch needs a `custom_id`, so that it is the same job when it comes again")]
    Unnamed,
    /// It names another batch than the producer's.
    #[error("the job is of batch {0}, and the producer of another")]
    OtherBatch(BatchName),
    /// It refreshes an item of a collection. Whether that is needed is known only after a look at the item's manifest and its last job, as
    /// `imagemill enqueue --refresh` takes it.
    #[error("job {0} refreshes an item, and a producer does not look at what the item has")]
    Refreshes(CustomId),
    /// The service would refuse it.
    #[error("job {custom_id} asks for what the service does not do")]
    Invalid {
        /// The job.
        custom_id: CustomId,
        /// What is wrong.
        source: Violations,
    },
}

impl Producer {
    /// A producer for a batch, which begins with its first job.
    pub fn new(queue: &Queue, batch: BatchName) -> Self {
        Self { queue: queue.clone(), batch, waiting: Vec::with_capacity(CHUNK_MAX), tally: Tally::default() }
    }

    /// Takes a job, and sends a chunk where there is one. A spec without a batch gets the producer's.
    ///
    /// # Errors
    ///
    /// The job is none ([`PushError::Refused`]), or Redis was away for too long, refuses, or is nearly full ([`PushError::Kept`]).
    pub async fn push(&mut self, mut spec: JobSpec) -> Result<(), PushError> {
        let custom_id = spec.custom_id.clone().ok_or(JobRefused::Unnamed)?;
        match &spec.batch {
            Some(batch) if *batch != self.batch => return Err(JobRefused::OtherBatch(batch.clone()).into()),
            _ => spec.batch = Some(self.batch.clone()),
        }
        if spec.refresh.is_some() {
            return Err(JobRefused::Refreshes(custom_id).into());
        }
        spec.check().map_err(|source| JobRefused::Invalid { custom_id, source })?;
        self.waiting.push(self.queue.new_job(spec));
        if self.waiting.len() >= CHUNK_MAX { self.send().await.map_err(PushError::Kept) } else { Ok(()) }
    }

    /// Sends what is left, and says that nothing more will come, so that the batch can end.
    ///
    /// # Errors
    ///
    /// Redis was away for too long, refuses, or is nearly full. Pushing the same jobs again completes the batch.
    pub async fn finish(mut self) -> Result<Tally, EnqueueError> {
        self.send().await?;
        let (queue, batch) = (&self.queue, &self.batch);
        patiently(queue.link().chance(), || queue.seal(batch), QueueError::is_retryable).await?;
        Ok(self.tally)
    }

    /// What became of the jobs that were sent so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    async fn send(&mut self) -> Result<(), EnqueueError> {
        while !self.waiting.is_empty() {
            let chunk = &self.waiting[..self.waiting.len().min(CHUNK_MAX)];
            let (queue, batch) = (&self.queue, &self.batch);
            let send = || queue.enqueue(Some(batch), chunk);
            let answers = patiently(queue.link().chance(), send, EnqueueError::is_retryable).await?;
            let sent = chunk.len();
            for (job, answer) in self.waiting.drain(..sent).zip(answers) {
                self.tally.add(job, answer);
            }
        }
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, job: NewJob, answer: Enqueued) {
        match answer {
            Enqueued::New => self.new += 1,
            // No job of a producer refreshes an item: none can be busy.
            Enqueued::Same | Enqueued::Busy => self.same += 1,
            Enqueued::RemovedBefore => self.removed_before += 1,
            Enqueued::Changed => {
                self.changed += 1;
                if self.changed_ids.len() < CHANGED_MAX {
                    self.changed_ids.extend(job.spec.custom_id);
                }
            }
        }
    }
}
