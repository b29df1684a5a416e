//! `[[schedules]]`: what is refreshed, when, and what for.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use job::{
    AccountName, BatchName, BatchTemplate, DEFAULT_BATCH_TEMPLATE, KeyTemplate, Missed, Priority,
    RefreshRule, ScheduleName, Ticks,
};

use crate::input::rows::Format;
use crate::input::template::Template;

use super::accounts::Account;
use super::document::{Position, Table, Value};
use super::layers::{Layers, Scope, Section as _, Variables, problem_at, section};
use super::problem::{Place, Problem};
use super::value::{Setting, Span, Whole, Wrong, choice, quoted};

mod values;

pub(crate) use self::values::SourcePlace;
use self::values::*;

section! {
    /// A schedule: at each of its ticks, `imagemill scheduler` enqueues those items of a catalogue that need new images.
    ScheduleRow {
        /// Its name, and that of its collection where no other is set.
        name: Option<Title> = None, example "catalogue";
        /// When: minute, hour, day of the month, month, day of the week.
        cron: Option<Expression> = None, example "0 3 * * *";
        /// The time zone of the clock that `cron` is read on.
        time_zone: Zone = Zone("UTC".to_owned(), TimeZone::UTC);
        /// The items: a file (relative to this one), `s3://bucket/key`, or an https link. A line is one item, with a `custom_id`.
        source: Option<SourcePlace> = None, example "catalogue.jsonl";
        /// How the source is written: `jsonl` or `csv`. Not set: `csv` if its name ends so.
        format: Option<Written> = None, example "jsonl";
        /// What makes the prompts of the fields or columns of each line, for sources without prompts.
        template: Option<Prompts> = None, example "studio photo of {name}, {colour}";
        /// The batch of a tick, with {name}, {date} and {time} of the tick in the schedule's time zone.
        batch: String = DEFAULT_BATCH_TEMPLATE.to_owned();
        /// The folder of the items' stable keys: it stands for {batch} in `results.template`. Not set: the schedule's name.
        collection: Option<Collection> = None, example "catalogue";
        /// Which items get new images: `always` all; `if_changed` those for which something else is asked than what the stored images
        /// were made from; `max_age` those too whose images are older than `max_age`. An item whose manifest cannot be read gets none.
        refresh: Rule = Rule::IfChanged;
        /// With `refresh = "max_age"`: how old images may be, from when they were enqueued; a twentieth of it less counts too, up to an hour.
        max_age: Option<Span<1_000>> = None, example "30days";
        /// How many old versions of an item's images are kept.
        keep: Whole<0, 100> = Whole(3);
        /// What becomes of ticks at which no scheduler was there: `catch_up` does the latest of them, once; `skip` leaves them out. A tick
        /// that was begun is finished in any case.
        missed: MissedTicks = MissedTicks::CatchUp;
        /// Whether the good lines of a source with faulty ones are enqueued. Otherwise such a tick fails as a whole.
        skip_invalid: bool = false;
        /// The model of lines that name none.
        model: Option<ModelName> = None, example "wan2.7-image";
        /// The size of lines that name none.
        size: Option<SizeText> = None, example "2K";
        /// Images of lines that do not say how many; each costs.
        n: Option<Whole<1, 12>> = None, example "1";
        /// The urgency of lines that name none: 0 goes first, 9 last.
        priority: Option<Whole<0, 9>> = None, example "7";
        /// The account of lines that name none.
        account: Option<AccountTitle> = None, example "default";
        /// Whether it ticks at all.
        enabled: bool = true;
    }
}

impl ScheduleRow {
    /// A schedule of which nothing is set.
    pub(crate) fn unset() -> Self {
        let (flags, environment, document) = Default::default();
        let layers = Layers { flags: &flags, environment: &environment, document: &document };
        Self::resolve(&mut Scope::new(&layers, "schedules", None, Variables::Off, &mut Vec::new()))
    }
}

