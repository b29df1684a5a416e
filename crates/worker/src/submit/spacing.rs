//! When a create goes out: at the time of its permit, or not before it has another.
//!
//! The permit of a claim is for a time, a little ahead. The worker prepares, opens the connection, and sends at that time. What
//! is late by more than a little takes a new time first: sent late, it could stand in one second with the five after it, and the
//! service counts 5 in any second. So no delay of a worker, however long, bunches creates; what remains is the way to the service,
//! and a pause between the last look at the clock and the write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use job::AccountName;
pub(crate) use queue::CREATE_LATE_MAX as LATE_MAX;

/// The longest lead. Source: ours; within the 5 s in which a claim may be sent, so that the slowest line that gets anything out at
/// all has a moment that it can meet. A place at the provider is taken that long before it is used.
const LEAD_MAX: Duration = Duration::from_secs(3);

/// The weight of a new time in the mean, and in the deviation from it. Source: RFC 6298, which estimates round trips.
const MEAN_WEIGHT: f64 = 1.0 / 8.0;
const DEVIATION_WEIGHT: f64 = 1.0 / 4.0;

/// How many deviations above the mean a lead is. Source: ours; what takes longer misses its moment and takes another, which costs no more.
const DEVIATIONS: f64 = 2.0;

/// How late a create would be now; `None` before its time.
pub(crate) fn late(now: Duration, send_at: Duration) -> Option<Duration> {
    now.checked_sub(send_at)
}

/// How long it takes, lately, from a claim until the connection of its create is open, by account: mean and mean deviation, in seconds.
///
/// A lead is as short as it can be, since every create that is claimed and not sent is one more that nobody knows of for certain
/// should its worker be killed: of what it takes, half of what may be late is left out, and before anything was learned it is none.
#[derive(Debug, Default)]
pub(crate) struct Leads(Mutex<HashMap<AccountName, (f64, f64)>>);

impl Leads {
    /// How long before its create a job should be claimed.
    pub(crate) fn get(&self, account: &AccountName) -> Duration {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(account).copied();
        let takes = known.map_or(0.0, |(mean, deviation)| mean + DEVIATIONS * deviation);
        let takes = Duration::try_from_secs_f64(takes).unwrap_or(LEAD_MAX);
        takes.saturating_sub(LATE_MAX / 2).min(LEAD_MAX)
    }

    /// It took so long.
    pub(crate) fn learn(&self, account: &AccountName, took: Duration) {
        let took = took.min(LEAD_MAX).as_secs_f64();
        let mut leads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mean, deviation) = leads.entry(account.clone()).or_insert((took, took / 2.0));
        *deviation += DEVIATION_WEIGHT * ((took - *mean).abs() - *deviation);
        *mean += MEAN_WEIGHT * (took - *mean);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use job::Timestamp;
    use proptest::prelude::*;
    use queue::Pacer;

    use super::*;

    /// A worker's delays between a claim and the look at the clock, in ms.
    fn delays() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(prop_oneof![8 => 0u64..30, 3 => 30u64..300, 1 => 300u64..3_000], 20..120)
    }

    /// Workers that claim, prepare, look at the clock, and send or take another time.
    struct Run {
        pacer: Pacer,
        rate: usize,
        delays: Vec<u64>,
        leads: Vec<u64>,
        /// When which create is looked at next, and the time that it has.
        looks: BTreeMap<(Timestamp, usize), Timestamp>,
        /// How often each create missed its time.
        missed: Vec<u64>,
        sent: Vec<Timestamp>,
    }

    const BEGIN: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn since(time: Timestamp) -> Duration {
        Duration::try_from(time.duration_since(BEGIN)).unwrap()
    }

    impl Run {
        /// Takes a time for create `n`: it is ready after its delay, and woken a little late.
        fn take(&mut self, n: usize, now: Timestamp) -> Result<(), Duration> {
            let ms = Duration::from_millis;
            let at = self.pacer.take(now, self.rate as f64, ms(self.leads[n]))?;
            let tries = self.missed[n] + 1;
            let ready = now + ms(self.delays[n] / tries);
            let woken = ready.max(at) + ms(self.delays[(n + 7) % self.delays.len()] % 25 / tries);
            self.looks.insert((woken, n), at);
            Ok(())
        }

        /// All looks until then.
        fn run_until(&mut self, until: Timestamp) {
            while let Some(((now, n), at)) = self.looks.first_key_value().map(|(look, at)| (*look, *at)) {
                if now > until {
                    return;
                }
                self.looks.remove(&(now, n));
                if late(since(now), since(at)).is_some_and(|late| late <= LATE_MAX) {
                    self.sent.push(now);
                    continue;
                }
                self.missed[n] += 1;
                if let Err(wait) = self.take(n, now) {
                    self.looks.insert((now + wait, n), at);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_second_holds_more_than_the_figure_whatever_delays_workers(
            rate in 1usize..40,
            delays in delays(),
            starts in prop::collection::vec(0u64..60, 120),
            leads in prop::collection::vec(0u64..300, 120),
        ) {
            let (pacer, looks, sent) = (Pacer::default(), BTreeMap::new(), Vec::new());
            let missed = vec![0; delays.len()];
            let mut run = Run { pacer, rate, delays, leads, looks, missed, sent };
            let mut now = BEGIN;
            for (n, start) in starts.iter().enumerate().take(run.delays.len()) {
                now += Duration::from_millis(*start);
                run.run_until(now);
                while let Err(wait) = run.take(n, now) {
                    now += wait;
                    run.run_until(now);
                }
            }
            run.run_until(Timestamp::MAX);
            prop_assert_eq!(run.sent.len(), run.delays.len());
            for window in run.sent.windows(rate + 1) {
                let span = window[rate].duration_since(window[0]);
                prop_assert!(span.as_millis() >= 1_000 + 30, "{} in {:?}", rate + 1, span);
            }
        }
    }

    #[test]
    fn a_lead_is_what_it_takes_but_for_what_may_be_late_and_follows_a_change() {
        let (leads, account) = (Leads::default(), AccountName::parse("a").unwrap());
        let ms = Duration::from_millis;
        let after = |took: u64, times: u32| {
            (0..times).for_each(|_| leads.learn(&account, ms(took)));
            leads.get(&account)
        };
        assert_eq!(leads.get(&account), Duration::ZERO);
        assert_eq!(after(8, 20), Duration::ZERO, "what is that quick may be late by all of it");
        let slow = after(200, 60);
        assert!((ms(185)..ms(200)).contains(&slow), "{slow:?}");
        assert_eq!(after(8, 200), Duration::ZERO);
        assert!(after(60_000, 100) <= LEAD_MAX && leads.get(&account) > ms(2_900));
    }
}
