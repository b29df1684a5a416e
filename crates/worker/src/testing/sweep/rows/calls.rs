//! Faults of single calls: on the wire to the provider, at the queue, at the store.

use std::time::Duration;

use super::{Allow, HELD, Row, SUCCESS, at, row, secs, wide};
use crate::config::Adopt;
use crate::place::Place;
use crate::testing::fault::{Act, Hook};
use crate::testing::provider::ListLag;
use crate::testing::sweep::setup::{JobPlan, Person};

pub(super) fn on_the_wire() -> Vec<Row> {
    let several = |name: &str, act: Act| {
        row(name, HELD, move |setup, dice| {
            let nth = setup.passing(dice).min(2);
            wide(setup);
            setup.arm_at(Hook::Create, act.clone(), nth, 3);
        })
    };
    vec![
        at("create sent and never received", HELD, Hook::Create, Act::Lose),
        at("create acted upon, no answer", HELD, Hook::Create, Act::LoseAnswer),
        at("create acted upon, 502", HELD, Hook::Create, Act::Gateway502),
        at("create acted upon 1 to 60 s later", HELD, Hook::Create, Act::Late(secs(1)..secs(60))),
        at("create acted upon 60 to 295 s later", HELD, Hook::Create, Act::Late(secs(60)..secs(295))),
        row("create acted upon 294 to 299 s later, list as late as it may be", HELD, |setup, dice| {
            setup.habits.list_lag = ListLag::PerTask(secs(0)..secs(29));
            setup.arm(dice, Hook::Create, Act::Late(secs(294)..secs(299)));
            // What shows that the list is up to date comes just in time for the first look.
            setup.jobs.truncate(1);
            for _ in 0..8 {
                setup.jobs.push(JobPlan { at: dice.secs(305..335), images: 1 });
            }
        }),
        several("three creates never received", Act::Lose),
        several("three creates acted upon, no answer", Act::LoseAnswer),
        several("three creates acted upon 1 to 295 s later", Act::Late(secs(1)..secs(295))),
        at("crash while a create is on the wire, not received", HELD, Hook::Create, Act::Crash),
        at("crash while a create is on the wire, acted upon", HELD, Hook::Create, Act::CrashAfter),
        at("pause of 30 s between gate and wire", HELD, Hook::Create, Act::Pause(secs(30))),
        at("pause of 120 s between gate and wire", HELD, Hook::Create, Act::Pause(secs(120))),
        row("pause of 15 min at before_send", HELD, |setup, dice| {
            // Far longer than the provider may hold a request: what is sent after it would be paid for again.
            setup.arm(dice, Hook::Place(Place::BeforeSend), Act::Pause(secs(900)));
            setup.jobs.push(JobPlan { at: secs(400), images: 1 });
        }),
        row("pause of 120 s at answered, adopt = never", SUCCESS, |setup, dice| {
            // Nobody but the worker that slept knows the task, and by then it has lost the job.
            setup.arm(dice, Hook::Place(Place::Answered), Act::Pause(secs(120)));
            setup.config.settle.adopt = Adopt::Never;
        }),
        row("three creates refused", SUCCESS, |setup, dice| {
            let nth = setup.passing(dice).min(2);
            setup.arm_at(Hook::Create, Act::Refuse, nth, 3);
        }),
        row("three creates without a connection", SUCCESS, |setup, dice| {
            let nth = setup.passing(dice).min(2);
            setup.arm_at(Hook::Create, Act::NoConnection, nth, 3);
        }),
        row("adopt = never, create acted upon, no answer", HELD, |setup, dice| {
            setup.arm(dice, Hook::Create, Act::LoseAnswer);
            setup.config.settle.adopt = Adopt::Never;
        }),
    ]
}

