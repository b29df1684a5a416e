//! What waits, what the accounts can do about it, and when it will be over: read together, for `status`, `batch show` and `watch`.

use std::collections::BTreeSet;
use std::time::Duration;

use job::{
    AccountName, BatchName, CreatingAccount, Eta, Job, JobState, Micros, Model, PinnedTo, Prices, TaskKind,
    Timestamp, WaitingFor, eta_by_ends, etas,
};
use queue::{
    AccountStatus, BatchLanes, Budgets, HandPause, Purse, Queue, QueueError, Spent, USED_SHARE, Waiting,
    WaitingJobs, next_money,
};

use crate::output::batch::{BatchState, BatchView, JobCounts};
use crate::output::budget::{Money, WaitsFor};
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
    /// What is spent today, on everything.
    pub(super) spent_today: Spent,
    abilities: Vec<Ability>,
    prices: Prices,
    budgets: Budgets,
}

/// What can be done for one model.
#[derive(Debug)]
struct Ability {
    model: Model,
    /// How long a task runs, where that is known.
    mean: Option<Duration>,
    accounts: Vec<CreatingAccount>,
    /// Of each of these: its budget of the day.
    budgets: Vec<Option<Micros>>,
}

/// What an account has left of its budget of the day, where it has one.
struct LeftOn<'a> {
    name: &'a AccountName,
    budget: Option<Micros>,
    left: Option<Micros>,
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
        let spent_today = queue.spent_today().await?;
        let waiting = queue.waiting(&places).await?;
        let now = queue.now();
        let (prices, budgets) = (settings.prices(), settings.budgets());
        let money = Money { prices: &prices, budgets, spent_today, waiting: &waiting };
        let ability = |model: Model| {
            let creating = known.iter().zip(&accounts).map(|(account, status)| {
                let (limits, _) = account.limits_under(model, status.quotas.as_ref());
                let at_once =
                    u64::from(limits.in_flight).min(status.places.get(&model).copied().unwrap_or(u64::MAX));
                let (name, region) = (account.name(), account.region());
                let takes =
                    |place: Option<&PinnedTo>| place.is_none_or(|only| only.allows(name, region.as_ref()));
                let purse = money.purse(model, takes);
                CreatingAccount {
                    name: name.clone(),
                    region: region.clone(),
                    per_second: limits.create_per_second * USED_SHARE,
                    at_once,
                    ahead: status.slots.get(&model).copied().unwrap_or(0).saturating_sub(at_once),
                    opens: status.opens(name, model, &limits, &by_hand, &purse, now),
                }
            });
            let mean = durations.likely(TaskKind { model, shape: None }).map(|likely| likely.mean);
            let budgets = known.iter().map(|account| account.limits_of(model).cost_per_day).collect();
            Ability { model, mean, accounts: creating.collect(), budgets }
        };
        let abilities = Model::ALL.into_iter().map(ability).collect();
        Ok(Self { now, waiting, delayed, by_hand, accounts, spent_today, abilities, prices, budgets })
    }

    /// What is said of days and accounts.
    pub(super) fn money(&self) -> Money<'_> {
        let Self { prices, budgets, spent_today, waiting, .. } = self;
        Money { prices, budgets: *budgets, spent_today: *spent_today, waiting }
    }

    /// The accounts that may take jobs for this place.
    fn left_on<'a>(
        &'a self,
        ability: &'a Ability,
        pinned_to: Option<&'a PinnedTo>,
    ) -> impl Iterator<Item = LeftOn<'a>> {
        let accounts = ability.accounts.iter().zip(&ability.budgets).zip(&self.accounts);
        let takes = move |account: &CreatingAccount| {
            pinned_to.is_none_or(|only| only.allows(&account.name, account.region.as_ref()))
        };
        accounts.filter(move |((account, _), _)| takes(account)).map(|((account, budget), status)| LeftOn {
            name: &account.name,
            budget: *budget,
            left: status.spent_today.left_of(*budget),
        })
    }

    /// The images of the job of this model and place that goes next; 1 where none is known.
    fn images_next(&self, model: Model, pinned_to: Option<&PinnedTo>) -> u32 {
        self.waiting.images_next(model, |place| place == pinned_to)
    }

    /// Budgets of the day that these wait for: models and places, each with the images of the job that goes next.
    fn day_waits(&self, nexts: impl Iterator<Item = (Model, Option<PinnedTo>, u32)>) -> Vec<WaitsFor> {
        let (money, until) = (self.money(), next_money(self.now));
        let mut waits = Vec::new();
        let mut add = |account: Option<&AccountName>, budget: Option<Micros>, purse: &Purse| {
            let too_small = budget.is_some_and(|budget| budget < purse.next_job);
            let wait = match too_small {
                true => WaitsFor::too_small(account.cloned()),
                false => WaitsFor::of_day(account.cloned(), until),
            };
            if !waits.contains(&wait) {
                waits.push(wait);
            }
        };
        for (model, pinned_to, images) in nexts {
            let purse = money.purse_for(model, images);
            if purse.is_empty() {
                add(None, purse.per_day, &purse);
                continue;
            }
            let Some(ability) = self.abilities.iter().find(|ability| ability.model == model) else {
                continue;
            };
            let on: Vec<_> = self.left_on(ability, pinned_to.as_ref()).collect();
            // As long as one has room, nobody waits for the others.
            if on.iter().all(|of| of.left.is_some_and(|left| left < purse.next_job)) {
                on.into_iter().for_each(|of| add(Some(of.name), of.budget, &purse));
            }
        }
        waits
    }

    /// Budgets of the day that anything waits for.
    pub(super) fn waits_for(&self) -> Vec<WaitsFor> {
        let waiting = self.waiting.jobs.iter().filter(|of| of.jobs > 0);
        self.day_waits(waiting.map(|of| (of.model, of.pinned_to.clone(), of.images_next.unwrap_or(1))))
    }

    /// Whether the budgets of the day have no room for so many jobs of each, if all are like the smallest of those that go next.
    fn is_short(&self, of: &WaitingJobs, jobs: &impl Fn(&WaitingJobs) -> u64) -> bool {
        let images = |of: &WaitingJobs| jobs(of).saturating_mul(of.images_next.unwrap_or(1).into());
        let cost = |of: &WaitingJobs| self.prices.per_image(of.model).times(images(of)).0;
        let all = self.waiting.jobs.iter().map(cost).fold(0, i64::saturating_add);
        if self.spent_today.left_of(self.budgets.per_day).is_some_and(|left| left.0 < all) {
            return true;
        }
        let Some(ability) = self.abilities.iter().find(|ability| ability.model == of.model) else {
            return false;
        };
        let left: Option<Vec<_>> = self.left_on(ability, of.pinned_to.as_ref()).map(|on| on.left).collect();
        left.is_some_and(|left| left.iter().map(|left| left.0).fold(0, i64::saturating_add) < cost(of))
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
            let within = |(of, eta): (WaitingJobs, Eta)| match eta {
                Eta::At(_) | Eta::FewEnds if jobs(&of) > 0 && self.is_short(&of, &jobs) => (of, Eta::Budget),
                eta => (of, eta),
            };
            here.into_iter().zip(etas).map(within).collect::<Vec<_>>()
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
    // What has no turn for want of money is in no estimate.
    if !queue.waiting_batches().await?.is_empty() {
        return Ok(Some(BatchEta::Unknown(Eta::Budget, None)));
    }
    let latest = match jobs.queued {
        0 => outlook.in_flight(|_| true),
        _ => Outlook::latest(outlook.etas(), |of| of.jobs > 0),
    };
    Ok(latest.map(|(eta, pinned_to)| BatchEta::of(eta, pinned_to, outlook.delayed)))
}

