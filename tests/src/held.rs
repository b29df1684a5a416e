//! Resolves held jobs as a person would who can look into the provider's books.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{Fleet, Imagemill, World};

/// How many held jobs were resolved, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Their own task was found in the ledger, and given to them.
    pub adopted: u64,
    /// The ledger has no task of theirs: they were sent again.
    pub resubmitted: u64,
}

/// Rounds of resolving: a create that is sent again may lose its answer again.
const ROUNDS_MAX: usize = 5;

/// Resolves every held job with the command line, lets a worker do what follows, and does so again for what is held by then.
///
/// # Errors
///
/// Jobs that are held again after every round.
pub async fn resolve_all(world: &World, fleet: &mut Fleet) -> anyhow::Result<Resolved> {
    let mut resolved = Resolved::default();
    for _ in 0..ROUNDS_MAX {
        let round = resolve_once(world, &fleet.imagemill().clone()).await?;
        if round == Resolved::default() {
            return Ok(resolved);
        }
        resolved.adopted += round.adopted;
        resolved.resubmitted += round.resubmitted;
        fleet.finish(Duration::from_secs(120)).await?;
    }
    let held = world.redis.queue(97).await?.held_jobs(100_000).await?;
    ensure!(held.is_empty(), "still held after {ROUNDS_MAX} rounds: {held:?}");
    Ok(resolved)
}

/// Each with the task of its own prompt, where there is one, else by sending it again.
async fn resolve_once(world: &World, imagemill: &Imagemill) -> anyhow::Result<Resolved> {
    let queue = world.redis.queue(97).await?;
    let ledger = world.simulator.ledger();
    let tasks: BTreeMap<&str, &str> =
        ledger.tasks.iter().map(|task| (task.prompt_sha256.as_str(), task.task_id.as_str())).collect();
    let mut resolved = Resolved::default();
    for job in queue.held_jobs(100_000).await? {
        let spec = queue.spec(job.id).await?.context("a job has a spec")?;
        let prompt = hex::encode(Sha256::digest(spec.request.prompt.expose().as_bytes()));
        let (id, task) = (job.id.to_string(), tasks.get(prompt.as_str()));
        let mut arguments = vec!["job", "resolve", id.as_str()];
        match task {
            Some(task) => arguments.extend(["--adopt", *task]),
            None => arguments.extend(["--resubmit", "--yes"]),
        }
        let output = imagemill.run(&arguments).await?;
        ensure!(output.code == 0, "{arguments:?}: {}", output.stderr);
        if task.is_some() {
            resolved.adopted += 1;
        } else {
            resolved.resubmitted += 1;
        }
    }
    Ok(resolved)
}
