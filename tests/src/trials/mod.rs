//! Long runs with real processes and faults, each with bounds that a run either keeps or breaks.
//!
//! Each has a plan (how long, how many, how hard) and gives back a [`crate::Report`]. `scripts/evidence` runs them at full length,
//! `tests/it/main_job` in short.

mod chaos;
mod feed;
mod pause;
mod restore;
mod rolling;

pub use chaos::{ChaosPlan, chaos};
pub use pause::{PausePlan, pause};
pub use restore::{RestorePlan, Workers, restore};
pub use rolling::{RollingPlan, rolling};

use crate::{Report, World, audit, secrets};

/// Adds what must hold at the end of every trial: indexes that agree with the records, and logs without a secret.
async fn nothing_amiss(world: &World, fleet: &crate::Fleet, report: &mut Report) -> anyhow::Result<()> {
    let queue = world.redis.queue(98).await?;
    let faults = audit(&queue, &mut world.redis.connection().await?).await?;
    report.say("indexes against records", format_args!("{} disagree", faults.len()));
    report.bound(
        faults.is_empty(),
        format!("indexes disagree with records: {:?}", &faults[..faults.len().min(5)]),
    );
    let repairs = queue.repairs().await?;
    report.say("index entries that the sweep put right", format_args!("{}", repairs.values().sum::<u64>()));
    report.bound(repairs.is_empty(), format!("index entries were lost: {repairs:?}"));
    let forbidden = secrets();
    let (mut bytes, mut leaks) = (0, Vec::new());
    for log in fleet.logs()? {
        bytes += log.bytes();
        leaks.extend(log.holds(&forbidden).map(|secret| format!("{secret} in {}", log.name)));
    }
    report.say(
        "logs",
        format_args!("{:.1} MB, {} with a prompt, key or link", bytes as f64 / 1e6, leaks.len()),
    );
    report.bound(leaks.is_empty(), format!("secrets in logs: {leaks:?}"));
    Ok(())
}

/// Adds how many prompts have more than one task in the provider's ledger. Each was to be sent once.
fn nobody_paid_twice(world: &World, report: &mut Report) {
    let ledger = world.simulator.ledger();
    let twice = ledger.tasks_by_prompt.values().filter(|&&tasks| tasks > 1).count();
    report.say("tasks created, prompts with two", format_args!("{}, {twice}", ledger.tasks.len()));
    report.bound(twice == 0, format!("{twice} prompts were paid for twice"));
}

/// Leaves the logs of a run that went wrong where they are.
fn keep_if_bad(world: &mut World, outcome: &anyhow::Result<Report>) {
    if outcome.as_ref().map_or(true, |report| !report.broken().is_empty()) {
        world.keep();
    }
}
