//! `job retry` and `batch retry`: ended jobs run again, or their missing images are asked for.
//!
//! A batch is gone through twice, a page at a time: once to count what it may cost, which is asked about, and once to do it, for
//! those jobs that were counted: what ends meanwhile was not agreed to.

mod choice;
mod estimate;
mod missing;

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;
use job::{Event, Job, JobId, Prices, Rules, StateName};
use queue::{CommitError, JobFilter, Queue};
use serde::Serialize;

use self::choice::Choice;
use self::estimate::{Estimate, question};
use super::agree::agree;
use super::batch::no_batch;
use super::job::id;
use crate::app::{App, queue_failure};
use crate::args::{RetryBatch, RetryJobs};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::batch::Cost;
use crate::output::words::counted;

/// How many calls to Redis run at once.
const CALLS_AT_ONCE: usize = 32;

/// Jobs that are read at a time.
const PAGE: usize = 500;

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Done {
    /// Jobs that run again, or new ones for missing images.
    retried: u64,
    /// Jobs that somebody else had moved on by then.
    moved_on: u64,
    /// Jobs whose item has had a later one by then.
    superseded: u64,
}

/// What `job retry --json` and `batch retry --json` print.
#[derive(Debug, Serialize)]
struct RetryView {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    dry_run: bool,
    /// Jobs that it is about, by state.
    matched: BTreeMap<StateName, u64>,
    /// Jobs that run again, or new ones for missing images.
    retried: u64,
    /// Jobs that somebody else moved on meanwhile.
    moved_on: u64,
    /// Jobs whose missing images were asked for before.
    asked_before: u64,
    /// Jobs that refresh an item which has had a later job since.
    superseded: u64,
    /// Jobs with images missing that refresh an item, whose images are replaced as a whole.
    refreshes: u64,
    /// Held jobs, which are left as they are.
    held: u64,
    /// The most images that may come of it.
    images_max: u64,
    /// What they cost at most.
    cost_max: Cost,
}

/// Retries the jobs of a batch.
pub(super) async fn batch(app: &App, args: RetryBatch) -> Result<u8, Failure> {
    let choice = Choice::new(&args)?;
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let (rules, prices) = (settings.rules(), settings.prices());
    let summary =
        queue.batch(Some(&args.name)).await.map_err(|error| queue_failure(error, "read the batch"))?;
    let summary = summary.ok_or_else(|| no_batch(&args.name))?;
    let work = Work { queue: &queue, rules: &rules, prices: &prices, choice: &choice };

    let mut estimate = Estimate::default();
    work.each_page(async |jobs| work.estimate(jobs, &mut estimate).await).await?;
    let what = if choice.missing { "would be asked for again, as new jobs" } else { "would run again" };
    let agreed = !args.dry_run && estimate.jobs() > 0;
    if agreed && !agree(app.out, args.yes, &question(&estimate, what, &prices.currency))? {
        app.out.note("Nothing was done.");
        return Ok(exit_code::FAILED);
    }
    let mut done = Done::default();
    if agreed {
        let counted = |job: &Job| estimate.ids.contains(&job.id);
        let carry_out = async |jobs: Vec<Job>| {
            work.carry_out(jobs.into_iter().filter(counted).collect(), &mut done).await
        };
        work.each_page(carry_out).await?;
    }
    // New jobs open a batch again. One that was open before is its producer's to seal, unless it is this command that left it open.
    let ours_to_seal = choice.missing && !args.dry_run && (summary.sealed || estimate.asked_before > 0);
    if ours_to_seal && estimate.jobs() + estimate.asked_before > 0 {
        queue.seal(&args.name).await.map_err(|error| {
            queue_failure(error, "end the batch")
                .hint("run the same command again: nothing is asked for twice")
        })?;
    }
    let view = RetryView {
        batch: Some(args.name.to_string()),
        dry_run: args.dry_run,
        matched: estimate.by_state.clone(),
        retried: done.retried,
        moved_on: done.moved_on,
        asked_before: estimate.asked_before,
        superseded: estimate.superseded + done.superseded,
        refreshes: estimate.refreshes,
        held: summary.count(StateName::Held),
        images_max: estimate.images,
        cost_max: Cost::new(estimate.cost, &prices.currency),
    };
    if app.out.json {
        app.out.print_json(&view)?;
        return Ok(exit_code::DONE);
    }
    if estimate.jobs() == 0 {
        let nothing = if choice.missing { "No images are missing." } else { "No job is to run again." };
        app.out.print(nothing)?;
    } else if args.dry_run {
        app.out.print(&question(&estimate, what, &prices.currency))?;
    } else if choice.missing {
        app.out.print(&format!("{} enqueued for missing images", counted(done.retried, "job")))?;
    } else {
        app.out.print(&format!("{} will run again", counted(done.retried, "job")))?;
    }
    for (jobs, words) in [
        (view.moved_on, "moved on meanwhile and left as it is"),
        (view.asked_before, "left: its missing images were asked for before"),
        (view.superseded, "left: its item has had a later job since"),
        (
            view.refreshes,
            "left: its item's images are replaced as a whole; `imagemill enqueue --refresh always` makes them anew",
        ),
        (view.held, "held and left for `imagemill job resolve`"),
    ] {
        if jobs > 0 {
            app.out.note(&format!("{}: {words}", counted(jobs, "job")));
        }
    }
    Ok(exit_code::DONE)
}