choice! {
    /// `refresh` of a schedule.
    Rule {
        /// All items.
        Always = "always",
        /// Changed ones.
        IfChanged = "if_changed",
        /// Changed and old ones.
        MaxAge = "max_age",
    }
}

choice! {
    /// `format` of a schedule.
    Written {
        /// JSON.
        Jsonl = "jsonl",
        /// Columns.
        Csv = "csv",
    }
}

choice! {
    /// `missed` of a schedule.
    MissedTicks {
        /// The latest, once.
        CatchUp = "catch_up",
        /// None.
        Skip = "skip",
    }
}

/// A schedule that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// Its settings as they stand.
    pub(crate) row: ScheduleRow,
    /// Its name.
    pub(crate) name: ScheduleName,
    /// When it ticks.
    pub(crate) ticks: Ticks,
    /// Where its items come from.
    pub(crate) source: SourcePlace,
    /// The batch of each tick.
    pub(crate) batch: BatchTemplate,
    /// The folder of the stable keys.
    pub(crate) collection: BatchName,
    /// Which items get new images.
    pub(crate) rule: RefreshRule,
}

impl Schedule {
    /// What becomes of missed ticks.
    pub(crate) fn missed(&self) -> Missed {
        match self.row.missed.value {
            MissedTicks::CatchUp => Missed::CatchUp,
            MissedTicks::Skip => Missed::Skip,
        }
    }

    /// What names the times of its ticks: another expression or zone has missed nothing before it was there.
    pub(crate) fn expression(&self) -> String {
        format!("{} {}", self.ticks.cron.as_str(), self.zone())
    }

    /// The name of its time zone.
    pub(crate) fn zone(&self) -> &str {
        &self.row.time_zone.value.0
    }

    /// Old versions that are kept.
    pub(crate) fn keep(&self) -> u8 {
        self.row.keep.value.tiny()
    }

    /// How its source is written, where that is set.
    pub(crate) fn format(&self) -> Option<Format> {
        self.row.format.value.map(|written| match written {
            Written::Jsonl => Format::Jsonl,
            Written::Csv => Format::Csv,
        })
    }

    /// What makes the prompts.
    pub(crate) fn prompts(&self) -> Option<Template> {
        self.row.template.value.as_ref().map(|prompts| prompts.0.clone())
    }

    /// Images of lines that do not say how many.
    pub(crate) fn n(&self) -> Option<u8> {
        self.row.n.value.map(Whole::tiny)
    }

    /// The urgency of lines that name none.
    pub(crate) fn priority(&self) -> Option<Priority> {
        self.row.priority.value.and_then(|priority| Priority::try_from(priority.tiny()).ok())
    }
}

/// Reads all schedules. Those with a problem are left out.
pub(crate) fn resolve(
    layers: &Layers<'_>,
    accounts: &[Account],
    template: &KeyTemplate,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Vec<Schedule> {
    let Some(node) = layers.document.root.get("schedules") else { return Vec::new() };
    let Value::List(items) = &node.value else {
        let kind = node.value.kind();
        let what = format!("`schedules` is {kind}, but each schedule is a table `[[schedules]]`");
        problems.push(problem_at(layers.document, node.at, what));
        return Vec::new();
    };
    let mut names = BTreeSet::new();
    let mut schedules: Vec<Schedule> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("schedules[{index}]");
        let Value::Table(table) = &item.value else {
            let what = format!("`{path}` is {}, but it must be a table", item.value.kind());
            problems.push(problem_at(layers.document, item.at, what));
            continue;
        };
        let mut reading = Reading { layers, path, at: item.at, table, problems };
        let Some(schedule) = reading.schedule(accounts, template) else { continue };
        if schedule.row.max_age.value.is_some() && schedule.row.refresh.value != Rule::MaxAge {
            let name = &schedule.name;
            warnings
                .push(format!("`max_age` of the schedule `{name}` has no use without refresh = \"max_age\""));
        }
        if !names.insert(schedule.name.clone()) {
            let what = format!("a second schedule is called `{}`", schedule.name);
            problems.push(problem_at(layers.document, item.at, what));
        } else if let Some((other, batch)) = of_one_batch(&schedules, &schedule) {
            let what = format!(
                "the schedules `{}` and `{}` tick into one batch, such as `{batch}`: an item of both would be made for one of them only",
                other.name, schedule.name
            );
            let hint = Some("write {name} into `batch` of both".to_owned());
            problems.push(Problem { hint, ..problem_at(layers.document, item.at, what) });
        } else if let Some((other, fields)) = at_odds(&schedules, &schedule) {
            let what = format!(
                "the schedules `{}` and `{}` refresh the items of one list in one collection, `{}`, and differ in {fields}: each would \
                 make, and pay for, everything anew after the other",
                other.name, schedule.name, schedule.collection
            );
            let hint = Some("let them agree in that, or give one of them another `collection`".to_owned());
            problems.push(Problem { hint, ..problem_at(layers.document, item.at, what) });
        }
        schedules.push(schedule);
    }
    schedules
}

