//! Jobs that no budget will ever pay for: a claim reserves the most that its job can cost, all at once. They are enqueued all the same, since
//! a budget can be raised, and it is said. Asks for the batch's own budget; the rest is pure.

use dashscope::Model;
use job::{AccountName, BatchName, Micros, PinnedTo, Prices, RegionName};
use queue::{BatchBudget, Queue, QueueError};

use crate::input::work::{Share, Work};
use crate::output::words::{counted, money};
use crate::settings::{Account, Settings};

/// An account as budgets see it: whether it takes jobs for a place, and what may be spent there in a day.
struct Spender {
    name: AccountName,
    region: Option<RegionName>,
    per_day: Option<Micros>,
}

impl Spender {
    fn of(account: &Account) -> Self {
        Self {
            name: account.name().clone(),
            region: account.region(),
            // It is the account's, whatever the model.
            per_day: account.limits_of(Model::Wan27Image).cost_per_day,
        }
    }
}

/// What may be spent on some jobs.
struct MayBeSpent<'a> {
    /// The batch, where there is one, and what it says of its budget.
    batch: Option<(&'a BatchName, BatchBudget)>,
    /// What holds where it says nothing.
    settings: queue::Budgets,
    /// The accounts.
    accounts: &'a [Spender],
}

/// What is to be said of jobs that cost more than a whole budget, by what the batch says of its own now, or would by `says`.
///
/// # Errors
///
/// Redis is away: nothing is known of the batch.
pub(crate) async fn made(
    queue: &Queue,
    settings: &Settings,
    batch: Option<&BatchName>,
    says: Option<BatchBudget>,
    work: &Work,
) -> Result<Vec<String>, QueueError> {
    let says = match (batch, says) {
        (Some(name), None) if work.jobs() > 0 => {
            queue.batch(Some(name)).await?.map(|batch| batch.budget).unwrap_or_default()
        }
        (_, says) => says.unwrap_or_default(),
    };
    Ok(by(settings, batch.map(|batch| (batch, says)), work))
}

/// What is to be said of jobs that cost more than a whole budget, where the batch says this of its own.
pub(super) fn by(settings: &Settings, batch: Option<(&BatchName, BatchBudget)>, work: &Work) -> Vec<String> {
    let accounts: Vec<Spender> = settings.accounts().iter().map(Spender::of).collect();
    sentences(
        work,
        &settings.prices(),
        &MayBeSpent { batch, settings: settings.budgets(), accounts: &accounts },
    )
}

/// A sentence for each kind of job of which the largest costs more than a whole budget.
fn sentences(work: &Work, prices: &Prices, may: &MayBeSpent<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for ((model, pinned_to), share) in &work.shares {
        let cost = prices.per_image(*model).times(share.largest.into());
        let of_batch = || {
            let (batch, budget) = may.batch?;
            let amount = budget.under(may.settings.per_batch)?;
            let whose = match budget {
                BatchBudget::Own(_) => "the budget of the batch",
                BatchBudget::OfSettings | BatchBudget::Unlimited => "`budget.per_batch`",
            };
            let raise = format!("{whose} is {}", money(amount, &prices.currency));
            (cost > amount).then(|| (raise, format!("raise it with `imagemill batch budget {batch} AMOUNT`")))
        };
        let of_day = || {
            let amount = may.settings.per_day.filter(|amount| cost > *amount)?;
            Some((format!("`budget.per_day` is {}", money(amount, &prices.currency)), "raise it".to_owned()))
        };
        let of_accounts = || {
            let takes = |spender: &&Spender| {
                let allows = |only: &PinnedTo| only.allows(&spender.name, spender.region.as_ref());
                pinned_to.as_ref().is_none_or(allows)
            };
            let budgets: Option<Vec<Micros>> =
                may.accounts.iter().filter(takes).map(|spender| spender.per_day).collect();
            let most = budgets?.into_iter().max().filter(|most| cost > *most)?;
            let most = money(most, &prices.currency);
            Some((
                format!("no account that takes it may spend more than {most} a day"),
                "raise `budget_per_day`".to_owned(),
            ))
        };
        let too_small = [of_batch(), of_day(), of_accounts()].into_iter().flatten();
        all.extend(
            too_small.map(|(why, try_this)| sentence(*model, share, cost, &prices.currency, &why, &try_this)),
        );
    }
    all
}

fn sentence(model: Model, share: &Share, cost: Micros, currency: &str, why: &str, try_this: &str) -> String {
    format!(
        "line {} can never be made: it asks for {} of {model}, at most {}, and {why}; it will wait, and the jobs behind it. \
         {}{}, or ask for fewer images",
        share.largest_line,
        counted(share.largest.into(), "image"),
        money(cost, currency),
        try_this[..1].to_uppercase(),
        &try_this[1..],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_costs_more_than_a_whole_budget_is_named_with_its_line_and_both_figures() {
        let share = Share { jobs: 3, images: 14, several: 1, largest: 12, largest_line: 7 };
        let shares = [((Model::Wan27Image, None), share)].into();
        let work = Work { shares, ..Work::default() };
        let batch: BatchName = "spring".parse().unwrap();
        let spender = |name: &str, per_day| Spender { name: name.parse().unwrap(), region: None, per_day };
        let accounts = |second| [spender("a", Some(Micros(100_000))), spender("b", second)];
        let said = |budget, per_batch, per_day, accounts: &[Spender]| {
            let settings = queue::Budgets { per_batch, per_day };
            let may = MayBeSpent { batch: Some((&batch, budget)), settings, accounts };
            sentences(&work, &Prices::default(), &may)
        };
        let (less, enough) = (Some(Micros(359_999)), Some(Micros(360_000)));
        insta::assert_snapshot!(said(BatchBudget::Own(Micros(300_000)), None, less, &accounts(less)).join("\n"), @r"
        line 7 can never be made: it asks for 12 images of wan2.7-image, at most 0.36 USD, and the budget of the batch is 0.30 USD; it will wait, and the jobs behind it. Raise it with `imagemill batch budget spring AMOUNT`, or ask for fewer images
        line 7 can never be made: it asks for 12 images of wan2.7-image, at most 0.36 USD, and `budget.per_day` is 0.359999 USD; it will wait, and the jobs behind it. Raise it, or ask for fewer images
        line 7 can never be made: it asks for 12 images of wan2.7-image, at most 0.36 USD, and no account that takes it may spend more than 0.359999 USD a day; it will wait, and the jobs behind it. Raise `budget_per_day`, or ask for fewer images
        ");
        insta::assert_snapshot!(said(BatchBudget::OfSettings, less, None, &[]).join("\n"), @"line 7 can never be made: it asks for 12 images of wan2.7-image, at most 0.36 USD, and `budget.per_batch` is 0.359999 USD; it will wait, and the jobs behind it. Raise it with `imagemill batch budget spring AMOUNT`, or ask for fewer images");
        assert!(said(BatchBudget::OfSettings, enough, enough, &accounts(enough)).is_empty());
        assert!(said(BatchBudget::Unlimited, less, None, &accounts(None)).is_empty());
    }
}
