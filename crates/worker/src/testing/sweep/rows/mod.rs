//! The rows of the matrix: one fault each, and what may come of it.

mod beyond;
mod calls;
mod clocks;
mod incidents;
mod people;

use std::time::Duration;

use super::setup::{Dice, Setup};
use crate::place::Place;
use crate::testing::fault::{Act, Hook};

/// Which ends a row allows besides success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allow {
    /// Jobs may be held.
    pub held: bool,
    /// Jobs may fail.
    pub failed: bool,
    /// Jobs may be canceled.
    pub canceled: bool,
    /// Jobs may expire.
    pub expired: bool,
    /// For a while a task may be at work without a place: the queue has forgotten it.
    pub forgotten: bool,
    /// The provider is beyond what the settings promise: a prompt may be billed twice, but never silently.
    pub twice: bool,
}

type Prepare = Box<dyn Fn(&mut Setup, &mut Dice) + Send + Sync>;

/// A row of the matrix.
pub struct Row {
    /// What goes wrong.
    pub name: String,
    /// Whether the provider, or a pause, is beyond the settings.
    pub beyond: bool,
    /// Which ends are allowed.
    pub allow: Allow,
    pub(crate) prepare: Prepare,
}

const SUCCESS: Allow =
    Allow { held: false, failed: false, canceled: false, expired: false, forgotten: false, twice: false };
const HELD: Allow = Allow { held: true, ..SUCCESS };

fn row(
    name: impl Into<String>,
    allow: Allow,
    prepare: impl Fn(&mut Setup, &mut Dice) + Send + Sync + 'static,
) -> Row {
    Row { name: name.into(), beyond: false, allow, prepare: Box::new(prepare) }
}

fn beyond(
    name: impl Into<String>,
    allow: Allow,
    prepare: impl Fn(&mut Setup, &mut Dice) + Send + Sync + 'static,
) -> Row {
    Row { beyond: true, ..row(name, allow, prepare) }
}

/// A single fault at a hook.
fn at(name: &str, allow: Allow, hook: Hook, act: Act) -> Row {
    row(name, allow, move |setup, dice| setup.arm(dice, hook, act.clone()))
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every row, in the order of the matrix.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![row("nothing goes wrong", SUCCESS, |_, _| {})];
    rows.extend(Place::ALL.into_iter().flat_map(at_place));
    rows.extend(calls::on_the_wire());
    rows.extend(incidents::incidents());
    rows.extend(clocks::clocks());
    rows.extend(calls::at_the_queue());
    rows.extend(calls::at_the_store());
    rows.extend(people::tasks());
    rows.extend(people::people());
    rows.extend(beyond::beyond_the_settings());
    rows
}

/// The account has places for all, so that no job waits for one that a held job keeps.
fn wide(setup: &mut Setup) {
    for limits in setup.config.accounts.iter_mut().flat_map(|account| account.limits.values_mut()) {
        limits.in_flight = 10;
    }
}

/// Tasks are over before they are forgotten, and are forgotten soon.
fn forget_early(setup: &mut Setup) {
    setup.habits.pending = secs(0)..secs(5);
    setup.habits.running = secs(2)..secs(5);
    setup.config.rules.task_retention = secs(20);
}

/// A crash, two pauses and a clean stop at a place.
fn at_place(place: Place) -> [Row; 4] {
    let acts = [
        ("stop", Act::Stop),
        ("crash", Act::Crash),
        ("pause of 30 s", Act::Pause(secs(30))),
        ("pause of 120 s", Act::Pause(secs(120))),
    ];
    // An attempt whose create may have been sent, and that nothing proves, is a person's to decide.
    let allow = match place {
        Place::SubmitClaimed
        | Place::BeforeSend
        | Place::Answered
        | Place::SettleClaimed
        | Place::SettleWeighed
        | Place::SettleSaved
        | Place::Rescued => HELD,
        _ => SUCCESS,
    };
    acts.map(|(what, act)| {
        row(format!("{what} at {place}"), allow, move |setup, dice| {
            let nth = match place {
                // One attempt to be settled, one worker to be rescued: there may be no second passing.
                Place::SettleClaimed | Place::SettleWeighed | Place::SettleSaved | Place::Rescued => 1,
                _ => setup.passing(dice),
            };
            setup.arm_at(Hook::Place(place), act.clone(), nth, 1);
            match place {
                // There must be something to settle, and somebody to rescue.
                Place::SettleClaimed | Place::SettleWeighed | Place::SettleSaved => {
                    let unknown = if dice.coin() { Act::LoseAnswer } else { Act::Lose };
                    setup.arm(dice, Hook::Create, unknown);
                }
                Place::Rescued => {
                    let places = [Place::PollClaimed, Place::ArchiveClaimed, Place::SubmitClaimed];
                    let first = places[dice.number(0..3) as usize];
                    setup.arm_at(Hook::Place(first), Act::Crash, 1, 1);
                }
                _ => {}
            }
        })
    })
}