/// Retries single jobs.
pub(super) async fn jobs(app: &App, args: RetryJobs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let ids: Vec<JobId> =
        args.ids.iter().map(|text| id(&settings, args.batch.as_ref(), text)).collect::<Result<_, _>>()?;
    let queue = app.queue(&settings).await?;
    let (rules, prices) = (settings.rules(), settings.prices());
    let (mut estimate, mut chosen, mut left, mut held) = (Estimate::default(), Vec::new(), 0_u64, 0);
    let later = "over, and its item has had a later job since: run again, the item would be paid for twice";
    for (name, id) in args.ids.iter().zip(ids) {
        let job = queue.job(id).await.map_err(|error| queue_failure(error, "read a job"))?;
        let Some(job) = job else {
            app.out.note(&format!("warning: there is no job `{name}`"));
            left += 1;
            continue;
        };
        let reason = match job.state_name() {
            state if runs_again(state) && is_superseded(&queue, &job).await? => {
                estimate.superseded += 1;
                Some(later)
            }
            StateName::Failed | StateName::Canceled => None,
            StateName::Expired if missing::asked_before(&queue, &job).await? => {
                Some("expired, and its images were asked for as a job of their own already")
            }
            StateName::Expired => None,
            StateName::Held => {
                held += 1;
                Some("held: `imagemill job resolve` decides about it")
            }
            StateName::Succeeded => {
                Some("succeeded and stays so; `imagemill batch retry --missing` asks for missing images")
            }
            _ => Some("not over yet, and stays as it is"),
        };
        match reason {
            None if chosen.contains(&job.id) => {}
            None => {
                estimate.add(&job, job.images_max, &prices);
                chosen.push(job.id);
            }
            Some(reason) => {
                app.out.note(&format!("warning: job `{name}` is {reason}"));
                left += 1;
            }
        }
    }
    let mut done = Done::default();
    if !chosen.is_empty() {
        if !agree(app.out, args.yes, &question(&estimate, "would run again", &prices.currency))? {
            app.out.note("Nothing was done.");
            return Ok(exit_code::FAILED);
        }
        run_again(&queue, &rules, &chosen, &mut done).await?;
    }
    // Enqueued while this command asked.
    if done.superseded > 0 {
        app.out.note(&format!("warning: {}: {later}", counted(done.superseded, "job")));
    }
    if app.out.json {
        app.out.print_json(&RetryView {
            batch: args.batch.map(|name| name.to_string()),
            dry_run: false,
            matched: estimate.by_state,
            retried: done.retried,
            moved_on: done.moved_on,
            asked_before: estimate.asked_before,
            superseded: estimate.superseded + done.superseded,
            refreshes: 0,
            held,
            images_max: estimate.images,
            cost_max: Cost::new(estimate.cost, &prices.currency),
        })?;
    } else {
        app.out.print(&format!("{} will run again", counted(done.retried, "job")))?;
    }
    Ok(if left + done.moved_on + done.superseded > 0 { exit_code::FAILED } else { exit_code::DONE })
}

