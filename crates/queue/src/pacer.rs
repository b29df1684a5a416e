//! The pace of creates, as `claim_submit.lua` and `take_permit.lua` keep it: for twins of the queue, and for the proof that it is
//! one. Pure.

use std::time::Duration;

use job::Timestamp;

use crate::limits::Pace;

/// How far ahead of its time a job may be claimed, beyond what its create needs.
///
/// Source: ours; above the round trips and the wake-ups between two claims, so that no time goes by unused, and short against
/// the 5 s in which a claim may be sent.
pub(crate) const AHEAD: Duration = Duration::from_millis(100);

/// How late after its time a create may go out.
///
/// At 0.95 of a rate, as many steps as the rate allows in a second take 52 ms longer than that second, whatever the rate: all of
/// this lateness, of differences between the ways to the service and of errors of clocks must fit into it. Source: ours; a busy
/// machine wakes within 20 ms, and more than half of the room is left to the ways.
pub const CREATE_LATE_MAX: Duration = Duration::from_millis(20);

/// Hands out times at which creates are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pacer {
    /// When the allowance is full again.
    full: Option<Timestamp>,
}

impl Pacer {
    /// The time of the next create, or how long to wait before that can be said. It can go out no sooner than after `lead`.
    ///
    /// # Errors
    ///
    /// The next time is too far away: the wait until it is near enough.
    pub fn take(&mut self, now: Timestamp, per_second: f64, lead: Duration) -> Result<Timestamp, Duration> {
        let full = self.full.map_or(now, |full| full.max(now));
        let near = now + lead + AHEAD;
        if full > near {
            return Err(Duration::try_from(full.duration_since(near)).unwrap_or_default());
        }
        let at = full.max(now + lead);
        self.full = Some(at + Duration::from_micros(Pace::of(per_second).step_us));
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_a_step_apart_whoever_asks_when(
            rate in 1u32..200,
            asks in prop::collection::vec((0u64..400, 0u64..1_000), 2..200),
        ) {
            let (mut pacer, mut now) = (Pacer::default(), Timestamp::from_second(1_800_000_000).unwrap());
            let step = Duration::from_micros(Pace::of(rate.into()).step_us);
            let mut before: Option<Timestamp> = None;
            for (pause, lead) in asks {
                now += Duration::from_millis(pause);
                let lead = Duration::from_millis(lead);
                let Ok(at) = pacer.take(now, rate.into(), lead) else { continue };
                prop_assert!(at >= now + lead);
                prop_assert!(before.is_none_or(|before| at >= before + step));
                before = Some(at);
            }
        }
    }

    #[test]
    fn whoever_asks_in_time_loses_none() {
        let (mut pacer, mut now) = (Pacer::default(), Timestamp::from_second(1_800_000_000).unwrap());
        let (begin, lead) = (now, Duration::from_millis(300));
        for n in 0..100u32 {
            let at = loop {
                match pacer.take(now, 5.0, lead) {
                    Ok(at) => break at,
                    Err(wait) => now += wait,
                }
            };
            assert_eq!(at, begin + lead + n * Duration::from_micros(210_526));
        }
    }
}
