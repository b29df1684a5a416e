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
mod tests {
    use std::collections::BTreeMap;

    use queue::BatchBudget;

    use super::*;

    fn summary(counts: &[(StateName, u64)]) -> BatchSummary {
        BatchSummary {
            name: Some("spring".parse().unwrap()),
            total: counts.iter().map(|(_, count)| count).sum(),
            left: 0,
            by_state: counts.iter().copied().collect::<BTreeMap<_, _>>(),
            expected: 20,
            billed: 3,
            stored: 3,
            partial: 0,
            cost: Micros(225_000),
            lost: 0,
            lost_cost: Micros(0),
            reserved: Micros(0),
            budget: BatchBudget::OfSettings,
            waits_since: None,
            sealed: true,
            paused: false,
            created_at: Timestamp::from_second(0).unwrap(),
            ended_at: None,
            ends: 0,
        }
    }

    fn view(counts: &[(StateName, u64)]) -> BatchView {
        BatchView::new(&summary(counts), "USD")
    }

    const MIXED: [(StateName, u64); 5] = [
        (StateName::Queued, 5),
        (StateName::Polling, 2),
        (StateName::Archiving, 1),
        (StateName::Succeeded, 3),
        (StateName::Failed, 1),
    ];

    #[test]
    fn the_json_has_the_documented_shape_and_its_counts_sum_to_the_total() {
        let json = serde_json::to_value(view(&MIXED)).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
        {
          "batch": "spring",
          "cost": {
            "amount": 0.225,
            "currency": "USD",
            "micros": 225000
          },
          "created_at": "1970-01-01T00:00:00Z",
          "ended_at": null,
          "images": {
            "billed": 3,
            "expected": 20,
            "stored": 3
          },
          "jobs": {
            "canceled": 0,
            "expired": 0,
            "failed": 1,
            "held": 0,
            "in_flight": 3,
            "partial": 0,
            "queued": 5,
            "succeeded": 3,
            "total": 12
          },
          "lost": {
            "cost": {
              "amount": 0.0,
              "currency": "USD",
              "micros": 0
            },
            "images": 0
          },
          "sealed": true,
          "state": "running"
        }
        "#);
        let of = |name: &str| json["jobs"][name].as_u64().unwrap();
        let sum: u64 = ["queued", "in_flight", "succeeded", "failed", "canceled", "expired", "held"]
            .map(of)
            .iter()
            .sum();
        assert_eq!(sum, of("total"));
    }

