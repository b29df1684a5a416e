//! A provider that refuses a third of all calls for a while that never ends, beside the same work without it.
//!
//! Waits after a refusal are those of the workers in real time, and so is `Retry-After`, which knows whole seconds only. So above
//! a time scale of 1 a storm costs more here than it would at the provider: `Retry-After: 1` at scale 5 stands for 5 s.

use dashscope_sim::{Act, Fault, On, When};
use futures::future::LocalBoxFuture;

use super::{Context, Scenario};
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::director::Nothing;
use crate::commands::bench::figures::{Figures, Unit};
use crate::commands::bench::setup::AccountSetup;
use crate::commands::bench::{measure, run};
use crate::failure::Failure;

/// The share of calls that are refused. Source: the issue.
const REFUSED: f64 = 0.3;

pub(super) const STORM: Scenario = Scenario {
    name: "storm",
    about: "as `documented`, with 429 for 30 % of creates, queries and lists, after the same without: waits are real, not scaled",
    scale: 5,
    workers: 1,
    jobs: 100,
    bounds: &[Bound::AtMost("makespan_over_clean", 3.0)],
    run: |context| storm(context, None),
};

pub(super) const RETRY_AFTER: Scenario = Scenario {
    name: "storm-retry-after",
    about: "as `storm`, with `Retry-After: 1`, a real second",
    scale: 5,
    workers: 1,
    jobs: 100,
    bounds: &[Bound::AtMost("makespan_over_clean", 3.0)],
    run: |context| storm(context, Some(1)),
};

fn storm<'a>(
    context: &'a Context<'a>,
    retry_after_s: Option<u64>,
) -> LocalBoxFuture<'a, Result<Figures, Failure>> {
    Box::pin(async move {
        let clean = context.setup(vec![AccountSetup::documented()]);
        let title = format!("{}, without the storm", context.title);
        let clean_seen = run::driven(context.app, &clean, &title, &mut Nothing).await?;
        let clean = measure::figures(&clean, &clean_seen);
        let account = AccountSetup { faults: refusals(retry_after_s), ..AccountSetup::documented() };
        let setup = context.setup(vec![account]);
        let seen = run::driven(context.app, &setup, &context.title, &mut Nothing).await?;
        let mut figures = measure::figures(&setup, &seen);
        figures.problems.extend(clean.problems.iter().map(|problem| format!("without the storm: {problem}")));
        let (with, without) = (figures.get("makespan_s"), clean.get("makespan_s"));
        figures.add_known("clean_makespan_s", "makespan without the storm", Unit::ServiceSeconds, without);
        let ratio = with.zip(without).map(|(with, without)| with / without);
        figures.add_known("makespan_over_clean", "makespan / without the storm", Unit::Ratio, ratio);
        Ok(figures)
    })
}

fn refusals(retry_after_s: Option<u64>) -> Vec<Fault> {
    let refusal = |on| Fault {
        when: When { rate: Some(REFUSED), ..When::default() },
        ..Fault::new(
            on,
            Act::Status {
                http: 429,
                code: "Throttling.RateQuota".to_owned(),
                message: "Requests rate limit exceeded, please try again later.".to_owned(),
                retry_after_s,
            },
        )
    };
    [On::Create, On::Query, On::List].map(refusal).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_call_is_refused_and_the_script_can_be_used() {
        let faults = refusals(Some(1));
        assert_eq!(faults.len(), 3);
        assert!(AccountSetup { faults, ..AccountSetup::documented() }.simulator(5, 1).check().is_ok());
    }
}
