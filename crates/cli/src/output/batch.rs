//! A batch as scripts and people see it.

use job::{Micros, StateName, Timestamp};
use queue::{BatchSummary, Losses};
use serde::Serialize;

use super::budget::{BudgetView, WaitsFor, waits_in_words};
use super::copies::LostView;
use super::eta::BatchEta;
use super::pauses::HandPauseView;
use super::table::{Column, pairs, table};
use super::webhooks::DeliveryView;
use super::words::{count, counted, money, relative};
use crate::exit_code;

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BatchState {
    /// Jobs are left that go on by themselves, or more are being enqueued.
    Running,
    /// A person has paused it.
    Paused,
    /// All that is left waits for a person.
    Held,
    /// Every job is final.
    Done,
}

/// What `batch show --json` prints. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BatchView {
    /// The name; null for the jobs without a batch.
    pub(crate) batch: Option<String>,
    /// Where it is.
    pub(crate) state: BatchState,
    /// Who has paused it, if anybody has. Only `batch show` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<HandPauseView>,
    /// Whether its enqueueing is over. Until then it is not done.
    pub(crate) sealed: bool,
    /// Jobs. The counts sum to `total`.
    pub(crate) jobs: JobCounts,
    /// Images.
    pub(crate) images: ImageCounts,
    /// What the billed images cost.
    pub(crate) cost: Cost,
    /// What may be spent on it, where that is bounded, and what is spent. Only `batch show` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<BudgetView>,
    /// Budgets that jobs of it wait for: its own, and in `batch show` those of the day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waits_for: Vec<WaitsFor>,
    /// Paid for beside them, without need: tasks that no job of it can take. It counts for the budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<ExtraImages>,
    /// What is lost of both: billed, and not in the bucket, by jobs that are over.
    pub(crate) lost: LostView,
    /// When its first job was enqueued.
    pub(crate) created_at: Timestamp,
    /// When its last job became final.
    pub(crate) ended_at: Option<Timestamp>,
    /// What became of telling webhooks of its ends, the last end first. Only `batch show` says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) deliveries: Vec<DeliveryView>,
    /// When it will be over, where that can be foretold; jobs that wait for their time may be later. Only `batch show` and `watch` say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eta: Option<Timestamp>,
    #[serde(skip)]
    eta_in_words: Option<String>,
}

/// Jobs by where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct JobCounts {
    /// All.
    pub(crate) total: u64,
    /// Waiting for their turn.
    pub(crate) queued: u64,
    /// Submitting, settling, polling or archiving.
    pub(crate) in_flight: u64,
    /// Ended with their images.
    pub(crate) succeeded: u64,
    /// Ended without.
    pub(crate) failed: u64,
    /// Canceled by a person or the provider.
    pub(crate) canceled: u64,
    /// Billed, and their images lost.
    pub(crate) expired: u64,
    /// Waiting for a person.
    pub(crate) held: u64,
    /// Of those that succeeded: with images missing. Not there where nobody counts them, over everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partial: Option<u64>,
}

/// Images of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct ImageCounts {
    /// The most that its jobs can bring.
    pub(crate) expected: u64,
    /// Billed by the provider.
    pub(crate) billed: u64,
    /// In the bucket.
    pub(crate) stored: u64,
}

/// Images that nobody asked for, and what they cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ExtraImages {
    images: u64,
    cost: Cost,
}

/// Money.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// The amount. Its decimals are exact.
    pub(crate) amount: f64,
    /// The amount in millionths.
    pub(crate) micros: i64,
    /// Such as `USD`.
    pub(crate) currency: String,
}

impl Cost {
    /// An amount in the currency of the settings.
    pub(crate) fn new(amount: Micros, currency: &str) -> Self {
        // The nearest double to the decimal fraction prints as that fraction, for every amount under a billion.
        Self { amount: amount.0 as f64 / 1e6, micros: amount.0, currency: currency.to_owned() }
    }
}

impl JobCounts {
    /// From counts by state. `partial` where it is known.
    pub(crate) fn of(count: impl Fn(StateName) -> u64, partial: Option<u64>) -> Self {
        let in_flight =
            [StateName::Submitting, StateName::Settling, StateName::Polling, StateName::Archiving];
        let of = Self {
            total: StateName::ALL.into_iter().map(&count).sum(),
            queued: count(StateName::Queued),
            in_flight: in_flight.into_iter().map(&count).sum(),
            succeeded: count(StateName::Succeeded),
            failed: count(StateName::Failed),
            canceled: count(StateName::Canceled),
            expired: count(StateName::Expired),
            held: count(StateName::Held),
            partial,
        };
        debug_assert_eq!(of.total, of.over() + of.queued + of.in_flight + of.held);
        of
    }

