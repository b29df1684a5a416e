//! When an attempt's own task can have been created, by the provider's clock. Pure.
//!
//! The list itself tells how the clocks differ and how long a create takes: for each task whose attempt we know, the time from
//! claim to creation holds both. From a few of them, of about the same time, follows a window of some tenths of a second, where
//! the settings alone give most of a minute.

use std::time::Duration;

use jiff::SignedDuration;
use job::{Attempt, Rules, Timestamp};

use crate::config::SettleConfig;

/// How far in time from the attempt a task may teach something about it. Source: ours; clocks drift little within an hour, and the
/// provider's load is much the same.
const NEAR: SignedDuration = SignedDuration::from_secs(3_600);

/// The most tasks that teach, the nearest first. Source: ours; more would only bring in other times of the day.
const SAMPLES_MAX: usize = 200;

/// With fewer nothing is learned. Source: ours; of ten, a next one lies beyond the largest once in eleven times, and the margin
/// of [`Learned::margin`] has still to be crossed as well.
const SAMPLES_MIN: usize = 10;

/// The least margin on either side of what was seen. Source: ours; the provider's times are whole milliseconds, and both
/// machines may be busy for a moment.
const MARGIN_MIN: SignedDuration = SignedDuration::from_millis(50);

/// How long before the claim a task that nobody owns may have been created, by the provider's clock, and still be the attempt's,
/// where nothing is known of that clock.
///
/// Source: ours. It is far above [`SettleConfig::clock_margin`], which must be narrow to keep us from taking a stranger's task.
/// To send again is the costlier mistake, and a provider's clock was never promised to be within seconds of ours.
pub(super) const COULD_BE_OURS: SignedDuration = SignedDuration::from_secs(15 * 60);

/// The same where the clock's offset was learned. Source: ours; a clock that is set right in the hour from which the lesson is, is
/// moved by seconds, not by a minute.
const OFFSET_FLOOR: SignedDuration = SignedDuration::from_secs(60);

/// From and to, both in it, by the provider's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Span {
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// The time from claim to creation, from tasks whose attempt we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The shortest that was seen. Negative if the provider's clock is behind.
    least: SignedDuration,
    /// The longest that was seen.
    most: SignedDuration,
}

impl Learned {
    /// What the tasks near the attempt teach: pairs of claim (Redis's clock) and creation (the provider's).
    pub(crate) fn near(attempt: &Attempt, known: &[(Timestamp, Timestamp)]) -> Option<Self> {
        let distance = |claimed: Timestamp| attempt.claimed_at.duration_since(claimed).abs();
        let mut near: Vec<(SignedDuration, SignedDuration)> = known
            .iter()
            .map(|(claimed, created)| (distance(*claimed), created.duration_since(*claimed)))
            .filter(|(distance, _)| *distance <= NEAR)
            .collect();
        near.sort_unstable();
        near.truncate(SAMPLES_MAX);
        if near.len() < SAMPLES_MIN {
            return None;
        }
        let waits = || near.iter().map(|(_, wait)| *wait);
        Some(Self { least: waits().min()?, most: waits().max()? })
    }

    /// How far beyond what was seen the next one is believed to lie. Source: ours; a quarter of the whole range on either side: of n
    /// samples the next is beyond the last once in n + 1, and then by little, unless its request was held somewhere.
    fn margin(&self) -> SignedDuration {
        ((self.most - self.least) / 4).max(MARGIN_MIN)
    }

    /// How far ahead the provider's clock is at most: no create takes less than no time.
    pub(crate) fn ahead(&self) -> Duration {
        Duration::try_from(self.least).unwrap_or_default()
    }
}

/// Three windows of an attempt, each within the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Outside of it nothing is the attempt's, whatever happened to the request on its way.
    pub(crate) hard: Span,
    /// The same, where the provider's clock is what the list has taught: its worker may have stood still before it sent, and the
    /// request have been held, for as long as that can be.
    pub(crate) late: Span,
    /// Inside of it its task was created, unless one of the two happened.
    pub(crate) narrow: Span,
}