/// Which of `others` ticks into a batch that this one ticks into as well, and such a batch.
fn of_one_batch<'a>(others: &'a [Schedule], schedule: &Schedule) -> Option<(&'a Schedule, BatchName)> {
    let ticks_at_all = |schedule: &&Schedule| schedule.row.enabled.value;
    let this = Some(schedule).filter(ticks_at_all)?;
    others.iter().filter(ticks_at_all).find_map(|other| {
        let theirs = (&other.batch, other.name.as_str(), &other.ticks);
        Some((other, this.batch.shared_with(this.name.as_str(), &this.ticks, theirs)?))
    })
}

/// Which of `others` makes other images of the same items for the same keys, and by which settings.
fn at_odds<'a>(others: &'a [Schedule], schedule: &Schedule) -> Option<(&'a Schedule, String)> {
    others.iter().filter(|other| other.row.enabled.value && schedule.row.enabled.value).find_map(|other| {
        if other.collection != schedule.collection || other.source != schedule.source {
            return None;
        }
        let content = |schedule: &Schedule| {
            let row = &schedule.row;
            [
                ("template", row.template.value.as_ref().and_then(Setting::show)),
                ("model", row.model.value.as_ref().and_then(Setting::show)),
                ("size", row.size.value.as_ref().and_then(Setting::show)),
                ("n", row.n.value.as_ref().and_then(Setting::show)),
            ]
        };
        let fields = content(other).into_iter().zip(content(schedule));
        let differing: Vec<String> = fields
            .filter(|((_, theirs), (_, ours))| theirs != ours)
            .map(|((name, _), _)| format!("`{name}`"))
            .collect();
        (!differing.is_empty()).then(|| (other, differing.join(", ")))
    })
}