    /// Jobs of several targets together.
    pub(crate) fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            total: sum.total + one.total,
            queued: sum.queued + one.queued,
            in_flight: sum.in_flight + one.in_flight,
            succeeded: sum.succeeded + one.succeeded,
            failed: sum.failed + one.failed,
            canceled: sum.canceled + one.canceled,
            expired: sum.expired + one.expired,
            held: sum.held + one.held,
            partial: match (sum.partial, one.partial) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
            },
        })
    }

    /// Jobs that are final.
    pub(crate) fn over(&self) -> u64 {
        self.succeeded + self.failed + self.canceled + self.expired
    }

    /// Jobs that go on by themselves.
    pub(crate) fn left(&self) -> u64 {
        self.queued + self.in_flight
    }

    /// The exit code of a command that waited for these jobs.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.held > 0 {
            exit_code::HELD
        } else if self.failed + self.expired + self.canceled > 0 {
            exit_code::FAILED
        } else if self.partial.unwrap_or(0) > 0 {
            exit_code::PARTIAL
        } else {
            exit_code::DONE
        }
    }

    /// What is amiss, in words; empty if nothing is.
    pub(crate) fn amiss(&self) -> String {
        let all = [
            (self.failed, "failed"),
            (self.expired, "expired"),
            (self.canceled, "canceled"),
            (self.partial.unwrap_or(0), "partial"),
            (self.held, "held"),
        ];
        let said: Vec<String> = all
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{} {word}", count(number)))
            .collect();
        said.join(", ")
    }
}

impl BatchView {
    /// A batch as the queue knows it.
    pub(crate) fn new(summary: &BatchSummary, currency: &str) -> Self {
        let jobs = JobCounts::of(|state| summary.count(state), Some(summary.partial));
        Self {
            batch: summary.name.as_ref().map(ToString::to_string),
            state: state(summary, &jobs),
            pause: None,
            sealed: summary.sealed,
            jobs,
            images: ImageCounts {
                expected: summary.expected,
                billed: summary.billed,
                stored: summary.stored,
            },
            cost: Cost::new(summary.cost, currency),
            budget: None,
            waits_for: summary
                .waits_since
                .filter(|_| jobs.queued > 0 && !summary.paused)
                .map(WaitsFor::of_batch)
                .into_iter()
                .collect(),
            extra: (summary.extra_images > 0).then(|| ExtraImages {
                images: summary.extra_images,
                cost: Cost::new(summary.extra_cost, currency),
            }),
            lost: LostView::new(Losses { images: summary.lost, cost: summary.lost_cost }, currency),
            created_at: summary.created_at,
            ended_at: summary.ended_at,
            deliveries: Vec::new(),
            eta: None,
            eta_in_words: None,
        }
    }

    /// The same with what may be spent on it, where the settings have `per_batch` for a batch without a budget of its own.
    pub(crate) fn with_budget(self, summary: &BatchSummary, per_batch: Option<Micros>) -> Self {
        let limit = summary.budget.under(per_batch).filter(|_| summary.name.is_some());
        let budget = limit.map(|limit| BudgetView::new(Some(limit), summary.spent(), &self.cost.currency));
        Self { budget, ..self }
    }

    /// Whether jobs wait for its budget, or will: it has no room for all that are queued, at `least` for an image of each.
    pub(crate) fn is_short(&self, least: Micros) -> bool {
        let room = |budget: &BudgetView| {
            let limit = budget.limit.as_ref()?.micros;
            Some(limit.saturating_sub(budget.booked.micros).saturating_sub(budget.reserved.micros))
        };
        let cost = least.times(self.jobs.queued).0;
        !self.waits_for.is_empty() || self.budget.as_ref().and_then(room).is_some_and(|room| room < cost)
    }

    /// The same with a forecast.
    pub(crate) fn with_eta(self, eta: Option<&BatchEta>, now: Timestamp) -> Self {
        let eta_in_words = eta.map(|eta| eta.render(now));
        Self { eta: eta.and_then(BatchEta::at), eta_in_words, ..self }
    }

