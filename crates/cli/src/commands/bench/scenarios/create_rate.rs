//! Tasks so short that only the create rate bounds them, against a provider that counts it strictly.

use dashscope_sim::Latency;

use super::{Scenario, steady};
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::setup::AccountSetup;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "create-rate",
    about: "tasks of 300 ms at 5 creates/s in any second, as many at once as there are: only the rate bounds them",
    scale: 1,
    workers: 1,
    jobs: 300,
    bounds: &[Bound::AtLeast("creates_per_s", 4.5), Bound::AtMost("refused_create_rate", 0.0)],
    run: |context| {
        let account = AccountSetup {
            name: "short",
            in_flight: 1_000,
            pending_max: 0,
            durations: Latency::Fixed { ms: 300 },
            ..AccountSetup::documented()
        };
        Box::pin(async {
            let mut figures = steady(context, vec![account]).await?;
            // Of as many slots as there are, next to none is needed.
            figures.list.retain(|figure| figure.name != "slot_use");
            Ok(figures)
        })
    },
};