/// Budgets that a queued job waits for, or the others of its batch before it.
///
/// # Errors
///
/// Redis is away or refuses.
pub(super) async fn waits_of_job(
    queue: &Queue,
    settings: &Settings,
    job: &Job,
) -> Result<Vec<WaitsFor>, QueueError> {
    let outlook = Outlook::look(queue, settings).await?;
    if !matches!(job.state, JobState::Queued { due, .. } if due <= outlook.now) {
        return Ok(Vec::new());
    }
    let batch = match &job.batch {
        Some(name) => queue.batch(Some(name)).await?,
        None => None,
    };
    let of_batch = batch.filter(|batch| !batch.paused).and_then(|batch| batch.waits_since);
    // It waits behind the others of its lane, and for money of its own.
    let images = outlook.images_next(job.model, job.pinned_to.as_ref()).max(job.images_max.into());
    let of_days = outlook.day_waits(std::iter::once((job.model, job.pinned_to.clone(), images)));
    Ok(of_batch.map(WaitsFor::of_batch).into_iter().chain(of_days).collect())
}

/// When a batch will be over; `None` where nothing of it goes on by itself. And the budgets of the day that jobs of it wait for.
///
/// # Errors
///
/// Redis is away or refuses.
pub(super) async fn eta_of_batch(
    queue: &Queue,
    settings: &Settings,
    name: &BatchName,
    batch: &BatchView,
) -> Result<(Option<BatchEta>, Vec<WaitsFor>), QueueError> {
    if batch.state != BatchState::Running || batch.jobs.left() == 0 {
        return Ok((None, Vec::new()));
    }
    let outlook = Outlook::look(queue, settings).await?;
    let lanes = queue.lanes_of_batch(Some(name)).await?;
    let nexts = lanes.images_next.iter();
    let nexts = nexts.map(|((model, pinned_to), images)| (*model, pinned_to.clone(), *images));
    let waits = outlook.day_waits(nexts);
    let least = Model::ALL.into_iter().map(|model| outlook.prices.per_image(model)).min().unwrap_or_default();
    if batch.is_short(least) {
        return Ok((Some(BatchEta::Unknown(Eta::Budget, None)), waits));
    }
    Ok((eta_by_lanes(queue, name, batch, &outlook, &lanes).await?, waits))
}

async fn eta_by_lanes(
    queue: &Queue,
    name: &BatchName,
    batch: &BatchView,
    outlook: &Outlook,
    lanes: &BatchLanes,
) -> Result<Option<BatchEta>, QueueError> {
    let left = batch.jobs.left();
    let latest = outlook.of_batch(lanes, batch.jobs.queued);
    if let Some((eta @ (Eta::Stopped | Eta::Budget), pinned_to)) = latest {
        return Ok(Some(BatchEta::Unknown(eta, pinned_to)));
    }
    let ends = queue.ended_lately(name).await?;
    if let Some(at) = eta_by_ends(outlook.now, &ends, left) {
        return Ok(Some(BatchEta::AtPace(at)));
    }
    // Where more waits than was counted, the latest is not known.
    let latest = latest.filter(|_| outlook.waiting.no_turn.is_some());
    Ok(latest.map(|(eta, pinned_to)| BatchEta::of(eta, pinned_to, lanes.delayed)))
}
