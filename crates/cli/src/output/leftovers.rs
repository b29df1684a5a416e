//! What `status` says of tasks that no job accounts for.

use job::{Micros, Timestamp};
use queue::{ExtraState, ExtraTask, Orphans};
use serde::Serialize;

use super::batch::Cost;
use super::words::{counted, money, relative};

/// How many tasks are named on one line.
const NAMED_MAX: usize = 3;

/// Tasks of an account that no job can take, and tasks that nobody owns. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct LeftoversView {
    /// Tasks that no job could take.
    pub(crate) extra: ExtraView,
    /// Tasks with our key that nobody here owns, as last counted.
    pub(crate) orphans: Option<OrphansView>,
}

/// Tasks that no job could take.
#[derive(Debug, Serialize)]
pub(crate) struct ExtraView {
    /// Not over yet.
    pub(crate) open: u64,
    /// Ended, and nothing was billed for them.
    pub(crate) unpaid: u64,
    /// Billed without need.
    pub(crate) paid: u64,
    /// Forgotten by the provider before they were asked.
    pub(crate) forgotten: u64,
    /// Given to two jobs.
    pub(crate) delivered_twice: u64,
    /// Images that were billed without need.
    pub(crate) images: u64,
    /// What they cost.
    pub(crate) cost: Cost,
    /// Those that are open, billed, or given twice.
    pub(crate) tasks: Vec<String>,
}

/// Tasks that nobody owns.
#[derive(Debug, Serialize)]
pub(crate) struct OrphansView {
    /// When they were counted.
    pub(crate) counted_at: Timestamp,
    /// How many.
    pub(crate) count: u64,
    /// When the oldest was created, by the provider's clock.
    pub(crate) oldest_created_at: Option<Timestamp>,
    /// At most 20 of them, the oldest first.
    pub(crate) tasks: Vec<String>,
}

impl LeftoversView {
    /// As they are stored.
    pub(crate) fn new(extras: &[ExtraTask], orphans: Option<Orphans>, currency: &str) -> Self {
        let count = |state| extras.iter().filter(|extra| extra.state == state).count() as u64;
        let shown = |extra: &&ExtraTask| {
            matches!(extra.state, ExtraState::Open | ExtraState::Paid | ExtraState::DeliveredTwice)
        };
        let cost = extras.iter().map(|extra| extra.cost.0).sum();
        Self {
            extra: ExtraView {
                open: count(ExtraState::Open),
                unpaid: count(ExtraState::Unpaid),
                paid: count(ExtraState::Paid),
                forgotten: count(ExtraState::Forgotten),
                delivered_twice: count(ExtraState::DeliveredTwice),
                images: extras.iter().map(|extra| extra.images).sum(),
                cost: Cost::new(Micros(cost), currency),
                tasks: extras.iter().filter(shown).map(|extra| extra.task.to_string()).collect(),
            },
            orphans: orphans.map(|orphans| OrphansView {
                counted_at: orphans.at,
                count: orphans.count,
                oldest_created_at: orphans.oldest,
                tasks: orphans.tasks.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// For people: nothing where there is nothing to say.
    pub(crate) fn lines(&self, account: &str, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        let extra = &self.extra;
        if extra.open + extra.paid + extra.forgotten + extra.delivered_twice > 0 {
            let parts = [
                (extra.open, "not over"),
                (extra.paid, "billed without need"),
                (extra.forgotten, "forgotten by the provider"),
                (extra.delivered_twice, "given to two jobs"),
            ];
            let parts: Vec<String> = parts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            let cost = money(Micros(extra.cost.micros), &extra.cost.currency);
            let billed = if extra.images > 0 {
                format!(" ({} for {cost})", counted(extra.images, "image"))
            } else {
                String::new()
            };
            lines.push(format!(
                "extra tasks of {account}: {}{billed}{}",
                parts.join(", "),
                named(&extra.tasks, extra.tasks.len() as u64)
            ));
        }
        if let Some(orphans) = self.orphans.as_ref().filter(|orphans| orphans.count > 0) {
            let oldest = orphans.oldest_created_at.map(|at| format!(", the oldest {}", relative(at, now)));
            lines.push(format!(
                "orphans of {account}: {} with our key that no job owns{}, counted {}{}",
                counted(orphans.count, "task"),
                oldest.unwrap_or_default(),
                relative(orphans.counted_at, now),
                named(&orphans.tasks, orphans.count)
            ));
        }
        lines
    }
}

fn named(tasks: &[String], count: u64) -> String {
    if tasks.is_empty() {
        return String::new();
    }
    let more = if count > NAMED_MAX as u64 { ", …" } else { "" };
    format!(": {}{more}", tasks.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use job::{JobId, Model};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_was_paid_without_need_and_what_nobody_owns_is_said_and_nothing_else() {
        assert!(LeftoversView::new(&[], None, "USD").lines("a", at(0)).is_empty());
        let extra = |task: &str, state, images| ExtraTask {
            state,
            images,
            cost: Micros(30_000).times(images),
            ..ExtraTask::new(task.parse().unwrap(), JobId::fresh(1, 1), 1, Model::Wan27Image, at(0))
        };
        let extras = [
            extra("t1", ExtraState::Paid, 2),
            extra("t2", ExtraState::Unpaid, 0),
            extra("t3", ExtraState::Open, 0),
        ];
        let orphans =
            Orphans { at: at(3_600), count: 4, oldest: Some(at(60)), tasks: vec!["o".parse().unwrap()] };
        let lines = LeftoversView::new(&extras, Some(orphans), "USD").lines("a", at(3_660));
        insta::assert_snapshot!(lines.join("\n"), @r"
        extra tasks of a: 1 not over, 1 billed without need (2 images for 0.06 USD): t1, t3
        orphans of a: 4 tasks with our key that no job owns, the oldest 1h 00m ago, counted 1m 00s ago: o, …
        ");
    }
}
