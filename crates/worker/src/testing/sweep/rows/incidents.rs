//! An hour at the provider in which many creates are without an answer, each for a reason of its own: what one of them made may
//! fall into the time of another.

use std::time::Duration;

use super::{HELD, Row, row, secs};
use crate::testing::fault::{Act, Hook};
use crate::testing::sweep::setup::{Dice, JobPlan, Setup};

/// Creates before the trouble, where the times of creates are to be known by then.
const TEACHERS: u32 = 12;

/// The latest at which a request is acted upon: just below the setting.
const LATE_MAX: u64 = 299;

pub(super) fn incidents() -> Vec<Row> {
    let late = || Act::Late(secs(1)..secs(LATE_MAX));
    // Requests that the gateway held beside others that never arrived: the task of the first may come at the time of the second.
    let living = move || vec![late(), late(), Act::Lose, Act::LoseAnswer, Act::Gateway502];
    let vanished = move || {
        let mut acts = living();
        acts.extend([Act::Crash, Act::CrashAfter, Act::Pause(secs(30))]);
        acts
    };
    let soon = || vec![Act::Late(secs(1)..secs(60)), Act::Lose];
    let of = |name: &str, teachers: u32, acts: Vec<Act>| {
        row(name, HELD, move |setup, dice| incident(setup, dice, teachers, &acts))
    };
    vec![
        of("many creates held or lost", 0, living()),
        of("many creates held or lost, latency known", TEACHERS, living()),
        of("many creates held or lost, some workers vanish", 0, vanished()),
        of("many creates held or lost, some workers vanish, latency known", TEACHERS, vanished()),
        of("many creates held for a minute or lost, latency known", TEACHERS, soon()),
    ]
}

/// Some jobs, some seconds apart; each create goes wrong in one of these ways, or does not.
fn incident(setup: &mut Setup, dice: &mut Dice, teachers: u32, acts: &[Act]) {
    // Each that is without an answer keeps its place for long; there are enough for all.
    for limits in setup.config.accounts.iter_mut().flat_map(|account| account.limits.values_mut()) {
        limits.in_flight = 40;
    }
    setup.jobs = (0..teachers).map(|_| JobPlan { at: dice.millis(0..30_000), images: 1 }).collect();
    let (mut at, troubled) = (secs(60), dice.number(3..9));
    for number in 0..troubled {
        at += dice.millis(0..25_000);
        setup.jobs.push(JobPlan { at, images: 1 });
        let act = acts[dice.number(0..acts.len() as u32) as usize].clone();
        // The first fault is that of the row.
        if number == 0 || dice.number(0..4) > 0 {
            setup.arm_at(Hook::Create, act, teachers + number + 1, 1);
        }
    }
    // What shows that the list is up to date.
    for _ in 0..4 {
        setup.jobs.push(JobPlan { at: at + Duration::from_secs(340) + dice.secs(0..600), images: 1 });
    }
}
