//! Budgets: what may be spent on a batch, and in a UTC day on an account and on everything.
//!
//! A claim for submit reserves the most that its job can cost, and is granted only if that fits (`lua/claim_submit.lua`); what is billed
//! takes the place of what was reserved when the task ends (`plan.rs`). So claims never exceed a budget. An attempt of which nobody knows
//! what it costs keeps its part, also while its job is held for a person. What can exceed a budget: a second task of one job (a person had
//! it sent again, or the first one's answer came after all), a task that brings more images than were asked for, a price that was raised
//! while a task ran. All of these are booked in the ledger, and count for the day, the
//! account and the batch.
//!
//! The next job decides: one for which a day or an account has no room holds back the other jobs of its model on that account, in a batch
//! those of its model, place and priority.
//!
//! Owns a batch's own budget, which batches wait for theirs, and what is spent. Who brings them back is `worker::budgets`.

use std::collections::HashMap;
use std::time::Duration;

use job::{BatchName, Micros, Model, Prices, Timestamp};

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::{BRING_BACK, SET_BUDGET};

/// How far from midnight the budgets of both days hold. Source: ours; the clocks of workers, as they estimate Redis's, are far less apart.
pub(crate) const NEAR_MIDNIGHT: Duration = Duration::from_secs(60);

/// How many batches one call looks at. Source: ours; some 200 short reads, under a millisecond of Redis's time.
const BATCHES: usize = 100;

/// How many batches that wait are listed for people. Source: ours; more than anybody reads.
const LISTED: isize = 100;

/// What may be spent, in the currency of the prices. An account's own budget is one of its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    /// On everything, in one UTC day. 0: nothing.
    pub per_day: Option<Micros>,
    /// On each batch that has no budget of its own. 0: nothing.
    pub per_batch: Option<Micros>,
}

/// What a batch says of its budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BatchBudget {
    /// Nothing: that of the settings holds, if they have one.
    #[default]
    OfSettings,
    /// It has none, whatever the settings say.
    Unlimited,
    /// Its own.
    Own(Micros),
}

impl BatchBudget {
    /// What holds, where the settings have `per_batch`.
    pub fn under(self, per_batch: Option<Micros>) -> Option<Micros> {
        match self {
            Self::OfSettings => per_batch,
            Self::Unlimited => None,
            Self::Own(amount) => Some(amount),
        }
    }

    pub(crate) fn read(field: Option<&str>) -> Self {
        match field {
            None => Self::OfSettings,
            Some(text) => text.parse().map_or(Self::Unlimited, |micros| Self::Own(Micros(micros))),
        }
    }

    fn field(self) -> String {
        match self {
            Self::OfSettings => String::new(),
            Self::Unlimited => "none".to_owned(),
            Self::Own(amount) => amount.0.to_string(),
        }
    }
}

/// Money that is spent, and that may yet be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// What the billed images cost.
    pub booked: Micros,
    /// The most that attempts may cost of which that is not known yet.
    pub reserved: Micros,
}

impl Spent {
    /// Both together.
    pub fn total(self) -> Micros {
        Micros(self.booked.0.saturating_add(self.reserved.0))
    }
}

impl Spent {
    /// What a budget has left, where there is one.
    pub fn left_of(self, budget: Option<Micros>) -> Option<Micros> {
        budget.map(|budget| Micros(budget.0.saturating_sub(self.total().0).max(0)))
    }
}

/// What holds back creates of a model for money, on every account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purse {
    /// The most that the cheapest of the jobs that may go next can cost: so much is reserved when it is claimed.
    pub next_job: Micros,
    /// The budget of the day for everything.
    pub per_day: Option<Micros>,
    /// What is spent today, on everything.
    pub spent_today: Spent,
}

impl Purse {
    /// Whether the day has no room for that job.
    pub fn is_empty(&self) -> bool {
        self.spent_today.left_of(self.per_day).is_some_and(|left| left < self.next_job)
    }

    /// Whether an account has none, for a budget of its own.
    pub fn is_empty_on(&self, spent_today: Spent, cost_per_day: Option<Micros>) -> bool {
        spent_today.left_of(cost_per_day).is_some_and(|left| left < self.next_job)
    }
}

/// A batch of which jobs wait for its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingBatch {
    /// The batch.
    pub name: BatchName,
    /// Since when.
    pub since: Timestamp,
    /// Its own budget.
    pub budget: BatchBudget,
    /// What it has spent.
    pub spent: Spent,
}

/// The UTC days on which a commit may book at about this time: twice the same, but around midnight.
pub(crate) fn days_that_hold(now: Timestamp) -> [String; 2] {
    [now - NEAR_MIDNIGHT, now + NEAR_MIDNIGHT].map(|time| time.strftime("%Y-%m-%d").to_string())
}

/// An amount for a script; none is negative.
pub(crate) fn in_micros(budget: Option<Micros>) -> String {
    budget.map_or_else(|| "-1".to_owned(), |amount| amount.0.max(0).to_string())
}

