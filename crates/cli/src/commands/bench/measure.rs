//! From what was seen of a run to its figures. Pure.

use std::collections::{BTreeMap, HashMap};

use dashscope_sim::{Ledger, TaskEntry};
use job::StateName;

use super::figures::{Figures, Unit};
use super::ideal;
use super::run::Seen;
use super::setup::Setup;
use super::slot_use::{self, Interval, Window};
use super::spread::Spread;

/// All figures of a run.
pub(super) fn figures(setup: &Setup, seen: &Seen) -> Figures {
    let mut figures = Figures { problems: problems(seen), ..Figures::default() };
    figures.add("jobs", "jobs", Unit::Count, seen.jobs.len() as f64);
    makespan(&mut figures, setup, seen);
    slots(&mut figures, setup, seen);
    requests(&mut figures, &seen.ledgers);
    lags(&mut figures, setup, seen);
    cost(&mut figures, seen);
    figures
}

/// What must not be after any run.
fn problems(seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_state: BTreeMap<StateName, u64> = BTreeMap::new();
    for job in &seen.jobs {
        *by_state.entry(job.state).or_default() += 1;
    }
    for (state, jobs) in by_state.iter().filter(|(state, _)| **state != StateName::Succeeded) {
        found.push(format!("{jobs} jobs are {state}"));
    }
    let billed: u64 = seen.ledgers.iter().map(|ledger| ledger.totals.images_billed).sum();
    if billed != seen.images_stored {
        found.push(format!("{billed} images were billed, {} are stored", seen.images_stored));
    }
    let mut tasks: HashMap<&str, u32> = HashMap::new();
    for (prompt, number) in seen.ledgers.iter().flat_map(|ledger| &ledger.tasks_by_prompt) {
        *tasks.entry(prompt).or_default() += number;
    }
    let twice = tasks.values().filter(|number| **number > 1).count();
    if twice > 0 {
        found.push(format!("{twice} prompts have more than one task"));
    }
    if tasks.len() != seen.jobs.len() {
        found.push(format!("{} prompts have a task, of {} jobs", tasks.len(), seen.jobs.len()));
    }
    found
}

fn in_order(ledgers: &[Ledger]) -> Vec<&TaskEntry> {
    let mut tasks: Vec<&TaskEntry> = ledgers.iter().flat_map(|ledger| &ledger.tasks).collect();
    tasks.sort_by_key(|task| task.created_ms);
    tasks
}

/// From the first creation to the commit of the last copy, against what nobody could beat. The start of the processes is no part
/// of it: it does not follow the time scale.
fn makespan(figures: &mut Figures, setup: &Setup, seen: &Seen) {
    let tasks = in_order(&seen.ledgers);
    let Some(first_ms) = tasks.first().map(|task| task.created_ms) else { return };
    let last_created_ms = tasks.last().map_or(first_ms, |task| task.created_ms);
    let last_ms = seen.jobs.iter().filter_map(|job| job.stored).map(|at| at.as_millisecond()).max();
    let makespan = last_ms.map(|last_ms| setup.service_s((last_ms - first_ms) as f64));
    let scale = i64::from(setup.scale);
    let durations_ms: Vec<i64> =
        tasks.iter().filter_map(|task| Some((task.ended_ms? - task.scheduled_ms?) * scale)).collect();
    let places: Vec<_> = setup.accounts.iter().map(|account| account.places()).collect();
    let ideal = ideal::makespan_ms(&durations_ms, &places) as f64 / 1_000.0;
    figures.add_known("makespan_s", "makespan", Unit::ServiceSeconds, makespan);
    figures.add("ideal_makespan_s", "ideal makespan", Unit::ServiceSeconds, ideal);
    let ratio = makespan.filter(|_| ideal > 0.0).map(|makespan| makespan / ideal);
    figures.add_known("makespan_ratio", "makespan / ideal", Unit::Ratio, ratio);
    let creation = setup.service_s((last_created_ms - first_ms) as f64);
    figures.add("creation_s", "first to last creation", Unit::ServiceSeconds, creation);
    let rate = (creation > 0.0).then(|| (tasks.len() - 1) as f64 / creation);
    figures.add_known("creates_per_s", "creates per s of service time", Unit::Mean, rate);
}

fn slots(figures: &mut Figures, setup: &Setup, seen: &Seen) {
    let accounts: Vec<Vec<Interval>> =
        seen.ledgers.iter().map(|ledger| ledger.tasks.iter().map(Interval::from).collect()).collect();
    let all = accounts.concat();
    let Some(window) = Window::of_waiting_work(&all) else { return };
    let slots: u32 = setup.accounts.iter().map(|account| account.in_flight).sum();
    let label = "slots RUNNING while work waits";
    figures.add("slot_use", label, Unit::Share, slot_use::share(&all, slots, window));
    if accounts.len() > 1 {
        for (account, tasks) in setup.accounts.iter().zip(&accounts) {
            let share = slot_use::share(tasks, account.in_flight, window);
            figures.add(
                format!("slot_use_{}", account.name),
                format!("{label}, {}", account.name),
                Unit::Share,
                share,
            );
        }
    }
}

/// A figure's name, its label, and where the ledger has it.
type Counted = (&'static str, &'static str, fn(&Ledger) -> u64);

