//! What is beyond the settings: what no evidence can exclude, or what only a person can decide.

use super::{Allow, HELD, Row, at, beyond, forget_early, secs};
use crate::config::Adopt;
use crate::place::Place;
use crate::testing::fault::{Act, Hook};
use crate::testing::provider::ListLag;
use crate::testing::sweep::setup::{Dice, JobPlan, Person, Setup};

fn twice() -> Allow {
    Allow { twice: true, ..HELD }
}

pub(super) fn beyond_the_settings() -> Vec<Row> {
    let twice = twice();
    let unanswered = |setup: &mut Setup, dice: &mut Dice| {
        let act = if dice.coin() { Act::LoseAnswer } else { Act::Lose };
        setup.arm(dice, Hook::Create, act);
    };
    let mut rows = vec![
        beyond("list an hour late, all alike", HELD, move |setup, dice| {
            unanswered(setup, dice);
            setup.habits.list_lag = ListLag::Uniform(secs(3_600));
        }),
        beyond("list an hour late, all alike, a late act", HELD, |setup, dice| {
            setup.arm(dice, Hook::Create, Act::Late(secs(1)..secs(295)));
            setup.habits.list_lag = ListLag::Uniform(secs(3_600));
        }),
        beyond("list up to an hour late, each task by itself", twice, move |setup, dice| {
            unanswered(setup, dice);
            setup.habits.list_lag = ListLag::PerTask(secs(0)..secs(3_600));
        }),
        Row {
            beyond: true,
            ..at(
                "create acted upon 400 to 1,500 s later",
                twice,
                Hook::Create,
                Act::Late(secs(400)..secs(1_500)),
            )
        },
        beyond("pause of 15 min between gate and wire", twice, |setup, dice| {
            setup.arm(dice, Hook::Create, Act::Pause(secs(900)));
            setup.jobs.push(JobPlan { at: secs(400), images: 1 });
        }),
    ];
    rows.extend(answers_after_hours());
    rows.extend(wrong_adoptions());
    rows
}

/// When the answers come, at the earliest.
const LATE: u64 = 6_000;

/// An answer that comes after hours, at a job that has gone one way or the other meanwhile. By then a person may have paid for
/// the job again; whatever the late task is then, it must be known.
fn answers_after_hours() -> Vec<Row> {
    let late = |end: &str, meanwhile: fn(&mut Setup)| {
        let allow = Allow { failed: true, canceled: true, expired: true, ..twice() };
        beyond(format!("answer after hours, job meanwhile {end}"), allow, move |setup, _| {
            setup.jobs.truncate(2);
            // Two may stand still for hours; somebody must go on.
            setup.workers = 4;
            setup.arm_at(Hook::Place(Place::Answered), Act::Pause(secs(LATE)), 1, 2);
            setup.config.settle.adopt = Adopt::Never;
            meanwhile(setup);
        })
    };
    vec![
        late("held", |_| {}),
        late("given up", |setup| setup.people.push((secs(2_500), Person::GivesUp))),
        late("sent again and succeeded", |setup| setup.people.push((secs(2_500), Person::SendsAgain))),
        late("sent again and polled", |setup| {
            setup.habits.running = secs(60)..secs(90);
            setup.people.push((secs(LATE - 10), Person::SendsAgain));
        }),
        late("sent again and copied", |setup| {
            setup.people.push((secs(LATE - 150), Person::SendsAgain));
            setup.store_outages.push((secs(LATE - 200), secs(LATE + 300)));
        }),
        late("sent again and queued", |setup| {
            setup.jobs.truncate(1);
            setup.people.push((secs(LATE - 5), Person::SendsAgain));
            setup.arm_at(Hook::Create, Act::Refuse, 2, 6);
        }),
        late("canceled", |setup| {
            setup.people.extend((0..2).map(|job| (secs(100), Person::Cancels(job))));
            setup.people.push((secs(2_500), Person::SendsAgain));
        }),
        late("expired", |setup| {
            forget_early(setup);
            // Asked until the task is old enough to be forgotten, and not held before.
            setup.config.rules.unknowns_max = 50;
            setup.people.push((secs(2_500), Person::Resolves));
            setup.arm_at(Hook::Fetch, Act::SayUnknown, 1, 500);
        }),
    ]
}

/// A person adopts, for one job, the task of another, whose own create is answered after that.
fn wrong_adoptions() -> Vec<Row> {
    let wrong = |meanwhile: &str, then: fn(&mut Setup)| {
        let allow = Allow { expired: true, ..twice() };
        beyond(format!("a person adopts another's task, which is {meanwhile}"), allow, move |setup, _| {
            setup.jobs = [0, 5].map(|at| JobPlan { at: secs(at), images: 1 }).to_vec();
            setup.workers = 4;
            setup.arm_at(Hook::Place(Place::Answered), Act::Pause(secs(LATE)), 1, 1);
            setup.arm_at(Hook::Create, Act::Lose, 2, 1);
            setup.config.settle.adopt = Adopt::Never;
            setup.people.push((secs(LATE - 100), Person::AdoptsWrongly(1)));
            then(setup);
        })
    };
    vec![
        wrong("polled when that shows", |setup| setup.arm_at(Hook::Fetch, Act::Lose, 1, 60)),
        wrong("copied when that shows", |setup| {
            setup.store_outages.push((secs(LATE - 200), secs(LATE + 300)));
        }),
        wrong("held when that shows", |setup| setup.arm_at(Hook::Fetch, Act::SayUnknown, 1, 4)),
        wrong("delivered when that shows", |_| {}),
    ]
}
