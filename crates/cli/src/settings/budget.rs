//! `[budget]`: what may be spent.

use queue::Budgets;

use super::layers::section;
use super::rules::Money;

section! {
    /// What may be spent, in the currency of `[prices]`. The most that a job can cost is reserved before its task is created, and what is
    /// billed takes its place; jobs that do not fit wait, and go on when there is room. Every worker must have the same.
    BudgetSection {
        /// On everything, in one UTC day; "0" is nothing. Not set: no budget.
        per_day: Option<Money> = None, example "100.00";
        /// On each batch that has no budget of its own (`enqueue --budget`, `batch budget`); "0" is nothing. Not set: no budget.
        per_batch: Option<Money> = None, example "50.00";
    }
}

impl BudgetSection {
    /// For workers, and for what people are told.
    pub(crate) fn budgets(&self) -> Budgets {
        let amount = |money: Option<Money>| money.map(|money| money.0);
        Budgets { per_day: amount(self.per_day.value), per_batch: amount(self.per_batch.value) }
    }
}
