//! An account with raised limits: thousands of tasks at once, which single polls could not follow.

use dashscope_sim::Latency;

use super::{Scenario, steady};
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::setup::AccountSetup;

pub(super) const LARGE: Scenario = Scenario {
    name: "large",
    about: "2,000 tasks at once of about 20 s, 120 creates/s, 150 queries/s, pages of 100 tasks",
    scale: 1,
    workers: 2,
    jobs: 20_000,
    bounds: &[Bound::AtMost("late_p99_s", 1.0)],
    run: |context| steady(context, vec![raised(100)]),
};

pub(super) const SMALL_PAGES: Scenario = Scenario {
    name: "large-small-pages",
    about: "as `large`, with pages of 10 tasks at most: slower is allowed, losing something is not",
    scale: 1,
    workers: 2,
    jobs: 20_000,
    bounds: &[],
    run: |context| steady(context, vec![raised(10)]),
};

fn raised(list_page_max: u32) -> AccountSetup {
    AccountSetup {
        name: "raised",
        // A little more than the places give back. Were it much more, thousands of tasks would end within seconds of each other, over
        // and over, and for that long more would be due than the queries allow.
        creates_per_second: 120,
        in_flight: 2_000,
        // As much as ends in the time in which an end is noticed and a task created.
        queue_ahead: Some(200),
        queries_per_second: 150,
        pending_max: 0,
        list_page_max,
        durations: Latency::LogNormal { p5_ms: 18_500, p95_ms: 21_500 },
        ..AccountSetup::documented()
    }
}
