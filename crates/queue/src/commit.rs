//! The one way to write a record.

use job::{AskedFor, Event, IllegalTransition, Job, JobId, JobSpec, Outcome, Rules, TaskId, Transition, Try};
use tracing::debug;

use crate::Queue;
use crate::account::TaskOwner;
use crate::claim::parse_id;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::patience::patiently;
use crate::plan::Plan;
use crate::record::from_fields;
use crate::reply::Reply;
use crate::scripts::COMMIT;

/// What a commit left behind.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The job as it now stands in Redis.
    pub job: Job,
    /// A task that exists and that the job could not take: cancel it while PENDING.
    pub extra_task: Option<TaskId>,
}

/// What stands beside the record and changes with it.
#[derive(Debug, Clone, Copy, Default)]
struct Documents<'a> {
    outcome: Option<&'a Outcome>,
    spec: Option<&'a JobSpec>,
}

/// How long a write waits for a Redis that is away.
#[derive(Clone, Copy)]
enum Waits {
    /// Until it is back: what is to be written has happened.
    ForEver,
    /// For a minute: what is to be written is only asked for.
    AWhile,
}

/// Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The lease ran out and the job is somebody else's now: whatever was done for it counts no more.
    #[error("job {id} was taken over: its fence is {now}, ours was {ours}")]
    Fenced {
        /// The job.
        id: JobId,
        /// Our fence.
        ours: u64,
        /// Its fence now.
        now: u64,
    },
    /// The event does not fit the job's state.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// There is no such job.
    #[error("there is no job {0}")]
    Missing(JobId),
    /// The task that was found for the job is another job's.
    #[error("task {task} is owned by job {owner}")]
    TaskOwned {
        /// The task.
        task: TaskId,
        /// Its owner.
        owner: JobId,
    },
    /// The job refreshes an item that has had another job since: with both, the item would be paid for twice.
    #[error("job {by} refreshes the item of job {id} by now")]
    Superseded {
        /// The job.
        id: JobId,
        /// The item's last job.
        by: JobId,
    },
    /// Redis is unusable in a way that waiting does not mend.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// A record that changed under our hands so often is not changing by chance.
const CONFLICTS_MAX: u32 = 100;

impl Queue {
    /// Writes down what happened to a claimed job, and ends the claim.
    ///
    /// Waits for as long as Redis is away. If people changed the record meanwhile, the event is applied to what they left; if
    /// the job was rescued, nothing is written.
    ///
    /// # Errors
    ///
    /// The claim was lost, the event does not fit, or Redis answers nonsense.
    pub async fn commit(
        &self,
        job: &Job,
        event: Event,
        rules: &Rules,
        outcome: Option<&Outcome>,
    ) -> Result<Committed, CommitError> {
        let documents = Documents { outcome, spec: None };
        self.write(job.clone(), Some(job.fence), event, rules, documents, Waits::ForEver).await
    }

    /// Writes down what happened to a job that nobody here has claimed: a person's request, or a task id that came late.
    ///
    /// Waits for as long as Redis is away.
    ///
    /// # Errors
    ///
    /// There is no such job, the event does not fit, the job would run again beside a later one of its item
    /// ([`CommitError::Superseded`]), or Redis answers nonsense.
    pub async fn commit_unfenced(
        &self,
        id: JobId,
        event: Event,
        rules: &Rules,
    ) -> Result<Committed, CommitError> {
        let job =
            self.link().persist("reading a job", || self.job(id)).await?.ok_or(CommitError::Missing(id))?;
        self.commit_unfenced_of(job, event, rules).await
    }

    /// The same for a job that was just read; if it has changed since, the event is applied to what it is now.
    ///
    /// # Errors
    ///
    /// As [`Self::commit_unfenced`].
    pub async fn commit_unfenced_of(
        &self,
        job: Job,
        event: Event,
        rules: &Rules,
    ) -> Result<Committed, CommitError> {
        self.write(job, None, event, rules, Documents::default(), Waits::ForEver).await
    }

    /// Replaces what a job asks for, if it waits or is over; then it runs (again) for the new spec, under the same id and in the same
    /// place of its batch. What its earlier tasks cost stays counted. Returns the job as it was before, or `None` if it asks for that already.
    ///
    /// For a job that [`Self::enqueue_from`] has just answered [`crate::Enqueued::Changed`] for: that call refuses a whole chunk while Redis is nearly
    /// full, so that it is not asked again for each of its jobs.
    ///
    /// Waits for a minute while Redis is away, as a producer does; the same call again goes on from there.
    ///
    /// # Errors
    ///
    /// There is no such job, it is under way ([`CommitError::Illegal`]), its item has had another since ([`CommitError::Superseded`]), or Redis
    /// is away or answers nonsense.
    pub async fn replace(
        &self,
        id: JobId,
        spec: &JobSpec,
        rules: &Rules,
    ) -> Result<Option<Job>, CommitError> {
        let chance = self.link().chance();
        let found = patiently(chance, || self.job(id), QueueError::is_retryable).await;
        let job = found?.ok_or(CommitError::Missing(id))?;
        let asked = AskedFor::of(spec);
        if job.digest == asked.digest {
            return Ok(None);
        }
        let documents = Documents { outcome: None, spec: Some(spec) };
        self.write(job.clone(), None, Event::Replaced(asked), rules, documents, Waits::AWhile).await?;
        Ok(Some(job))
    }

