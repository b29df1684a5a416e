//! Tasks that do not end well, and people who ask for something meanwhile.

use super::{Allow, HELD, Row, SUCCESS, at, forget_early, row, secs, wide};
use crate::config::Adopt;
use crate::testing::fault::{Act, Hook};
use crate::testing::provider::Fate;
use crate::testing::sweep::setup::{JobPlan, MODEL, Person};

pub(super) fn tasks() -> Vec<Row> {
    vec![
        row("UNKNOWN twice", SUCCESS, |setup, dice| {
            let nth = dice.number(1..5);
            setup.arm_at(Hook::Fetch, Act::SayUnknown, nth, 2);
        }),
        row("UNKNOWN for long", HELD, |setup, dice| {
            wide(setup);
            let nth = dice.number(1..4);
            setup.arm_at(Hook::Fetch, Act::SayUnknown, nth, 12);
        }),
        row("UNKNOWN after the time of tasks", Allow { expired: true, held: true, ..SUCCESS }, |setup, _| {
            wide(setup);
            setup.arm_at(Hook::Fetch, Act::SayUnknown, 1, 1_000);
            forget_early(setup);
        }),
        row("queries without an answer", SUCCESS, |setup, dice| {
            let nth = dice.number(1..4);
            setup.arm_at(Hook::Fetch, Act::Lose, nth, 4);
        }),
        row("queries refused", SUCCESS, |setup, dice| {
            let nth = dice.number(1..4);
            setup.arm_at(Hook::Fetch, Act::Refuse, nth, 4);
        }),
        at("crash while a query is on the wire", SUCCESS, Hook::Fetch, Act::Crash),
        row("the provider cancels tasks", Allow { canceled: true, ..SUCCESS }, |setup, _| {
            setup.habits.fates = vec![Fate::Canceled, Fate::Succeeds, Fate::Canceled];
        }),
        row("tasks fail and are tried again", SUCCESS, |setup, _| {
            setup.habits.fates =
                vec![Fate::Fails("InternalError"), Fate::Succeeds, Fate::Fails("InternalError")];
        }),
        row("creates are refused by moderation", Allow { failed: true, ..SUCCESS }, |setup, dice| {
            setup.arm(dice, Hook::Create, Act::Reject);
        }),
        row("tasks are refused by moderation", Allow { failed: true, ..SUCCESS }, |setup, _| {
            setup.habits.fates =
                vec![Fate::Fails("DataInspectionFailed"), Fate::Fails("DataInspectionFailed")];
        }),
    ]
}

pub(super) fn people() -> Vec<Row> {
    let canceled = Allow { canceled: true, ..HELD };
    vec![
        row("a person cancels", canceled, |setup, dice| {
            setup.habits.pending = secs(5)..secs(60);
            setup.habits.latency = secs(3)..secs(4);
            setup.jobs.sort_by_key(|job| job.at);
            for (number, job) in setup.jobs.iter().enumerate() {
                // Before anybody claims it, while its create is on the wire, or at any time.
                let afters = [secs(0), secs(1), secs(7), dice.secs(0..60)];
                let after = afters[(number + dice.number(0..2) as usize) % afters.len()];
                setup.people.push((job.at + after, Person::Cancels(number)));
                if dice.coin() {
                    setup.people.push((secs(2_000), Person::Retries(number)));
                }
            }
        }),
        row("a person cancels while images are copied", SUCCESS, |setup, _| {
            setup.jobs.retain(|job| job.at < secs(100));
            setup.store_outages.push((secs(0), secs(400)));
            for job in 0..setup.jobs.len() {
                setup.people.push((secs(300), Person::Cancels(job)));
            }
        }),
        row("a person cancels what nobody answered, and runs it again", canceled, |setup, dice| {
            setup.arm(dice, Hook::Create, Act::Lose);
            for job in 0..setup.jobs.len() {
                setup.people.push((dice.secs(30..300), Person::Cancels(job)));
                setup.people.push((secs(3_000), Person::Retries(job)));
            }
        }),
        row("a person resolves held jobs truly", SUCCESS, |setup, dice| {
            let unknown = if dice.coin() { Act::LoseAnswer } else { Act::Lose };
            setup.arm_at(Hook::Create, unknown, 1, 2);
            setup.config.settle.adopt = Adopt::Never;
            setup.jobs.truncate(2);
            setup.people = vec![(secs(2_500), Person::Resolves), (secs(5_000), Person::Resolves)];
        }),
        row("an adopted task does not look like its job's", HELD, |setup, dice| {
            setup.arm(dice, Hook::Create, Act::LoseAnswer);
            setup.habits.size = Some((512, 512));
            if dice.coin() {
                setup.people.push((secs(2_500), Person::Delivers));
            }
        }),
        row("a person gives held jobs up", Allow { failed: true, ..SUCCESS }, |setup, _| {
            setup.arm_at(Hook::Create, Act::Lose, 1, 2);
            setup.jobs.truncate(1);
            setup.people = vec![(secs(2_500), Person::GivesUp)];
        }),
        row("a person runs failed jobs again", SUCCESS, |setup, _| {
            setup.habits.fates = vec![Fate::Fails("DataInspectionFailed")];
            for job in 0..setup.jobs.len() {
                setup.people.push((secs(900), Person::Retries(job)));
            }
        }),
        row(
            "a person runs expired jobs again, and pays again",
            Allow { expired: true, twice: true, ..HELD },
            |setup, _| {
                wide(setup);
                setup.arm_at(Hook::Fetch, Act::SayUnknown, 1, 60);
                forget_early(setup);
                for job in 0..setup.jobs.len() {
                    setup.people.push((secs(1_200), Person::Retries(job)));
                }
            },
        ),
        row("a held job keeps the only place for hours", HELD, |setup, _| {
            let mut limits = setup.config.accounts[0].limits[&MODEL];
            (limits.in_flight, limits.queue_ahead) = (1, 0);
            setup.config.accounts[0].limits.insert(MODEL, limits);
            setup.jobs.push(JobPlan { at: secs(60), images: 1 });
            setup.arm_at(Hook::Fetch, Act::SayUnknown, 1, 4);
        }),
    ]
}
