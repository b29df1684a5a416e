//! Budgets as scripts and people see them: what may be spent, what is, and what waits for it.

use job::{AccountName, Micros, Model, PinnedTo, Prices, Timestamp};
use queue::{
    AccountLimits, AccountStatus, BatchBudget, BatchSummary, Budgets, Purse, Spent, Waiting, WaitingBatch,
};
use serde::Serialize;

use super::batch::Cost;
use super::table::pairs;
use super::words::{money, relative};

/// A budget, and what is spent of it. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BudgetView {
    /// What may be spent; null: as much as it takes.
    pub(crate) limit: Option<Cost>,
    /// What the billed images cost.
    pub(crate) booked: Cost,
    /// The most that attempts may cost of which that is not known yet.
    pub(crate) reserved: Cost,
}

impl BudgetView {
    /// A budget in the currency of the settings.
    pub(crate) fn new(limit: Option<Micros>, spent: Spent, currency: &str) -> Self {
        let cost = |amount| Cost::new(amount, currency);
        Self { limit: limit.map(cost), booked: cost(spent.booked), reserved: cost(spent.reserved) }
    }

    /// What is spent of what, and what is reserved.
    pub(crate) fn in_words(&self) -> String {
        let reserved = match self.reserved.micros {
            0 => String::new(),
            micros => format!(", {} reserved", Micros(micros)),
        };
        let booked = Micros(self.booked.micros);
        match &self.limit {
            Some(limit) => {
                format!("{booked} of {} spent{reserved}", money(Micros(limit.micros), &limit.currency))
            }
            None => format!("{} spent{reserved}", money(booked, &self.booked.currency)),
        }
    }
}

/// Prices, budgets, and what is spent today: what is said of days and accounts goes by it.
#[derive(Debug)]
pub(crate) struct Money<'a> {
    /// What images cost.
    pub(crate) prices: &'a Prices,
    /// What may be spent.
    pub(crate) budgets: Budgets,
    /// What is spent today on everything.
    pub(crate) spent_today: Spent,
    /// What waits to be claimed.
    pub(crate) waiting: &'a Waiting,
}

impl Money<'_> {
    /// What holds back creates of a model, where the places that `is_asked` for are those that count.
    pub(crate) fn purse(&self, model: Model, is_asked: impl Fn(Option<&PinnedTo>) -> bool) -> Purse {
        self.purse_for(model, self.waiting.images_next(model, is_asked))
    }

    /// What holds back a job of so many images.
    pub(crate) fn purse_for(&self, model: Model, images: u32) -> Purse {
        let next_job = self.prices.per_image(model).times(images.into());
        Purse { next_job, per_day: self.budgets.per_day, spent_today: self.spent_today }
    }

    /// The budget of the day, where there is one.
    pub(crate) fn of_day(&self) -> Option<BudgetView> {
        let limit = self.budgets.per_day?;
        Some(BudgetView::new(Some(limit), self.spent_today, &self.prices.currency))
    }

    /// That of an account.
    pub(crate) fn of_account(&self, status: &AccountStatus, limits: &AccountLimits) -> Option<BudgetView> {
        let limit = limits.cost_per_day?;
        Some(BudgetView::new(Some(limit), status.spent_today, &self.prices.currency))
    }
}

/// A budget that jobs wait for. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WaitsFor {
    /// `batch`, `day` or `account`: whose it is.
    pub(crate) budget: &'static str,
    /// The account, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<AccountName>,
    /// Since when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// When it begins anew. Before that, money may be given back, or the budget raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// Whether it is less than the next job can cost, so that waiting does not help.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) too_small: bool,
}

impl WaitsFor {
    /// The batch's.
    pub(crate) fn of_batch(since: Timestamp) -> Self {
        Self { budget: "batch", account: None, since: Some(since), until: None, too_small: false }
    }

    /// That of the day, on everything or (with its name) on one account.
    pub(crate) fn of_day(account: Option<AccountName>, until: Option<Timestamp>) -> Self {
        let budget = if account.is_some() { "account" } else { "day" };
        Self { budget, account, since: None, until, too_small: false }
    }

    /// The same where the whole of it is less than the next job can cost.
    pub(crate) fn too_small(account: Option<AccountName>) -> Self {
        Self { too_small: true, ..Self::of_day(account, None) }
    }

    /// Which, and until when.
    pub(crate) fn in_words(&self, now: Timestamp) -> String {
        let whose = match &self.account {
            Some(account) => format!("the day's budget of account {account}"),
            None if self.budget == "day" => "the budget of the day".to_owned(),
            None => "the budget of the batch".to_owned(),
        };
        let when = match (self.since, self.until) {
            _ if self.too_small => {
                " (all of it is less than the next job can cost: it has to be raised)".to_owned()
            }
            (Some(since), _) => format!(" (since {})", relative(since, now)),
            (None, Some(until)) => format!(" (it begins anew {})", relative(until, now)),
            (None, None) => String::new(),
        };
        whose + &when
    }
}

