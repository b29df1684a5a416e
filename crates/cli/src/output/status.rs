//! What `status` says: everything at a glance.

use std::collections::BTreeMap;

use job::{Micros, StateName, Timestamp};
use serde::Serialize;

use super::account::{self, AccountView};
use super::batch::JobCounts;
use super::budget::{BudgetView, WaitingBatchView, WaitsFor, waits_in_words};
use super::copies::{CopiesView, LostView};
use super::pauses::HandPauseView;
use super::table::pairs;
use super::waiting::{self, WaitingView};
use super::webhooks::HookView;
use super::words::{count, counted, folded, relative};

/// Where the values begin behind the names of [`StatusView::render`]: two behind the longest, `  succeeded`.
const VALUES_AT: usize = 13;

/// What `status --json` prints. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct StatusView {
    /// Redis's time.
    pub(crate) now: Timestamp,
    /// Jobs of all batches and without one.
    pub(crate) jobs: JobCounts,
    /// The same by state.
    pub(crate) states: BTreeMap<&'static str, u64>,
    /// Queued jobs that wait for their time: a retry, a refusal, a `not_before`.
    pub(crate) delayed: u64,
    /// Jobs that lost their workers again and again, and wait to be run alone.
    pub(crate) quarantined: u64,
    /// When the first link among the images that wait to be copied dies.
    pub(crate) first_link_dies_at: Option<Timestamp>,
    /// What waits to be copied, and how copying goes.
    pub(crate) copies: CopiesView,
    /// Images that were billed and could not be had, since the beginning.
    pub(crate) lost: LostView,
    /// The last time that Redis went back in time: restored from a copy, flushed, or started without its last writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redis_went_back: Option<RestoreView>,
    /// Index entries that the sweep put right since the beginning, by kind; in normal runs there is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) repairs: BTreeMap<String, u64>,
    /// Webhooks that have been told of batches, or are to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhooks: Vec<HookView>,
    /// What people have paused.
    pub(crate) paused: Vec<HandPauseView>,
    /// What may be spent on everything on this UTC day, where that is bounded, and what is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget_today: Option<BudgetView>,
    /// Batches of which jobs wait for their budget, a hundred at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waiting_for_budget: Vec<WaitingBatchView>,
    /// Budgets of the day that jobs wait for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waits_for: Vec<WaitsFor>,
    /// What waits for a claim, by model.
    pub(crate) waiting: Vec<WaitingView>,
    /// Queued jobs that have no turn and wait for no time: in paused batches, for accounts that these settings do not name, to be run
    /// alone. Not there where more waits than was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_turn: Option<u64>,
    /// Each account of the settings.
    pub(crate) accounts: Vec<AccountView>,
}

/// What followed when Redis went back in time.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreView {
    /// When the first worker noticed.
    pub(crate) at: Timestamp,
    /// Tasks that the workers wrote down again.
    pub(crate) tasks_written_again: u64,
    /// Those of them that their jobs took.
    pub(crate) tasks_taken: u64,
    /// Those that are one too many: they may be paid for without need.
    pub(crate) tasks_extra: u64,
}

impl From<queue::RestoreNote> for RestoreView {
    fn from(note: queue::RestoreNote) -> Self {
        Self {
            at: note.at,
            tasks_written_again: note.rewritten.written,
            tasks_taken: note.rewritten.taken,
            tasks_extra: note.rewritten.extra,
        }
    }
}