pub(super) fn at_the_queue() -> Vec<Row> {
    let away = |name: &str, length: Duration| {
        row(name, HELD, move |setup, dice| {
            let from = dice.millis(500..40_000);
            setup.queue_outages.push((from, from + length));
        })
    };
    let commit = |name: &str, allow: Allow, act: Act| {
        row(name, allow, move |setup, dice| {
            let nth = dice.number(1..12);
            setup.arm_at(Hook::Commit, act.clone(), nth, 1);
        })
    };
    let claim = |name: &str, act: Act| {
        row(name, HELD, move |setup, dice| {
            let nth = dice.number(1..10);
            setup.arm_at(Hook::Claimed, act.clone(), nth, 1);
        })
    };
    vec![
        away("queue away for 1 s", secs(1)),
        away("queue away for 60 s", secs(60)),
        away("queue away for 10 min", secs(600)),
        row("queue starts anew", HELD, |setup, dice| {
            let at = dice.millis(500..60_000);
            setup.queue_outages.push((at, at + secs(2)));
            setup.people.push((at + secs(1), Person::RestartsQueue));
        }),
        row("queue starts from a copy that is 60 s old", Allow { forgotten: true, ..HELD }, |setup, dice| {
            // What was enqueued since is lost with the copy, so there is nothing.
            setup.jobs.retain(|job| job.at < secs(100));
            let copied = dice.secs(20..40);
            let back = copied + secs(60);
            setup.people.push((copied, Person::CopiesQueue));
            setup.queue_outages.push((back - secs(1), back + secs(1)));
            setup.people.push((back, Person::RestoresQueue));
        }),
        row(
            "queue starts from a copy of the first second",
            Allow { forgotten: true, ..HELD },
            |setup, dice| {
                // Before anything was sent: most of it is known to the workers only.
                setup.jobs.retain(|job| job.at < secs(100));
                setup.jobs.iter_mut().for_each(|job| job.at = secs(0));
                let back = dice.secs(20..90);
                setup.people.push((secs(0), Person::CopiesQueue));
                setup.queue_outages.push((back - secs(1), back + secs(1)));
                setup.people.push((back, Person::RestoresQueue));
            },
        ),
        commit("commit lost on the way", HELD, Act::Lose),
        commit("commit written, answer lost", HELD, Act::LoseAnswer),
        commit("crash before a commit", HELD, Act::Crash),
        commit("crash after a commit", HELD, Act::CrashAfter),
        commit("pause of 120 s after a commit", HELD, Act::Pause(secs(120))),
        claim("claim written, answer lost", Act::LoseAnswer),
        claim("crash after a claim", Act::Crash),
        claim("pause of 30 s after a claim", Act::Pause(secs(30))),
        row("a worker is told to stop", HELD, |setup, dice| {
            setup.stops = vec![dice.millis(100..30_000), dice.secs(30..90)];
        }),
        row("crashes of four polls in a row", HELD, |setup, _| {
            setup.arm_at(Hook::Place(Place::PollClaimed), Act::Crash, 1, 5);
        }),
        row("crashes of four looks in a row", HELD, |setup, dice| {
            setup.arm_at(Hook::Place(Place::SettleClaimed), Act::Crash, 1, 5);
            setup.arm(dice, Hook::Create, Act::LoseAnswer);
        }),
        row("crashes of six copies in a row", SUCCESS, |setup, _| {
            setup.arm_at(Hook::Place(Place::ArchiveClaimed), Act::Crash, 1, 6);
        }),
    ]
}

pub(super) fn at_the_store() -> Vec<Row> {
    let away = |name: &str, length: Duration| {
        row(name, SUCCESS, move |setup, dice| {
            let from = dice.secs(0..40);
            setup.store_outages.push((from, from + length));
        })
    };
    vec![
        away("store away for 60 s", secs(60)),
        away("store away for 10 min", secs(600)),
        row("store 60 times as slow", SUCCESS, |setup, _| setup.slow_store = 60),
        at("put refused once", SUCCESS, Hook::Copy, Act::Lose),
        at("put written, answer lost", SUCCESS, Hook::Copy, Act::LoseAnswer),
        at("link refused once", SUCCESS, Hook::Copy, Act::Refuse),
        at("crash in the middle of a put", SUCCESS, Hook::Copy, Act::Crash),
        at("crash after a put", SUCCESS, Hook::Copy, Act::CrashAfter),
        at("pause of 120 s in the middle of a put", SUCCESS, Hook::Copy, Act::Pause(secs(120))),
        row("links die while the store is away", SUCCESS, |setup, dice| {
            // Longer than the waits between two rounds, or no link would ever be in time.
            setup.habits.link_life = secs(150);
            let from = dice.secs(0..30);
            setup.store_outages.push((from, from + secs(300)));
        }),
        row("links die and the task is forgotten", Allow { expired: true, ..SUCCESS }, |setup, _| {
            setup.habits.link_life = secs(30);
            setup.config.rules.task_retention = secs(900);
            setup.store_outages.push((secs(0), secs(1_600)));
        }),
        row("results are removed by hand", Allow { expired: true, ..SUCCESS }, |setup, _| {
            setup.config.rules.task_retention = secs(400);
            // The first ones are forgotten before it is back, a later one is not.
            setup.store_outages.push((secs(0), secs(600)));
            setup.jobs.push(JobPlan { at: secs(400), images: 1 });
            setup.people = vec![(secs(60), Person::RemovesOutcomes), (secs(500), Person::RemovesOutcomes)];
            for job in 0..setup.jobs.len() {
                setup.people.push((secs(1_800), Person::AsksForMissing(job)));
            }
        }),
    ]
}
