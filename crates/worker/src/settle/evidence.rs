//! Gathers what is known about creates without an answer. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use dashscope::response::ListedTask;
use job::{AccountName, Attempt, JobId, Model, TaskId, Timestamp};
use queue::TaskOwner;
use tracing::debug;

use super::decide::{Case, Listed, Listing, Open, Owner, Round};
use super::window::COULD_BE_OURS;
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
}

impl From<CallFault> for NoEvidence {
    fn from(fault: CallFault) -> Self {
        Self::List(fault.to_string())
    }
}

/// An attempt that is asked about.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its job.
    pub(crate) job: JobId,
    /// The attempt.
    pub(crate) attempt: Attempt,
    /// Looks so far.
    pub(crate) looks: u16,
}

/// The evidence about attempts of one account and model, and the place of each in it.
///
/// The order matters. Owners are read after the list, so that a task that was committed meanwhile is known as ours. Open
/// attempts are read before the last look at who owns a candidate: an attempt that ended in between has either claimed its task
/// by then, or created none.
pub(crate) async fn gather(
    env: &Env,
    account: &AccountName,
    model: Model,
    asked: &[Asked],
) -> Result<(Round, Vec<Case>), NoEvidence> {
    let now = env.jobs.now();
    let (whole, rows) = list(env, account, model).await?;
    let times = || asked.iter().map(|asked| asked.attempt.claimed_at);
    // Where no attempt is asked about, any time will do.
    let (first, last) = (times().min().unwrap_or(Timestamp::MAX), times().max().unwrap_or(Timestamp::MIN));
    let keys: BTreeMap<TaskId, String> =
        rows.iter().filter_map(|row| Some((row.task_id.clone(), row.api_key_id.clone()?))).collect();
    let mut listing = Listing { whole, tasks: mark(env, account, (first, last), rows).await? };

    let mut open: Vec<Open> =
        asked.iter().map(|asked| Open { attempt: asked.attempt.clone(), on_the_way: false }).collect();
    if listing.tasks.iter().any(|task| matches!(task.owner, Owner::Nobody | Owner::Foreign)) {
        let is_asked = |job: JobId, attempt: &Attempt| {
            asked.iter().any(|asked| (asked.job, asked.attempt.number) == (job, attempt.number))
        };
        let others = env.jobs.open_attempts(account, model).await?;
        open.extend(
            others
                .into_iter()
                .filter(|other| !is_asked(other.job, &other.attempt))
                .map(|other| Open { attempt: other.attempt, on_the_way: other.on_the_way }),
        );
        let since = open.iter().map(|open| open.attempt.claimed_at).min().unwrap_or(Timestamp::MAX);
        doubt_new_keys(&mut listing, &keys, since);
        own_again(env, account, &mut listing).await?;
    }
    let cases = asked.iter().enumerate().map(|(open, asked)| Case { open, looks: asked.looks }).collect();
    // Whatever cut a call short: a request that is lost to us may be at the provider's gateway, on its way to a task.
    Ok((Round { now, held_for: env.config.rules.held_request_timeout, listing, open }, cases))
}

/// Every row of the provider's list, once, and whether that is known to be all of them.
///
/// Tasks that are created meanwhile move others to later pages, so that rows come twice; that is harmless. Rows could be
/// missed if old ones vanished meanwhile, or if a row cannot be read: then the list is not whole.
async fn list(env: &Env, account: &AccountName, model: Model) -> Result<(bool, Vec<ListedTask>), NoEvidence> {
    let mut rows: BTreeMap<TaskId, ListedTask> = BTreeMap::new();
    let mut whole = true;
    // What was there when the reading began must be read; what came since need not.
    let mut at_first = None;
    for page_no in 1..=env.config.settle.pages_max {
        query_permit(env, account).await?;
        let answer = env.api.list(account, model, page_no).await;
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

async fn mark(
    env: &Env,
    account: &AccountName,
    asked_from_to: (Timestamp, Timestamp),
    rows: Vec<ListedTask>,
) -> Result<Vec<Listed>, NoEvidence> {
    let ids: Vec<TaskId> = rows.iter().map(|row| row.task_id.clone()).collect();
    let owners = env.jobs.owners(account, &ids).await?;
    let one_key = env.accounts.now().any(account).is_some_and(|known| known.api_keys.len() == 1);
    let owned = rows.iter().zip(&owners).filter(|(_, owner)| owner.is_some()).map(|(row, _)| row);
    let our_key = key_of(owned, asked_from_to).filter(|_| one_key).map(str::to_owned);
    Ok(rows
        .iter()
        .zip(owners)
        .map(|(row, owner)| {
            let owner = match (owner, &row.api_key_id, &our_key) {
                (Some(owner), ..) => owner_of(&owner),
                (None, Some(key), Some(our_key)) if key != our_key => Owner::Foreign,
                (None, ..) => Owner::Nobody,
            };
            let status = row.status.clone();
            Listed { task: row.task_id.clone(), created_at: row.created_at, status, owner }
        })
        .collect())
}

/// The number of the key with which attempts of this time, first to last, were sent, where the tasks that we own tell it.
///
/// Keys change. So all of them must agree, and some must have been created before the first attempt and some after the last: the
/// number of yesterday's key, or that of the key which a worker was given since, would make a stranger of an attempt's own task.
fn key_of<'a>(
    owned: impl Iterator<Item = &'a ListedTask>,
    (first, last): (Timestamp, Timestamp),
) -> Option<&'a str> {
    let (mut number, mut before, mut after) = (None, false, false);
    for (key, created) in owned.filter_map(|row| Some((row.api_key_id.as_deref()?, row.created_at))) {
        if *number.get_or_insert(key) != key {
            return None;
        }
        before |= created.is_some_and(|created| created < first);
        after |= created.is_some_and(|created| created >= last);
    }
    number.filter(|_| before && after)
}

fn owner_of(owner: &TaskOwner) -> Owner {
    if owner.found { Owner::Found(owner.job) } else { Owner::Ours(owner.claimed_at) }
}

/// Another key is a stranger's if it made a task that no open attempt can have made, since it is older than all of them. One that
/// did not may be a key that a worker of ours was given a moment ago, and with which nothing was answered yet.
fn doubt_new_keys(listing: &mut Listing, keys: &BTreeMap<TaskId, String>, since: Timestamp) {
    let before = since.checked_sub(COULD_BE_OURS).unwrap_or(Timestamp::MIN);
    let old: BTreeSet<&String> = listing
        .tasks
        .iter()
        .filter(|task| {
            task.owner == Owner::Foreign && task.created_at.is_some_and(|created| created < before)
        })
        .filter_map(|task| keys.get(&task.task))
        .collect();
    for task in listing.tasks.iter_mut().filter(|task| task.owner == Owner::Foreign) {
        if keys.get(&task.task).is_none_or(|key| !old.contains(key)) {
            task.owner = Owner::Nobody;
        }
    }
}

/// Looks once more who owns what nobody owned.
async fn own_again(env: &Env, account: &AccountName, listing: &mut Listing) -> Result<(), NoEvidence> {
    let mut doubtful: Vec<&mut Listed> =
        listing.tasks.iter_mut().filter(|task| task.owner == Owner::Nobody).collect();
    let ids: Vec<TaskId> = doubtful.iter().map(|task| task.task.clone()).collect();
    let owners = env.jobs.owners(account, &ids).await?;
    for (task, owner) in doubtful.iter_mut().zip(owners) {
        if let Some(owner) = owner {
            task.owner = owner_of(&owner);
        }
    }
    Ok(())
}
