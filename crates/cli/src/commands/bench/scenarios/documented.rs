//! The documented limits, with tasks about as long as real ones.

use super::Scenario;
use crate::commands::bench::setup::AccountSetup;
use crate::commands::bench::{measure, run};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "documented",
    about: "the documented limits (5 creates/s, 5 at once, 20 queries/s), tasks of 10 to 25 s, one account",
    scale: 20,
    workers: 1,
    jobs: 200,
    run: |context| {
        Box::pin(async {
            let setup = context.setup(vec![AccountSetup::documented()]);
            let seen = run::steady(context.app, &setup, &context.title).await?;
            Ok(measure::figures(&setup, &seen))
        })
    },
};
