//! Schedules and what came of their ticks, as people and programs see them. Pure.

use job::{Due, Micros, ScheduleName, Timestamp};
use queue::{RunNote, ScheduleState};
use serde::Serialize;

use super::status::at_most;
use super::table::{Column, table};
use super::unreadable;
use super::words::{count, counted};
use crate::scheduler::what_is_due;
use crate::settings::Schedule;

/// A schedule in `schedule ls`. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleView {
    name: String,
    cron: String,
    time_zone: String,
    source: String,
    collection: String,
    refresh: String,
    enabled: bool,
    /// The next tick; absent while it is paused or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
    /// The tick that is being done, or is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<BegunView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<PausedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<RunNote>,
    /// The next tick on the schedule's own clock.
    #[serde(skip)]
    next_there: Option<String>,
}

#[derive(Debug, Serialize)]
struct BegunView {
    tick: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<Timestamp>,
    tries: u32,
}

#[derive(Debug, Serialize)]
struct PausedView {
    by: String,
    why: String,
    since: Timestamp,
}

impl ScheduleView {
    /// A schedule as it stands at `now`, and the newest line of its history.
    pub(crate) fn new(
        schedule: &Schedule,
        state: ScheduleState,
        last: Option<RunNote>,
        now: Timestamp,
    ) -> Self {
        let goes = schedule.row.enabled.value && state.paused.is_none();
        let due = goes.then(|| match what_is_due(schedule, &state, now) {
            Due::Tick(tick) => Some(tick),
            Due::Wait(_) => schedule.ticks.next(now),
        });
        let next = due.flatten();
        let there =
            |tick: Timestamp| tick.to_zoned(schedule.ticks.zone.clone()).strftime("%F %R %Z").to_string();
        Self {
            name: schedule.name.to_string(),
            cron: schedule.ticks.cron.as_str().to_owned(),
            time_zone: schedule.zone().to_owned(),
            source: schedule.source.to_string(),
            collection: schedule.collection.to_string(),
            refresh: schedule.rule.to_string(),
            enabled: schedule.row.enabled.value,
            next,
            begun: state.begun.map(|begun| BegunView {
                tick: begun.tick,
                by: begun.by.filter(|_| begun.lease_until.is_some_and(|until| until > now)),
                retry_at: begun.retry_at,
                tries: begun.tries,
            }),
            paused: state.paused.map(|paused| PausedView {
                by: paused.by,
                why: paused.why,
                since: paused.since,
            }),
            last,
            next_there: next.map(there),
        }
    }

    fn next_in_words(&self) -> String {
        match (&self.paused, &self.begun, &self.next_there) {
            (Some(paused), ..) => {
                let by = if paused.by.is_empty() { String::new() } else { format!(" by {}", paused.by) };
                let why = if paused.why.is_empty() { String::new() } else { format!(": {}", paused.why) };
                format!("paused{by}{why}")
            }
            _ if !self.enabled => "off".to_owned(),
            (None, Some(BegunView { by: Some(_), .. }), _) => "running".to_owned(),
            (None, Some(BegunView { retry_at: Some(at), .. }), _) => format!("tried again at {at:.0}"),
            (None, _, Some(next)) => next.clone(),
            (None, _, None) => "-".to_owned(),
        }
    }
}

/// Schedules for people.
pub(crate) fn list(schedules: &[ScheduleView]) -> String {
    if schedules.is_empty() {
        return "There are no schedules in the settings.\n".to_owned();
    }
    let columns = [
        Column::Left("SCHEDULE"),
        Column::Left("CRON"),
        Column::Left("NEXT"),
        Column::Left("REFRESH"),
        Column::Left("LAST"),
    ];
    let row = |schedule: &ScheduleView| {
        vec![
            schedule.name.clone(),
            schedule.cron.clone(),
            schedule.next_in_words(),
            schedule.refresh.clone(),
            schedule
                .last
                .as_ref()
                .map_or_else(|| "-".to_owned(), |run| format!("{:.0}  {}", run.tick, outcome(run))),
        ]
    };
    table(&columns, schedules.iter().map(row).collect())
}

/// A history for people.
pub(crate) fn history(runs: &[RunNote]) -> String {
    if runs.is_empty() {
        return "Nothing came of it yet.\n".to_owned();
    }
    let columns = [
        Column::Left("TICK"),
        Column::Left("BY"),
        Column::Right("NEW"),
        Column::Right("UNCHANGED"),
        Column::Right("BUSY"),
        Column::Left("BATCH"),
        Column::Left("OUTCOME"),
    ];
    let row = |run: &RunNote| {
        vec![
            format!("{:.0}", run.tick),
            if run.by_hand { format!("{} (by hand)", run.by) } else { run.by.clone() },
            count(run.new),
            count(run.unchanged),
            count(run.busy),
            run.batch.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            run.error.clone().unwrap_or_else(|| "done".to_owned()),
        ]
    };
    let mut text = table(&columns, runs.iter().map(row).collect());
    for run in runs.iter().filter(|run| !run.faults.is_empty()) {
        text.push_str(&format!("\n{} of tick {:.0}:\n", counted(run.faulty, "faulty line"), run.tick));
        run.faults.iter().for_each(|fault| text.push_str(&format!("  {fault}\n")));
        if run.faulty > run.faults.len() as u64 {
            text.push_str("  …\n");
        }
    }
    for run in runs {
        if let Some(said) = unreadable::said(run.unreadable, &run.unreadable_manifests) {
            text.push_str(&format!("\nIn tick {:.0}, {said}", run.tick));
        }
    }
    text
}

/// What came of a run that a person asked for.
pub(crate) fn run(name: &ScheduleName, run: &RunNote, currency: &str) -> String {
    let mut text = format!("Schedule {name}: {}", outcome(run));
    if let Some(batch) = &run.batch {
        text.push_str(&format!(", in batch {batch}"));
    }
    if run.images_max > 0 {
        text.push_str(&format!(": {}", at_most(run.images_max, Micros(run.cost_max_micros), currency)));
    }
    text.push_str(".\n");
    text + &unreadable::said(run.unreadable, &run.unreadable_manifests).unwrap_or_default()
}

/// What came of a tick, in a few words.
fn outcome(run: &RunNote) -> String {
    if let Some(error) = &run.error {
        return format!("failed: {error}");
    }
    let mut said = vec![format!("{} new", count(run.new)), format!("{} unchanged", count(run.unchanged))];
    for (number, what) in [
        (run.given_up, "failed before as they are"),
        (run.unreadable, "with a manifest that cannot be read"),
        (run.busy, "busy"),
        (run.changed, "changed since this run's first try"),
        (run.faulty, "faulty and left out"),
    ] {
        if number > 0 {
            said.push(format!("{} {what}", count(number)));
        }
    }
    said.join(", ")
}
