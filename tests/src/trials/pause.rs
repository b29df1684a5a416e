//! Workers whose process stands still between two steps, longer than their leases live, while others go on.
//!
//! One world, one worker for each place and each pause: it stops itself there, is woken after the pause, and goes on as if no time
//! had passed. By then another worker has its job.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context;
use dashscope_sim::{Act, Config, Durations, Fault, Latency, Limits, On};
use jiff::Timestamp;
use job::{JobId, StateName};
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use worker::Place;

use super::feed::Feed;
use super::{keep_if_bad, nobody_paid_twice, nothing_amiss};
use crate::workload::{self, Sizes};
use crate::{Fleet, Haste, Imagemill, Report, WorkerLog, World, resolve_all, tool, wall_now};

/// How long, how many, and on what clocks.
#[derive(Debug, Clone)]
pub struct PausePlan {
    /// Chooses the jobs.
    pub seed: u64,
    /// How long workers stand still: one worker for each place and each of these.
    pub pauses: Vec<Duration>,
    /// Where.
    pub places: Vec<Place>,
    /// The times of the workers.
    pub haste: Haste,
    /// How far ahead the wall clock of every second worker is; zero: all are right.
    pub clock_ahead: Duration,
    /// Jobs, enqueued over the time in which workers get to their places.
    pub jobs: usize,
    /// How long they may take to get there.
    pub reach_within: Duration,
}

impl PausePlan {
    /// Every place.
    pub fn new(pauses: Vec<Duration>, haste: Haste) -> Self {
        Self {
            seed: 1,
            pauses,
            // Its jobs refresh nothing.
            places: Place::ALL.into_iter().filter(|place| *place != Place::ImageReplaced).collect(),
            haste,
            clock_ahead: Duration::ZERO,
            jobs: 600,
            reach_within: Duration::from_secs(60),
        }
    }
}

/// A worker that stands still somewhere.
struct Sleeper {
    name: String,
    place: Place,
    pause: Duration,
    stopped: Option<Instant>,
    /// The same by the wall clock.
    stopped_at: Option<Timestamp>,
    /// When it went on, or was no longer waited for.
    woken: Option<Instant>,
    /// Whether it was told to stop for good.
    told: bool,
}

impl Sleeper {
    /// Whether it stood still then.
    fn slept_at(&self, time: Timestamp) -> bool {
        self.stopped_at.is_some_and(|from| (from..=from + self.pause).contains(&time))
    }
}

/// Whether a step that was overtaken at this place has a write left, which must be refused.
///
/// Not at [`Place::Answered`]: the id of a paid task is taken whoever brings it.
fn writes_later(place: Place) -> bool {
    !matches!(
        place,
        Place::Answered | Place::TaskSaved | Place::PollSaved | Place::RoundSaved | Place::SettleSaved
    )
}

/// Runs it.
pub async fn pause(plan: &PausePlan) -> anyhow::Result<Report> {
    let rare = |act| {
        let mut fault = Fault::new(On::Create, act);
        fault.when.rate = Some(0.03);
        fault
    };
    let config = Config {
        seed: plan.seed,
        limits: Limits { list_lag_ms: 200, ..Limits::unlimited(64) },
        durations: Durations::fixed_ms(700),
        create_latency: Latency::Fixed { ms: 30 },
        // Something to settle, with a task and without.
        faults: vec![rare(Act::AcceptThenCut), rare(Act::RefuseCut)],
        ..Config::default()
    };
    let mut world = World::with(config).await?;
    world.write("haste.toml", &plan.haste.toml())?;
    let imagemill = world.imagemill.with("IMAGEMILL_CONFIG", "haste.toml");
    imagemill.run(&["--version"]).await?;
    let mut fleet = Fleet::new(&world, &imagemill);
    let outcome = run(plan, &world, &mut fleet, &imagemill).await;
    keep_if_bad(&mut world, &outcome);
    outcome
}

