//! What `status` says: everything at a glance.

use std::collections::BTreeMap;

use job::{AccountName, Micros, Model, StateName, Timestamp};
use queue::{AccountLimits, AccountStatus, FigureSources};
use serde::Serialize;

use super::batch::JobCounts;
use super::copies::{CopiesView, LostView};
use super::leftovers::LeftoversView;
use super::limits::LimitsView;
use super::pauses::HandPauseView;
use super::table::{Column, pairs, table};
use super::words::{count, counted, relative, span};

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
    /// What people have paused.
    pub(crate) paused: Vec<HandPauseView>,
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

/// One account.
#[derive(Debug, Serialize)]
pub(crate) struct AccountView {
    /// Its name.
    pub(crate) account: String,
    /// Each model: places at the provider.
    pub(crate) models: Vec<ModelView>,
    /// Calls that are held back for everyone, for a moment.
    pub(crate) pauses: Vec<PauseView>,
    /// Calls that nobody makes until a probe shows that they work again.
    pub(crate) breakers: Vec<BreakerView>,
    /// Calls that single workers leave alone, while others may make them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) workers_at_rest: Vec<RestView>,
    /// How often the breaker of each call has opened so far.
    pub(crate) breaker_openings: BTreeMap<String, u64>,
    /// Tasks that wait to be asked.
    pub(crate) polls: u64,
    /// When the first of them is, or was, due.
    pub(crate) first_poll_due_at: Option<Timestamp>,
    /// Images billed on this UTC day.
    pub(crate) images_today: u64,
    /// Images that attempts under way may yet bring.
    pub(crate) images_reserved: i64,
    /// The stop for one UTC day, where one is set.
    pub(crate) images_per_day_max: Option<u64>,
    /// Tasks that no job accounts for.
    #[serde(flatten)]
    pub(crate) leftovers: LeftoversView,
}

/// One model of an account.
#[derive(Debug, Serialize)]
pub(crate) struct ModelView {
    /// The model.
    pub(crate) model: Model,
    /// Places that are, or may be, taken.
    pub(crate) slots_used: u64,
    /// All places: those that are processed at once, and those kept behind them.
    pub(crate) slots: u64,
    /// Those of them that may be taken now: fewer where the service refused more tasks at once.
    pub(crate) slots_allowed: u64,
    /// Before when no create goes out, as far as permits are spent ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_create_at: Option<Timestamp>,
    /// What may be done.
    pub(crate) limits: LimitsView,
}

/// A call that single workers leave alone, for troubles that may be their own.
#[derive(Debug, Serialize)]
pub(crate) struct RestView {
    /// `create` or `query`.
    pub(crate) call: String,
    /// How many workers do.
    pub(crate) workers: u64,
    /// Until when the last of them does.
    pub(crate) until: Timestamp,
    /// Why that one does.
    pub(crate) why: String,
}

impl ModelView {
    /// Places that are taken, of those that may be; and of how many, where some may not.
    fn slots(&self) -> String {
        let taken = format!("{}/{}", self.slots_used, self.slots_allowed);
        if self.slots_allowed == self.slots { taken } else { format!("{taken} of {}", self.slots) }
    }
}

/// A pause.
#[derive(Debug, Serialize)]
pub(crate) struct PauseView {
    /// `create`, `create:<model>` or `query`.
    pub(crate) call: String,
    /// Until when.
    pub(crate) until: Timestamp,
    /// Why.
    pub(crate) why: String,
}

/// A breaker that is open.
#[derive(Debug, Serialize)]
pub(crate) struct BreakerView {
    /// `create`, `create:<model>` or `query`.
    pub(crate) call: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// The code of what opened it.
    pub(crate) code: String,
    /// Why.
    pub(crate) why: String,
    /// When the next probe goes out, or (with one under way) when that counts as lost.
    pub(crate) next_probe_at: Timestamp,
    /// Whether a probe is under way.
    pub(crate) probing: bool,
    /// How often it has opened so far, this time with it.
    pub(crate) openings: u64,
}

