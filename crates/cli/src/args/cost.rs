//! `imagemill cost`.

use clap::{Args, ValueEnum};
use job::{AccountName, BatchName, Day};

/// Say what was billed: images and cost by day, batch, model and account.
///
/// A day is one of UTC, the one on which a task was seen to have ended. Amounts are by the prices of the settings at that time; the
/// provider's bill is what counts. What was billed is remembered for good, also of batches that were removed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imagemill cost                                          # the last 30 days, by day and model
  imagemill cost --by batch --since 2026-11-01
  imagemill cost --by day,account --format csv > cost.csv
  imagemill cost --batch spring --json | jq .total.cost.amount")]
pub(crate) struct CostArgs {
    /// From this day on [default: 30 days, today among them]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) since: Option<Day>,

    /// To this day, which is among them [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) until: Option<Day>,

    /// What there is a row for, in this order
    #[arg(long, value_name = "KEYS", value_delimiter = ',', default_value = "day,model")]
    pub(crate) by: Vec<CostBy>,

    /// Only this batch
    #[arg(long, value_name = "NAME")]
    pub(crate) batch: Option<BatchName>,

    /// Only this account
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountName>,

    /// How it is printed [default: table; with --json: json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<CostFormat>,
}

/// What costs are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CostBy {
    /// The UTC day.
    Day,
    /// The batch.
    Batch,
    /// The model.
    Model,
    /// The account.
    Account,
}

/// How costs are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CostFormat {
    /// For people, with a total.
    Table,
    /// For spreadsheets, without one.
    Csv,
    /// For programs, with a total.
    Json,
}
