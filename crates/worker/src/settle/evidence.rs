//! Gathers what is known about a create without an answer. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dashscope::response::ListedTask;
use job::{AccountName, Job, JobState, TaskId, Timestamp};
use tracing::debug;

use super::decide::{Evidence, Listed, Listing, Owner, window};
use crate::env::Env;
use crate::permit::{NoPermit, query_permit};
use crate::ports::{CallFault, JobsFault};

/// The cause by which a settling job tells that its create was given up while waiting for an answer.
pub(crate) const TIMED_OUT: &str = "timeout";

/// Why there is no evidence this time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoEvidence {
    /// The provider's list could not be read to its end.
    #[error("the provider's list cannot be read: {0}")]
    List(String),
    /// The queue could not be asked.
    #[error("the queue cannot be asked")]
    Jobs(#[from] JobsFault),
    /// The account's queries are held back.
    #[error(transparent)]
    Permit(#[from] NoPermit),
    /// The job is not settling.
    #[error("the job is not settling")]
    NotSettling,
}

impl From<CallFault> for NoEvidence {
    fn from(fault: CallFault) -> Self {
        Self::List(fault.to_string())
    }
}

/// The evidence about a settling job's attempt.
///
/// The order matters. Owners are read after the list, so that a task that was committed meanwhile is known as ours. Open
/// attempts are read before the last look at who owns a candidate: an attempt that ended in between has either claimed its task
/// by then, or created none.
pub(crate) async fn gather(env: &Env, job: &Job) -> Result<Evidence, NoEvidence> {
    let JobState::Settling { attempt, looks, cause, .. } = &job.state else {
        return Err(NoEvidence::NotSettling);
    };
    let now = env.jobs.now();
    let rules = &env.config.rules;
    let (whole, rows) = list(env, &attempt.account, job).await?;
    let mut listing = Listing { whole, tasks: mark(env, &attempt.account, rows).await? };

    let mut rivals = false;
    if listing.tasks.iter().any(|task| task.owner == Owner::Nobody) {
        let (from, to) = window(attempt, rules.create_timeout, env.config.settle.clock_margin);
        let open = env.jobs.open_attempts(&attempt.account, job.model).await?;
        rivals = open.iter().any(|(id, other)| {
            let other_window = window(other, rules.create_timeout, env.config.settle.clock_margin);
            (*id, other.number) != (job.id, attempt.number) && overlap((from, to), other_window)
        });
        own_again(env, &attempt.account, &mut listing).await?;
    }
    Ok(Evidence {
        attempt: attempt.clone(),
        now,
        looks: *looks,
        held_for: held_for(cause, rules.held_request_timeout),
        listing,
        rivals,
    })
}

/// How long after `send_by` a request that was given up may still be held by the service's gateway.
fn held_for(cause: &str, held_request_timeout: Duration) -> Duration {
    if cause == TIMED_OUT { held_request_timeout } else { Duration::ZERO }
}

fn overlap(one: (Timestamp, Timestamp), other: (Timestamp, Timestamp)) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

/// Every row of the provider's list, once, and whether that is known to be all of them.
///
/// Tasks that are created meanwhile move others to later pages, so that rows come twice; that is harmless. Rows could be
/// missed if old ones vanished meanwhile, or if a row cannot be read: then the list is not whole.
async fn list(env: &Env, account: &AccountName, job: &Job) -> Result<(bool, Vec<ListedTask>), NoEvidence> {
    let mut rows: BTreeMap<TaskId, ListedTask> = BTreeMap::new();
    let mut whole = true;
    // What was there when the reading began must be read; what came since need not.
    let mut at_first = None;
    for page_no in 1..=env.config.settle.pages_max {
        query_permit(env, account).await?;
        let page = env.api.list(account, job.model, page_no).await?;
        whole &= page.unreadable == 0;
        let more = page.has_more() && !page.tasks.is_empty();
        at_first = at_first.or(page.total);
        rows.extend(page.tasks.into_iter().map(|row| (row.task_id.clone(), row)));
        if !more {
            whole &= at_first.is_none_or(|total| rows.len() as u64 >= total);
            debug!(account = %account, listed = rows.len(), pages = page_no, whole, "Read the provider's list of tasks");
            return Ok((whole, rows.into_values().collect()));
        }
    }
    Err(NoEvidence::List(format!("it has more than {} pages", env.config.settle.pages_max)))
}

async fn mark(env: &Env, account: &AccountName, rows: Vec<ListedTask>) -> Result<Vec<Listed>, NoEvidence> {
    let ids: Vec<TaskId> = rows.iter().map(|row| row.task_id.clone()).collect();
    let unowned: BTreeSet<TaskId> = env.jobs.unowned(account, &ids).await?.into_iter().collect();
    // With a single key of ours, the tasks that we own tell its number, and a task of another number is somebody else's.
    let keys: BTreeSet<&str> = rows
        .iter()
        .filter(|row| !unowned.contains(&row.task_id))
        .filter_map(|row| row.api_key_id.as_deref())
        .collect();
    let one_key = env.config.accounts.iter().any(|known| known.name == *account && known.api_keys.len() == 1);
    let our_key = keys.first().copied().filter(|_| one_key && keys.len() == 1);
    let owner = |row: &ListedTask| match (unowned.contains(&row.task_id), row.api_key_id.as_deref(), our_key)
    {
        (false, ..) => Owner::Ours,
        (true, Some(key), Some(our_key)) if key != our_key => Owner::Foreign,
        (true, ..) => Owner::Nobody,
    };
    Ok(rows
        .iter()
        .map(|row| Listed { task: row.task_id.clone(), created_at: row.created_at, owner: owner(row) })
        .collect())
}

/// Looks once more who owns what nobody owned.
async fn own_again(env: &Env, account: &AccountName, listing: &mut Listing) -> Result<(), NoEvidence> {
    let doubtful: Vec<TaskId> = listing
        .tasks
        .iter()
        .filter(|task| task.owner == Owner::Nobody)
        .map(|task| task.task.clone())
        .collect();
    let still: BTreeSet<TaskId> = env.jobs.unowned(account, &doubtful).await?.into_iter().collect();
    for task in &mut listing.tasks {
        if task.owner == Owner::Nobody && !still.contains(&task.task) {
            task.owner = Owner::Ours;
        }
    }
    Ok(())
}