    #[test]
    fn people_see_the_same_in_words() {
        insta::assert_snapshot!(view(&MIXED).render(Timestamp::from_second(90).unwrap()), @r"
        batch        spring
        state        running
        enqueued     1m 30s ago
        ended        not yet
        jobs         4 of 12 over
          queued     5
          in flight  3
          succeeded  3
          failed     1
          canceled   0
          expired    0
          held       0
        images       3 stored, 3 billed, 20 at most
        cost         0.225 USD
        ");
        insta::assert_snapshot!(list(&[view(&MIXED)], Timestamp::from_second(90).unwrap()), @r"
        BATCH   STATE    JOBS  LEFT  STORED       COST  AMISS     ENQUEUED
        spring  running    12     8       3  0.225 USD  1 failed  1m 30s ago
        ");
    }

    #[test]
    fn a_batch_that_waits_for_its_budget_says_so_and_one_that_does_not_is_silent_about_it() {
        let poor = BatchSummary {
            budget: BatchBudget::Own(Micros(300_000)),
            reserved: Micros(75_000),
            waits_since: Some(Timestamp::from_second(30).unwrap()),
            ..summary(&MIXED)
        };
        let now = Timestamp::from_second(90).unwrap();
        let shown = BatchView::new(&poor, "USD").with_budget(&poor, None);
        let lines = |of: &BatchView| {
            let text = of.render(now);
            let lines: Vec<_> =
                text.lines().filter(|line| line.starts_with("state") || line.starts_with("budget")).collect();
            lines.join("\n")
        };
        insta::assert_snapshot!(lines(&shown), @r"
        state        running; jobs wait for the budget of the batch (since 1m 00s ago)
        budget       0.225 of 0.30 USD spent, 0.075 reserved
        ");
        insta::assert_snapshot!(list(std::slice::from_ref(&shown), now), @r"
        BATCH   STATE    JOBS  LEFT  STORED       COST  AMISS                           ENQUEUED
        spring  running    12     8       3  0.225 USD  1 failed, waits for its budget  1m 30s ago
        ");
        let json = serde_json::to_value(&shown).unwrap();
        insta::assert_snapshot!(serde_json::json!({ "budget": json["budget"], "waits_for": json["waits_for"] }).to_string(), @r#"{"budget":{"booked":{"amount":0.225,"currency":"USD","micros":225000},"limit":{"amount":0.3,"currency":"USD","micros":300000},"reserved":{"amount":0.075,"currency":"USD","micros":75000}},"waits_for":[{"budget":"batch","since":"1970-01-01T00:00:30Z"}]}"#);
        let paused = BatchSummary { paused: true, ..poor.clone() };
        assert!(BatchView::new(&paused, "USD").waits_for.is_empty(), "it waits for the person first");
        // By the settings, and without any.
        let of_settings = BatchSummary { budget: BatchBudget::OfSettings, ..poor };
        let limit =
            |per_batch| BatchView::new(&of_settings, "USD").with_budget(&of_settings, per_batch).budget;
        assert_eq!(limit(Some(Micros(5))).unwrap().limit.unwrap().micros, 5);
        assert!(limit(None).is_none());
    }

    #[test]
    fn a_forecast_says_what_it_goes_by_and_is_absent_where_there_is_none() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let shown = |eta: &BatchEta| {
            let view = view(&MIXED).with_eta(Some(eta), at(90));
            let line = view.render(at(90)).lines().find(|line| line.starts_with("eta")).unwrap().to_owned();
            (line, serde_json::to_value(&view).unwrap().get("eta").cloned())
        };
        let (line, json) = shown(&BatchEta::AtPace(at(3_690)));
        assert_eq!(line, "eta          in 1h 00m, at the pace of the last minutes");
        assert_eq!(json, Some("1970-01-01T01:01:30Z".into()));
        let (line, _) = shown(&BatchEta::AtTheLatest { at: at(3_690), delayed: 0 });
        assert_eq!(line, "eta          in 1h 00m at the latest, with all that waits for the same accounts");
        let (line, _) = shown(&BatchEta::AtTheLatest { at: at(3_690), delayed: 2 });
        assert_eq!(line, "eta          in 1h 00m, without 2 jobs waiting for their time");
        let (line, json) = shown(&BatchEta::Unknown(job::Eta::Stopped, None));
        assert_eq!((line.as_str(), json), ("eta          never while no account may create", None));
    }

    #[test]
    fn what_is_lost_is_said_with_its_cost() {
        let expired = BatchSummary {
            lost: 3,
            lost_cost: Micros(90_000),
            partial: 1,
            ..summary(&[(StateName::Succeeded, 4), (StateName::Expired, 2)])
        };
        let view = BatchView::new(&expired, "USD");
        let shown = view.render(Timestamp::from_second(90).unwrap());
        assert!(shown.contains("succeeded  4 (1 with images missing)"), "{shown}");
        assert!(shown.contains("expired    2"), "{shown}");
        assert!(shown.contains("lost         3 images billed and not in the bucket, 0.09 USD"), "{shown}");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["lost"]["images"], &json["lost"]["cost"]["micros"]), (&3.into(), &90_000.into()));
        assert_eq!(view.jobs.exit_code(), exit_code::FAILED);
    }

    #[test]
    fn a_batch_is_done_when_it_is_sealed_and_nothing_is_left() {
        use StateName::{Held, Queued, Succeeded};
        assert_eq!(view(&[(Succeeded, 2)]).state, BatchState::Done);
        assert_eq!(view(&[(Succeeded, 2), (Held, 1)]).state, BatchState::Held);
        assert_eq!(view(&[(Queued, 1), (Held, 1)]).state, BatchState::Running);
        let open = BatchSummary { sealed: false, ..summary(&[(Succeeded, 2)]) };
        assert_eq!(BatchView::new(&open, "USD").state, BatchState::Running);
        let paused = BatchSummary { paused: true, ..summary(&[(Queued, 2)]) };
        assert_eq!(BatchView::new(&paused, "USD").state, BatchState::Paused);
    }

    #[test]
    fn the_exit_code_says_how_jobs_ended() {
        use StateName::{Canceled, Expired, Failed, Held, Succeeded};
        let code = |counts: &[(StateName, u64)]| view(counts).jobs.exit_code();
        assert_eq!(code(&[(Succeeded, 2)]), exit_code::DONE);
        for state in [Failed, Expired, Canceled] {
            assert_eq!(code(&[(Succeeded, 2), (state, 1)]), exit_code::FAILED);
        }
        assert_eq!(code(&[(Failed, 2), (Held, 1)]), exit_code::HELD);
        let partial = BatchSummary { partial: 1, ..summary(&[(Succeeded, 2)]) };
        let partial = BatchView::new(&partial, "USD").jobs;
        assert_eq!(partial.exit_code(), exit_code::PARTIAL);
        let well = view(&[(Succeeded, 2)]).jobs;
        assert_eq!(JobCounts::sum([partial, well]).exit_code(), exit_code::PARTIAL, "of several, the worst");
        let failed = view(&[(Failed, 1)]).jobs;
        let all = JobCounts::sum([well, partial, failed]);
        assert_eq!((all.exit_code(), all.total, all.partial), (exit_code::FAILED, 5, Some(1)));
    }

    #[test]
    fn money_in_json_has_exact_decimals() {
        for micros in [0, 1, 75_000, 225_000, 1_234_567, 999_999_999_999_999] {
            let json = serde_json::to_string(&Cost::new(Micros(micros), "USD").amount).unwrap();
            let shown = Micros(micros).to_string();
            let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
            assert_eq!(trimmed(&json.replace("1e-6", "0.000001")), trimmed(&shown));
        }
    }
}
