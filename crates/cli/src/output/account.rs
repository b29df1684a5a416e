//! An account in `status`: its places, what it may create, and what holds it back.

use std::collections::BTreeMap;

use job::{AccountName, Model, Opens, Timestamp};
use queue::{AccountLimits, AccountStatus, FigureSources, HandPause};
use serde::Serialize;

use super::budget::{BudgetView, Money};
use super::leftovers::LeftoversView;
use super::limits::LimitsView;
use super::table::{Column, table};
use super::words::{count, counted, relative, span};

/// One account.
#[derive(Debug, Serialize)]
pub(crate) struct AccountView {
    /// Its name.
    pub(crate) account: String,
    /// Each model: places at the provider.
    pub(crate) models: Vec<ModelView>,
    /// Calls that are held back for everyone, for a moment.
    pub(crate) pauses: Vec<PauseView>,
    /// Calls that nobody makes until a probe shows that they work again.
    pub(crate) breakers: Vec<BreakerView>,
    /// Calls that single workers leave alone, while others may make them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) workers_at_rest: Vec<RestView>,
    /// How often the breaker of each call has opened so far.
    pub(crate) breaker_openings: BTreeMap<String, u64>,
    /// Tasks that wait to be asked.
    pub(crate) polls: u64,
    /// When the first of them is, or was, due.
    pub(crate) first_poll_due_at: Option<Timestamp>,
    /// Tasks of all models that were created in the last minute.
    pub(crate) created_last_minute: u64,
    /// Images billed on this UTC day.
    pub(crate) images_today: u64,
    /// Images that attempts under way may yet bring.
    pub(crate) images_reserved: i64,
    /// The stop for one UTC day, where one is set.
    pub(crate) images_per_day_max: Option<u64>,
    /// What may be spent on it on this UTC day, where that is bounded, and what is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget_today: Option<BudgetView>,
    /// Tasks that no job accounts for.
    #[serde(flatten)]
    pub(crate) leftovers: LeftoversView,
}

/// One model of an account.
#[derive(Debug, Serialize)]
pub(crate) struct ModelView {
    /// The model.
    pub(crate) model: Model,
    /// Places that are, or may be, taken.
    pub(crate) slots_used: u64,
    /// All places: those that are processed at once, and those kept behind them.
    pub(crate) slots: u64,
    /// Those of them that may be taken now: fewer where the service refused more tasks at once.
    pub(crate) slots_allowed: u64,
    /// Before when no create goes out, as far as permits are spent ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_create_at: Option<Timestamp>,
    /// `now`: tasks may be created; `later`: from `creates_from` on; `stopped`: once a probe succeeds or a person resumes.
    pub(crate) creates: &'static str,
    /// From when on tasks may be created, with permits, pauses and the stop for the day's images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creates_from: Option<Timestamp>,
    /// What may be done.
    pub(crate) limits: LimitsView,
}

/// A call that single workers leave alone, for troubles that may be their own.
#[derive(Debug, Serialize)]
pub(crate) struct RestView {
    /// `create` or `query`.
    pub(crate) call: String,
    /// How many workers do.
    pub(crate) workers: u64,
    /// Until when the last of them does.
    pub(crate) until: Timestamp,
    /// Why that one does.
    pub(crate) why: String,
}

impl ModelView {
    /// Places that are taken, of those that may be; and of how many, where some may not.
    fn slots(&self) -> String {
        let taken = format!("{}/{}", self.slots_used, self.slots_allowed);
        if self.slots_allowed == self.slots { taken } else { format!("{taken} of {}", self.slots) }
    }

    /// When the next task may be created.
    fn creates(&self, now: Timestamp) -> String {
        self.creates_from.map_or_else(|| self.creates.to_owned(), |from| relative(from, now))
    }
}

/// A pause.
#[derive(Debug, Serialize)]
pub(crate) struct PauseView {
    /// `create`, `create:<model>` or `query`.
    pub(crate) call: String,
    /// Until when.
    pub(crate) until: Timestamp,
    /// Why.
    pub(crate) why: String,
}

/// A breaker that is open.
#[derive(Debug, Serialize)]
pub(crate) struct BreakerView {
    /// `create`, `create:<model>` or `query`.
    pub(crate) call: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// The code of what opened it.
    pub(crate) code: String,
    /// Why.
    pub(crate) why: String,
    /// When the next probe goes out, or (with one under way) when that counts as lost.
    pub(crate) next_probe_at: Timestamp,
    /// Whether a probe is under way.
    pub(crate) probing: bool,
    /// How often it has opened so far, this time with it.
    pub(crate) openings: u64,
}