/// One schedule of the file, while it is read.
struct Reading<'a> {
    layers: &'a Layers<'a>,
    path: String,
    at: Position,
    table: &'a Table,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn schedule(&mut self, accounts: &[Account], template: &KeyTemplate) -> Option<Schedule> {
        let before = self.problems.len();
        let row = ScheduleRow::resolve(&mut Scope::new(
            self.layers,
            self.path.clone(),
            Some(self.table),
            Variables::Off,
            self.problems,
        ));
        for (field, is_set) in [
            ("name", row.name.value.is_some()),
            ("cron", row.cron.value.is_some()),
            ("source", row.source.value.is_some()),
        ] {
            // What stands there and cannot be used was said.
            if !is_set && self.table.get(field).is_none() {
                let hint = match field {
                    "cron" => Some("such as cron = \"0 3 * * *\": every day at 3:00"),
                    _ => None,
                };
                self.refuse("", format!("`{}.{field}` is missing", self.path), hint);
            }
        }
        let rule = self.rule(&row);
        if let Some(account) = &row.account.value
            && !accounts.iter().any(|known| *known.name() == account.0)
        {
            let known: Vec<&str> = accounts.iter().map(|account| account.name().as_str()).collect();
            let what = format!("`{}.account` is `{}`, which no account is called", self.path, account.0);
            let hint = format!("the accounts are {}", known.join(", "));
            self.refuse("account", what, Some(&hint));
        }
        if !template.is_stable() {
            let what = format!(
                "a schedule needs keys that stay the same, but `results.template` is {}",
                quoted(template.as_str())
            );
            self.refuse("", what, Some("it must contain {custom_id} and not {job_id}"));
        }
        let name = row.name.value.as_ref()?.0.clone();
        let ticks = row
            .cron
            .value
            .as_ref()
            .map(|cron| Ticks { cron: cron.0.clone(), zone: row.time_zone.value.1.clone() });
        let suiting = |batch: BatchTemplate| match &ticks {
            Some(ticks) => batch.suits(ticks).map(|()| batch),
            None => Ok(batch),
        };
        let batch = match BatchTemplate::parse(&row.batch.value, name.as_str()).and_then(suiting) {
            Ok(batch) => Some(batch),
            Err(error) => {
                let shown = quoted(&row.batch.value);
                let what = format!("`{}.batch` {shown} cannot be used: {error}", self.path);
                self.refuse(
                    "batch",
                    what,
                    Some(&format!("the default is {}", quoted(DEFAULT_BATCH_TEMPLATE))),
                );
                None
            }
        };
        let source = row.source.value.clone()?;
        if self.problems.len() > before {
            return None;
        }
        let collection = row.collection.value.as_ref().map(|collection| collection.0.clone());
        Some(Schedule {
            ticks: ticks?,
            collection: match collection {
                Some(collection) => collection,
                None => BatchName::parse(name.as_str()).ok()?,
            },
            batch: batch?,
            rule: rule?,
            source,
            name,
            row,
        })
    }

    fn rule(&mut self, row: &ScheduleRow) -> Option<RefreshRule> {
        let age: Option<Duration> = row.max_age.value.map(|age| age.0);
        match (row.refresh.value, age) {
            (Rule::Always, None) => Some(RefreshRule::Always),
            (Rule::IfChanged, None) => Some(RefreshRule::IfChanged),
            (Rule::MaxAge, Some(age)) => Some(RefreshRule::MaxAge(age)),
            (Rule::MaxAge, None) if self.table.get("max_age").is_some() => None,
            (Rule::MaxAge, None) => {
                let what = format!("`{}.refresh` is `max_age`, and no `max_age` says how old", self.path);
                self.refuse("refresh", what, Some("such as max_age = \"30d\""));
                None
            }
            (Rule::Always, Some(_)) => Some(RefreshRule::Always),
            (Rule::IfChanged, Some(_)) => Some(RefreshRule::IfChanged),
        }
    }

    /// Notes a problem, at a field that stands in the file or at the schedule's beginning.
    fn refuse(&mut self, field: &str, what: String, hint: Option<&str>) {
        let at = self.table.get(field).map_or(self.at, |node| node.at);
        let place = Place::File { file: self.layers.document.file.clone(), at };
        self.problems.push(Problem { place, what, hint: hint.map(str::to_owned) });
    }
}

/// A setting that is a checked name.
macro_rules! named {
    ($(#[$about:meta])* $name:ident($kind:ty), $wanted:literal) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name(pub(crate) $kind);

        impl Setting for $name {
            const WANTED: &'static str = $wanted;

            fn from_text(text: &str) -> Result<Self, Wrong> {
                <$kind>::parse(text).map(Self).map_err(|error| {
                    Wrong::new(format_args!("`{}`", error.value), format_args!("it must be {}", error.rule))
                })
            }

            fn show(&self) -> Option<String> {
                Some(quoted(self.0.as_str()))
            }
        }
    };
}

named!(
    /// A schedule's name.
    Title(ScheduleName), "a name"
);
named!(
    /// A collection's name.
    Collection(BatchName), "a name"
);
named!(
    /// An account's name.
    AccountTitle(AccountName), "a name"
);