impl Queue {
    /// Sets a batch's own budget, for a batch that may not be there yet; `false`: there is no such batch, and it had to be there.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn set_budget(
        &self,
        batch: &BatchName,
        budget: BatchBudget,
        must_exist: bool,
    ) -> Result<bool, QueueError> {
        let keys = [self.keys().batch(Some(batch))];
        let args = [budget.field(), u8::from(must_exist).to_string()];
        let mut reply = self.script("set_budget", &SET_BUDGET, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(reply.int()? == 1)
    }

    /// Gives lanes their turns again whose batch has room in its budget by now. Returns how many; repeating it is harmless.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn bring_back(&self, prices: &Prices, per_batch: Option<Micros>) -> Result<u64, QueueError> {
        let keys = [self.keys().waiting_batches(), self.keys().events()];
        let prices: HashMap<_, _> = Model::ALL
            .into_iter()
            .map(|model| (model.as_str(), prices.per_image(model).0.to_string()))
            .collect();
        let args = [
            self.keys().prefix().to_owned(),
            BATCHES.to_string(),
            in_micros(per_batch),
            serde_json::to_string(&prices).expect("prices are plain data and always serialize"),
        ];
        let mut reply = self.script("bring_back", &BRING_BACK, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(u64::try_from(reply.int()?).unwrap_or(0))
    }

    /// Batches of which jobs wait for their budget: those that were looked at longest ago, a hundred at most.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn waiting_batches(&self) -> Result<Vec<WaitingBatch>, QueueError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys().waiting_batches()).arg(0).arg(LISTED - 1);
        let names: Vec<String> = self.link().query(&command).await?;
        let names: Vec<BatchName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for name in &names {
            let mut fields = redis::cmd("HMGET");
            fields.arg(self.keys().batch(Some(name)));
            fields.arg("waits_since").arg("budget").arg("cost").arg("extra_cost").arg("reserved_cost");
            pipeline.add_command(fields);
        }
        type Fields = (Option<i64>, Option<String>, Option<i64>, Option<i64>, Option<i64>);
        let all: Vec<Fields> = self.link().pipeline(&pipeline).await?;
        let waiting =
            names.into_iter().zip(all).filter_map(|(name, (since, budget, cost, extra, reserved))| {
                let since = Timestamp::from_millisecond(since?).ok()?;
                let booked = Micros(cost.unwrap_or(0).saturating_add(extra.unwrap_or(0)));
                let reserved = Micros(reserved.unwrap_or(0));
                let budget = BatchBudget::read(budget.as_deref());
                Some(WaitingBatch { name, since, budget, spent: Spent { booked, reserved } })
            });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by(|a, b| (a.since, &a.name).cmp(&(b.since, &b.name)));
        Ok(waiting)
    }

    /// What is spent today (UTC), on everything.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn spent_today(&self) -> Result<Spent, QueueError> {
        let day = self.now().strftime("%Y-%m-%d").to_string();
        let mut pipeline = redis::pipe();
        pipeline.hget(self.keys().ledger(&day), "cost").hget(self.keys().counts(), "reserved_cost");
        let (booked, reserved): (Option<i64>, Option<i64>) = self.link().pipeline(&pipeline).await?;
        Ok(Spent { booked: Micros(booked.unwrap_or(0)), reserved: Micros(reserved.unwrap_or(0)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_days_hold_around_midnight_and_else_one() {
        let days = |time: &str| days_that_hold(time.parse().unwrap());
        assert_eq!(days("2026-11-26T12:00:00Z"), ["2026-11-26", "2026-11-26"]);
        assert_eq!(days("2026-11-26T23:59:30Z"), ["2026-11-26", "2026-11-27"]);
        assert_eq!(days("2026-11-27T00:00:30Z"), ["2026-11-26", "2026-11-27"]);
        assert_eq!(days("2026-11-27T00:01:00Z"), ["2026-11-27", "2026-11-27"]);
        let next = |time: &str| crate::waiting::next_money(time.parse().unwrap()).unwrap().to_string();
        assert_eq!(next("2026-11-26T12:00:00Z"), "2026-11-27T00:01:00Z");
        assert_eq!(next("2026-11-27T00:00:30Z"), "2026-11-27T00:01:00Z");
        assert_eq!(next("2026-11-27T00:01:30Z"), "2026-11-28T00:01:00Z");
    }

    #[test]
    fn a_batch_goes_by_its_own_budget_and_else_by_that_of_the_settings() {
        let (own, settings) = (Micros(10_000_000), Some(Micros(50_000_000)));
        for budget in [BatchBudget::OfSettings, BatchBudget::Unlimited, BatchBudget::Own(own)] {
            let field = budget.field();
            assert_eq!(BatchBudget::read((!field.is_empty()).then_some(field.as_str())), budget);
        }
        assert_eq!(BatchBudget::OfSettings.under(settings), settings);
        assert_eq!(BatchBudget::Unlimited.under(settings), None);
        assert_eq!(BatchBudget::Own(own).under(settings), Some(own));
    }
}