fn requests(figures: &mut Figures, ledgers: &[Ledger]) {
    let sum = |of: fn(&Ledger) -> u64| ledgers.iter().map(of).sum::<u64>() as f64;
    let tasks = sum(|ledger| ledger.totals.tasks_created).max(1.0);
    let refused: [Counted; 4] = [
        ("refused_create_rate", "refused: create rate", |ledger| ledger.throttled.create_rate),
        ("refused_pending_full", "refused: queue full", |ledger| ledger.throttled.pending_full),
        ("refused_query_rate", "refused: query rate", |ledger| ledger.throttled.query_rate),
        ("refused_by_script", "refused: by the scenario", |ledger| {
            ledger.faults.iter().map(|fault| fault.struck).sum()
        }),
    ];
    for (name, label, of) in refused {
        figures.add(name, label, Unit::Count, sum(of));
    }
    let per_task: [Counted; 5] = [
        ("requests_per_task", "lists + queries per task", |ledger| {
            ledger.requests.lists + ledger.requests.queries
        }),
        ("lists_per_task", "lists per task", |ledger| ledger.requests.lists),
        ("queries_per_task", "queries per task", |ledger| ledger.requests.queries),
        ("cancels_per_task", "cancels per task", |ledger| ledger.requests.cancels),
        ("creates_per_task", "creates per task", |ledger| ledger.requests.creates),
    ];
    for (name, label, of) in per_task {
        figures.add(name, label, Unit::Mean, sum(of) / tasks);
    }
}

fn lags(figures: &mut Figures, setup: &Setup, seen: &Seen) {
    let ends: HashMap<&str, i64> = seen
        .ledgers
        .iter()
        .flat_map(|ledger| &ledger.tasks)
        .filter_map(|task| Some((task.task_id.as_str(), task.ended_ms?)))
        .collect();
    let times: Vec<[f64; 3]> = seen
        .jobs
        .iter()
        .filter_map(|job| {
            let ended = *ends.get(job.task.as_deref()?)?;
            Some([ended, job.noticed?.as_millisecond(), job.stored?.as_millisecond()].map(|ms| ms as f64))
        })
        .collect();
    // Two clocks of one machine may differ by a fraction of a millisecond.
    let between = |from: usize, to: usize| -> Spread {
        times.iter().map(|times| setup.service_s((times[to] - times[from]).max(0.0))).collect()
    };
    figures.add_spread("lag_noticed", "final -> noticed", "s", Unit::ServiceSeconds, &between(0, 1));
    figures.add_spread("lag_noticed_stored", "noticed -> stored", "s", Unit::ServiceSeconds, &between(1, 2));
    figures.add_spread("lag_stored", "final -> stored", "s", Unit::ServiceSeconds, &between(0, 2));
    let late: Spread = seen.late_ms.iter().map(|ms| setup.service_s((*ms).max(0) as f64)).collect();
    figures.add_spread("late", "due polls late", "s", Unit::ServiceSeconds, &late);
    figures.add("polls", "due polls", Unit::Count, late.len() as f64);
}

fn cost(figures: &mut Figures, seen: &Seen) {
    let jobs = seen.jobs.len().max(1) as f64;
    let cpu: f64 = seen.workers.iter().map(|used| used.cpu.as_secs_f64()).sum();
    let rss = seen.workers.iter().map(|used| used.rss_peak_bytes).max();
    figures.add("worker_cpu_ms_per_job", "CPU of workers per job", Unit::Millis, cpu * 1_000.0 / jobs);
    figures.add_known(
        "worker_rss_peak_bytes",
        "peak RSS of a worker",
        Unit::Bytes,
        rss.map(|bytes| bytes as f64),
    );
    let worked = seen.redis_over.since(&seen.redis_full);
    let waiting = seen.redis_full.since(&seen.redis_empty).data_bytes as f64 / jobs;
    let finished = seen.redis_over.since(&seen.redis_empty).data_bytes as f64 / jobs;
    let redis_ms = worked.cpu.as_secs_f64() * 1_000.0 / jobs;
    figures.add("redis_cpu_ms_per_job", "CPU of Redis per job", Unit::Millis, redis_ms);
    let scripts = worked.scripts() as f64 / jobs;
    figures.add("redis_scripts_per_job", "scripts run by Redis per job", Unit::Mean, scripts);
    let commands = worked.commands as f64 / jobs;
    figures.add(
        "redis_commands_per_job",
        "Redis commands per job, those in scripts too",
        Unit::Mean,
        commands,
    );
    figures.add("redis_bytes_per_waiting_job", "bytes in Redis per waiting job", Unit::Bytes, waiting);
    figures.add("redis_bytes_per_finished_job", "bytes in Redis per finished job", Unit::Bytes, finished);
    figures.redis_commands = worked
        .by_command
        .iter()
        .map(|(name, done)| {
            (name.clone(), (done.calls, u64::try_from(done.time.as_micros()).unwrap_or(u64::MAX)))
        })
        .collect();
    let elapsed = seen.elapsed.as_secs_f64();
    figures.add("elapsed_s", "real time", Unit::Seconds, elapsed);
    figures.add_known("machine_busy", "the whole machine was busy", Unit::Share, seen.busy);
    let processors = super::machine::processors() as f64;
    let own = seen.own_cpu.map(|cpu| cpu.as_secs_f64() / (elapsed * processors).max(0.001));
    figures.add_known("stand_ins_busy", "of it: simulator and store", Unit::Share, own);
}

#[cfg(test)]
mod tests;
