//! `batch budget`, and what `enqueue --budget` sets.

use job::{BatchName, Timestamp};
use queue::{BatchBudget, Queue};

use super::batch::no_batch;
use crate::app::{App, queue_failure};
use crate::args::BudgetBatch;
use crate::exit_code;
use crate::failure::Failure;
use crate::output::budget::BatchBudgetView;

/// Shows a batch's budget, after it was changed if that was asked for.
pub(super) async fn batch(app: &App, args: BudgetBatch) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    if let Some(budget) = args.amount {
        let failed = |error| queue_failure(error, "set the budget");
        if !queue.set_budget(&args.name, budget, true).await.map_err(failed)? {
            return Err(no_batch(&args.name));
        }
        // Workers look once a second; where none runs, what is shown below is as true.
        queue.bring_back(&settings.prices(), settings.budgets().per_batch).await.map_err(failed)?;
    }
    let summary = queue.batch(Some(&args.name)).await;
    let summary = summary.map_err(|error| queue_failure(error, "read the batch"))?;
    let summary = summary.ok_or_else(|| no_batch(&args.name))?;
    let view = BatchBudgetView::new(&summary, settings.budgets().per_batch, &settings.prices().currency);
    if app.out.json {
        app.out.print_json(&view)?;
    } else {
        let now: Timestamp = queue.now();
        app.out.print(&view.render(now))?;
    }
    Ok(exit_code::DONE)
}

/// Sets what `enqueue --budget` says, before the first job is there: none of them is claimed without it.
pub(super) async fn before_enqueue(
    queue: &Queue,
    batch: Option<&BatchName>,
    budget: Option<BatchBudget>,
) -> Result<(), Failure> {
    let (Some(batch), Some(budget)) = (batch, budget) else { return Ok(()) };
    let set = queue.set_budget(batch, budget, false).await;
    set.map(drop).map_err(|error| queue_failure(error, "set the budget"))
}
