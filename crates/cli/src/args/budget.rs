//! `imagemill batch budget`, and `--budget` of `enqueue`.

use clap::Args;
use job::{BatchName, Micros};
use queue::BatchBudget;

/// Show what may be spent on a batch, or change it
#[derive(Debug, Args)]
#[command(after_help = "\
The most that a job can cost is reserved before its task is created, and what is billed takes its place. Jobs that do not fit wait, and
go on when money is given back or the budget is raised. The next job of each model and priority decides whether there is room.
`worker --until-idle`, `watch` and `--wait` do not end while jobs wait for a budget.

Examples:
  imagemill batch budget spring             # what is spent, of what
  imagemill batch budget spring 25.00
  imagemill batch budget spring none        # no budget, whatever the settings say
  imagemill batch budget spring default     # that of the settings, `budget.per_batch`")]
pub(crate) struct BudgetBatch {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,

    /// An amount in the currency of the prices, `none`, or `default`
    #[arg(value_name = "AMOUNT", value_parser = budget, allow_negative_numbers = true)]
    pub(crate) amount: Option<BatchBudget>,
}

/// An amount, or one of the two words.
pub(super) fn budget(text: &str) -> Result<BatchBudget, String> {
    match text {
        "none" => Ok(BatchBudget::Unlimited),
        "default" => Ok(BatchBudget::OfSettings),
        amount => {
            let read = amount.parse::<Micros>().map(BatchBudget::Own);
            read.map_err(|why| format!("{why}; `none` and `default` may be said as well"))
        }
    }
}
