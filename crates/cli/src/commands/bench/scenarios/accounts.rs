//! Two accounts of different size, which share the work; and what becomes of it when one of them breaks.

use dashscope_sim::{Act, Fault, Latency, On};
use futures::future::BoxFuture;
use job::AccountName;

use super::{Context, Scenario, steady};
use crate::app::queue_failure;
use crate::commands::bench::bounds::Bound;
use crate::commands::bench::director::{Director, Look};
use crate::commands::bench::figures::{Figures, Unit};
use crate::commands::bench::run::Seen;
use crate::commands::bench::setup::{AccountSetup, Setup};
use crate::commands::bench::slot_use::{self, Interval, Window};
use crate::commands::bench::{measure, run};
use crate::failure::{Failure, OrFail as _};

pub(super) const TWO: Scenario = Scenario {
    name: "two-accounts",
    about: "two accounts share the work: 5 creates/s and 5 at once; 2 creates/s and 10 at once, with slower answers and tasks",
    scale: 20,
    workers: 2,
    jobs: 400,
    bounds: &[Bound::AtLeast("slot_use", 0.95)],
    run: |context| steady(context, accounts()),
};

pub(super) const BREAKS: Scenario = Scenario {
    name: "account-breaks",
    about: "as `two-accounts`, and the larger one answers 401 to everything from the middle on, until nothing else is left to do",
    scale: 20,
    workers: 2,
    jobs: 400,
    bounds: &[Bound::AtLeast("slot_use_before", 0.95), Bound::AtLeast("slot_use_after", 0.95)],
    run: |context| Box::pin(breaks(context)),
};

/// Which of them breaks.
const BROKEN: usize = 1;

fn accounts() -> Vec<AccountSetup> {
    let few = AccountSetup { name: "few-slots", ..AccountSetup::documented() };
    let many = AccountSetup {
        name: "many-slots",
        creates_per_second: 2,
        in_flight: 10,
        durations: Latency::LogNormal { p5_ms: 15_000, p95_ms: 40_000 },
        create_latency: Latency::LogNormal { p5_ms: 400, p95_ms: 1_500 },
        ..AccountSetup::documented()
    };
    vec![few, many]
}

async fn breaks(context: &Context<'_>) -> Result<Figures, Failure> {
    // A breaker that is found out about in a minute would only make the end of the run longer: somebody pays the bill by then.
    let settings = ["breaker.first=2s", "breaker.cap=5s"].map(str::to_owned).into();
    let setup = Setup { settings, ..context.setup(accounts()) };
    let mut bill = Bill::new();
    let seen = run::driven(context.app, &setup, &context.title, &mut bill).await?;
    let mut figures = measure::figures(&setup, &seen);
    // Over the whole run this says nothing: one of the accounts is away for a part of it.
    let whole =
        |name: &str| name.starts_with("slot_use") || name.contains("makespan") || name == "refused_by_script";
    figures.list.retain(|figure| !whole(&figure.name));
    bill.figures(&setup, &seen, &mut figures);
    Ok(figures)
}

/// Breaks an account when half of the jobs are done, and mends it when no job waits any more: its own tasks still have to be
/// asked about.
struct Bill {
    account: AccountName,
    broke_ms: Option<i64>,
    opened_ms: Option<i64>,
    mended_ms: Option<i64>,
    /// Calls that it refused meanwhile.
    refused: u64,
}

impl Bill {
    fn new() -> Self {
        let account = AccountName::parse(accounts()[BROKEN].name).expect("the name is a plain word");
        Self { account, broke_ms: None, opened_ms: None, mended_ms: None, refused: 0 }
    }

    /// Use of all slots before, and of those of the healthy account from the moment that everybody knew.
    fn figures(&self, setup: &Setup, seen: &Seen, figures: &mut Figures) {
        let Some(broke_ms) = self.broke_ms else {
            figures.problems.push("the account never broke: all was over before".to_owned());
            return;
        };
        let tasks =
            |at: usize| -> Vec<Interval> { seen.ledgers[at].tasks.iter().map(Interval::from).collect() };
        let all = [tasks(0), tasks(BROKEN)].concat();
        let slots: u32 = setup.accounts.iter().map(|account| account.in_flight).sum();
        let before = Window::of_waiting_work(&all).and_then(|window| window.until(broke_ms));
        let before = before.map(|window| slot_use::share(&all, slots, window));
        figures.add_known("slot_use_before", "slots RUNNING before it broke, both", Unit::Share, before);
        let Some(opened_ms) = self.opened_ms else {
            figures.problems.push("no breaker was seen open".to_owned());
            return;
        };
        let took = (opened_ms - broke_ms).max(0) as f64;
        figures.add("breaker_opened_after_ms", "the breaker was open after", Unit::Millis, took);
        let healthy = tasks(0);
        let after = Window::of_waiting_work(&healthy).map(|window| Window { from_ms: opened_ms, ..window });
        let after = after.filter(|window| window.to_ms > window.from_ms);
        let after = after.map(|window| slot_use::share(&healthy, setup.accounts[0].in_flight, window));
        figures.add_known("slot_use_after", "slots RUNNING afterwards, the other one's", Unit::Share, after);
        let away = self.mended_ms.map(|mended_ms| setup.service_s((mended_ms - broke_ms) as f64));
        figures.add("refused_while_broken", "refused while it was broken", Unit::Count, self.refused as f64);
        figures.add_known("broken_s", "the account was broken for", Unit::ServiceSeconds, away);
    }

    async fn go_on(&mut self, look: Look<'_>) -> Result<(), Failure> {
        let simulator = &look.world.simulators[BROKEN];
        let now_ms = simulator.now().as_millisecond();
        let faults = |faults| simulator.faults().replace(faults).or_fail("failed to break the account");
        match (self.broke_ms, self.opened_ms, self.mended_ms) {
            (None, ..) if look.counts.over() * 2 >= look.counts.total => {
                faults(no_access())?;
                self.broke_ms = Some(now_ms);
            }
            (Some(_), None, _) => {
                let status = look.world.queue.account_status(&self.account).await;
                let status = status.map_err(|error| queue_failure(error, "read the account"))?;
                self.opened_ms = status.breakers.iter().map(|open| open.since.as_millisecond()).min();
            }
            (Some(_), Some(_), None) if look.counts.queued == 0 => {
                self.refused = simulator.faults().report().iter().map(|fault| fault.struck).sum();
                faults(Vec::new())?;
                self.mended_ms = Some(now_ms);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Director for Bill {
    fn look<'a>(&'a mut self, look: Look<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.go_on(look))
    }
}

fn no_access() -> Vec<Fault> {
    let refusal = |on| {
        Fault::new(
            on,
            Act::Status {
                http: 401,
                code: "InvalidApiKey".to_owned(),
                message: "Invalid API-key provided.".to_owned(),
                retry_after_s: None,
            },
        )
    };
    [On::Create, On::Query, On::List, On::Cancel].map(refusal).into()
}
