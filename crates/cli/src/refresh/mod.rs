//! Which items of a catalogue get new images: the pass between judging an input and sending it.
//!
//! For each good line it asks Redis for the item's last job, and the bucket for the manifest under the item's stable keys; what the
//! rule then says is [`job::RefreshRule`]'s. Nothing is enqueued here: [`Plan::choose`] goes into [`crate::commands::enqueue::send`],
//! and the queue looks once more whether the item's last job is still the one that was seen. Driven by `enqueue --refresh`
//! and by a tick of a schedule.

mod objects;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dashscope::Model;
use futures::StreamExt as _;
use job::{
    BatchName, CustomId, FailureClass, InputImage, JobId, JobSpec, JobState, KeyTemplate, ObjectKey, Refresh,
    RefreshRule, Timestamp, content_digest,
};
use queue::{ItemJob, NewJob, Queue, patiently};
use rand::RngExt as _;
use tokio::sync::mpsc;

use self::objects::Manifest;
pub(crate) use self::objects::Objects;
use crate::app::{App, queue_failure};
use crate::commands::enqueue::send::Choose;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::again::again;
use crate::input::images::Images;
use crate::input::judge::Judged;
use crate::input::prepare::Rules;
use crate::input::source::Source;
use crate::input::work::{Piece, Work};

/// Items that are looked at together. Source: ours; one question to Redis for all of them.
const CHUNK: usize = 500;

/// Lines that are named where a job differs from the one that is there, and manifests that cannot be read. Source: ours, as for other lines.
const SHOWN_MAX: usize = 10;

/// Objects that are asked for at once. Source: ours; 2,000 manifests at 30 ms each take two seconds.
const AT_ONCE: usize = 32;

/// What a refresh goes by.
#[derive(Debug, Clone)]
pub(crate) struct Refreshing {
    /// The folder of the stable keys.
    pub(crate) collection: BatchName,
    /// Old versions that are kept.
    pub(crate) keep: u8,
    /// Which items get new images.
    pub(crate) rule: RefreshRule,
    /// The time that ages are counted to.
    pub(crate) tick: Timestamp,
}

/// An input that was judged.
pub(crate) struct Judgement {
    /// The input.
    pub(crate) source: Arc<Source>,
    /// What it was judged by.
    pub(crate) rules: Arc<Rules>,
    /// The images that were looked at.
    pub(crate) images: Images,
    /// What was found.
    pub(crate) judged: Arc<Judged>,
}

/// Which lines go.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    go: HashMap<u64, Planned>,
    /// Items whose images are what they would be.
    pub(crate) unchanged: u64,
    /// Items that an earlier job is at work on.
    pub(crate) busy: u64,
    /// Items whose last job asked for the same and cannot do better: it lacks images that were billed, could not be shown,
    /// or was refused for what it asks.
    pub(crate) given_up: u64,
    /// Items whose manifest cannot be read: what would be made for them could not be put in its place.
    pub(crate) unreadable: u64,
    /// The first of those manifests, each with its key and why.
    pub(crate) unreadable_manifests: Vec<String>,
    /// Items whose job is in this very batch already, for what is asked now: an earlier run of the same one was interrupted.
    pub(crate) there: u64,
    /// The most images that those can bring, by model.
    pub(crate) there_images: BTreeMap<Model, u64>,
    /// Items whose job is in this very batch, and for something else: the batch is of an earlier run.
    pub(crate) changed: u64,
    /// Lines of the first of those.
    pub(crate) changed_lines: Vec<u64>,
    /// What the jobs which go come to.
    pub(crate) work: Work,
}

/// A line that goes.
#[derive(Debug)]
struct Planned {
    content: String,
    follows: Option<JobId>,
}

/// What follows for one item.
enum Verdict {
    Goes(Planned),
    Unchanged,
    GivenUp,
    Unreadable { manifest: ObjectKey, why: String },
    Busy,
    There,
    Changed,
}

impl Plan {
    /// How many lines go.
    pub(crate) fn jobs(&self) -> u64 {
        self.go.len() as u64
    }

