//! `schedule`, and `scheduler` which follows the schedules.

use job::{ScheduleName, Timestamp};
use queue::{ClaimedTick, Queue, TickAsk, TickClaim};
use tokio_util::sync::CancellationToken;

use super::pause::who;
use super::worker::{refuse_unsafe, stop_on_signals};
use crate::app::{App, queue_failure};
use crate::args::{ScheduleArgs, ScheduleCommand};
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::schedule::{self, ScheduleView};
use crate::scheduler::follow;
use crate::scheduler::tick::{self, Ended, Who};
use crate::settings::{Schedule, Settings};

/// Does what was asked for.
pub(super) async fn run(app: &App, args: ScheduleArgs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    match args.command {
        ScheduleCommand::Ls => list(app, &settings).await,
        ScheduleCommand::Run { name } => run_now(app, &settings, &name).await,
        ScheduleCommand::Pause { name, why } => pause(app, &settings, &name, &why).await,
        ScheduleCommand::Resume { name } => resume(app, &settings, &name).await,
        ScheduleCommand::History { name, limit } => history(app, &settings, &name, limit.into()).await,
    }
}

/// Follows the schedules until it is told to stop.
pub(super) async fn scheduler(app: &App) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let start = |failure: Failure| failure.context("failed to start the scheduler");
    if !settings.schedules().iter().any(|schedule| schedule.row.enabled.value) {
        let (text, hint) = match settings.schedules() {
            [] => ("there are no schedules in the settings", "`imagemill scheduler --help` shows one"),
            _ => ("every schedule in the settings is off", "switch one on with `enabled = true`"),
        };
        return Err(Failure::message(text).exit(exit_code::SETTINGS).hint(hint));
    }
    let queue = app.queue(&settings).await.map_err(start)?;
    refuse_unsafe(&queue, &settings, app.out).await.map_err(start)?;
    app.store(&settings).await.map_err(start)?;
    let stop = stop_on_signals(app.out, "stopping: a tick that is under way is left to the next scheduler")?;
    follow(app, &settings, &queue, &name(app), &stop).await;
    Ok(exit_code::DONE)
}

/// Follows them beside a worker, for as long as that works.
pub(super) async fn beside_worker(app: &App, settings: &Settings, queue: &Queue, stop: &CancellationToken) {
    follow(app, settings, queue, &name(app), stop).await;
    std::future::pending::<()>().await;
}

/// How the history calls this scheduler.
fn name(app: &App) -> String {
    let host = app.sources.environment.get("HOSTNAME").map_or("scheduler", String::as_str);
    format!("{host}:{}", std::process::id())
}

async fn list(app: &App, settings: &Settings) -> Result<u8, Failure> {
    let queue = app.queue(settings).await?;
    let mut views = Vec::new();
    for schedule in settings.schedules() {
        let failed = |error| queue_failure(error, "look at the schedules");
        let state = queue.schedule(&schedule.name, None).await.map_err(failed)?;
        let last = queue.schedule_runs(&schedule.name, 1).await.map_err(failed)?.pop();
        views.push(ScheduleView::new(schedule, state, last, queue.now()));
    }
    if app.out.json {
        app.out.print_json(&views)?
    } else {
        app.out.print(&schedule::list(&views))?
    }
    Ok(exit_code::DONE)
}

async fn run_now(app: &App, settings: &Settings, name: &ScheduleName) -> Result<u8, Failure> {
    let schedule = known(settings, name)?;
    let queue = app.queue(settings).await?;
    let claimed = claim(app, settings, &queue, schedule).await?;
    let by = who(app);
    let by = if by.is_empty() { "somebody" } else { by };
    let stop = stop_on_signals(app.out, "stopping: what is enqueued by now goes on")?;
    let who = Who { by, by_hand: true };
    let ended = tick::run(app, settings, &queue, schedule, &claimed, who, stop.cancelled_owned()).await;
    let Ended { note, lost, again_in, exit_code } =
        ended.map_err(|error| queue_failure(error, "write down what came of the schedule"))?;
    if lost {
        let failure = Failure::message("another scheduler has taken this tick over meanwhile");
        return Err(failure.hint(format!("`imagemill schedule history {name}` shows what came of it")));
    }
    if app.out.json {
        app.out.print_json(&note)?;
    }
    if let Some(error) = note.error {
        let failure = Failure::message(error).context(format!("schedule {name} failed")).details(note.faults);
        let failure = failure.exit(exit_code);
        return Err(match again_in {
            Some(wait) if schedule.row.enabled.value => {
                failure.hint(format!("a scheduler tries it again in {} s", wait.as_secs()))
            }
            _ => failure,
        });
    }
    if !app.out.json {
        app.out.print(&schedule::run(name, &note, &settings.prices().currency))?;
    }
    Ok(exit_code::DONE)
}

/// How often a run by hand looks again when another tick has ended in between.
const LOOKS: u32 = 3;

