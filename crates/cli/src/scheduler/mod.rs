//! Does what the schedules of the settings ask for, at their ticks. Any number of these may run, in processes of their own or in
//! workers: a tick is claimed in Redis, and done once.
//!
//! Each schedule is followed by itself; time is Redis's, so that schedulers need not agree on it. When a tick is due is decided by
//! [`job::Ticks`], which knows no clock. Driven by `imagemill scheduler`, `worker --with-scheduler`, and for single ticks `schedule run`.

mod source;
pub(crate) mod tick;

use std::time::Duration;

use futures::future::join_all;
use job::{Due, Timestamp};
use queue::{Queue, QueueError, ScheduleState, TickAsk, TickClaim};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::tick::Who;
use crate::app::App;
use crate::settings::{Schedule, Settings};

/// The longest time between two looks at a schedule: another scheduler may be gone, or a person may have let it go on.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The shortest wait before another look, after one that brought nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long a tick that a scheduler left is left alone where its schedule is off. Source: ours; while settings are brought out, another
/// scheduler may have it on, and goes on with it within seconds.
const OFF_FOR: Duration = Duration::from_secs(600);

/// Ticks that one scheduler does at once. Source: ours; each may hold 256 MiB of a list.
const TICKS_AT_ONCE: usize = 2;

/// Follows all schedules until `stop`. A tick that is under way then is left to the next scheduler.
pub(crate) async fn follow(
    app: &App,
    settings: &Settings,
    queue: &Queue,
    name: &str,
    stop: &CancellationToken,
) {
    let room = Semaphore::new(TICKS_AT_ONCE);
    let each = settings.schedules().iter();
    let all = join_all(each.map(|schedule| follow_one(app, settings, queue, schedule, name, &room)));
    tokio::select! {
        () = stop.cancelled() => {}
        _ = async { all.await; std::future::pending::<()>().await } => {}
    }
}

async fn follow_one(
    app: &App,
    settings: &Settings,
    queue: &Queue,
    schedule: &Schedule,
    name: &str,
    room: &Semaphore,
) {
    if is_enabled(schedule) {
        info!(schedule.name = %schedule.name, cron = schedule.ticks.cron.as_str(), zone = schedule.zone(), "Schedule {} is followed", schedule.name);
    }
    let mut away = false;
    loop {
        let wait = match step(app, settings, queue, schedule, name, room).await {
            Ok(wait) => {
                if std::mem::take(&mut away) {
                    info!(schedule.name = %schedule.name, "Redis answers again: schedule {} goes on", schedule.name);
                }
                wait
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    warn!(schedule.name = %schedule.name, error = &error as &dyn std::error::Error, "Schedule {} cannot be looked at: {error}", schedule.name);
                }
                LOOK_EVERY
            }
        };
        tokio::time::sleep(wait.clamp(LOOK_AGAIN, LOOK_EVERY)).await;
    }
}

/// One look at a schedule, and its tick if one is due. Returns how long nothing will be.
async fn step(
    app: &App,
    settings: &Settings,
    queue: &Queue,
    schedule: &Schedule,
    name: &str,
    room: &Semaphore,
) -> Result<Duration, QueueError> {
    let look = || async {
        // One that is off is not followed, and misses nothing.
        let expression = is_enabled(schedule).then(|| schedule.expression());
        let state = queue.schedule(&schedule.name, expression.as_deref()).await?;
        let now = queue.now();
        Ok::<_, QueueError>((what_is_due(schedule, &state, now), state, now))
    };
    let (due, _, now) = look().await?;
    if let Due::Wait(next) = due {
        return Ok(next.map_or(LOOK_EVERY, |next| until(next, now)));
    }
    let Ok(_room) = room.acquire().await else { return Ok(LOOK_EVERY) };
    // It may have been done meanwhile, or be too late by now.
    let (Due::Tick(tick), state, _) = look().await? else { return Ok(LOOK_AGAIN) };
    let batch = tick::batch_of(schedule, tick, false).ok();
    // With the same word for a repeated call, so that a claim whose answer was lost is not lost with it.
    let nonce = queue.nonce();
    let ask = TickAsk {
        schedule: &schedule.name,
        tick,
        saw: state.last,
        by: name,
        by_hand: false,
        is_begun: state.begun.is_some(),
        batch: batch.as_ref(),
    };
    let claim = || queue.claim_tick(ask, &nonce);
    let claim = match claim().await {
        Err(error) if error.is_retryable() => claim().await?,
        claim => claim?,
    };
    match claim {
        TickClaim::Claimed(claimed) => {
            let who = Who { by: name, by_hand: false };
            tick::run(app, settings, queue, schedule, &claimed, who, std::future::pending()).await?;
        }
        // Longer than its lease says: its schedulers went away one after the other.
        TickClaim::Waits => return Ok(LOOK_EVERY),
        TickClaim::Paused | TickClaim::Taken | TickClaim::Stale => {}
    }
    Ok(LOOK_AGAIN)
}