    /// Turns the lines that go into refreshes, and keeps the others back.
    pub(crate) fn choose(&mut self, refreshing: &Refreshing) -> Choose {
        let mut go = std::mem::take(&mut self.go);
        let (collection, keep) = (refreshing.collection.clone(), refreshing.keep);
        Box::new(move |line, mut job| {
            let Planned { content, follows } = go.remove(&line)?;
            job.spec.refresh = Some(Refresh { collection: collection.clone(), keep, content });
            job.follows = follows;
            Some(job)
        })
    }

    fn note(&mut self, line: u64, job: &NewJob, verdict: Verdict) {
        match verdict {
            Verdict::Goes(planned) => {
                self.work.add(line, Piece::of(&job.spec));
                self.go.insert(line, planned);
            }
            Verdict::Unchanged => self.unchanged += 1,
            Verdict::GivenUp => self.given_up += 1,
            Verdict::Unreadable { manifest, why } => {
                self.unreadable += 1;
                if self.unreadable_manifests.len() < SHOWN_MAX {
                    self.unreadable_manifests.push(format!("`{manifest}`: {why}"));
                }
            }
            Verdict::Busy => self.busy += 1,
            Verdict::There => {
                self.there += 1;
                *self.there_images.entry(job.spec.request.model).or_default() +=
                    u64::from(job.spec.images_max());
            }
            Verdict::Changed => {
                self.changed += 1;
                if self.changed_lines.len() < SHOWN_MAX {
                    self.changed_lines.push(line);
                }
            }
        }
    }
}

/// Looks at every good line of an input.
///
/// # Errors
///
/// Redis or the bucket is away (69), or the input changed since it was judged. Nothing is decided then: what cannot be read never
/// counts as changed.
pub(crate) async fn plan(
    app: &App,
    queue: &Queue,
    objects: &Objects,
    refreshing: &Refreshing,
    judgement: Judgement,
) -> Result<(Plan, Judgement), Failure> {
    let template = judgement.rules.template.clone();
    let (lines, mut ready) = mpsc::channel(CHUNK);
    let reading = queue.clone();
    let reader = tokio::task::spawn_blocking(move || {
        let Judgement { source, rules, mut images, judged } = judgement;
        let read = again(&source, &rules, &mut images, &judged, |line, prepared| {
            lines.blocking_send((line, reading.new_job(prepared.spec))).is_ok()
        });
        (read, Judgement { source, rules, images, judged })
    });
    let (mut plan, mut chunk) = (Plan::default(), Vec::with_capacity(CHUNK));
    while ready.recv_many(&mut chunk, CHUNK).await > 0 {
        look_at(app, queue, objects, refreshing, &template, std::mem::take(&mut chunk), &mut plan).await?;
    }
    let (read, judgement) = reader.await.or_fail("a part of this command panicked")?;
    if !read.or_fail("the input cannot be read again")? {
        let failure = Failure::message("the input, or an image that it names, changed while it was read");
        return Err(failure.exit(exit_code::BAD_INPUT));
    }
    Ok((plan, judgement))
}