impl StatusView {
    /// For people.
    pub(crate) fn render(&self) -> String {
        let jobs = &self.jobs;
        let state = |name: StateName| count(self.states.get(name.as_str()).copied().unwrap_or(0));
        let waiting: Vec<String> = [
            (self.delayed, "waiting for their time"),
            (self.no_turn.unwrap_or(0), "that nobody may claim now"),
        ]
        .into_iter()
        .filter(|(jobs, _)| *jobs > 0)
        .map(|(jobs, what)| format!("{} {what}", count(jobs)))
        .collect();
        let waiting = if waiting.is_empty() { String::new() } else { format!(" ({})", waiting.join(", ")) };
        let flight = format!(
            "{}: {} submitting, {} settling, {} at DashScope, {} being copied",
            count(jobs.in_flight),
            state(StateName::Submitting),
            state(StateName::Settling),
            state(StateName::Polling),
            state(StateName::Archiving)
        );
        let mut rows = vec![
            ("jobs", count(jobs.total)),
            ("  queued", format!("{}{waiting}", count(jobs.queued))),
            ("  in flight", if jobs.in_flight == 0 { "0".to_owned() } else { flight }),
            ("  succeeded", count(jobs.succeeded)),
            ("  failed", count(jobs.failed)),
            ("  canceled", count(jobs.canceled)),
            ("  expired", count(jobs.expired)),
            (
                "  held",
                match jobs.held {
                    0 => "0".to_owned(),
                    held => format!("{}, see `imagemill job ls --held`", count(held)),
                },
            ),
        ];
        if self.quarantined > 0 {
            let jobs = counted(self.quarantined, "job");
            rows.push(("quarantine", format!("{jobs} that lost worker after worker, to be run alone")));
        }
        if self.copies.jobs > 0 {
            rows.push(("to copy", self.copies.render(self.now)));
        }
        if self.lost.images > 0 {
            rows.push(("lost", self.lost.render()));
        }
        if let Some(restore) = &self.redis_went_back {
            rows.push((
                "redis",
                format!(
                    "went back in time {}: {} written down again, {} taken by their jobs, {} extra",
                    relative(restore.at, self.now),
                    counted(restore.tasks_written_again, "task"),
                    count(restore.tasks_taken),
                    count(restore.tasks_extra)
                ),
            ));
        }
        if let Some(budget) = &self.budget_today {
            rows.push(("money today", budget.in_words()));
        }
        if !self.repairs.is_empty() {
            let kinds: Vec<String> =
                self.repairs.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
            rows.push((
                "repairs",
                format!("index entries that were lost, or too many, were put right: {}", kinds.join(", ")),
            ));
        }
        let mut text = folded(&pairs(&rows), VALUES_AT);
        let mut line = |line: &str| text.push_str(&folded(&format!("\n{line}\n"), 2));
        if let Some(warning) = self.copies.warning() {
            line(&warning);
        }
        for hook in self.webhooks.iter().filter(|hook| hook.is_amiss()) {
            line(&hook.line(self.now));
        }
        for pause in &self.paused {
            line(&pause.line(self.now));
        }
        if !self.waits_for.is_empty() {
            line(&format!("budget: {}", waits_in_words(&self.waits_for, self.now)));
        }
        for batch in &self.waiting_for_budget {
            line(&batch.line(self.now));
        }
        if let Some(table) = waiting::list(&self.waiting, self.now) {
            text.push_str(&format!("\n{table}"));
        }
        text.push_str(&format!("\n{}", account::list(&self.accounts, self.now)));
        text.push('\n');
        for limits in self.accounts.iter().flat_map(AccountView::limits) {
            text.push_str(&folded(&format!("{limits}\n"), 2));
        }
        for said in self.accounts.iter().flat_map(|account| account.lines(self.now)) {
            text.push_str(&folded(&format!("\n{said}\n"), 2));
        }
        text
    }
}