impl AccountView {
    /// An account as the queue knows it, beside what the settings say.
    pub(crate) fn new(
        name: &AccountName,
        status: AccountStatus,
        leftovers: LeftoversView,
        limits: impl Fn(Model) -> (AccountLimits, FigureSources),
    ) -> Self {
        let model = |model: Model| {
            let (limits, sources) = limits(model);
            let slots = u64::from(limits.in_flight) + u64::from(limits.queue_ahead);
            let slots_allowed = status.places.get(&model).map_or(slots, |places| slots.min(*places));
            let next_create_at = status.next_creates.get(&model).copied();
            let slots_used = status.slots.get(&model).copied().unwrap_or(0);
            let limits = LimitsView::new(limits, sources);
            ModelView { model, slots_used, slots, slots_allowed, next_create_at, limits }
        };
        Self {
            account: name.to_string(),
            models: Model::ALL.into_iter().map(model).collect(),
            polls: status.polls,
            first_poll_due_at: status.first_poll_due,
            images_today: status.images_today,
            images_reserved: status.reserved,
            images_per_day_max: limits(Model::Wan27Image).0.images_per_day,
            leftovers,
            pauses: status
                .pauses
                .into_iter()
                .map(|pause| PauseView { call: pause.call, until: pause.until, why: pause.why })
                .collect(),
            workers_at_rest: status
                .at_rest
                .into_iter()
                .map(|rest| RestView {
                    call: rest.call,
                    workers: rest.workers,
                    until: rest.until,
                    why: rest.why,
                })
                .collect(),
            breakers: status
                .breakers
                .into_iter()
                .map(|breaker| BreakerView {
                    openings: status.openings.get(&breaker.call).copied().unwrap_or(0),
                    call: breaker.call,
                    since: breaker.since,
                    code: breaker.code,
                    why: breaker.why,
                    next_probe_at: breaker.next_probe,
                    probing: breaker.probing,
                })
                .collect(),
            breaker_openings: status.openings,
        }
    }
}

impl BreakerView {
    /// What does not work, since when, why, and when that is tried again.
    fn line(&self, account: &str, now: Timestamp) -> String {
        let next = match (self.probing, self.next_probe_at > now) {
            (true, true) => "a probe is under way".to_owned(),
            (_, false) => "the next job is the probe".to_owned(),
            (false, true) => format!("next probe {}", relative(self.next_probe_at, now)),
        };
        format!(
            "open: {} of {account} since {} ({}): {}; its jobs stay queued, {next}",
            self.call,
            relative(self.since, now),
            self.code,
            self.why
        )
    }
}

impl StatusView {
    /// For people.
    pub(crate) fn render(&self) -> String {
        let jobs = &self.jobs;
        let state = |name: StateName| count(self.states.get(name.as_str()).copied().unwrap_or(0));
        let waiting = match self.delayed {
            0 => String::new(),
            delayed => format!(" ({} waiting for their time)", count(delayed)),
        };
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
        if !self.repairs.is_empty() {
            let kinds: Vec<String> =
                self.repairs.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
            rows.push((
                "repairs",
                format!("index entries that were lost, or too many, were put right: {}", kinds.join(", ")),
            ));
        }
        let mut text = pairs(&rows);
        if let Some(warning) = self.copies.warning() {
            text.push_str(&format!("\n{warning}\n"));
        }
        for pause in &self.paused {
            text.push_str(&format!("\n{}\n", pause.line(self.now)));
        }
        text.push('\n');
        text.push_str(&self.accounts_table());
        text.push('\n');
        for account in &self.accounts {
            for model in &account.models {
                text.push_str(&format!(
                    "limits of {}, {}: {}\n",
                    account.account,
                    model.model,
                    model.limits.words()
                ));
            }
        }
        for account in &self.accounts {
            for line in account.leftovers.lines(&account.account, self.now) {
                text.push_str(&format!("\n{line}\n"));
            }
            for breaker in &account.breakers {
                text.push_str(&format!("\n{}\n", breaker.line(&account.account, self.now)));
            }
            for rest in &account.workers_at_rest {
                let left = span(rest.until.duration_since(self.now).unsigned_abs());
                text.push_str(&format!(
                    "\nat rest: {} of {} at {}, for {left}: {}; other workers go on\n",
                    rest.call,
                    account.account,
                    counted(rest.workers, "worker"),
                    rest.why
                ));
            }
            for pause in &account.pauses {
                let left = span(pause.until.duration_since(self.now).unsigned_abs());
                text.push_str(&format!(
                    "\npaused: {} of {} for {left}: {}\n",
                    pause.call, account.account, pause.why
                ));
            }
        }
        text
    }

