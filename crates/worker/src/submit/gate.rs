//! The last moment before a create goes out.
//!
//! A create that is sent too late, or under a lease that somebody else holds by now, may be paid twice. So the answer is given
//! when the body is about to be written, not before. What remains is a pause of the process between this answer and the write.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::spacing::LATE_MAX;
use crate::ports::Withheld;
use crate::wire::{Create, OnTheWire};

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateFacts {
    /// How long ago the claim was asked for, suspended time included.
    pub(crate) since_claim: Duration,
    /// How long after the claim it may be sent.
    pub(crate) send_within: Duration,
    /// How long ago the lease was last known to be ours; `None` once it is lost.
    pub(crate) renewal_age: Option<Duration>,
    /// How long ago that may be at most.
    pub(crate) renewal_age_max: Duration,
    /// How late it is; `None` before its time.
    pub(crate) late: Option<Duration>,
    /// Whether the account's creates are held back by now.
    pub(crate) held_back: bool,
    /// Whether the worker is going down.
    pub(crate) stopping: bool,
}

/// Whether the create may be sent now.
pub(crate) fn may_send(facts: GateFacts) -> Result<(), Withheld> {
    if facts.stopping {
        return Err(Withheld::Stopping);
    }
    if facts.since_claim > facts.send_within {
        return Err(Withheld::TooLate);
    }
    match facts.renewal_age {
        Some(age) if age < facts.renewal_age_max => {}
        _ => return Err(Withheld::StaleLease),
    }
    if facts.held_back {
        return Err(Withheld::HeldBack);
    }
    if facts.late.is_some_and(|late| late <= LATE_MAX) { Ok(()) } else { Err(Withheld::Missed) }
}

const OPEN: u8 = 0;
const SENT: u8 = 1;
const CLOSED: u8 = 2;

/// Decides, once and for all, whether a create was sent or never will be.
///
/// The client may write the body on another task, so that a worker that is going down cannot just look whether it was sent:
/// it closes the latch, or finds that it came too late for that.
///
/// While it counts as sent, it counts as on the wire as well, until the last of its clones is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: AtomicU8,
    on_the_wire: OnceLock<Create>,
}

impl Latch {
    /// From now on it counts as sent. `false`: it was closed before, and must not be sent.
    pub(crate) fn send(&self, wire: &OnTheWire) -> bool {
        // Counted first, so that nobody sees it sent and not on the wire.
        let create = wire.goes_out();
        let sent = self.0.state.compare_exchange(OPEN, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if sent {
            let _ = self.0.on_the_wire.set(create);
        }
        sent
    }

    /// From now on it will not be sent. `false`: it was sent before.
    pub(crate) fn close(&self) -> bool {
        match self.0.state.compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(found) => found == CLOSED,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts() -> GateFacts {
        GateFacts {
            since_claim: Duration::from_secs(1),
            send_within: Duration::from_secs(5),
            renewal_age: Some(Duration::from_secs(1)),
            renewal_age_max: Duration::from_secs(4),
            late: Some(Duration::ZERO),
            held_back: false,
            stopping: false,
        }
    }

    #[test]
    fn a_create_in_time_under_a_fresh_lease_is_sent() {
        assert_eq!(may_send(facts()), Ok(()));
        assert_eq!(may_send(GateFacts { since_claim: Duration::from_secs(5), ..facts() }), Ok(()));
    }

    #[test]
    fn each_doubt_alone_keeps_it_back() {
        let late = GateFacts { since_claim: Duration::from_millis(5_001), ..facts() };
        assert_eq!(may_send(late), Err(Withheld::TooLate));
        let stale = GateFacts { renewal_age: Some(Duration::from_secs(4)), ..facts() };
        assert_eq!(may_send(stale), Err(Withheld::StaleLease));
        assert_eq!(may_send(GateFacts { renewal_age: None, ..facts() }), Err(Withheld::StaleLease));
        assert_eq!(may_send(GateFacts { stopping: true, ..facts() }), Err(Withheld::Stopping));
        // Also before its moment: there is nothing to wait for.
        for late in [None, Some(Duration::ZERO)] {
            assert_eq!(may_send(GateFacts { late, held_back: true, ..facts() }), Err(Withheld::HeldBack));
        }
        for late in [None, Some(LATE_MAX + Duration::from_millis(1))] {
            assert_eq!(may_send(GateFacts { late, ..facts() }), Err(Withheld::Missed), "{late:?}");
        }
    }

    #[test]
    fn a_latch_is_either_sent_or_closed_and_stays_so() {
        let wire = OnTheWire::new();
        let sent = Latch::default();
        assert!(sent.send(&wire) && !sent.close() && !sent.send(&wire));
        let closed = Latch::default();
        assert!(closed.close() && !closed.send(&wire) && closed.close());
    }

    #[test]
    fn a_sent_create_is_on_the_wire_until_its_step_is_over() {
        let wire = OnTheWire::new();
        let none_left = || futures::FutureExt::now_or_never(wire.none_left()).is_some();
        let (latch, closed) = (Latch::default(), Latch::default());
        assert!(closed.close() && !closed.send(&wire) && none_left());
        assert!(latch.send(&wire) && !none_left());
        drop(latch);
        assert!(none_left());
    }

    proptest! {
        #[test]
        fn nothing_goes_out_past_a_limit(since in 0u64..20_000, age in proptest::option::of(0u64..20_000), late in proptest::option::of(0u64..100), held_back: bool, stopping: bool) {
            let facts = GateFacts {
                since_claim: Duration::from_millis(since),
                renewal_age: age.map(Duration::from_millis),
                late: late.map(Duration::from_millis),
                held_back,
                stopping,
                ..facts()
            };
            let allowed = since <= 5_000 && age.is_some_and(|age| age < 4_000)
                && late.is_some_and(|late| late <= 20) && !held_back && !stopping;
            prop_assert_eq!(may_send(facts).is_ok(), allowed);
        }
    }
}