fn is_enabled(schedule: &Schedule) -> bool {
    schedule.row.enabled.value
}

/// Which tick is to be claimed now, as far as a look at the schedule tells. Of a schedule that is paused only one that a person began and
/// left, and of one that is off any that was left: it is ended. Pure.
pub(crate) fn what_is_due(schedule: &Schedule, state: &ScheduleState, now: Timestamp) -> Due {
    let Some(begun) = &state.begun else {
        if state.paused.is_some() || !is_enabled(schedule) {
            return Due::Wait(None);
        }
        // What was missed before anybody knew of the schedule was not missed.
        return match state.last.max(state.known_since) {
            Some(last) => schedule.ticks.due(last, now, schedule.missed()),
            None => Due::Wait(schedule.ticks.next(now)),
        };
    };
    if state.paused.is_some() && !begun.by_hand {
        return Due::Wait(None);
    }
    // It comes first: a claim gets it, whichever tick is named.
    let mut free_at = begun.lease_until.max(begun.retry_at);
    if !is_enabled(schedule) && !begun.by_hand {
        free_at = free_at.and_then(|free_at| free_at.checked_add(OFF_FOR).ok());
    }
    match free_at.filter(|free_at| *free_at > now) {
        Some(free_at) => Due::Wait(Some(free_at)),
        None => Due::Tick(begun.tick),
    }
}

fn until(next: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(next.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use queue::{BegunTick, SchedulePause};

    use super::*;
    use crate::settings::Sources;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// What is due of a tick whose lease ended at second 0.
    fn due(more: &str, by_hand: bool, is_paused: bool, second: i64) -> Due {
        let file =
            format!("[[schedules]]\nname = \"shoes\"\ncron = \"0 3 1 1 *\"\nsource = \"s.jsonl\"\n{more}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imagemill.toml");
        std::fs::write(&path, file).unwrap();
        let sources = Sources { file: Some(path), flags: [].into(), environment: [].into() };
        let settings = Settings::load(&sources).unwrap();
        let begun = BegunTick {
            tick: at(-60),
            by: None,
            lease_until: Some(at(0)),
            retry_at: None,
            tries: 0,
            by_hand,
        };
        let pause = SchedulePause { by: String::new(), why: String::new(), since: at(-90) };
        let paused = is_paused.then_some(pause);
        let state = ScheduleState { begun: Some(begun), paused, ..ScheduleState::default() };
        what_is_due(&settings.schedules()[0], &state, at(second))
    }

    #[test]
    fn a_tick_that_was_left_is_done_or_ended_and_of_a_schedule_that_is_off_or_paused_not_at_once() {
        let (off, tick) = ("enabled = false", Due::Tick(at(-60)));
        assert_eq!(due("", false, false, -1), Due::Wait(Some(at(0))));
        assert_eq!(due("", false, false, 0), tick);
        assert_eq!(due(off, false, false, 599), Due::Wait(Some(at(600))));
        assert_eq!(due(off, false, false, 600), tick);
        for more in ["", off] {
            assert_eq!(due(more, false, true, 601), Due::Wait(None));
            assert_eq!((due(more, true, true, 0), due(more, true, false, 0)), (tick, tick));
        }
    }
}