async fn run(
    plan: &PausePlan,
    world: &World,
    fleet: &mut Fleet,
    imagemill: &Imagemill,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let lines = workload::mixed(plan.seed, plan.jobs, Sizes::Small);
    let feed = Feed::write(world, "batch", &lines, 40)?;
    let right = fleet.imagemill().clone();
    let ahead = clock_ahead(&right, plan.clock_ahead)?;
    let clock = |at: usize| if at.is_multiple_of(2) { &right } else { &ahead };
    // These two go on all the time.
    let mut fast = BTreeSet::new();
    for at in 0..2 {
        let name = fleet.start_as(clock(at), &["worker"])?.name.clone();
        fast.extend((at % 2 == 1).then_some(name));
    }
    let mut sleepers = Vec::new();
    for (at, (place, pause)) in
        plan.pauses.iter().flat_map(|pause| plan.places.iter().map(move |place| (*place, *pause))).enumerate()
    {
        let mut one = clock(at).with("IMAGEMILL_STOP_AT", place);
        // Few steps at once, so that few jobs are held up by each; the first at hand where a vanished worker is found.
        for stage in ["SUBMIT", "POLL", "ARCHIVE"] {
            one = one.with(&format!("IMAGEMILL_WORKER_{stage}_CONCURRENCY"), 2);
        }
        if place == Place::Rescued {
            one = one.with("IMAGEMILL_WORKER_RESCUE_EVERY", "60ms");
        }
        let name = fleet.start_as(&one, &["worker"])?.name.clone();
        fast.extend((at % 2 == 1).then(|| name.clone()));
        sleepers.push(Sleeper {
            name,
            place,
            pause,
            stopped: None,
            stopped_at: None,
            woken: None,
            told: false,
        });
    }
    let (slept, fed) = tokio::join!(
        sleep_and_wake(plan, fleet, &mut sleepers),
        feed.run(imagemill, plan.reach_within * 3 / 4)
    );
    slept?;
    fed?;
    // Late writes are made at once after waking; then everybody goes, and a last worker does the rest.
    tokio::time::sleep(plan.haste.lease * 2).await;
    while !fleet.members().is_empty() {
        fleet.retire(0, Duration::from_secs(40)).await?;
    }
    fleet.finish(Duration::from_secs(240)).await?;
    outcomes(world, fleet, &sleepers, &fast, plan.clock_ahead, &mut report).await?;

    nobody_paid_twice(world, &mut report);
    let checked = world.check_all_accounted_for().await?;
    report.say("jobs", format_args!("{:?}", checked.jobs));
    let all: u64 = checked.jobs.values().sum();
    report.bound(all == plan.jobs as u64, format!("{all} jobs of {} are there", plan.jobs));
    let resolved = resolve_all(world, fleet).await?;
    report.say(
        "held jobs resolved",
        format_args!("{} adopted, {} sent again", resolved.adopted, resolved.resubmitted),
    );
    let checked = world.check_all_succeeded().await?;
    report.say("images billed, stored, byte-equal", format_args!("{}, {}", checked.billed, checked.images));
    nothing_amiss(world, fleet, &mut report).await?;
    Ok(report)
}

/// The same binary under a wall clock that is ahead. Other clocks are left alone: a machine whose date is wrong still counts
/// seconds rightly.
fn clock_ahead(imagemill: &Imagemill, ahead: Duration) -> anyhow::Result<Imagemill> {
    if ahead.is_zero() {
        return Ok(imagemill.clone());
    }
    Ok(imagemill
        .with("LD_PRELOAD", tool("libfaketime.so.1")?.display())
        .with("FAKETIME", format!("+{}s", ahead.as_secs()))
        .with("FAKETIME_DONT_FAKE_MONOTONIC", 1)
        .with("DONT_FAKE_MONOTONIC", 1))
}

/// Until each has stood still and gone on again. Who has done that leaves soon after: with fewer workers about, those steps come to
/// the others that only one of them takes at a time.
async fn sleep_and_wake(plan: &PausePlan, fleet: &mut Fleet, sleepers: &mut [Sleeper]) -> anyhow::Result<()> {
    let started = Instant::now();
    let late_writes = plan.haste.lease * 2;
    while sleepers.iter().any(|sleeper| sleeper.woken.is_none()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        for sleeper in sleepers.iter_mut().filter(|sleeper| !sleeper.told) {
            let member = fleet.members().iter_mut().find(|member| member.name == sleeper.name);
            let member = member.context("every sleeper is a member")?;
            match (sleeper.stopped, sleeper.woken) {
                (_, Some(woken)) if woken.elapsed() >= late_writes => {
                    member.running.signal(Signal::TERM);
                    sleeper.told = true;
                }
                (None, None) if member.running.is_stopped() => {
                    sleeper.stopped = Some(Instant::now());
                    sleeper.stopped_at = Some(wall_now());
                }
                // It never came there; what it does from here on is a plain worker's work.
                (None, None) if started.elapsed() > plan.reach_within => sleeper.woken = Some(Instant::now()),
                (Some(stopped), None) if stopped.elapsed() >= sleeper.pause => {
                    member.running.signal(Signal::CONT);
                    sleeper.woken = Some(Instant::now());
                }
                _ => {}
            }
        }
    }
    // One that gets to its place only now must not stand still for ever.
    for member in fleet.members() {
        member.running.signal(Signal::CONT);
    }
    Ok(())
}