/// Takes the tick of this second; or one that a scheduler began. One that another run by hand has left is ended before.
async fn claim(
    app: &App,
    settings: &Settings,
    queue: &Queue,
    schedule: &Schedule,
) -> Result<ClaimedTick, Failure> {
    let failed = |error| queue_failure(error, "take the schedule's tick");
    let mut by = String::new();
    let mut looks = 0;
    while looks < LOOKS {
        looks += 1;
        let state = queue.schedule(&schedule.name, None).await.map_err(failed)?;
        let newest = queue.schedule_runs(&schedule.name, 1).await.map_err(failed)?.pop().map(|run| run.tick);
        // Batches are named to the second, and two ticks have two batches; one by hand that failed is not the last.
        let after = [state.last, newest].into_iter().flatten().map(|tick| tick.as_second() + 1);
        let second = after.chain([queue.now().as_second()]).max().unwrap_or_default();
        let tick = Timestamp::from_second(second).unwrap_or(queue.now());
        let batch = tick::batch_of(schedule, tick, true).or_fail("the run's batch has no name")?;
        let ask = TickAsk {
            schedule: &schedule.name,
            tick,
            saw: state.last,
            by: who(app),
            by_hand: true,
            is_begun: false,
            batch: Some(&batch),
        };
        // With the same word for a repeated call, so that a claim whose answer was lost is not lost with it.
        let nonce = queue.nonce();
        let claim = match queue.claim_tick(ask, &nonce).await {
            Err(error) if error.is_retryable() => queue.claim_tick(ask, &nonce).await,
            claim => claim,
        };
        match claim.map_err(failed)? {
            TickClaim::Claimed(left) if left.by_hand && left.tick != tick => {
                let who = Who { by: who(app), by_hand: false };
                let ended = tick::run(app, settings, queue, schedule, &left, who, std::future::pending());
                ended.await.map_err(|error| queue_failure(error, "end the run that was left"))?;
                looks -= 1;
            }
            TickClaim::Claimed(claimed) => return Ok(claimed),
            TickClaim::Stale => {}
            TickClaim::Paused | TickClaim::Taken | TickClaim::Waits => {
                by =
                    state.begun.and_then(|begun| begun.by).map_or_else(String::new, |by| format!(" by {by}"));
                break;
            }
        }
    }
    let failure = Failure::message(format!("schedule {} is being run{by} right now", schedule.name));
    Err(failure.hint(format!("`imagemill schedule history {}` shows what came of it", schedule.name)))
}

async fn pause(app: &App, settings: &Settings, name: &ScheduleName, why: &str) -> Result<u8, Failure> {
    known(settings, name)?;
    let queue = app.queue(settings).await?;
    let changed = queue.pause_schedule(name, who(app), why).await;
    let changed = changed.map_err(|error| queue_failure(error, "pause the schedule"))?;
    let said = if changed {
        "is paused: no tick of it begins; what it has enqueued goes on"
    } else {
        "was paused already"
    };
    say(app, name, true, changed, said)
}

async fn resume(app: &App, settings: &Settings, name: &ScheduleName) -> Result<u8, Failure> {
    let queue = app.queue(settings).await?;
    let changed = queue.resume_schedule(name).await;
    let changed = changed.map_err(|error| queue_failure(error, "resume the schedule"))?;
    say(app, name, false, changed, if changed { "goes on" } else { "was not paused" })
}

fn say(app: &App, name: &ScheduleName, paused: bool, changed: bool, said: &str) -> Result<u8, Failure> {
    if app.out.json {
        let view = serde_json::json!({ "schedule": name.as_str(), "paused": paused, "changed": changed });
        app.out.print_json(&view)?;
    } else {
        app.out.print(&format!("Schedule {name} {said}.\n"))?;
    }
    Ok(exit_code::DONE)
}

async fn history(app: &App, settings: &Settings, name: &ScheduleName, limit: usize) -> Result<u8, Failure> {
    let queue = app.queue(settings).await?;
    let runs = queue.schedule_runs(name, limit).await;
    let runs = runs.map_err(|error| queue_failure(error, "read the schedule's history"))?;
    if runs.is_empty() {
        // One that the settings no longer have may have a history all the same.
        known(settings, name)?;
    }
    if app.out.json {
        app.out.print_json(&runs)?
    } else {
        app.out.print(&schedule::history(&runs))?
    }
    Ok(exit_code::DONE)
}

fn known<'a>(settings: &'a Settings, name: &ScheduleName) -> Result<&'a Schedule, Failure> {
    let names: Vec<&str> = settings.schedules().iter().map(|known| known.name.as_str()).collect();
    settings.schedules().iter().find(|known| known.name == *name).ok_or_else(|| {
        let failure = Failure::message(format!("there is no schedule `{name}`")).exit(exit_code::USAGE);
        failure.hint(match (dashscope::request::nearest_name(name.as_str(), &names), names.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => "the settings have no [[schedules]]".to_owned(),
            (None, names) => format!("the settings have {}", names.join(", ")),
        })
    })
}
