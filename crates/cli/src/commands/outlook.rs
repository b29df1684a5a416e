//! What waits, what the accounts can do about it, and when it will be over: read together, for `status`, `batch show` and `watch`.

use std::collections::BTreeSet;
use std::time::Duration;

use job::{
    BatchName, CreatingAccount, Eta, Model, PinnedTo, TaskKind, Timestamp, WaitingFor, eta_by_ends, etas,
};
use queue::{AccountStatus, BatchLanes, HandPause, Queue, QueueError, USED_SHARE, Waiting, WaitingJobs};

use crate::output::batch::{BatchState, BatchView, JobCounts};
use crate::output::eta::BatchEta;
use crate::settings::Settings;

/// All of it, at about one moment.
#[derive(Debug)]
pub(super) struct Outlook {
    /// Redis's time.
    pub(super) now: Timestamp,
    /// What is queued.
    pub(super) waiting: Waiting,
    /// Queued jobs that wait for their time.
    pub(super) delayed: u64,
    /// What people have paused.
    pub(super) by_hand: Vec<HandPause>,
    /// What is known of each account of the settings, in their order.
    pub(super) accounts: Vec<AccountStatus>,
    abilities: Vec<Ability>,
}

/// What can be done for one model.
#[derive(Debug)]
struct Ability {
    model: Model,
    /// How long a task runs, where that is known.
    mean: Option<Duration>,
    accounts: Vec<CreatingAccount>,
}

impl Outlook {
    /// Looks: a few round trips, and one or two for each account.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub(super) async fn look(queue: &Queue, settings: &Settings) -> Result<Self, QueueError> {
        let known = settings.accounts();
        let names = known.iter().map(|account| PinnedTo::Account(account.name().clone()));
        let regions: BTreeSet<_> = known.iter().filter_map(|account| account.region()).collect();
        let places: Vec<_> = regions.into_iter().map(PinnedTo::Region).chain(names).collect();

        let by_hand = queue.hand_pauses().await?;
        let delayed = queue.delayed().await?;
        let durations = queue.durations().await?;
        let mut accounts = Vec::with_capacity(known.len());
        for account in known {
            accounts.push(queue.account_status(account.name()).await?);
        }
        let waiting = queue.waiting(&places).await?;
        let now = queue.now();
        let ability = |model: Model| {
            let creating = known.iter().zip(&accounts).map(|(account, status)| {
                let (limits, _) = account.limits_under(model, status.quotas.as_ref());
                let at_once =
                    u64::from(limits.in_flight).min(status.places.get(&model).copied().unwrap_or(u64::MAX));
                CreatingAccount {
                    name: account.name().clone(),
                    region: account.region(),
                    per_second: limits.create_per_second * USED_SHARE,
                    at_once,
                    ahead: status.slots.get(&model).copied().unwrap_or(0).saturating_sub(at_once),
                    opens: status.opens(account.name(), model, &limits, &by_hand, now),
                }
            });
            let mean = durations.likely(TaskKind { model, shape: None }).map(|likely| likely.mean);
            Ability { model, mean, accounts: creating.collect() }
        };
        let abilities = Model::ALL.into_iter().map(ability).collect();
        Ok(Self { now, waiting, delayed, by_hand, accounts, abilities })
    }

    /// What may be claimed, and when it will be over.
    pub(super) fn etas(&self) -> Vec<(WaitingJobs, Eta)> {
        self.etas_with(|of| of.jobs)
    }

    /// The same as if only so many of each waited.
    fn etas_with(&self, jobs: impl Fn(&WaitingJobs) -> u64) -> Vec<(WaitingJobs, Eta)> {
        let of_model = |ability: &Ability| {
            let here: Vec<_> =
                self.waiting.jobs.iter().filter(|of| of.model == ability.model).cloned().collect();
            let asked: Vec<_> = here
                .iter()
                .map(|of| WaitingFor { pinned_to: of.pinned_to.clone(), jobs: jobs(of) })
                .collect();
            let etas = etas(self.now, ability.mean, &ability.accounts, &asked);
            here.into_iter().zip(etas).collect::<Vec<_>>()
        };
        self.abilities.iter().flat_map(of_model).collect()
    }

    /// The latest of these, among those that wait for what is `asked` for; `None`: nobody can say, for none of them.
    fn latest(
        etas: Vec<(WaitingJobs, Eta)>,
        is_asked: impl Fn(&WaitingJobs) -> bool,
    ) -> Option<(Eta, Option<PinnedTo>)> {
        let asked = etas.into_iter().filter(|(of, _)| is_asked(of));
        asked.map(|(of, eta)| (eta, of.pinned_to)).max()
    }

    /// When tasks under way will be over: they end even where nothing new may begin.
    fn in_flight(&self, is_asked: impl Fn(&WaitingJobs) -> bool) -> Option<(Eta, Option<PinnedTo>)> {
        let mut etas = self.etas_with(|_| 0);
        etas.retain(|(_, eta)| matches!(eta, Eta::At(_)));
        Self::latest(etas, is_asked)
    }

    /// When the jobs of a batch will be over at the latest, if nothing else comes: with all that waits for the same accounts.
    fn of_batch(&self, lanes: &BatchLanes, queued: u64) -> Option<(Eta, Option<PinnedTo>)> {
        let has = |of: &WaitingJobs, least: u64| {
            lanes.ready.get(&(of.model, of.pinned_to.clone())).is_some_and(|jobs| *jobs >= least)
        };
        if queued == 0 {
            return self.in_flight(|of| has(of, 0));
        }
        let known =
            |pinned_to: &Option<PinnedTo>| self.waiting.jobs.iter().any(|of| of.pinned_to == *pinned_to);
        let of_nobody = lanes.ready.iter().find(|((_, pinned_to), jobs)| **jobs > 0 && !known(pinned_to));
        match of_nobody {
            Some(((_, pinned_to), _)) => Some((Eta::Stopped, pinned_to.clone())),
            None => Self::latest(self.etas(), |of| has(of, 1)),
        }
    }
}

