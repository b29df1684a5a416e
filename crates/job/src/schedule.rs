//! When a schedule ticks, and which tick is due. Pure: the time and the time zone are arguments.
//!
//! A tick is named by the moment that it is scheduled for, so that any number of schedulers, today or after a crash, mean the same
//! one. Cron expressions are read by `cronexpr`, as times on a clock on the wall; what such a time is in a zone is decided here:
//!
//! - An expression that names hours ticks once for each time on the wall: at the first of two equal ones, and just after a gap for
//!   those that the clock jumps over. What a gap moves to one moment is one tick.
//! - An expression of every hour (`*`) goes by the time that passes: it ticks in both hours when one is repeated, and has none to
//!   tick in where an hour is missing.

use std::fmt;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::Timestamp;

/// How late a tick may begin where missed ticks are skipped.
///
/// Source: ours; schedulers look every few seconds, and one that takes over waits for the lease of the one before.
const GRACE: Duration = Duration::from_secs(120);

/// The fields of an expression, in their order, each with what it may hold.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7 (both Sunday), or SUN to SAT"),
];

/// How far back the tick before a moment is looked for, in growing steps. Source: ours; the last reaches over a leap year.
const LOOK_BACK: [Duration; 6] = [
    Duration::from_secs(120),
    Duration::from_secs(3 * 3_600),
    Duration::from_secs(2 * 24 * 3_600),
    Duration::from_secs(14 * 24 * 3_600),
    Duration::from_secs(70 * 24 * 3_600),
    Duration::from_secs(5 * 366 * 24 * 3_600),
];

/// An expression of cron: five fields.
///
/// ```
/// use job::Cron;
/// assert!(Cron::parse("0 3 * * MON-FRI").is_ok());
/// assert_eq!(
///     Cron::parse("0 25 * * *").unwrap_err().to_string(),
///     "its hour `25` cannot be read: it holds 0 to 23"
/// );
/// ```
#[derive(Clone)]
pub struct Cron {
    text: String,
    times: cronexpr::Crontab,
    every_hour: bool,
}

/// Why a text is no expression of cron.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// Not five fields.
    #[error("it has {0} of the five fields: minute, hour, day of the month, month, day of the week")]
    Fields(usize),
    /// A field that cannot be read.
    #[error("its {field} `{text}` cannot be read: it holds {holds}")]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What may stand there.
        holds: &'static str,
    },
    /// A day that does not come: the 30th of February.
    #[error("it names a day that no year has")]
    Never,
}

impl Cron {
    /// A checked expression.
    ///
    /// # Errors
    ///
    /// [`InvalidCron`], which says the field.
    pub fn parse(text: &str) -> Result<Self, InvalidCron> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(InvalidCron::Fields(fields.len()));
        }
        for (at, (field, holds)) in FIELDS.into_iter().enumerate() {
            let mut alone = ["*"; FIELDS.len()];
            alone[at] = fields[at];
            if parse(&alone.join(" ")).is_none() {
                let text = fields[at].chars().take(40).collect();
                return Err(InvalidCron::Field { field, text, holds });
            }
        }
        let text = fields.join(" ");
        let times = parse(&text).ok_or(InvalidCron::Never)?;
        let cron = Self { every_hour: fields[1] == "*", text, times };
        if cron.wall_after(DateTime::constant(2024, 1, 1, 0, 0, 0, 0)).is_none() {
            return Err(InvalidCron::Never);
        }
        Ok(cron)
    }

    /// The expression, its fields separated by single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The next time on the wall after this one.
    fn wall_after(&self, time: DateTime) -> Option<DateTime> {
        let after = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(self.times.find_next(after).ok()?.datetime())
    }
}

fn parse(text: &str) -> Option<cronexpr::Crontab> {
    // The wall's clock is read as if it stood in UTC, which has neither gaps nor repeated hours.
    cronexpr::parse_crontab(&format!("{text} UTC")).ok()
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// When something is to happen again and again: a cron expression in a time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticks {
    /// The expression.
    pub cron: Cron,
    /// The zone of the clock that it is read on.
    pub zone: TimeZone,
}