/// What both passes over a batch need.
struct Work<'a> {
    queue: &'a Queue,
    rules: &'a Rules,
    prices: &'a Prices,
    choice: &'a Choice,
}

impl Work<'_> {
    /// Every chosen job, a page at a time.
    async fn each_page(
        &self,
        mut act: impl AsyncFnMut(Vec<Job>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let filter =
            JobFilter { batch: Some(Some(self.choice.batch.clone())), states: self.choice.states.clone() };
        let mut cursor = None;
        loop {
            let page = self.queue.jobs(&filter, cursor.as_ref(), PAGE).await;
            let page = page.map_err(|error| queue_failure(error, "list the jobs"))?;
            act(page.items.into_iter().filter(|job| self.choice.fits(job)).collect()).await?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn estimate(&self, jobs: Vec<Job>, estimate: &mut Estimate) -> Result<(), Failure> {
        if self.choice.missing {
            let looked = missing::look(self.queue, jobs).await?;
            estimate.refreshes += looked.refreshes;
            for asked in looked.asked {
                match asked.is_there {
                    true => estimate.asked_before += 1,
                    false => estimate.add(&asked.job, asked.images, self.prices),
                }
            }
            return Ok(());
        }
        let look = |job: Job| async { is_superseded(self.queue, &job).await.map(|is| (job, is)) };
        let looked: Vec<_> = stream::iter(jobs.into_iter().map(look)).buffered(CALLS_AT_ONCE).collect().await;
        for looked in looked {
            let (job, is_superseded) = looked?;
            if is_superseded {
                estimate.superseded += 1;
                continue;
            }
            match job.state_name() == StateName::Expired && missing::asked_before(self.queue, &job).await? {
                true => estimate.asked_before += 1,
                false => estimate.add(&job, job.images_max, self.prices),
            }
        }
        Ok(())
    }

    async fn carry_out(&self, jobs: Vec<Job>, done: &mut Done) -> Result<(), Failure> {
        if self.choice.missing {
            return missing::ask(self.queue, self.rules, jobs, done).await;
        }
        let mut ids = Vec::with_capacity(jobs.len());
        for job in jobs {
            if job.state_name() != StateName::Expired || !missing::asked_before(self.queue, &job).await? {
                ids.push(job.id);
            }
        }
        run_again(self.queue, self.rules, &ids, done).await
    }
}

/// Whether a job in this state runs again when it is asked to.
fn runs_again(state: StateName) -> bool {
    matches!(state, StateName::Failed | StateName::Canceled | StateName::Expired)
}

/// Whether the job refreshes an item that has had another job since. For what is said before anything is done: the commit looks again.
async fn is_superseded(queue: &Queue, job: &Job) -> Result<bool, Failure> {
    let failed = |error| queue_failure(error, "look for a later job of the same item");
    let Some(spec) = queue.spec(job.id).await.map_err(failed)? else { return Ok(false) };
    let (Some(refresh), Some(item)) = (spec.refresh, spec.custom_id) else { return Ok(false) };
    let last = queue.item_jobs(&refresh.collection, &[item]).await.map_err(failed)?;
    Ok(last.first().is_some_and(|last| last.is_some_and(|last| last.id != job.id)))
}

async fn run_again(queue: &Queue, rules: &Rules, ids: &[JobId], done: &mut Done) -> Result<(), Failure> {
    let one = |id: &JobId| {
        let (queue, id) = (queue.clone(), *id);
        async move { queue.commit_unfenced(id, Event::RetryRequested, rules).await }
    };
    let again: Vec<_> = stream::iter(ids.iter().map(one)).buffered(CALLS_AT_ONCE).collect().await;
    for again in again {
        match again {
            Ok(_) => done.retried += 1,
            Err(CommitError::Missing(_) | CommitError::Illegal(_)) => done.moved_on += 1,
            Err(CommitError::Superseded { .. }) => done.superseded += 1,
            Err(CommitError::Queue(error)) => return Err(queue_failure(error, "retry a job")),
            Err(error) => return Err(Failure::new(error).context("failed to retry a job")),
        }
    }
    Ok(())
}