    fn accounts_table(&self) -> String {
        let columns = [
            Column::Left("ACCOUNT"),
            Column::Left("MODEL"),
            Column::Right("SLOTS"),
            Column::Right("TO POLL"),
            Column::Left("NEXT POLL"),
            Column::Right("IMAGES TODAY"),
        ];
        let mut rows = Vec::new();
        for account in &self.accounts {
            for (index, model) in account.models.iter().enumerate() {
                let first = |text: String| if index == 0 { text } else { String::new() };
                let due = account.first_poll_due_at.map_or_else(String::new, |due| relative(due, self.now));
                let today = match account.images_per_day_max {
                    Some(most) => format!("{} of {}", count(account.images_today), count(most)),
                    None => count(account.images_today),
                };
                rows.push(vec![
                    first(account.account.clone()),
                    model.model.to_string(),
                    model.slots(),
                    first(count(account.polls)),
                    first(due),
                    first(today),
                ]);
            }
        }
        table(&columns, rows)
    }
}

/// What `enqueue` would cost, or costs at most, in words.
pub(crate) fn at_most(images: u64, cost: Micros, currency: &str) -> String {
    format!("at most {} for {cost} {currency}", counted(images, "image"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn pauses_say_their_reason_and_places_their_number() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let pause = queue::Pause {
            call: "create".into(),
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
                call: "create".into(),
                workers: 1,
                until: at(130),
                why: "connection refused".into(),
            }],
            polls: 7,
            first_poll_due: Some(at(98)),
            images_today: 1_200,
            ..AccountStatus::default()
        };
        let name = AccountName::parse("singapore").unwrap();
        let account = AccountView::new(&name, status, LeftoversView::new(&[], None, "USD"), |model| {
            let limits = AccountLimits { images_per_day: Some(2_000), ..AccountLimits::default() };
            let set = queue::SetFigures { queue_ahead: true, ..Default::default() };
            let quota = queue::Quota { create_per_second: Some(2.5), ..Default::default() };
            limits.under(set, (model == Model::Wan27Image).then_some(&quota))
        });
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
            repairs: BTreeMap::from([("extra_slot".to_owned(), 1), ("lease".to_owned(), 2)]),
            paused: vec![HandPauseView {
                of: "model wan2.7-image".into(),
                by: "kim".into(),
                why: "too dear today".into(),
                since: at(40),
            }],
            accounts: vec![account],
        };
        insta::assert_snapshot!(view.render(), @r"
        jobs         1,508
          queued     1,500 (3 waiting for their time)
          in flight  7: 0 submitting, 0 settling, 7 at DashScope, 0 being copied
          succeeded  0
          failed     0
          canceled   0
          expired    0
          held       1, see `imagemill job ls --held`
        quarantine   1 job that lost worker after worker, to be run alone
        redis        went back in time 1m 00s ago: 12 tasks written down again, 11 taken by their jobs, 1 extra
        repairs      index entries that were lost, or too many, were put right: extra_slot 1, lease 2

        paused: model wan2.7-image, 1m 00s ago by kim: too dear today

        ACCOUNT    MODEL                 SLOTS  TO POLL  NEXT POLL    IMAGES TODAY
        singapore  wan2.7-image-pro  7/8 of 10        7  2s ago     1,200 of 2,000
                   wan2.7-image           0/10

        limits of singapore, wan2.7-image-pro: 5 creates/s (documented), 5 at once (documented), 5 behind them (settings)
        limits of singapore, wan2.7-image: 2.5 creates/s (quotas), 5 at once (documented), 5 behind them (settings)

        open: create:wan2.7-image of singapore since 1m 00s ago (Model.AccessDenied): HTTP 403 Model.AccessDenied: not opened; its jobs stay queued, next probe in 30s

        at rest: create of singapore at 1 worker, for 30s: connection refused; other workers go on

        paused: create of singapore for 1m 00s: Arrearage: the bill is overdue
        ");
    }
}
