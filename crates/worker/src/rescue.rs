//! Takes over jobs whose worker vanished.
//!
//! Every `rescue_every` this takes back claims whose lease has run out: the fence rises, and the job is due again, or settling
//! where a create may have been sent. It never settles an attempt and never sends anything. After an outage of Redis all leases
//! look dead, so it acts only after one whole lease of unbroken contact: by then every worker that lives has renewed its own.
//! Started by [`crate::run()`].

use std::time::Duration;

use job::{Event, Timestamp};
use tracing::{debug, warn};

use crate::env::Env;
use crate::place::Place;
use crate::ports::Beat;

/// How far Redis's clock may run from ours between two beats.
///
/// Source: ours; it is far above what a round trip can hide, and below any step of a clock that matters to a lease of 10 s.
const STEP_MAX: Duration = Duration::from_secs(2);

/// How many jobs one call takes over.
const RESCUE_MAX: usize = 100;

/// Whether Redis has been the same, and within reach, for long enough. Pure.
#[derive(Debug)]
pub(crate) struct Contact {
    lease: Duration,
    current: Option<Stretch>,
}

/// A time of unbroken contact.
#[derive(Debug)]
struct Stretch {
    run_id: String,
    /// Its first beat, by the boot clock.
    since: Duration,
    /// Its last beat, by the boot clock and by Redis's.
    last: Duration,
    last_redis: Timestamp,
}

impl Contact {
    /// No contact yet. `lease` is how long a lease lives.
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, current: None }
    }

    /// Notes a beat, or that there was none, at `now` by the boot clock. Whether lost leases may be acted upon.
    pub(crate) fn observe(&mut self, now: Duration, beat: Option<&Beat>) -> bool {
        let Some(beat) = beat else {
            self.current = None;
            return false;
        };
        match &mut self.current {
            Some(stretch) if stretch.run_id == beat.run_id && stretch.goes_on(now, beat.time, self.lease) => {
                stretch.last = now;
                stretch.last_redis = beat.time;
            }
            _ => {
                let run_id = beat.run_id.clone();
                self.current = Some(Stretch { run_id, since: now, last: now, last_redis: beat.time });
            }
        }
        self.current.as_ref().is_some_and(|stretch| now.saturating_sub(stretch.since) >= self.lease)
    }
}

impl Stretch {
    /// Whether the contact held between the last beat and this one: the pause was no longer than half a lease (or nobody knows
    /// what happened meanwhile), and both clocks agree on how long it was.
    fn goes_on(&self, now: Duration, redis: Timestamp, lease: Duration) -> bool {
        let ours = now.saturating_sub(self.last);
        let theirs = redis.duration_since(self.last_redis);
        let step = (theirs - jiff::SignedDuration::try_from(ours).unwrap_or(jiff::SignedDuration::MAX))
            .unsigned_abs();
        ours <= lease / 2 && step <= STEP_MAX
    }
}

/// Rescues until the worker stops.
pub(crate) async fn run(env: &Env, lease: Duration) {
    let mut contact = Contact::new(lease);
    loop {
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = tokio::time::sleep(env.config.rescue_every) => {}
        }
        let beat = env.jobs.beat().await.ok();
        if contact.observe(env.clock.elapsed(), beat.as_ref()) {
            rescue(env).await;
        }
    }
}

/// One sweep.
pub(crate) async fn rescue(env: &Env) {
    while !env.stop.is_cancelled() {
        let rescued = match env.jobs.rescue(RESCUE_MAX).await {
            Ok(rescued) => rescued,
            Err(fault) => {
                debug!(error = &fault as &dyn std::error::Error, "Lost leases could not be looked for");
                return;
            }
        };
        for (job, late) in rescued.jobs {
            warn!(
                job.id = %job.id, job.state = %job.state_name(), late_ms = late.as_millis() as u64,
                "The worker of job {} vanished while it was {}; it is taken over {late:?} after its lease ended",
                job.id, job.state_name()
            );
            env.places.pass(Place::Rescued).await;
            env.commit(&job, Event::Rescued, None).await;
        }
        if !rescued.more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn beat(run_id: &str, ms: i64) -> Beat {
        Beat { run_id: run_id.to_owned(), time: Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap() }
    }

    /// One beat a second, both clocks alike, from second `from` to `to`; what the last one allowed.
    fn steady(contact: &mut Contact, run_id: &str, from: u64, to: u64) -> bool {
        (from..=to)
            .map(|s| contact.observe(Duration::from_secs(s), Some(&beat(run_id, s as i64 * 1_000))))
            .last()
            .unwrap()
    }

    #[test]
    fn one_whole_lease_of_contact_is_needed() {
        let mut contact = Contact::new(LEASE);
        assert!(!steady(&mut contact, "r", 100, 109));
        assert!(steady(&mut contact, "r", 110, 110));
    }

    #[test]
    fn a_missed_beat_starts_the_wait_anew() {
        let mut contact = Contact::new(LEASE);
        assert!(steady(&mut contact, "r", 100, 115));
        assert!(!contact.observe(Duration::from_secs(116), None));
        assert!(!steady(&mut contact, "r", 117, 126));
        assert!(steady(&mut contact, "r", 127, 127));
    }

    #[test]
    fn another_redis_starts_the_wait_anew() {
        let mut contact = Contact::new(LEASE);
        assert!(steady(&mut contact, "r", 100, 115));
        assert!(!steady(&mut contact, "s", 116, 125));
        assert!(steady(&mut contact, "s", 126, 126));
    }

    #[test]
    fn a_step_of_redis_s_clock_starts_the_wait_anew() {
        for (step_ms, may_act) in [(2_000, true), (2_001, false), (-2_000, true), (-2_001, false)] {
            let mut contact = Contact::new(LEASE);
            assert!(steady(&mut contact, "r", 100, 115));
            let stepped = beat("r", 116_000 + step_ms);
            assert_eq!(
                contact.observe(Duration::from_secs(116), Some(&stepped)),
                may_act,
                "a step of {step_ms} ms"
            );
        }
    }

    #[test]
    fn a_worker_that_was_asleep_does_not_count_its_sleep_as_contact() {
        let mut contact = Contact::new(LEASE);
        assert!(steady(&mut contact, "r", 100, 115));
        assert!(steady(&mut contact, "r", 120, 120));
        assert!(!steady(&mut contact, "r", 126, 126));
    }

    proptest::proptest! {
        #[test]
        fn acting_always_follows_a_lease_without_a_gap(pauses in proptest::collection::vec(proptest::option::weighted(0.95, 1u64..7), 1..60)) {
            let mut contact = Contact::new(LEASE);
            let (mut now, mut since) = (100, None::<u64>);
            for pause in pauses {
                let pause = match pause {
                    Some(pause) => pause,
                    None => {
                        now += 1;
                        proptest::prop_assert!(!contact.observe(Duration::from_secs(now), None));
                        since = None;
                        continue;
                    }
                };
                now += pause;
                since = since.filter(|_| pause <= 5).or(Some(now));
                let acts = contact.observe(Duration::from_secs(now), Some(&beat("r", now as i64 * 1_000)));
                proptest::prop_assert_eq!(acts, since.is_some_and(|since| now - since >= 10));
            }
        }
    }
}