    async fn write(
        &self,
        mut before: Job,
        fence: Option<u64>,
        event: Event,
        rules: &Rules,
        documents: Documents<'_>,
        waits: Waits,
    ) -> Result<Committed, CommitError> {
        let chance = self.link().chance();
        let nonce = self.nonce();
        for _ in 0..CONFLICTS_MAX {
            let now = self.now();
            let mut transition = before.apply(event.clone(), now, rules, chance)?;
            // An event that changes nothing and notes nothing (the same task id twice) needs no write.
            if transition.job == before && transition.note.is_none() && transition.extra_task.is_none() {
                return Ok(Committed { job: before, extra_task: None });
            }
            if let (Some(_), Some(note)) = (documents.spec, &mut transition.note) {
                self.tell_former(before.id, note, chance).await?;
            }
            let mut plan = Plan::new(self.keys(), &before, &transition, documents.outcome, now);
            if let Some(spec) = documents.spec {
                let json = serde_json::to_string(spec).expect("a spec is plain data and always serializes");
                plan = plan.with_spec(self.keys(), &before, &transition.job, &json);
            }
            if before.state_name().is_final() && !transition.job.state_name().is_final() {
                // If the spec is replaced behind this look, so is the version.
                let read = match documents.spec {
                    Some(_) => None,
                    None => self.link().persist("reading a spec", || self.spec(before.id)).await?,
                };
                if let Some(spec) = documents.spec.or(read.as_ref()) {
                    plan = plan.last_of_item(self.keys(), spec);
                }
            }
            let send = || self.send_commit(&before, &transition, &plan, &nonce);
            let mut reply = match waits {
                Waits::ForEver => self.link().persist("a commit", send).await?,
                Waits::AWhile => patiently(chance, send, QueueError::is_retryable).await?,
            };
            match reply.text()?.as_str() {
                "ok" => {
                    reply.int()?;
                    let version = u64::try_from(reply.int()?).unwrap_or(before.version + 1);
                    let Transition { mut job, extra_task, .. } = transition;
                    job.version = version;
                    return Ok(Committed { job, extra_task });
                }
                "missing" => return Err(CommitError::Missing(before.id)),
                "owned" => {
                    reply.int()?;
                    let owner = TaskOwner::parse(&reply.text()?)?.job;
                    let Some(task) = transition.job.state.task().cloned() else {
                        let problem = format!("job {} was refused a task that it does not take", before.id);
                        return Err(QueueError::Reply { call: "commit", problem }.into());
                    };
                    return Err(CommitError::TaskOwned { task, owner });
                }
                "superseded" => {
                    reply.int()?;
                    return Err(CommitError::Superseded { id: before.id, by: parse_id(&reply.text()?)? });
                }
                _ => {
                    reply.int()?;
                    let current = from_fields(before.id, &reply.fields()?).map_err(QueueError::from)?;
                    // A record that is claimed no more was committed under our fence already: our event is not news to it.
                    if let Some(ours) = fence
                        && (current.fence != ours || !current.claimed)
                    {
                        return Err(CommitError::Fenced { id: before.id, ours, now: current.fence });
                    }
                    debug!(job.id = %before.id, "Job {} changed meanwhile; its event is applied again", before.id);
                    before = current;
                }
            }
        }
        let problem = format!("job {} changed {CONFLICTS_MAX} times during one commit", before.id);
        Err(QueueError::Reply { call: "commit", problem }.into())
    }

    /// Tells in the line of a replacement what the old request brought: the commit drops its outcome, and the images stand in the bucket
    /// until the new ones do. If it changes behind this look, so does the version.
    async fn tell_former(&self, id: JobId, note: &mut Try, chance: f64) -> Result<(), QueueError> {
        let former = match patiently(chance, || self.outcome(id), QueueError::is_retryable).await {
            // What nobody can read holds no replacement up.
            Err(QueueError::Record(_)) => None,
            former => former?,
        };
        if let Some(former) = former {
            note.message = Some(former.in_words());
            note.request_id = former.request_id;
            note.task = Some(former.task);
        }
        Ok(())
    }

    async fn send_commit(
        &self,
        before: &Job,
        transition: &Transition,
        plan: &Plan,
        nonce: &str,
    ) -> Result<Reply, QueueError> {
        let (job_key, events) = (self.keys().job(before.id), self.keys().events());
        let mut keys = vec![job_key.as_str(), events.as_str()];
        keys.extend(plan.index_keys.iter().map(String::as_str));
        let json = serde_json::to_string(plan).expect("a plan is plain data and always serializes");
        let (id, version) = (before.id.to_string(), before.version.to_string());
        let args = [id.as_str(), &version, nonce, transition.job.state_name().as_str(), &json];
        self.link().call("commit", &COMMIT, &keys, &args, TimeAt::Second).await
    }
}