/// When everything will be over, at the latest; `None` where nothing goes on by itself, or not all that waits was counted.
///
/// # Errors
///
/// Redis is away or refuses.
pub(super) async fn eta_of_all(
    queue: &Queue,
    settings: &Settings,
    jobs: &JobCounts,
) -> Result<Option<BatchEta>, QueueError> {
    if jobs.left() == 0 {
        return Ok(None);
    }
    let outlook = Outlook::look(queue, settings).await?;
    if outlook.waiting.no_turn.is_none() {
        return Ok(None);
    }
    let latest = match jobs.queued {
        0 => outlook.in_flight(|_| true),
        _ => Outlook::latest(outlook.etas(), |of| of.jobs > 0),
    };
    Ok(latest.map(|(eta, pinned_to)| BatchEta::of(eta, pinned_to, outlook.delayed)))
}

/// When a batch will be over; `None` where nothing of it goes on by itself.
///
/// # Errors
///
/// Redis is away or refuses.
pub(super) async fn eta_of_batch(
    queue: &Queue,
    settings: &Settings,
    name: &BatchName,
    batch: &BatchView,
) -> Result<Option<BatchEta>, QueueError> {
    let left = batch.jobs.left();
    if batch.state != BatchState::Running || left == 0 {
        return Ok(None);
    }
    let outlook = Outlook::look(queue, settings).await?;
    let lanes = queue.lanes_of_batch(Some(name)).await?;
    let latest = outlook.of_batch(&lanes, batch.jobs.queued);
    if let Some((Eta::Stopped, pinned_to)) = latest {
        return Ok(Some(BatchEta::Unknown(Eta::Stopped, pinned_to)));
    }
    let ends = queue.ended_lately(name).await?;
    if let Some(at) = eta_by_ends(outlook.now, &ends, left) {
        return Ok(Some(BatchEta::AtPace(at)));
    }
    // Where more waits than was counted, the latest is not known.
    let latest = latest.filter(|_| outlook.waiting.no_turn.is_some());
    Ok(latest.map(|(eta, pinned_to)| BatchEta::of(eta, pinned_to, lanes.delayed)))
}
