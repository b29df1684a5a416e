//! The documented limits, with tasks about as long as real ones.

use std::time::Duration;

use super::{Scenario, steady, steady_on};
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::setup::AccountSetup;
use crate::commands::stand_ins::Pace;

pub(super) const DOCUMENTED: Scenario = Scenario {
    name: "documented",
    about: "the documented limits (5 creates/s, 5 at once, 20 queries/s), tasks of 10 to 25 s, one account",
    scale: 20,
    workers: 1,
    jobs: 200,
    bounds: &[
        Bound::AtMost("makespan_ratio", 1.05),
        Bound::AtLeast("slot_use", 0.95),
        Bound::AtMost("requests_per_task", 4.0),
        Bound::AtMost("lag_noticed_p50_s", 1.0),
        Bound::AtMost("refused_create_rate", 0.0),
        Bound::AtMost("refused_pending_full", 0.0),
        Bound::AtMost("refused_query_rate", 0.0),
    ],
    run: |context| steady(context, vec![AccountSetup::documented()]),
};

/// Its PUTs are in real time: at the time scale of this scenario the store cannot keep up with the provider.
const SLOW: Pace = Pace { put: Duration::from_secs(2), bytes_per_s: 64 << 10 };

pub(super) const SLOW_STORE: Scenario = Scenario {
    name: "slow-store",
    about: "as `documented`, with a store that takes 2 s for a PUT and 64 KiB/s, both real: copies fall behind, creates must not",
    scale: 20,
    workers: 1,
    jobs: 200,
    bounds: &[Bound::AtLeast("slot_use", 0.95)],
    run: |context| steady_on(context, vec![AccountSetup::documented()], SLOW),
};