impl AccountView {
    /// An account as the queue knows it, beside what the settings say.
    pub(crate) fn new(
        name: &AccountName,
        status: AccountStatus,
        leftovers: LeftoversView,
        limits: impl Fn(Model) -> (AccountLimits, FigureSources),
        by_hand: &[HandPause],
        money: &Money<'_>,
        now: Timestamp,
    ) -> Self {
        let model = |model: Model| {
            let (limits, sources) = limits(model);
            let slots = u64::from(limits.in_flight) + u64::from(limits.queue_ahead);
            let slots_allowed = status.places.get(&model).map_or(slots, |places| slots.min(*places));
            let next_create_at = status.next_creates.get(&model).copied();
            let slots_used = status.slots.get(&model).copied().unwrap_or(0);
            let (creates, creates_from) =
                match status.opens(name, model, &limits, by_hand, &money.purse(model, |_| true), now) {
                    Opens::Now => ("now", None),
                    Opens::At(at) => ("later", Some(at)),
                    Opens::Unknown => ("stopped", None),
                };
            let limits = LimitsView::new(limits, sources);
            ModelView {
                model,
                slots_used,
                slots,
                slots_allowed,
                next_create_at,
                creates,
                creates_from,
                limits,
            }
        };
        Self {
            account: name.to_string(),
            models: Model::ALL.into_iter().map(model).collect(),
            polls: status.polls,
            first_poll_due_at: status.first_poll_due,
            created_last_minute: status.created_lately,
            images_today: status.images_today,
            images_reserved: status.reserved,
            images_per_day_max: limits(Model::Wan27Image).0.images_per_day,
            budget_today: money.of_account(&status, &limits(Model::Wan27Image).0),
            leftovers,
            pauses: status
                .pauses
                .into_iter()
                .map(|pause| PauseView { call: pause.call, until: pause.until, why: pause.why })
                .collect(),
            workers_at_rest: status
                .at_rest
                .into_iter()
                .map(|rest| RestView {
                    call: rest.call.name().to_owned(),
                    workers: rest.workers,
                    until: rest.until,
                    why: rest.why,
                })
                .collect(),
            breakers: status
                .breakers
                .into_iter()
                .map(|breaker| BreakerView {
                    openings: status.openings.get(&breaker.call).copied().unwrap_or(0),
                    call: breaker.call,
                    since: breaker.since,
                    code: breaker.code,
                    why: breaker.why,
                    next_probe_at: breaker.next_probe,
                    probing: breaker.probing,
                })
                .collect(),
            breaker_openings: status.openings,
        }
    }

    /// What may be done with each model, a line each.
    pub(crate) fn limits(&self) -> impl Iterator<Item = String> {
        let line = |model: &ModelView| {
            format!("limits of {}, {}: {}", self.account, model.model, model.limits.words())
        };
        self.models.iter().map(line)
    }

    /// What is the matter with it, a line each.
    pub(crate) fn lines(&self, now: Timestamp) -> Vec<String> {
        let account = &self.account;
        let mut lines = self.leftovers.lines(account, now);
        lines.extend(
            self.budget_today
                .as_ref()
                .map(|budget| format!("budget of {account} today: {}", budget.in_words())),
        );
        lines.extend(self.breakers.iter().map(|breaker| breaker.line(account, now)));
        let left = |until: Timestamp| span(until.duration_since(now).unsigned_abs());
        lines.extend(self.workers_at_rest.iter().map(|rest| {
            let RestView { call, workers, until, why } = rest;
            let workers = counted(*workers, "worker");
            format!(
                "at rest: {call} of {account} at {workers}, for {}: {why}; other workers go on",
                left(*until)
            )
        }));
        lines.extend(self.pauses.iter().map(|pause| {
            format!("paused: {} of {account} for {}: {}", pause.call, left(pause.until), pause.why)
        }));
        lines
    }
}

impl BreakerView {
    /// What does not work, since when, why, and when that is tried again.
    fn line(&self, account: &str, now: Timestamp) -> String {
        let next = match (self.probing, self.next_probe_at > now) {
            (true, true) => "a probe is under way".to_owned(),
            (_, false) => "the next job is the probe".to_owned(),
            (false, true) => format!("next probe {}", relative(self.next_probe_at, now)),
        };
        format!(
            "open: {} of {account} since {} ({}): {}; its jobs stay queued, {next}",
            self.call,
            relative(self.since, now),
            self.code,
            self.why
        )
    }
}

/// The table of accounts and their models.
pub(crate) fn list(accounts: &[AccountView], now: Timestamp) -> String {
    let columns = [
        Column::Left("ACCOUNT"),
        Column::Left("MODEL"),
        Column::Right("SLOTS"),
        Column::Left("CREATES"),
        Column::Right("/MIN"),
        Column::Right("TO POLL"),
        Column::Left("NEXT POLL"),
        Column::Right("IMAGES TODAY"),
    ];
    let mut rows = Vec::new();
    for account in accounts {
        for (index, model) in account.models.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            let due = account.first_poll_due_at.map_or_else(String::new, |due| relative(due, now));
            let today = match account.images_per_day_max {
                Some(most) => format!("{} of {}", count(account.images_today), count(most)),
                None => count(account.images_today),
            };
            rows.push(vec![
                first(account.account.clone()),
                model.model.to_string(),
                model.slots(),
                model.creates(now),
                first(count(account.created_last_minute)),
                first(count(account.polls)),
                first(due),
                first(today),
            ]);
        }
    }
    table(&columns, rows)
}
