//! The names of the batches that ticks make: from the tick's own time, never from the time at which somebody got to it. Pure.

use sha2::{Digest as _, Sha256};

use crate::{BatchName, InvalidName, Ticks, Timestamp};

/// The template of a schedule that has none of its own.
pub const DEFAULT_BATCH_TEMPLATE: &str = "{name}-{date}T{time}";

/// How many ticks in a row are looked at for two of one day. Source: ours; more than a year of daily ones.
const TICKS_LOOKED_AT: usize = 400;

/// From when on ticks are looked at for a batch that two schedules share: 2026-01-01. Source: ours; any day does, and people read this one.
const SHARED_FROM_SECOND: i64 = 1_767_225_600;

/// Some day: all are written equally long.
const SOME_DATE: &str = "2026-11-26";

/// The longest that `{time}` becomes: the second of two equal times, with seconds.
const LONGEST_TIME: &str = "235959-again";

/// What is left of a text that is cut, in characters. Source: [`BatchName`] may have 64; the rest are for a digest, date and time.
const CUT_CHARS: usize = 64 - "-0123ab-".len() - SOME_DATE.len() - "T".len() - LONGEST_TIME.len();

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
        template.fill(name, SOME_DATE, LONGEST_TIME)?;
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

    /// The batch of a run that a person asks for: also where ticks need no time in their names, one of its own. Any name that the template
    /// was checked with has one.
    ///
    /// # Errors
    ///
    /// As [`Self::batch`].
    pub fn batch_by_hand(&self, name: &str, ticks: &Ticks, at: Timestamp) -> Result<BatchName, InvalidName> {
        if self.text.contains("{time}") {
            return self.batch(name, ticks, at);
        }
        let timed = Self { text: format!("{}T{{time}}", self.text) };
        // By the longest time, so that all runs of a schedule have names of one kind.
        let fits = timed.fill(name, SOME_DATE, LONGEST_TIME).is_ok();
        (if fits { timed } else { self.cut(name) }).batch(name, ticks, at)
    }

    /// What is left of a template that is too long for the time: its beginning, and a digest that keeps it apart from others which begin
    /// the same.
    fn cut(&self, name: &str) -> Self {
        let text = self.text.replace("{name}", name);
        let is_mark = |c| matches!(c, '.' | '_' | '-');
        let parts: Vec<&str> = text
            .split("{date}")
            .map(|part| part.trim_matches(is_mark))
            .filter(|part| !part.is_empty())
            .collect();
        let whole = parts.join("-");
        let head: String = whole.chars().take(CUT_CHARS).collect();
        let digest = Sha256::digest(text.as_bytes());
        let digest: String = digest.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
        let head = match head.trim_end_matches(is_mark) {
            "" => digest,
            head => format!("{head}-{digest}"),
        };
        Self { text: format!("{head}-{{date}}T{{time}}") }
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
    use proptest::prelude::*;

    use super::*;
    use crate::{Cron, ScheduleName};

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

    #[test]
    fn a_run_by_hand_has_a_name_also_where_the_template_leaves_no_room_for_its_time() {
        let ticks = Ticks { cron: Cron::parse("0 3 * * *").unwrap(), zone: TimeZone::UTC };
        let at = "2026-11-27T03:00:15Z".parse().unwrap();
        let by_hand = |text: &str| {
            BatchTemplate::parse(text, "autumn")
                .unwrap()
                .batch_by_hand("autumn", &ticks, at)
                .unwrap()
                .to_string()
        };
        let text = "the-catalogue-of-all-shoes-that-we-sell-in-{name}-{date}";
        assert_eq!(by_hand(text), "the-catalogue-of-all-shoes-that-w-a692e2-2026-11-27T030015");
        let other = by_hand(&text.replace("{name}", "winter"));
        assert!(other.starts_with("the-catalogue-of-all-shoes-that-w-") && other != by_hand(text), "{other}");
        // As long as it may be, and one letter longer.
        let fits = "x".repeat(64 - "2026-11-27T235959-again".len());
        assert_eq!(by_hand(&format!("{fits}{{date}}")), format!("{fits}2026-11-27T030015"));
        assert!(by_hand(&format!("{fits}x{{date}}")).ends_with("-2026-11-27T030015"));
    }

    proptest! {
        /// Whatever a schedule is called, and its batches: what is accepted can be run by hand, and twice.
        #[test]
        fn every_schedule_that_is_accepted_can_be_run_by_hand_in_a_batch_for_each_second(
            name in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}",
            pieces in prop::collection::vec(
                prop_oneof![Just("{name}".to_owned()), Just("{date}".to_owned()), "[a-zA-Z0-9._-]{1,50}"], 1..6,
            ),
            // An hour that is there twice is among them.
            first in 1_792_886_000_i64..1_792_896_000, second in 1_792_886_000_i64..1_792_896_000,
        ) {
            prop_assume!(ScheduleName::parse(&name).is_ok() && first != second);
            // With the date, and no longer than names are: most would be neither.
            let mut text = pieces.concat();
            let fill = |text: &str| text.replace("{name}", &name).replace("{date}", SOME_DATE);
            while fill(&text).len() > 64 - SOME_DATE.len() {
                text.pop();
            }
            let cut = text.rfind('{').filter(|open| !text[*open..].contains('}')).unwrap_or(text.len());
            text.truncate(cut);
            text.push_str("{date}");
            let Ok(template) = BatchTemplate::parse(&text, &name) else { return Err(TestCaseError::reject("no template")) };
            let ticks =
                Ticks { cron: Cron::parse("0 3 * * *").unwrap(), zone: TimeZone::get("Europe/Berlin").unwrap() };
            let batches = [first, second].map(|at| {
                template.batch_by_hand(&name, &ticks, Timestamp::from_second(at).unwrap())
            });
            prop_assert!(batches.iter().all(Result::is_ok), "{batches:?}");
            prop_assert_ne!(&batches[0], &batches[1]);
        }
    }
}
