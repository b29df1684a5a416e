//! Resolves held jobs as a person would who can look into the provider's books.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{Imagemill, World};

/// How many held jobs were resolved, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Their own task was found in the ledger, and given to them.
    pub adopted: u64,
    /// The ledger has no task of theirs: they were sent again.
    pub resubmitted: u64,
}

/// Resolves every held job with the command line: with the task of its own prompt, where there is one, else by sending it again.
pub async fn resolve_all(world: &World, imagemill: &Imagemill) -> anyhow::Result<Resolved> {
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