/// What becomes of ticks at which no scheduler was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// The latest of them is caught up, once.
    #[default]
    CatchUp,
    /// They are left out.
    Skip,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// This tick, named by the moment that it was scheduled for.
    Tick(Timestamp),
    /// Nothing before this tick; `None` if there is none in the next years.
    Wait(Option<Timestamp>),
}

impl Ticks {
    /// The first tick after `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if self.cron.every_hour { self.next_by_time(after) } else { self.next_by_wall(after) }
    }

    /// Once for each time on the wall. The moments of such times never go back, so that the first one that lies late enough is it.
    fn next_by_wall(&self, after: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(after);
        loop {
            wall = self.cron.wall_after(wall)?;
            let moment = self.moment_of(wall)?;
            if moment > after {
                return Some(moment);
            }
        }
    }

    /// The first of two equal times; the end of the gap for one that does not come.
    fn moment_of(&self, wall: DateTime) -> Option<Timestamp> {
        let found = self.zone.to_ambiguous_timestamp(wall);
        if let AmbiguousOffset::Gap { before, .. } = found.offset() {
            // With the offset from before the gap, the time lies behind its end by as much as it lay behind its beginning.
            // A time at the very beginning of the gap is the moment of the change itself, and that is not before it.
            let behind =
                before.to_timestamp(wall).ok()?.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
            return self.zone.preceding(behind).next().map(|change| change.timestamp());
        }
        found.earlier().ok()
    }

    /// By the time that passes: between two changes of the offset, the wall and the time go together.
    fn next_by_time(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        // Where a change of the offset itself is a tick, it is one that comes after `from`.
        let mut wall = self.zone.to_datetime(after);
        loop {
            let offset = self.zone.to_offset(from);
            let moment = offset.to_timestamp(self.cron.wall_after(wall)?).ok()?;
            match self.zone.following(from).next() {
                Some(change) if change.timestamp() <= moment => {
                    from = change.timestamp();
                    wall = change
                        .offset()
                        .to_datetime(from)
                        .checked_sub(jiff::SignedDuration::from_nanos(1))
                        .ok()?;
                }
                _ => return Some(moment),
            }
        }
    }

    /// The first tick at or after the time on this wall that `tick` of other ticks has on theirs, or after the beginning of that day.
    pub(crate) fn first_like(
        &self,
        others: &Self,
        tick: Timestamp,
        to_the_minute: bool,
    ) -> Option<Timestamp> {
        let wall = others.zone.to_datetime(tick);
        let wall = if to_the_minute { wall } else { wall.date().to_datetime(jiff::civil::Time::midnight()) };
        let moment = self.zone.to_ambiguous_timestamp(wall).compatible().ok()?;
        self.next(moment.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?)
    }

    /// The latest tick in (`after`, `until`].
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        for back in LOOK_BACK {
            let from = until.checked_sub(back).map_or(after, |from| from.max(after));
            let mut latest = None;
            let mut at = from;
            while let Some(next) = self.next(at).filter(|next| *next <= until) {
                latest = Some(next);
                at = next;
            }
            if latest.is_some() || from == after {
                return latest;
            }
        }
        None
    }

    /// Which tick is due at `now`, when the last one that needs nothing more is `last`.
    pub fn due(&self, last: Timestamp, now: Timestamp, missed: Missed) -> Due {
        match self.latest(last, now) {
            Some(tick) if missed == Missed::CatchUp || now.duration_since(tick).unsigned_abs() <= GRACE => {
                Due::Tick(tick)
            }
            _ => Due::Wait(self.next(now)),
        }
    }

    /// A tick's date and time on the wall, as parts of a name: `2026-11-26` and `0300`. The second of two equal times says so.
    pub fn name_parts(&self, tick: Timestamp) -> (String, String) {
        let wall = self.zone.to_datetime(tick);
        let again = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Fold { after, .. } => self.zone.to_offset(tick) == after,
            _ => false,
        };
        let seconds = if wall.second() == 0 { String::new() } else { format!("{:02}", wall.second()) };
        let time = format!("{:02}{:02}{seconds}", wall.hour(), wall.minute());
        (wall.date().to_string(), if again { format!("{time}-again") } else { time })
    }
}

#[cfg(test)]
mod tests;
