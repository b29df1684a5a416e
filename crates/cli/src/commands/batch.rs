//! `batch ls` and `batch show`.

use job::BatchName;
use queue::{Cursor, PauseOf};

use super::outlook::eta_of_batch;
use crate::app::{App, queue_failure};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::batch::{BatchView, list as batch_list};
use crate::output::pauses::HandPauseView;
use crate::output::webhooks::DeliveryView;

/// Lists batches, newest first.
pub(super) async fn list(app: &App, limit: u16, cursor: Option<String>) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let cursor = parse_cursor(cursor.as_deref())?;
    let queue = app.queue(&settings).await?;
    let page = queue
        .batches(cursor.as_ref(), usize::from(limit))
        .await
        .map_err(|error| queue_failure(error, "list the batches"))?;
    let currency = settings.prices().currency;
    let batches: Vec<BatchView> =
        page.items.iter().map(|summary| BatchView::new(summary, &currency)).collect();
    let next = page.next.map(|cursor| cursor.to_string());
    if app.out.json {
        app.out.print_json(&serde_json::json!({ "batches": batches, "next": next }))?;
    } else if batches.is_empty() {
        app.out.note("There are no batches.");
    } else {
        app.out.print(&batch_list(&batches, queue.now()))?;
        if let Some(next) = next {
            app.out.note(&format!("\nMore: --cursor {next}"));
        }
    }
    Ok(exit_code::DONE)
}

/// Shows one batch.
pub(super) async fn show(app: &App, name: BatchName) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let summary = queue.batch(Some(&name)).await.map_err(|error| queue_failure(error, "read the batch"))?;
    let summary = summary.ok_or_else(|| no_batch(&name))?;
    let failed = |error| queue_failure(error, "read the batch");
    let view = BatchView::new(&summary, &settings.prices().currency);
    let view = view.with_budget(&summary, settings.budgets().per_batch);
    let (eta, waits) = eta_of_batch(&queue, &settings, &name, &view).await.map_err(failed)?;
    let mut view = view.with_eta(eta.as_ref(), queue.now());
    view.waits_for.extend(waits);
    let deliveries = queue.deliveries(&name).await.map_err(failed)?;
    view.deliveries = deliveries.into_iter().map(DeliveryView::from).collect();
    if summary.paused {
        let pause = queue.hand_pause(PauseOf::Batch(name)).await.map_err(failed)?;
        view.pause = pause.as_ref().map(HandPauseView::from);
    }
    if app.out.json {
        app.out.print_json(&view)?
    } else {
        app.out.print(&view.render(queue.now()))?
    }
    Ok(exit_code::DONE)
}

/// A batch that is named and not there.
pub(super) fn no_batch(name: &BatchName) -> Failure {
    Failure::message(format!("there is no batch `{name}`")).hint("`imagemill batch ls` lists the batches")
}

/// A cursor from an earlier list.
pub(super) fn parse_cursor(text: Option<&str>) -> Result<Option<Cursor>, Failure> {
    let Some(text) = text else { return Ok(None) };
    match Cursor::parse(text) {
        Some(cursor) => Ok(Some(cursor)),
        None => {
            let failure = Failure::message("the cursor is none that a list has printed");
            Err(failure.exit(exit_code::USAGE).hint("leave --cursor away to begin at the start"))
        }
    }
}