/// What `enqueue` would cost, or costs at most, in words.
pub(crate) fn at_most(images: u64, cost: Micros, currency: &str) -> String {
    format!("at most {} for {cost} {currency}", counted(images, "image"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use job::{AccountName, Eta, Model, Prices};
    use queue::{AccountLimits, AccountStatus, BatchBudget, Budgets, Spent, WaitingBatch, WaitingJobs};

    use super::super::budget::Money;
    use super::super::leftovers::LeftoversView;
    use super::*;

    #[test]
    fn pauses_say_their_reason_and_places_their_number() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let pause = queue::Pause {
            call: "create:wan2.7-image-pro".into(),
            until: at(160),
            why: "Arrearage: the bill is overdue".into(),
        };
        let breaker = queue::OpenBreaker {
            call: "create:wan2.7-image".into(),
            since: at(40),
            code: "Model.AccessDenied".into(),
            why: "HTTP 403 Model.AccessDenied: not opened".into(),
            next_probe: at(130),
            probing: false,
        };
        let status = AccountStatus {
            pauses: vec![pause],
            breakers: vec![breaker],
            openings: BTreeMap::from([("create:wan2.7-image".to_owned(), 3)]),
            slots: HashMap::from([(Model::Wan27ImagePro, 7)]),
            places: HashMap::from([(Model::Wan27ImagePro, 8)]),
            at_rest: vec![queue::WorkersAtRest {
                call: queue::Resting::Creates,
                workers: 1,
                until: at(130),
                why: "connection refused".into(),
            }],
            created_lately: 57,
            polls: 7,
            first_poll_due: Some(at(98)),
            images_today: 1_200,
            spent_today: Spent { booked: Micros(21_000_000), reserved: Micros(150_000) },
            ..AccountStatus::default()
        };
        let name = AccountName::parse("singapore").unwrap();
        let limits = |model| {
            let limits = AccountLimits {
                images_per_day: Some(2_000),
                cost_per_day: Some(Micros(25_000_000)),
                ..AccountLimits::default()
            };
            let set = queue::SetFigures { queue_ahead: true, ..Default::default() };
            let quota = queue::Quota { create_per_second: Some(2.5), ..Default::default() };
            limits.under(set, (model == Model::Wan27Image).then_some(&quota))
        };
        let leftovers = LeftoversView::new(&[], None, "USD");
        let prices = Prices::default();
        let budgets = Budgets { per_day: Some(Micros(100_000_000)), per_batch: Some(Micros(50_000_000)) };
        let spent_today = Spent { booked: Micros(99_900_000), reserved: Micros(75_000) };
        let nothing = queue::Waiting::default();
        let money = Money { prices: &prices, budgets, spent_today, waiting: &nothing };
        let account = AccountView::new(&name, status, leftovers, limits, &[], &money, at(100));
        let spring = WaitingBatch {
            name: "spring".parse().unwrap(),
            since: at(40),
            budget: BatchBudget::OfSettings,
            spent: Spent { booked: Micros(49_950_000), reserved: Micros(0) },
        };
        let waiting = WaitingJobs {
            model: Model::Wan27ImagePro,
            pinned_to: None,
            jobs: 1_490,
            at_least: false,
            oldest: Some(at(20)),
            images_next: Some(1),
        };
        let counts = BTreeMap::from([("queued", 1_500), ("polling", 7), ("held", 1)]);
        let jobs = JobCounts::of(|state| counts.get(state.as_str()).copied().unwrap_or(0), None);
        let view = StatusView {
            now: at(100),
            jobs,
            states: counts,
            delayed: 3,
            quarantined: 1,
            first_link_dies_at: None,
            copies: CopiesView::new(&Default::default()),
            lost: LostView::new(Default::default(), "USD"),
            redis_went_back: Some(RestoreView {
                at: at(40),
                tasks_written_again: 12,
                tasks_taken: 11,
                tasks_extra: 1,
            }),
            budget_today: money.of_day(),
            waiting_for_budget: vec![WaitingBatchView::new(&spring, budgets.per_batch, "USD")],
            waits_for: vec![WaitsFor::of_day(None, Some(at(4_000)))],
            repairs: BTreeMap::from([("extra_slot".to_owned(), 1), ("lease".to_owned(), 2)]),
            webhooks: Vec::new(),
            paused: vec![HandPauseView {
                of: "model wan2.7-image".into(),
                by: "kim".into(),
                why: "too dear today".into(),
                since: at(40),
            }],
            waiting: WaitingView::of(&[(waiting, Eta::At(at(7_000)))], at(100)),
            no_turn: Some(7),
            accounts: vec![account],
        };
        insta::assert_snapshot!(view.render(), @r"
        jobs         1,508
          queued     1,500 (3 waiting for their time, 7 that nobody may claim now)
          in flight  7: 0 submitting, 0 settling, 7 at DashScope, 0 being copied
          succeeded  0
          failed     0
          canceled   0
          expired    0
          held       1, see `imagemill job ls --held`
        quarantine   1 job that lost worker after worker, to be run alone
        redis        went back in time 1m 00s ago: 12 tasks written down again, 11 taken by their jobs, 1
                     extra
        money today  99.90 of 100.00 USD spent, 0.075 reserved
        repairs      index entries that were lost, or too many, were put right: extra_slot 1, lease 2

        paused: model wan2.7-image, 1m 00s ago by kim: too dear today

        budget: jobs wait for the budget of the day (it begins anew in 1h 05m)

        budget: jobs of batch spring wait for its budget since 1m 00s ago: 49.95 of 50.00 USD spent
          (`imagemill batch budget spring AMOUNT`)

        WAITING FOR  MODEL              JOBS  OLDEST  ETA
        any account  wan2.7-image-pro  1,490  1m 20s  in 1h 55m

        ACCOUNT    MODEL                 SLOTS  CREATES     /MIN  TO POLL  NEXT POLL    IMAGES TODAY
        singapore  wan2.7-image-pro  7/8 of 10  in 23h 59m    57        7  2s ago     1,200 of 2,000
                   wan2.7-image           0/10  stopped

        limits of singapore, wan2.7-image-pro: 5 creates/s (documented), 5 at once (documented), 5 behind
          them (settings)
        limits of singapore, wan2.7-image: 2.5 creates/s (quotas), 5 at once (documented), 5 behind them
          (settings)

        budget of singapore today: 21.00 of 25.00 USD spent, 0.15 reserved

        open: create:wan2.7-image of singapore since 1m 00s ago (Model.AccessDenied): HTTP 403
          Model.AccessDenied: not opened; its jobs stay queued, next probe in 30s

        at rest: create of singapore at 1 worker, for 30s: connection refused; other workers go on

        paused: create:wan2.7-image-pro of singapore for 1m 00s: Arrearage: the bill is overdue
        ");
    }
}