/// The windows of an attempt. `held_for` is how long after `send_by` the service may still act on the request.
pub(crate) fn windows(
    attempt: &Attempt,
    learned: Option<Learned>,
    held_for: Duration,
    rules: &Rules,
    config: &SettleConfig,
) -> Windows {
    let wide = Span {
        from: attempt.claimed_at - config.clock_margin,
        to: attempt.send_by + rules.create_timeout + config.clock_margin,
    };
    let last = attempt.send_by + held_for.max(rules.create_timeout);
    let Some(learned) = learned else {
        let margin =
            COULD_BE_OURS.max(SignedDuration::try_from(config.clock_margin).unwrap_or(COULD_BE_OURS));
        let hard = Span { from: attempt.claimed_at - margin, to: last + margin };
        return Windows { hard, late: hard, narrow: wide };
    };
    let earliest = attempt.claimed_at + learned.least - learned.margin();
    let narrow = Span { from: earliest, to: attempt.claimed_at + learned.most + learned.margin() };
    let narrower = narrow.to.duration_since(narrow.from) <= wide.to.duration_since(wide.from);
    let narrow = if narrower { narrow } else { wide };
    let hard = Span {
        from: attempt.claimed_at + learned.least - OFFSET_FLOOR.max(learned.margin()),
        to: last + learned.most.max(SignedDuration::ZERO) + OFFSET_FLOOR,
    };
    Windows {
        hard,
        // What delays a create makes its task later, and never earlier.
        late: Span { from: earliest.min(narrow.from), to: last + learned.most + learned.margin() },
        narrow,
    }
}

#[cfg(test)]
mod tests {
    use job::Micros;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    fn attempt() -> Attempt {
        Attempt {
            number: 1,
            account: "a".parse().unwrap(),
            claimed_at: at(0),
            send_by: at(5_000),
            cost_max: Micros(0),
        }
    }

    /// Tasks claimed a second apart, created so many ms after their claims.
    fn known(waits: impl IntoIterator<Item = i64>) -> Vec<(Timestamp, Timestamp)> {
        let pair = |(n, wait): (usize, i64)| (at(1_000 * n as i64), at(1_000 * n as i64 + wait));
        waits.into_iter().enumerate().map(pair).collect()
    }

    fn windows_with(known: &[(Timestamp, Timestamp)]) -> Windows {
        let learned = Learned::near(&attempt(), known);
        windows(&attempt(), learned, Duration::from_secs(300), &Rules::default(), &SettleConfig::default())
    }

    #[test]
    fn ten_known_tasks_teach_offset_and_latency_and_nine_do_not() {
        // The provider's clock is a minute behind, a create takes 100 to 300 ms.
        let waits = |count: i64| known((0..count).map(|n| -59_900 + 200 * (n % 2)));
        assert_eq!(windows_with(&waits(10)).narrow, Span { from: at(-59_950), to: at(-59_650) });
        let wide = Span { from: at(-10_000), to: at(45_000) };
        assert_eq!(windows_with(&waits(9)).narrow, wide);
    }

    #[test]
    fn what_was_created_an_hour_away_teaches_nothing() {
        let mut known = known([100; 10]);
        known[0] = (at(3_600_001), at(3_600_101));
        assert_eq!(Learned::near(&attempt(), &known), None);
    }

    #[test]
    fn a_learned_window_is_never_longer_than_the_wide_one() {
        let windows = windows_with(&known((0..10).map(|n| n * 10_000)));
        assert_eq!(windows.narrow, Span { from: at(-10_000), to: at(45_000) });
    }

    #[test]
    fn the_hard_window_reaches_from_well_before_the_claim_to_the_end_of_a_held_request() {
        let unlearned = windows_with(&[]).hard;
        assert_eq!(unlearned, Span { from: at(-900_000), to: at(305_000 + 900_000) });
        let learned = windows_with(&known([100; 10])).hard;
        assert_eq!(learned, Span { from: at(100 - 60_000), to: at(305_000 + 100 + 60_000) });
    }
}