/// What jobs wait for, as a part of a sentence.
pub(crate) fn waits_in_words(waits: &[WaitsFor], now: Timestamp) -> String {
    let all: Vec<String> = waits.iter().map(|waits| waits.in_words(now)).collect();
    format!("jobs wait for {}", all.join(" and "))
}

/// A batch of which jobs wait for its budget, in `status`. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct WaitingBatchView {
    batch: String,
    since: Timestamp,
    #[serde(flatten)]
    budget: BudgetView,
}

impl WaitingBatchView {
    /// A batch that waits, where the settings have `per_batch`.
    pub(crate) fn new(batch: &WaitingBatch, per_batch: Option<Micros>, currency: &str) -> Self {
        let budget = BudgetView::new(batch.budget.under(per_batch), batch.spent, currency);
        Self { batch: batch.name.to_string(), since: batch.since, budget }
    }

    /// A line of the status.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        let (batch, since, spent) = (&self.batch, relative(self.since, now), self.budget.in_words());
        format!(
            "budget: jobs of batch {batch} wait for its budget since {since}: {spent} (`imagemill batch budget {batch} AMOUNT`)"
        )
    }
}

/// What `batch budget --json` prints. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct BatchBudgetView {
    batch: Option<String>,
    /// Where the budget is from: `batch`, its own (which may be none), or `settings`.
    of: &'static str,
    #[serde(flatten)]
    budget: BudgetView,
    waits_for: Vec<WaitsFor>,
}

impl BatchBudgetView {
    /// A batch's budget, where the settings have `per_batch`.
    pub(crate) fn new(summary: &BatchSummary, per_batch: Option<Micros>, currency: &str) -> Self {
        Self {
            batch: summary.name.as_ref().map(ToString::to_string),
            of: if summary.budget == BatchBudget::OfSettings { "settings" } else { "batch" },
            budget: BudgetView::new(summary.budget.under(per_batch), summary.spent(), currency),
            waits_for: summary.waits_since.map(WaitsFor::of_batch).into_iter().collect(),
        }
    }

    /// For people.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        let limit = self.budget.limit.as_ref().map(|limit| money(Micros(limit.micros), &limit.currency));
        let limit = match (limit, self.of) {
            (Some(limit), "batch") => format!("{limit}, its own"),
            (Some(limit), _) => format!("{limit}, by `budget.per_batch` of the settings"),
            (None, "batch") => "none, whatever the settings say".to_owned(),
            (None, _) => "none".to_owned(),
        };
        let mut rows = vec![
            ("batch", self.batch.clone().unwrap_or_default()),
            ("budget", limit),
            ("spent", money(Micros(self.budget.booked.micros), &self.budget.booked.currency)),
            ("reserved", money(Micros(self.budget.reserved.micros), &self.budget.reserved.currency)),
        ];
        if !self.waits_for.is_empty() {
            rows.push(("state", waits_in_words(&self.waits_for, now)));
        }
        pairs(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_is_spent_is_exact_and_says_of_what() {
        let spent = Spent { booked: Micros(9_975_000), reserved: Micros(150_000) };
        let said = |limit, spent| BudgetView::new(limit, spent, "USD").in_words();
        assert_eq!(said(Some(Micros(10_000_000)), spent), "9.975 of 10.00 USD spent, 0.15 reserved");
        assert_eq!(said(None, Spent { reserved: Micros(0), ..spent }), "9.975 USD spent");
    }

    #[test]
    fn jobs_say_which_budgets_they_wait_for_and_until_when() {
        let waits = [
            WaitsFor::of_batch(at(40)),
            WaitsFor::of_day(None, Some(at(3_700))),
            WaitsFor::of_day(Some("singapore".parse().unwrap()), Some(at(3_700))),
            WaitsFor::too_small(None),
        ];
        insta::assert_snapshot!(waits_in_words(&waits, at(100)), @"jobs wait for the budget of the batch (since 1m 00s ago) and the budget of the day (it begins anew in 1h 00m) and the day's budget of account singapore (it begins anew in 1h 00m) and the budget of the day (all of it is less than the next job can cost: it has to be raised)");
        insta::assert_snapshot!(serde_json::to_string(&waits).unwrap(), @r#"[{"budget":"batch","since":"1970-01-01T00:00:40Z"},{"budget":"day","until":"1970-01-01T01:01:40Z"},{"budget":"account","account":"singapore","until":"1970-01-01T01:01:40Z"},{"budget":"day","too_small":true}]"#);
    }
}
