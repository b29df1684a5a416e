//! What an input may cost, before it does: the question about jobs that are replaced, and `--max-cost`.

use job::{Micros, Prices};

use super::look::Stand;
use crate::exit_code;
use crate::failure::Failure;
use crate::output::status::at_most;
use crate::output::words::{count, counted, money};

/// `--max-cost`: whether what would be sent could cost more.
pub(super) fn too_dear(most: Option<Micros>, prices: &Prices, cost: Micros) -> Result<(), Failure> {
    let Some(most) = most.filter(|most| cost > *most) else { return Ok(()) };
    let text = format!(
        "what is new could cost {}, and --max-cost allows {}; nothing was enqueued",
        money(cost, &prices.currency),
        money(most, &prices.currency)
    );
    let hint = "--dry-run says what costs how much; jobs that are there already are not counted";
    Err(Failure::message(text).exit(exit_code::BAD_INPUT).hint(hint))
}

/// What is asked before jobs are replaced.
pub(super) fn question(stand: &Stand, prices: &Prices) -> String {
    let parts: Vec<String> =
        [(stand.changed_waiting, "waiting"), (stand.changed_ended, "ended, which would run again")]
            .iter()
            .filter(|(jobs, _)| *jobs > 0)
            .map(|(jobs, what)| format!("{} {what}", count(*jobs)))
            .collect();
    let images: u64 = stand.work_replaced.images_max();
    let cost = stand.work_replaced.cost_max(prices);
    format!(
        "{} ({}) would be replaced: {}.",
        counted(stand.replaced(), "job"),
        parts.join(", "),
        at_most(images, cost, &prices.currency)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replacing_may_cost_is_asked_and_what_is_too_dear_is_refused_with_both_figures() {
        let work = |images| crate::input::work::tests::work(dashscope::Model::Wan27Image, images);
        let stand = Stand {
            new: 2,
            changed_waiting: 1,
            changed_ended: 3,
            work_new: work(100),
            work_replaced: work(5),
            ..Stand::default()
        };
        let prices = Prices::default();
        assert_eq!(stand.cost_max(&prices, false), Micros(3_000_000));
        assert_eq!(stand.cost_max(&prices, true), Micros(3_150_000));
        insta::assert_snapshot!(question(&stand, &prices), @"4 jobs (1 waiting, 3 ended, which would run again) would be replaced: at most 5 images for 0.15 USD.");
        let too_dear = too_dear(Some(Micros(3_149_999)), &prices, Micros(3_150_000)).unwrap_err();
        insta::assert_snapshot!(crate::report::render(&too_dear), @r"
        error: what is new could cost 3.15 USD, and --max-cost allows 3.149999 USD; nothing was enqueued

        hint: --dry-run says what costs how much; jobs that are there already are not counted
        ");
        assert!(too_dear.exit_code == exit_code::BAD_INPUT);
        assert!(super::too_dear(Some(Micros(3_150_000)), &prices, Micros(3_150_000)).is_ok());
    }
}