    /// For people.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        let jobs = &self.jobs;
        let mut rows = vec![
            ("batch", self.batch.clone().unwrap_or_else(|| "(jobs without a batch)".to_owned())),
            ("state", self.state_in_words(now)),
            ("enqueued", relative(self.created_at, now)),
            ("ended", self.ended_at.map_or_else(|| "not yet".to_owned(), |time| relative(time, now))),
        ];
        rows.extend(self.eta_in_words.clone().map(|eta| ("eta", eta)));
        rows.extend([
            ("jobs", format!("{} of {} over", count(jobs.over()), count(jobs.total))),
            ("  queued", count(jobs.queued)),
            ("  in flight", count(jobs.in_flight)),
            (
                "  succeeded",
                match jobs.partial.unwrap_or(0) {
                    0 => count(jobs.succeeded),
                    partial => format!("{} ({} with images missing)", count(jobs.succeeded), count(partial)),
                },
            ),
            ("  failed", count(jobs.failed)),
            ("  canceled", count(jobs.canceled)),
            ("  expired", count(jobs.expired)),
            ("  held", count(jobs.held)),
            ("images", {
                let ImageCounts { expected, billed, stored } = self.images;
                format!("{} stored, {} billed, {} at most", count(stored), count(billed), count(expected))
            }),
            ("cost", money(Micros(self.cost.micros), &self.cost.currency)),
        ]);
        rows.extend(self.budget.as_ref().map(|budget| ("budget", budget.in_words())));
        rows.extend(self.extra.as_ref().map(|ExtraImages { images, cost }| {
            let cost = money(Micros(cost.micros), &cost.currency);
            ("extra", format!("{} for {cost}, of tasks that no job could take", counted(*images, "image")))
        }));
        if self.lost.images > 0 {
            rows.push(("lost", self.lost.render()));
        }
        let said: Vec<String> = self.deliveries.iter().map(|delivery| delivery.render(now)).collect();
        rows.extend(said.into_iter().map(|said| ("webhook", said)));
        pairs(&rows)
    }

    /// What is amiss, in words; empty if nothing is.
    fn amiss(&self) -> String {
        let jobs = Some(self.jobs.amiss()).filter(|amiss| !amiss.is_empty());
        let waits = (!self.waits_for.is_empty()).then(|| "waits for its budget".to_owned());
        jobs.into_iter().chain(waits).collect::<Vec<_>>().join(", ")
    }

    fn state_in_words(&self, now: Timestamp) -> String {
        match self.state {
            BatchState::Running if !self.sealed && self.batch.is_some() => {
                "running; enqueueing is not over (if it was cut short, run the same `imagemill enqueue` again)".to_owned()
            }
            BatchState::Running if !self.waits_for.is_empty() => {
                format!("running; {}", waits_in_words(&self.waits_for, now))
            }
            BatchState::Running => "running".to_owned(),
            BatchState::Paused => match &self.pause {
                Some(pause) => format!("paused {}", pause.reason(now)),
                None => "paused".to_owned(),
            },
            BatchState::Held => format!("held: {} for a person, see `imagemill job ls --held`", waits(self.jobs.held)),
            BatchState::Done => "done".to_owned(),
        }
    }
}

fn waits(jobs: u64) -> String {
    format!("{} {}", counted(jobs, "job"), if jobs == 1 { "waits" } else { "wait" })
}

fn state(summary: &BatchSummary, jobs: &JobCounts) -> BatchState {
    let sealed = summary.sealed || summary.name.is_none();
    if sealed && jobs.left() == 0 {
        if jobs.held > 0 { BatchState::Held } else { BatchState::Done }
    } else if summary.paused {
        BatchState::Paused
    } else {
        BatchState::Running
    }
}

/// The table of `batch ls`.
pub(crate) fn list(batches: &[BatchView], now: Timestamp) -> String {
    let columns = [
        Column::Left("BATCH"),
        Column::Left("STATE"),
        Column::Right("JOBS"),
        Column::Right("LEFT"),
        Column::Right("STORED"),
        Column::Right("COST"),
        Column::Left("AMISS"),
        Column::Left("ENQUEUED"),
    ];
    let row = |batch: &BatchView| {
        vec![
            batch.batch.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{:?}", batch.state).to_lowercase(),
            count(batch.jobs.total),
            count(batch.jobs.left()),
            count(batch.images.stored),
            money(Micros(batch.cost.micros), &batch.cost.currency),
            batch.amiss(),
            relative(batch.created_at, now),
        ]
    };
    table(&columns, batches.iter().map(row).collect())
}

#[cfg(test)]
mod tests;
