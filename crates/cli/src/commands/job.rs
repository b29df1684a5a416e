//! `job ls` and `job show`.

use futures::StreamExt as _;
use futures::stream;
use job::{BatchName, CustomId, Job, JobId, StateName};
use queue::{JobFilter, Queue, QueueError};

use super::batch::parse_cursor;
use super::outlook::waits_of_job;
use crate::app::{App, queue_failure};
use crate::args::{ListJobs, ShowJob};
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::job::{JobRow, JobView, Known, Lens, list as job_list};
use crate::settings::Settings;

/// How many calls to Redis run at once.
const CALLS_AT_ONCE: usize = 32;

/// Lists jobs.
pub(super) async fn list(app: &App, args: ListJobs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let mut cursor = parse_cursor(args.cursor.as_deref())?;
    let queue = app.queue(&settings).await?;
    let batch = if args.single { Some(None) } else { args.batch.map(Some) };
    let states = if args.held { vec![StateName::Held] } else { args.state };
    let filter = JobFilter { batch, states };
    let failed = |error| queue_failure(error, "list the jobs");
    let limit = usize::from(args.limit);
    let mut jobs: Vec<Job> = Vec::new();
    // A page may be empty and not the last: a filter that fits little is followed until the list is full.
    loop {
        let page = queue.jobs(&filter, cursor.as_ref(), limit - jobs.len()).await.map_err(failed)?;
        jobs.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || jobs.len() >= limit {
            break;
        }
    }
    let rows = rows(&queue, &jobs).await.map_err(failed)?;
    let next = cursor.map(|cursor| cursor.to_string());
    if app.out.json {
        app.out.print_json(&serde_json::json!({ "jobs": rows, "next": next }))?;
    } else if rows.is_empty() {
        app.out.note("There are no such jobs.");
    } else {
        app.out.print(&job_list(&rows, queue.now()))?;
        if let Some(next) = next {
            app.out.note(&format!("\nMore: --cursor {next}"));
        }
    }
    Ok(exit_code::DONE)
}

async fn rows(queue: &Queue, jobs: &[Job]) -> Result<Vec<JobRow>, QueueError> {
    let row = |job: &Job| {
        let (queue, job) = (queue.clone(), job.clone());
        async move {
            let spec = queue.spec(job.id).await?;
            // What is to be decided stands in the history of held jobs.
            let held = job.state_name() == StateName::Held;
            let tries = if held { queue.tries(job.id).await? } else { Vec::new() };
            Ok(JobRow::new(&job, spec.as_ref(), &tries))
        }
    };
    let rows: Vec<Result<JobRow, QueueError>> =
        stream::iter(jobs.iter().map(row)).buffered(CALLS_AT_ONCE).collect().await;
    rows.into_iter().collect()
}

/// Shows one job.
pub(super) async fn show(app: &App, args: ShowJob) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let id = id(&settings, args.name.batch.as_ref(), &args.name.id)?;
    let queue = app.queue(&settings).await?;
    let failed = |error| queue_failure(error, "read the job");
    let job = queue.job(id).await.map_err(failed)?.ok_or_else(|| no_job(&args.name.id))?;
    let known = Known {
        spec: queue.spec(id).await.map_err(failed)?,
        outcome: queue.outcome(id).await.map_err(failed)?,
        tries: queue.tries(id).await.map_err(failed)?,
        job,
    };
    let (rules, prices) = (settings.rules(), settings.prices());
    let now = queue.now();
    let lens =
        Lens { rules: &rules, template: settings.template(), prices: &prices, prompt: args.prompt, now };
    let mut view = JobView::new(&known, &lens);
    view.waits_for = waits_of_job(&queue, &settings, &known.job).await.map_err(failed)?;
    if app.out.json {
        app.out.print_json(&view)?
    } else {
        app.out.print(&view.render(now))?
    }
    Ok(exit_code::DONE)
}

fn no_job(name: &str) -> Failure {
    let shown: String = name.chars().take(80).collect();
    Failure::message(format!("there is no job `{shown}`")).hint("`imagemill job ls` lists the jobs")
}

/// A job by its id, or by its `custom_id` in a batch.
pub(super) fn id(settings: &Settings, batch: Option<&BatchName>, text: &str) -> Result<JobId, Failure> {
    let wrong = |failure: Failure| failure.exit(exit_code::USAGE);
    match batch {
        None => {
            let parsed = text.parse::<JobId>().or_fail("failed to read the job id");
            parsed.map_err(|failure| {
                wrong(failure).hint("with --batch NAME, a custom_id names the job as well")
            })
        }
        Some(batch) => {
            let custom_id = CustomId::parse(text).or_fail("failed to read the custom_id").map_err(wrong)?;
            Ok(JobId::of_custom_id(&settings.redis().namespace, Some(batch), &custom_id))
        }
    }
}
