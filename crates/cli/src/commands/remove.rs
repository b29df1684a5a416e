//! `batch rm`.

use std::time::Duration;

use job::{BatchName, StateName};
use queue::Queue;

use super::agree::confirm;
use super::batch::no_batch;
use crate::app::{App, queue_failure};
use crate::args::RemoveBatch;
use crate::exit_code;
use crate::failure::Failure;
use crate::output::batch::JobCounts;
use crate::output::words::counted;

/// How long a worker that runs may take to deal with the end of a batch. Source: ours; it looks once a second, and a manifest of some
/// thousand jobs takes a second or two.
const TELLING: Duration = Duration::from_secs(10);

/// How long that may take without a word. Source: ours; what is over in a moment is nothing to read about.
const MOMENT: Duration = Duration::from_secs(1);

/// Removes a batch that has ended.
pub(super) async fn batch(app: &App, args: RemoveBatch) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let name = &args.name;
    let summary = queue.batch(Some(name)).await.map_err(unread)?;
    let summary = summary.ok_or_else(|| no_batch(name))?;
    let jobs = JobCounts::of(|state| summary.count(state), None);
    let held = summary.count(StateName::Held);
    for (number, how, hint) in [
        (
            jobs.left(),
            "not over",
            format!("wait (`imagemill watch {name}`), or cancel it first (`imagemill batch cancel {name}`)"),
        ),
        (held, "held for a person", "decide about them with `imagemill job resolve`".to_owned()),
    ] {
        if number > 0 {
            let is = if number == 1 { "is" } else { "are" };
            let text = format!("{} of batch {name} {is} {how}", counted(number, "job"));
            return Err(Failure::message(text).hint(hint));
        }
    }
    let untold = !until_told(app, &queue, name).await?;
    let of = counted(jobs.total, "job");
    let question = if args.forget {
        format!(
            "Batch {name} with {of} is removed, and the same jobs enqueued again are made and paid for again."
        )
    } else {
        format!("Batch {name} with {of} is removed: counts, costs by job and failures are known no more.")
    };
    let question = match untold {
        true => format!(
            "{question} Its end is not dealt with yet, which a running worker does: its manifest is not written then, and no webhook is told."
        ),
        false => question,
    };
    if untold && args.yes {
        app.out.note(&format!(
            "warning: the end of batch {name} was not dealt with: no manifest, and no webhook is told"
        ));
    }
    if !confirm(app.out, args.yes, &question, "nobody is there to ask: add --yes if that is meant")? {
        app.out.note("Nothing was done.");
        return Ok(exit_code::FAILED);
    }
    if !args.yes {
        // The question may have stood for long.
        match (untold, is_told(&queue, name).await?) {
            (true, true) => app.out.note(&format!("The end of batch {name} was dealt with meanwhile.")),
            (false, false) => {
                let text = format!("batch {name} has ended once more, and that end is not dealt with yet");
                return Err(Failure::message(text).hint("run the same command again"));
            }
            (true, false) | (false, true) => {}
        }
    }
    let failed = |error| queue_failure(error, "remove the batch").hint("run the same command again");
    let (removed, gone) = queue.remove_batch(name, args.forget).await.map_err(failed)?;
    if !gone {
        let again = format!("batch {name} has work again: {} removed", counted(removed, "job"));
        return Err(Failure::message(again).hint("look with `imagemill batch show`"));
    }
    if app.out.json {
        app.out.print_json(
            &serde_json::json!({ "batch": name, "removed": removed, "forgotten": args.forget }),
        )?;
    } else {
        app.out.print(&format!(
            "Batch {name} is removed, with {}. Its images stay in the bucket.",
            counted(removed, "job")
        ))?;
    }
    Ok(exit_code::DONE)
}

/// Whether the end of a batch was dealt with; waits a little for a worker that may be at it, where one seems to be there.
async fn until_told(app: &App, queue: &Queue, name: &BatchName) -> Result<bool, Failure> {
    let (began, mut said) = (app.clock.elapsed(), false);
    loop {
        if is_told(queue, name).await? {
            return Ok(true);
        }
        let waited = app.clock.elapsed().saturating_sub(began);
        let tended = queue.outbox_is_tended().await.map_err(unread)?;
        if !tended || waited >= TELLING {
            return Ok(false);
        }
        if waited >= MOMENT && !said {
            let most = TELLING.as_secs();
            app.out.note(&format!(
                "Waiting up to {most} s for a worker to deal with the end of batch {name}: its manifest, and webhooks."
            ));
            said = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn is_told(queue: &Queue, name: &BatchName) -> Result<bool, Failure> {
    let batch = queue.batch(Some(name)).await.map_err(unread)?;
    Ok(batch.is_none_or(|batch| batch.undelivered == 0))
}

fn unread(error: queue::QueueError) -> Failure {
    queue_failure(error, "read the batch")
}
