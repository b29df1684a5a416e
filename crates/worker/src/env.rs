//! What every step is given, and the one way by which it writes.

use std::sync::Arc;
use std::time::Duration;

use job::{AccountName, Event, Job, JobState, Outcome, TaskId};
use queue::claims::Wake;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::accounts::Accounts;
use crate::archive_step::{CopiesAtOnce, CopyTime};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::WorkerConfig;
use crate::created::Created;
use crate::place::Places;
use crate::poll::durations::KnownDurations;
use crate::ports::{CommitFault, ImageApi, ImageArchive, Jobs, Written};
use crate::rests::Rests;
use crate::silence::QueryProbes;
use crate::streaks::Streaks;
use crate::submit::held_back::HeldBack;
use crate::submit::spacing::Leads;
use crate::tally::Tally;
use crate::wire::OnTheWire;

/// Everything that a step may touch.
pub(crate) struct Env {
    /// The jobs.
    pub(crate) jobs: Arc<dyn Jobs>,
    /// The provider.
    pub(crate) api: Arc<dyn ImageApi>,
    /// The bucket.
    pub(crate) archive: Arc<dyn ImageArchive>,
    /// The local clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Chance.
    pub(crate) chance: Chance,
    /// The settings, but for the accounts.
    pub(crate) config: WorkerConfig,
    /// The accounts.
    pub(crate) accounts: Accounts,
    /// Cancelled when the worker is to go down.
    pub(crate) stop: CancellationToken,
    /// What happens between two steps: nothing, outside of tests.
    pub(crate) places: Arc<dyn Places>,
    /// Rung when a job was put off: the promoter's next due time may be earlier now.
    pub(crate) put_off: Notify,
    /// Bad answers in a row, by account.
    pub(crate) streaks: Streaks,
    /// What this worker leaves alone for troubles that may be its own.
    pub(crate) rests: Rests,
    /// Queries that were let through an open breaker, by account.
    pub(crate) query_probes: QueryProbes,
    /// How long before its create a job should be claimed, by account.
    pub(crate) leads: Arc<Leads>,
    /// What this worker knows to hold creates back that are claimed already.
    pub(crate) held_back: Arc<HeldBack>,
    /// Creates whose answer, or whose answer's commit, is awaited.
    pub(crate) on_the_wire: OnTheWire,
    /// How long tasks run, as far as it is known by now.
    pub(crate) durations: KnownDurations,
    /// Rung when a task became due before its time.
    pub(crate) polls_due: Wake,
    /// How many jobs are copied at once just now.
    pub(crate) copies_at_once: CopiesAtOnce,
    /// How long a copy takes just now.
    pub(crate) copy_time: CopyTime,
    /// The tasks that it wrote down lately, should Redis forget them.
    pub(crate) created: Created,
    /// What this worker has done.
    pub(crate) tally: Tally,
}

impl Env {
    /// How long before its create a job is claimed: what that takes, and never so long that nothing of the time to send is left.
    pub(crate) fn lead(&self, account: &AccountName) -> Duration {
        self.leads.get(account).min(self.config.send_within / 2)
    }

    /// Commits, counts, and logs what changed. `None`: the job is somebody else's now, or cannot be written; that is logged
    /// here and there is nothing left to do for the step.
    pub(crate) async fn commit(&self, job: &Job, event: Event, outcome: Option<&Outcome>) -> Option<Written> {
        let name = event.name();
        match self.jobs.commit(job, event, outcome).await {
            Ok(written) => {
                self.note(job, &written.job);
                Some(written)
            }
            Err(fault) => {
                log_unwritten(job, name, &fault);
                None
            }
        }
    }

    /// Counts and logs the way from `before` to `after`.
    pub(crate) fn note(&self, before: &Job, after: &Job) {
        self.tally.count(before, after);
        self.created.note(before, after, self.clock.elapsed());
        if after.state.due().is_some_and(|due| due > self.jobs.now()) {
            self.put_off.notify_one();
        }
        let (old, new) = (before.state_name(), after.state_name());
        if old == new {
            debug!(job.id = %after.id, job.state = %new, "Job {} stays {new}", after.id);
            return;
        }
        let task = after.state.task().map(TaskId::as_str);
        match &after.state {
            JobState::Failed { class, code, .. } => {
                warn!(job.id = %after.id, failure.class = %class, failure.code = code, "Job {} failed: {code}", after.id);
            }
            JobState::Held { reason, .. } => {
                warn!(job.id = %after.id, task.id = task, "Job {} is held for a person: {}", after.id, reason.explain());
            }
            JobState::Expired { .. } => {
                let (images, cost) = self.lost(after);
                warn!(
                    job.id = %after.id, task.id = task, lost.images = after.lost_images(),
                    "Job {} expired: {images} can no longer be had, {cost} {} are lost", after.id, self.config.prices.currency
                );
            }
            JobState::Succeeded { partial: true, .. } => {
                let (images, cost) = (after.lost_images(), after.lost_cost());
                warn!(
                    job.id = %after.id, task.id = task, lost.images = images,
                    "Job {} ends with images missing: {} are stored; {images} billed ones are lost, which cost {cost} {}",
                    after.id, after.stored, self.config.prices.currency
                );
            }
            JobState::Queued { cause: Some(cause), .. } => {
                info!(job.id = %after.id, cause, "Job {} is queued again after {old}: {cause}", after.id);
            }
            _ => info!(job.id = %after.id, task.id = task, "Job {}: {old} -> {new}", after.id),
        }
    }

    /// What an expired job lost, in words. A task that was forgotten before it said how it ended may have been billed in full.
    fn lost(&self, job: &Job) -> (String, String) {
        let named = |images: u16| format!("{images} billed {}", if images == 1 { "image" } else { "images" });
        if job.lost_images() > 0 {
            return (named(job.lost_images()), job.lost_cost().to_string());
        }
        let most = self.config.prices.per_image(job.model).times(job.images_max.into());
        (format!("at most {}", named(job.images_max.into())), format!("at most {most}"))
    }
}

fn log_unwritten(job: &Job, event: &'static str, fault: &CommitFault) {
    match fault {
        // The fence did its work.
        CommitFault::Fenced => {
            warn!(job.id = %job.id, event, "Job {} was taken over; {event} counts no more", job.id)
        }
        CommitFault::Illegal(illegal) => warn!(job.id = %job.id, event, "Job {}: {illegal}", job.id),
        CommitFault::Missing => {
            warn!(job.id = %job.id, event, "Job {} is gone; {event} counts no more", job.id)
        }
        CommitFault::TaskOwned(owner) => {
            warn!(job.id = %job.id, event, "Job {} is not given a task of job {owner}", job.id)
        }
        CommitFault::Broken(_) => {
            tracing::error!(job.id = %job.id, event, error = fault as &dyn std::error::Error, "Job {} cannot be written", job.id);
        }
    }
}
