//! Gathers what is known about a create without an answer. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use dashscope::response::ListedTask;
use job::{AccountName, Attempt, Job, JobState, TaskId, Timestamp};
use tracing::debug;

use super::decide::{Evidence, Listed, Listing, Owner, window};
use crate::env::Env;
use crate::permit::{NoPermit, query_permit};
use crate::ports::{CallFault, JobsFault};
use crate::silence::heed;

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
    let JobState::Settling { attempt, looks, .. } = &job.state else {
        return Err(NoEvidence::NotSettling);
    };
    let now = env.jobs.now();
    let rules = &env.config.rules;
    let (whole, rows) = list(env, &attempt.account, job).await?;
    let mut listing = Listing { whole, tasks: mark(env, attempt, rows).await? };

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
        // Whatever cut the call short: a request that is lost to us may be at the provider's gateway, on its way to a task.
        held_for: rules.held_request_timeout,
        listing,
        rivals,
    })
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
        let answer = env.api.list(account, job.model, page_no).await;
        heed(env, account, &answer).await;
        let page = answer?;
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

async fn mark(env: &Env, attempt: &Attempt, rows: Vec<ListedTask>) -> Result<Vec<Listed>, NoEvidence> {
    let account = &attempt.account;
    let ids: Vec<TaskId> = rows.iter().map(|row| row.task_id.clone()).collect();
    let unowned: BTreeSet<TaskId> = env.jobs.unowned(account, &ids).await?.into_iter().collect();
    let one_key = env.config.accounts.iter().any(|known| known.name == *account && known.api_keys.len() == 1);
    let owned = rows.iter().filter(|row| !unowned.contains(&row.task_id));
    let our_key = key_of(owned, attempt.claimed_at).filter(|_| one_key).map(str::to_owned);
    let owner = |row: &ListedTask| match (unowned.contains(&row.task_id), &row.api_key_id, &our_key) {
        (false, ..) => Owner::Ours,
        (true, Some(key), Some(our_key)) if key != our_key => Owner::Foreign,
        (true, ..) => Owner::Nobody,
    };
    Ok(rows
        .iter()
        .map(|row| {
            let (owner, status) = (owner(row), row.status.clone());
            Listed { task: row.task_id.clone(), created_at: row.created_at, status, owner }
        })
        .collect())
}

/// The number of the key with which an attempt of `claimed_at` was sent, where the tasks that we own tell it.
///
/// Keys change. So all of them must agree, and some must have been created before the attempt and some after it: the number of
/// yesterday's key, or that of the key which a worker was given since, would make a stranger of the attempt's own task.
fn key_of<'a>(owned: impl Iterator<Item = &'a ListedTask>, claimed_at: Timestamp) -> Option<&'a str> {
    let (mut number, mut before, mut after) = (None, false, false);
    for (key, created) in owned.filter_map(|row| Some((row.api_key_id.as_deref()?, row.created_at))) {
        if *number.get_or_insert(key) != key {
            return None;
        }
        before |= created.is_some_and(|created| created < claimed_at);
        after |= created.is_some_and(|created| created >= claimed_at);
    }
    number.filter(|_| before && after)
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