/// Looks at some items: all of their last jobs at once, then what stands in the bucket for those that are not busy.
async fn look_at(
    app: &App,
    queue: &Queue,
    objects: &Objects,
    refreshing: &Refreshing,
    template: &KeyTemplate,
    lines: Vec<(u64, NewJob)>,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let items: Vec<CustomId> = lines.iter().filter_map(|(_, job)| job.spec.custom_id.clone()).collect();
    if items.len() != lines.len() {
        return Err(Failure::message("an item without a custom_id cannot be refreshed"));
    }
    let chance: f64 = app.rng().random();
    let ask = || queue.item_jobs(&refreshing.collection, &items);
    let last = patiently(chance, ask, queue::QueueError::is_retryable)
        .await
        .map_err(|error| queue_failure(error, "look for the items' last jobs"))?;
    let mut verdicts = futures::stream::iter(lines.into_iter().zip(last))
        .map(|((line, job), last)| async move {
            let verdict = judge(queue, objects, refreshing, template, &job, last).await;
            (line, job, verdict)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((line, job, verdict)) = verdicts.next().await {
        plan.note(line, &job, verdict?);
    }
    Ok(())
}

async fn judge(
    queue: &Queue,
    objects: &Objects,
    refreshing: &Refreshing,
    template: &KeyTemplate,
    job: &NewJob,
    last: Option<ItemJob>,
) -> Result<Verdict, Failure> {
    let is_there = last.is_some_and(|last| last.id == job.id && last.state.is_some());
    if !is_there && last.is_some_and(|last| last.is_busy()) {
        return Ok(Verdict::Busy);
    }
    let content = content_digest(&job.spec, &tags(objects, &job.spec).await?);
    if is_there {
        let asked = asked_for(queue, job.id).await?;
        return Ok(if asked.is_none_or(|asked| asked == content) {
            Verdict::There
        } else {
            Verdict::Changed
        });
    }
    let before = last.as_ref().filter(|last| last.state.is_some()).map(|last| last.id);
    let goes = Planned { follows: last.map(|last| last.id), content };
    let manifest = manifest_key(refreshing, template, &job.spec)?;
    let published = match objects.manifest(&manifest).await? {
        Manifest::Known(published) => published,
        // By no rule: a worker replaces nothing that it cannot read of, and what it made would be paid for again at each tick.
        Manifest::Unreadable(why) => return Ok(Verdict::Unreadable { manifest, why }),
    };
    if refreshing.rule == RefreshRule::Always {
        return Ok(Verdict::Goes(goes));
    }
    let asked = refreshing.rule.asks_for(&goes.content, published.as_ref(), refreshing.tick);
    if !asked {
        return Ok(Verdict::Unchanged);
    }
    if let Some(before) = before
        && cannot_do_better(queue, before, &goes.content, published.is_some()).await?
    {
        return Ok(Verdict::GivenUp);
    }
    Ok(Verdict::Goes(goes))
}

/// Whether the item's last job asked for the same, and another would be paid for again at each tick, or refused again, for nothing: it
/// ended with images missing, or all of them, so that it replaced none; or it could not be put in the place of what still `is_shown`; or what
/// it asks for was refused for good. `always` asks for it all the same.
async fn cannot_do_better(
    queue: &Queue,
    last: JobId,
    content: &str,
    is_shown: bool,
) -> Result<bool, Failure> {
    let failed = |error| queue_failure(error, "look at an item's last job");
    let Some(job) = queue.job(last).await.map_err(failed)? else { return Ok(false) };
    let is_final = match job.state {
        JobState::Succeeded { partial: true, .. } => true,
        JobState::Succeeded { .. } if is_shown => {
            queue.outcome(last).await.map_err(failed)?.is_some_and(|outcome| outcome.unpublished)
        }
        // Paid for, and none of it could be had.
        JobState::Expired { .. } => job.billed > 0,
        JobState::Failed { class, .. } => {
            matches!(class, FailureClass::Moderation | FailureClass::InvalidRequest)
        }
        _ => false,
    };
    if !is_final {
        return Ok(false);
    }
    Ok(asked_for(queue, last).await?.is_some_and(|asked| asked == content))
}

/// The content that a job was enqueued for, if it refreshes an item.
async fn asked_for(queue: &Queue, job: JobId) -> Result<Option<String>, Failure> {
    let spec = queue.spec(job).await.map_err(|error| queue_failure(error, "look at an item's last job"))?;
    Ok(spec.and_then(|spec| spec.refresh).map(|refresh| refresh.content))
}

/// The entity tags of the input images that may be written anew under their names, in their order.
async fn tags(objects: &Objects, spec: &JobSpec) -> Result<Vec<String>, Failure> {
    let mut tags = Vec::new();
    for image in &spec.images {
        if let InputImage::Object { bucket, key } = image {
            tags.push(objects.tag(bucket, key).await?.unwrap_or_default());
        }
    }
    Ok(tags)
}

/// Where the manifest stands that says what an item's stable keys show.
fn manifest_key(
    refreshing: &Refreshing,
    template: &KeyTemplate,
    spec: &JobSpec,
) -> Result<ObjectKey, Failure> {
    let nobody = JobId::fresh(0, 0);
    let image_0 = template.key(Some(&refreshing.collection), spec.custom_id.as_ref(), nobody, 0);
    let key = image_0.and_then(|image_0| KeyTemplate::manifest_key(&image_0));
    key.or_fail("the key of a manifest cannot be made")
}
