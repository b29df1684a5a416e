//! `cost`.

use std::time::Duration;

use job::Day;
use queue::LedgerLine;

use crate::app::{App, queue_failure};
use crate::args::{CostArgs, CostFormat};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::cost::CostView;

/// How many days are reported where nothing is said, today among them.
const DAYS: u64 = 30;

/// How many days are read at most. Source: ours; ten years, each a read of its own.
const DAYS_MAX: i32 = 3_653;

/// Says what was billed.
pub(super) async fn run(app: &App, args: CostArgs) -> Result<u8, Failure> {
    let format = format(app, &args)?;
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let until = args.until.unwrap_or_else(|| day(queue.now()));
    let before = Duration::from_secs((DAYS - 1) * 86_400);
    let since = args.since.unwrap_or_else(|| until.checked_sub(before).unwrap_or(Day::MIN));
    refuse_unclear(since, until)?;
    let lines = queue.ledger(since, until).await.map_err(|error| queue_failure(error, "read the ledger"))?;
    let asked = |line: &LedgerLine| {
        args.batch.as_ref().is_none_or(|batch| line.batch.as_ref() == Some(batch))
            && args.account.as_ref().is_none_or(|account| line.account == *account)
    };
    let lines: Vec<_> = lines.into_iter().filter(asked).collect();
    let view = CostView::new((since, until), &args.by, &lines, &settings.prices().currency);
    match format {
        CostFormat::Json => app.out.print_json(&view)?,
        CostFormat::Csv => app.out.print(&view.csv())?,
        CostFormat::Table if lines.is_empty() => {
            app.out.note(&format!("Nothing was billed from {since} to {until}."));
        }
        CostFormat::Table => app.out.print(&view.table())?,
    }
    Ok(exit_code::DONE)
}

/// The UTC day of a moment.
fn day(now: job::Timestamp) -> Day {
    now.strftime("%Y-%m-%d").to_string().parse().unwrap_or(Day::MAX)
}

fn format(app: &App, args: &CostArgs) -> Result<CostFormat, Failure> {
    match (app.out.json, args.format) {
        (true, None | Some(CostFormat::Json)) => Ok(CostFormat::Json),
        (true, Some(_)) => {
            let failure = Failure::message("--json and --format ask for different things");
            Err(failure.exit(exit_code::USAGE).hint("leave one of them away"))
        }
        (false, format) => Ok(format.unwrap_or(CostFormat::Table)),
    }
}

fn refuse_unclear(since: Day, until: Day) -> Result<(), Failure> {
    if until < since {
        let failure = Failure::message(format!("--until {until} is before --since {since}"));
        return Err(failure.exit(exit_code::USAGE).hint("both days are among those that are reported"));
    }
    let days = (until - since).get_days();
    if days >= DAYS_MAX {
        let failure = Failure::message(format!("from {since} to {until} are more than ten years"));
        return Err(failure.exit(exit_code::USAGE).hint("ask for fewer days at once"));
    }
    Ok(())
}
