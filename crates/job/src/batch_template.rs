//! The names of the batches that ticks make: from the tick's own time, never from the time at which somebody got to it. Pure.

use crate::{BatchName, InvalidName, Ticks, Timestamp};

/// The template of a schedule that has none of its own.
pub const DEFAULT_BATCH_TEMPLATE: &str = "{name}-{date}T{time}";

/// How many ticks in a row are looked at for two of one day. Source: ours; more than a year of daily ones.
const TICKS_LOOKED_AT: usize = 400;

/// From when on ticks are looked at for a batch that two schedules share: 2026-01-01. Source: ours; any day does, and people read this one.
const SHARED_FROM_SECOND: i64 = 1_767_225_600;

/// The longest that `{time}` becomes: the second of two equal times, with seconds.
const LONGEST_TIME: &str = "235959-again";

/// A template for names of batches, such as `shoes-{date}`.
///
/// | placeholder | becomes |
/// | --- | --- |
/// | `{name}` | the name of the schedule |
/// | `{date}` | the day of the tick, in the schedule's time zone: `2026-11-26` |
/// | `{time}` | its time: `0300`; where a clock is set back, the second of two equal ones is `0230-again` |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchTemplate {
    text: String,
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBatchTemplate {
    /// A placeholder that does not exist, or a brace that is not closed.
    #[error("unknown placeholder `{0}` (there are {{name}}, {{date}} and {{time}})")]
    UnknownPlaceholder(String),
    /// Every tick would go to one batch, in which each item has one job for ever.
    #[error("it must contain {{date}}, or the second tick finds the jobs of the first in its batch")]
    NoDate,
    /// Ticks of one day would go to one batch.
    #[error("it must contain {{time}}, since the schedule ticks more than once on a day")]
    NoTime,
    /// What it makes is no batch's name.
    #[error(transparent)]
    NotAName(#[from] InvalidName),
}

impl BatchTemplate {
    /// A checked template: with `name`, every tick of a schedule has a batch.
    ///
    /// # Errors
    ///
    /// [`InvalidBatchTemplate`].
    pub fn parse(text: &str, name: &str) -> Result<Self, InvalidBatchTemplate> {
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let close = rest[open..].find('}').map_or(rest.len(), |close| open + close + 1);
            let placeholder = &rest[open..close];
            if !["{name}", "{date}", "{time}"].contains(&placeholder) {
                return Err(InvalidBatchTemplate::UnknownPlaceholder(placeholder.chars().take(40).collect()));
            }
            rest = &rest[close..];
        }
        if !text.contains("{date}") {
            return Err(InvalidBatchTemplate::NoDate);
        }
        let template = Self { text: text.to_owned() };
        template.fill(name, "2026-11-26", LONGEST_TIME)?;
        Ok(template)
    }

    /// Whether each of these ticks has a batch of its own.
    ///
    /// # Errors
    ///
    /// [`InvalidBatchTemplate::NoTime`].
    pub fn suits(&self, ticks: &Ticks) -> Result<(), InvalidBatchTemplate> {
        if self.text.contains("{time}") {
            return Ok(());
        }
        let days = std::iter::successors(ticks.next(Timestamp::UNIX_EPOCH), |tick| ticks.next(*tick))
            .take(TICKS_LOOKED_AT)
            .map(|tick| ticks.name_parts(tick).0);
        let mut last = String::new();
        for day in days {
            if day == last {
                return Err(InvalidBatchTemplate::NoTime);
            }
            last = day;
        }
        Ok(())
    }

    /// A batch that ticks of this schedule and of another one would both go to, if one is found.
    ///
    /// Only templates that are the same text once their names are filled in are compared, and of these the next hundreds of ticks: what is
    /// found is sure, and what is not found may yet be.
    pub fn shared_with(&self, name: &str, ticks: &Ticks, other: (&Self, &str, &Ticks)) -> Option<BatchName> {
        let (template, other_name, other_ticks) = other;
        if self.text.replace("{name}", name) != template.text.replace("{name}", other_name) {
            return None;
        }
        let to_the_minute = self.text.contains("{time}");
        let from = Timestamp::from_second(SHARED_FROM_SECOND).ok()?;
        let meet = |one: &Ticks, another: &Ticks| {
            let mut ticks =
                std::iter::successors(one.next(from), |tick| one.next(*tick)).take(TICKS_LOOKED_AT);
            ticks.find(|tick| {
                let (date, time) = one.name_parts(*tick);
                another.first_like(one, *tick, to_the_minute).is_some_and(|like| {
                    let (other_date, other_time) = another.name_parts(like);
                    date == other_date && (!to_the_minute || time == other_time)
                })
            })
        };
        // One may tick so often that its next hundreds of ticks are over before the other's first one.
        let (tick, ticks) = meet(ticks, other_ticks)
            .map(|tick| (tick, ticks))
            .or_else(|| meet(other_ticks, ticks).map(|tick| (tick, other_ticks)))?;
        self.batch(name, ticks, tick).ok()
    }

    /// The batch of a tick.
    ///
    /// # Errors
    ///
    /// `name` is not the one that the template was checked with, and makes no batch's name.
    pub fn batch(&self, name: &str, ticks: &Ticks, tick: Timestamp) -> Result<BatchName, InvalidName> {
        let (date, time) = ticks.name_parts(tick);
        self.fill(name, &date, &time)
    }

    /// The batch of a run that a person asks for: also where ticks need no time in their names, one of its own.
    ///
    /// # Errors
    ///
    /// With the time it makes no batch's name.
    pub fn batch_by_hand(&self, name: &str, ticks: &Ticks, at: Timestamp) -> Result<BatchName, InvalidName> {
        if self.text.contains("{time}") {
            return self.batch(name, ticks, at);
        }
        Self { text: format!("{}T{{time}}", self.text) }.batch(name, ticks, at)
    }

    fn fill(&self, name: &str, date: &str, time: &str) -> Result<BatchName, InvalidName> {
        // The values hold no braces, so that none of them is filled in again.
        BatchName::parse(&self.text.replace("{name}", name).replace("{date}", date).replace("{time}", time))
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::Cron;

    #[test]
    fn a_tick_has_one_batch_whenever_it_is_done() {
        let ticks =
            Ticks { cron: Cron::parse("0 3 * * *").unwrap(), zone: TimeZone::get("Europe/Berlin").unwrap() };
        let template = BatchTemplate::parse(DEFAULT_BATCH_TEMPLATE, "shoes").unwrap();
        let tick = ticks.next("2026-11-26T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(template.batch("shoes", &ticks, tick).unwrap().as_str(), "shoes-2026-11-27T0300");
        assert_eq!(template.batch_by_hand("shoes", &ticks, tick).unwrap().as_str(), "shoes-2026-11-27T0300");
        let daily = BatchTemplate::parse("{name}-{date}", "shoes").unwrap();
        assert_eq!(daily.batch("shoes", &ticks, tick).unwrap().as_str(), "shoes-2026-11-27");
        assert_eq!(daily.batch_by_hand("shoes", &ticks, tick).unwrap().as_str(), "shoes-2026-11-27T0300");
    }

    #[test]
    fn a_day_of_several_ticks_needs_the_time_in_its_batches_names() {
        let suits = |text: &str, cron: &str| {
            let ticks =
                Ticks { cron: Cron::parse(cron).unwrap(), zone: TimeZone::get("Europe/Berlin").unwrap() };
            BatchTemplate::parse(text, "shoes").unwrap().suits(&ticks)
        };
        assert_eq!(suits("shoes-{date}", "0 3 * * *"), Ok(()));
        assert_eq!(suits("shoes-{date}", "30 2 * * SUN"), Ok(()));
        assert_eq!(suits("shoes-{date}", "0 3,15 1 * *"), Err(InvalidBatchTemplate::NoTime));
        assert_eq!(suits("shoes-{date}", "0 * * * *"), Err(InvalidBatchTemplate::NoTime));
        assert_eq!(suits("shoes-{date}T{time}", "0 * * * *"), Ok(()));
    }

    #[test]
    fn two_schedules_share_a_batch_where_their_ticks_have_one_name() {
        let shared = |one: (&str, &str, &str), other: (&str, &str, &str)| {
            let parts = |(text, name, cron): (&str, &str, &str)| {
                let zone = if cron.ends_with("30 2 * * *") { "Europe/Berlin" } else { "UTC" };
                let ticks = Ticks { cron: Cron::parse(cron).unwrap(), zone: TimeZone::get(zone).unwrap() };
                (BatchTemplate::parse(text, name).unwrap(), ticks)
            };
            let ((template, ticks), (other_template, other_ticks)) = (parts(one), parts(other));
            let there = template.shared_with(one.1, &ticks, (&other_template, other.1, &other_ticks));
            let back = other_template.shared_with(other.1, &other_ticks, (&template, one.1, &ticks));
            assert_eq!(there, back);
            there.map(|batch| batch.to_string())
        };
        let (daily, later) = ("0 3 * * *", "0 4 * * *");
        assert_eq!(shared(("n-{date}", "a", daily), ("n-{date}", "b", later)), Some("n-2026-01-01".into()));
        assert_eq!(shared(("{name}-{date}", "a", daily), ("{name}-{date}", "b", daily)), None);
        assert_eq!(
            shared(("{name}-{date}", "a", daily), ("a-{date}", "b", later)),
            Some("a-2026-01-01".into())
        );
        assert_eq!(shared(("n-{date}", "a", "0 3 * * MON"), ("n-{date}", "b", "0 3 * * TUE")), None);
        // Some month begins on a Tuesday.
        assert!(shared(("n-{date}", "a", "0 3 1 * *"), ("n-{date}", "b", "0 3 * * TUE")).is_some());
        let timed = |cron| ("n-{date}T{time}", "a", cron);
        let other = |cron| ("n-{date}T{time}", "b", cron);
        assert_eq!(shared(timed(daily), other(later)), None);
        // The same time on two walls.
        assert!(shared(timed("30 2 * * *"), other("*/30 * * * *")).is_some());
        // The one ticks hundreds of times before the other does at all.
        assert_eq!(shared(timed("* * * * *"), other("0 12 24 12 *")), Some("n-2026-12-24T1200".into()));
    }

    #[test]
    fn a_template_that_makes_no_names_is_refused() {
        let refused = |text: &str| BatchTemplate::parse(text, "shoes").unwrap_err().to_string();
        assert_eq!(
            refused("{nam}-{date}"),
            "unknown placeholder `{nam}` (there are {name}, {date} and {time})"
        );
        assert!(refused("shoes-{date").starts_with("unknown placeholder `{date`"));
        assert!(refused("shoes}").starts_with("unknown placeholder `}`"));
        assert!(refused("shoes-{time}").contains("must contain {date}"));
        assert!(refused("shoes/{date}").contains("is not a batch name"));
        assert!(refused(&format!("{}{{date}}{{time}}", "x".repeat(43))).contains("is not a batch name"));
        assert!(BatchTemplate::parse(&format!("{}{{date}}{{time}}", "x".repeat(42)), "shoes").is_ok());
    }
}
