//! Clocks that differ: the provider's, those of the workers' machines, and what a worker believes of the queue's.

use std::time::Duration;

use jiff::SignedDuration;

use super::{HELD, Row, row, secs};
use crate::place::Place;
use crate::testing::fault::{Act, Hook};
use crate::testing::sweep::setup::{Dice, Setup};
use crate::testing::worker::WorkerClock;

/// How far they are apart, where nothing holds them together.
const APART: SignedDuration = SignedDuration::from_secs(60);

/// How far a worker can be wrong about the queue's time: half of the longest call, whose answer it learns the time from.
const WRONG_MAX: SignedDuration = SignedDuration::from_secs(5);

fn either_way(by: SignedDuration, dice: &mut Dice) -> SignedDuration {
    if dice.coin() { by } else { -by }
}

pub(super) fn clocks() -> Vec<Row> {
    let provider = |fault: &str, act: Act| {
        row(format!("provider's clock 60 s off, {fault}"), HELD, move |setup, dice| {
            setup.arm(dice, Hook::Create, act.clone());
            setup.habits.clock_offset = either_way(APART, dice);
        })
    };
    let machines = |setup: &mut Setup, _: &mut Dice| {
        let clock = |booted| WorkerClock { booted: secs(booted), ..WorkerClock::default() };
        setup.clocks = vec![clock(1_060), clock(1_000)];
    };
    let beliefs = |setup: &mut Setup, dice: &mut Dice| {
        let ahead = either_way(WRONG_MAX, dice);
        setup.clocks = vec![WorkerClock { ahead, booted: Duration::ZERO }, WorkerClock::default()];
    };
    let faults = [
        ("create acted upon, no answer", Hook::Create, Act::LoseAnswer),
        ("create never received", Hook::Create, Act::Lose),
        ("crash while a create is on the wire, acted upon", Hook::Create, Act::CrashAfter),
        ("pause of 30 s at before_send", Hook::Place(Place::BeforeSend), Act::Pause(secs(30))),
    ];
    let mut rows = vec![
        provider("create acted upon, no answer", Act::LoseAnswer),
        provider("create never received", Act::Lose),
    ];
    for (fault, hook, act) in faults {
        let with = |name: String, clocks: fn(&mut Setup, &mut Dice)| {
            let act = act.clone();
            row(name, HELD, move |setup, dice| {
                setup.arm(dice, hook, act.clone());
                clocks(setup, dice);
            })
        };
        rows.push(with(format!("workers' clocks 60 s apart, {fault}"), machines));
        // Jobs that seem not to be due are given back and claimed again all the time: two rows of that are enough.
        if matches!(act, Act::Lose | Act::CrashAfter) {
            rows.push(with(format!("a worker 5 s wrong about the queue's time, {fault}"), beliefs));
        }
    }
    rows
}