/// What became of a write that was made after the pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LateWrite {
    /// The fence refused it.
    Refused,
    /// It counted.
    Made,
    /// There was none: the step was over, or its worker knew by itself that the job was another's.
    None,
}

/// The first write about the job after it stood still at line `at`, before anything new is begun for it.
///
/// Of that step only: the line of the step before, on another thread, may come into the log after it.
fn late_write(log: &WorkerLog, at: usize, job: &str) -> LateWrite {
    let step = log.lines[at].step();
    for line in log.lines[at + 1..].iter().filter(|line| line.job() == Some(job)) {
        if line.is_beginning() || line.is_rescue() {
            break;
        }
        if line.step() != step {
            continue;
        }
        if line.is_fenced() {
            return LateWrite::Refused;
        }
        if line.is_of_a_write() {
            return LateWrite::Made;
        }
    }
    LateWrite::None
}

/// A row for each place and pause: whose job it was, how often that was paid for, and what became of the late write.
async fn outcomes(
    world: &World,
    fleet: &Fleet,
    sleepers: &[Sleeper],
    fast: &BTreeSet<String>,
    clock_ahead: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let logs: BTreeMap<String, WorkerLog> =
        fleet.logs()?.into_iter().map(|log| (log.name.clone(), log)).collect();
    let queue = world.redis.queue(96).await?;
    let ledger = world.simulator.ledger();
    let mut overtaken = 0;
    for sleeper in sleepers {
        let what = format!("{} for {:?}", sleeper.place, sleeper.pause);
        if sleeper.stopped.is_none() {
            report.say(&what, "not reached");
            report.bound(false, format!("no worker came to {}", sleeper.place));
            continue;
        }
        let log = logs.get(&sleeper.name).context("it wrote a log")?;
        let at = log.lines.iter().position(|line| line.message.starts_with("This worker stops itself"));
        let at = at.with_context(|| format!("{} does not say where it stopped", sleeper.name))?;
        // A rescue is no step: the line before tells which job was taken over.
        let job = log.lines[at].job().or_else(|| log.lines[..at].iter().rev().find_map(|line| line.job()));
        let job: JobId = job.context("it had a job in hand")?.parse()?;
        let id = job.to_string();
        let taken = logs.values().filter(|other| other.name != sleeper.name).any(|other| {
            let ahead = if fast.contains(&other.name) { clock_ahead } else { Duration::ZERO };
            let rescues = other.lines.iter().filter(|line| line.is_rescue() && line.job() == Some(&id));
            rescues.into_iter().any(|line| sleeper.slept_at(line.at - ahead))
        });
        overtaken += u32::from(taken);
        let late = late_write(log, at, &id);
        let others = log.lines[at..].iter().filter(|line| line.is_fenced()).count();

        let record = queue.job(job).await?.context("its job is there")?;
        let spec = queue.spec(job).await?.context("its job has a spec")?;
        let prompt = hex::encode(Sha256::digest(spec.request.prompt.expose().as_bytes()));
        let tasks = ledger.tasks_by_prompt.get(&prompt).copied().unwrap_or(0);
        let (how, write) = (
            if taken { "taken over" } else { "not taken over" },
            match late {
                LateWrite::Refused => "refused",
                LateWrite::Made => "made",
                LateWrite::None => "none",
            },
        );
        report.say(
            &what,
            format_args!(
                "{how}, late write: {write} ({others} refused of all its steps), tasks: {tasks}, job: {}",
                record.state_name()
            ),
        );
        report.bound(tasks <= 1, format!("{what}: {tasks} tasks for one job"));
        report.bound(
            matches!(record.state_name(), StateName::Succeeded | StateName::Held),
            format!("{what}: the job is {}", record.state_name()),
        );
        report.bound(
            !(taken && late == LateWrite::Made && writes_later(sleeper.place)),
            format!("{what}: a late write counted"),
        );
    }
    report.say("taken over while they stood still", format_args!("{overtaken} of {}", sleepers.len()));
    // Else the pauses would have been too short to prove anything.
    report.bound(overtaken as usize * 2 >= sleepers.len(), format!("only {overtaken} were taken over"));
    Ok(())
}
