//! Reads the provider's list of an account's tasks of a model, in place of many single questions.
//!
//! One worker at a time does so, whoever comes first when the list may be read again. What it shows only moves due times: a task that
//! is over becomes due, one that goes on need not be asked for a while. That a task is over its own answer says, to the poll stage; and
//! should the list fail, be late or be wrong, tasks come due by themselves. Started by [`crate::run()`].

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::error::ErrorClass;
use dashscope::response::{ListedTask, TaskPage};
use job::{AccountName, Curve, InFlight, Likely, ListSchedule, Look, Model, TaskKind, Timestamp};
use queue::claims::Ended;
use queue::{Heeded, ListTurn, USED_SHARE};
use tracing::{debug, trace};

use crate::accounts::{each_model, one_for_each};
use crate::adapters::query_limits;
use crate::env::Env;
use crate::listings::Listed;
use crate::permit::query_permit;
use crate::ports::{CallFault, JobsFault};
use crate::silence::heed;

/// For how long the turn is nobody else's at the most: should its worker vanish, the next one goes on after so long.
///
/// Source: ours; a few calls with their permits take less, a longer look renews it, and a second reader does no harm.
const HOLD: Duration = Duration::from_secs(10);

/// The waits after a look that failed. Source: ours; single questions go on meanwhile.
const FAILED: Curve = Curve { first: Duration::from_secs(2), factor: 2.0, cap: Duration::from_secs(60) };

/// The shortest wait between two tries to get the turn.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// How many tasks a page has, as long as none was read. Source: the most that the API page allows to ask for.
const ROWS: u64 = 100;

/// The most pages that a look is reckoned with.
const PAGES_MAX: u32 = 1_000;

/// Where fewer of a page's tasks than one in so many are waited for, or fewer are still to be shown, what follows is not worth a
/// request: the few stragglers in it are asked by themselves.
const WORTH_A_PAGE: u64 = 10;

/// A look that came to nothing.
#[derive(Debug, thiserror::Error)]
enum NoLook {
    #[error("the queue could not be asked")]
    Jobs(#[from] JobsFault),
    #[error("the list was not given: {0}")]
    Provider(String),
}

/// Reads the lists of every account until the worker stops.
pub(crate) async fn run(env: &Arc<Env>) {
    if env.config.rules.list.from == 0 {
        return;
    }
    let reader = |(account, model): &(AccountName, Model)| {
        let (env, account, model) = (env.clone(), account.clone(), *model);
        async move { read(&env, &account, model).await }
    };
    one_for_each(&env.accounts, &env.stop, |known| each_model(known.all()), reader).await;
}

async fn read(env: &Env, account: &AccountName, model: Model) -> Ended {
    let mut failures = 0;
    let mut memory = Memory::default();
    loop {
        let known = env.accounts.now();
        let config = known.any(account).filter(|config| config.limits.contains_key(&model));
        let Some(limits) = config.and_then(|config| query_limits(config.limits.values())) else {
            return Ended::Unwanted;
        };
        let queries = limits.queries_per_second;
        // Somebody else's answer is not awaited by a worker that is told to stop: reading changes nothing.
        let looked = tokio::select! {
            biased;
            () = env.stop.cancelled() => {
                // The next worker need not wait for a turn that nobody has; should it be another's, one look more does no harm.
                let _ = env.jobs.end_list_turn(account, model, Duration::ZERO).await;
                return Ended::Stopped;
            }
            looked = turn(env, account, model, queries, &mut memory) => looked,
        };
        let wait = match looked {
            Ok(wait) => {
                failures = 0;
                wait
            }
            Err(why) => {
                let wait = FAILED.wait_with_jitter(failures, env.chance.draw());
                failures += 1;
                debug!(
                    account = %account, error = &why as &dyn std::error::Error,
                    "The list of account {account} is not read for {wait:?}; its tasks are asked one by one"
                );
                let _ = env.jobs.end_list_turn(account, model, wait).await;
                wait
            }
        };
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return Ended::Stopped,
            () = tokio::time::sleep(wait.max(PAUSE_MIN)) => {}
        }
    }
}

/// What this worker remembers of a list.
struct Memory {
    /// How many tasks a page has.
    rows: u64,
    /// How many pages of young tasks it has read, one after the other, since it is known how long tasks run. Until it has read all of
    /// them, young tasks may be due long before they can be over.
    walked: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Self { rows: ROWS, walked: 0 }
    }
}

/// One look, if it is this worker's turn; the time until the next try. `queries` are the account's, a second.
async fn turn(
    env: &Env,
    account: &AccountName,
    model: Model,
    queries: f64,
    memory: &mut Memory,
) -> Result<Duration, NoLook> {
    let schedule = env.config.rules.list;
    let likely = env.durations.likely(TaskKind { model, shape: None });
    let turn = env.jobs.take_list_turn(account, model, HOLD, ListSchedule::young_for(likely)).await?;
    if !turn.taken {
        return Ok(turn.over_in.min(schedule.every));
    }
    let wait = if turn.in_flight < u64::from(schedule.from) {
        schedule.every * 2
    } else {
        let query_every = Duration::from_secs_f64(1.0 / (queries * USED_SHARE).max(0.001));
        look(env, account, model, Plan { turn, likely, query_every }, memory).await?
    };
    env.jobs.end_list_turn(account, model, wait).await?;
    Ok(wait)
}

/// What a look is planned by.
struct Plan {
    turn: ListTurn,
    likely: Option<Likely>,
    query_every: Duration,
}

impl Plan {
    /// A look that has read so many pages when so many tasks are still to be shown, `rows` on a page.
    fn look(&self, read: u64, tasks: u64, rows: u64) -> Look {
        let pages = u32::try_from(read + tasks.div_ceil(rows)).unwrap_or(u32::MAX).clamp(1, PAGES_MAX);
        Look { pages, query_every: self.query_every, in_flight: self.turn.in_flight }
    }
}

/// Reads as many pages as have tasks that are waited for; the time until the list is worth another look.
///
/// The newest tasks are listed first. Pages of those that are too young to be over are passed over but for one.
async fn look(
    env: &Env,
    account: &AccountName,
    model: Model,
    plan: Plan,
    memory: &mut Memory,
) -> Result<Duration, NoLook> {
    let schedule = env.config.rules.list;
    let in_flight = plan.turn.in_flight;
    let began = env.clock.elapsed();
    let mut held_since = began;
    let passed_over = u32::try_from(plan.turn.young / memory.rows).unwrap_or(u32::MAX);
    let old = in_flight.saturating_sub(u64::from(passed_over) * memory.rows);
    let glances =
        glances(memory.walked, passed_over, plan.look(0, old, memory.rows).pages, env.chance.draw());
    let young_pages = glances.end - glances.start;
    let mut seen =
        Seen { waited_for: u64::from(passed_over) * memory.rows, pages: young_pages, going: Vec::new() };
    let mut expected = plan.look(young_pages.into(), old, memory.rows);
    if passed_over > 0 {
        // The oldest that are passed over.
        seen.going.push(InFlight { running_for: Some(ListSchedule::young_for(plan.likely)) });
    }
    for number in glances.clone() {
        let read = heed_page(env, account, model, number, &plan, expected).await?;
        seen.going.extend(read.going);
        tokio::time::sleep(schedule.step(expected, plan.likely) / expected.pages).await;
    }
    if memory.walked < passed_over {
        memory.walked = glances.end - 1;
    }
    let mut number = passed_over;
    loop {
        number += 1;
        seen.pages += 1;
        let read = heed_page(env, account, model, number, &plan, expected).await?;
        if read.has_more {
            memory.rows = read.rows.max(1);
        }
        seen.going.extend(read.going);
        seen.waited_for += read.waiting;
        let missing = in_flight.saturating_sub(seen.waited_for);
        let worth_more = read.waiting.min(missing) * WORTH_A_PAGE >= read.rows;
        let pages_max = 2 * in_flight / memory.rows + 2;
        if !read.has_more || missing == 0 || !worth_more || u64::from(seen.pages) >= pages_max {
            break;
        }
        expected = plan.look(seen.pages.into(), missing, memory.rows);
        if env.clock.elapsed().saturating_sub(held_since) > HOLD / 4 {
            held_since = env.clock.elapsed();
            env.jobs.end_list_turn(account, model, HOLD).await?;
        }
        // Evenly over the time until the next look: all pages at once would make more tasks due than the queries allow for a second.
        tokio::time::sleep(schedule.step(expected, plan.likely) / expected.pages).await;
    }
    if plan.likely.is_none() {
        memory.walked = 0;
    } else if passed_over <= memory.walked {
        memory.walked = u32::MAX;
    }
    if seen.waited_for == 0 {
        // What holds the places is not listed, or not to be asked about.
        return Ok(schedule.quiet());
    }
    let took = env.clock.elapsed().saturating_sub(began);
    let was = plan.look(seen.pages.into(), 0, memory.rows);
    Ok(schedule.wait(&seen.going, was, plan.likely).saturating_sub(took))
}

/// Which of the pages of young tasks are read: one that chance chooses, and before that, once, all of them, in parts as long as what
/// is read of the others, so that these are not left alone meanwhile.
fn glances(walked: u32, passed_over: u32, part: u32, chance: f64) -> Range<u32> {
    if walked < passed_over {
        return walked + 1..walked.saturating_add(part).min(passed_over) + 1;
    }
    ListSchedule::glance(passed_over, chance).map_or(1..1, |page| page..page + 1)
}

/// What a look has brought so far.
struct Seen {
    /// How many tasks that are waited for were shown, or are on pages that were passed over.
    waited_for: u64,
    /// How many pages were read.
    pages: u32,
    going: Vec<InFlight>,
}

/// A page that was read and heeded.
struct Read {
    /// How many tasks it shows, and whether there are more.
    rows: u64,
    has_more: bool,
    /// How many of them are waited for.
    waiting: u64,
    going: Vec<InFlight>,
}

async fn heed_page(
    env: &Env,
    account: &AccountName,
    model: Model,
    number: u32,
    plan: &Plan,
    look: Look,
) -> Result<Read, NoLook> {
    let page = page(env, account, model, number).await?;
    let rows = (page.tasks.len() + page.unreadable) as u64;
    let reading = Reading { schedule: env.config.rules.list, likely: plan.likely, now: env.jobs.now(), look };
    let (listed, going) = reading.of(&page.tasks);
    let heeded = env.jobs.heed_list(account, &listed).await?;
    if heeded.brought > 0 {
        env.polls_due.ring();
    }
    let Heeded { waiting, brought } = heeded;
    trace!(account = %account, page = number, rows, waiting, over = brought, "A page of the list was read");
    Ok(Read { rows, has_more: page.has_more() && rows > 0, waiting, going })
}

async fn page(env: &Env, account: &AccountName, model: Model, number: u32) -> Result<TaskPage, NoLook> {
    query_permit(env, account).await.map_err(|fault| NoLook::Provider(fault.to_string()))?;
    let answer = env.api.list(account, model, number).await;
    // Who may not list may well ask: that is no reason to hold the account's queries back.
    let denied =
        matches!(&answer, Err(CallFault::Refused(refused)) if refused.class == ErrorClass::AccessDenied);
    if !denied {
        heed(env, account, &answer).await;
    }
    answer.map_err(|fault| NoLook::Provider(fault.to_string()))
}

/// What a page means. Pure.
struct Reading {
    schedule: ListSchedule,
    likely: Option<Likely>,
    now: Timestamp,
    look: Look,
}

impl Reading {
    /// What is to be done about each task, and those that go on.
    fn of(&self, tasks: &[ListedTask]) -> (Vec<Listed>, Vec<InFlight>) {
        let since = |time: Timestamp| Duration::try_from(self.now.duration_since(time)).unwrap_or_default();
        let mut going = Vec::new();
        for task in tasks {
            match task.status {
                TaskStatus::Pending => going.push((task, InFlight { running_for: None })),
                TaskStatus::Running => {
                    let began = task.started_at.or(task.created_at);
                    going.push((task, InFlight { running_for: Some(began.map_or(Duration::MAX, since)) }));
                }
                _ => {}
            }
        }
        let in_flight: Vec<InFlight> = going.iter().map(|(_, task)| *task).collect();
        let wait = self.schedule.wait(&in_flight, self.look, self.likely);
        let is_over = |task: &&ListedTask| task.status.is_final();
        let over =
            tasks.iter().filter(is_over).map(|task| Listed { task: task.task_id.clone(), going_for: None });
        // Without its age nobody could tell when to doubt what is said of a task.
        let going = going.into_iter().filter_map(|(task, in_flight)| {
            let age = since(task.created_at?);
            let going_for = Some(self.schedule.relied_upon(age, in_flight, wait, self.likely));
            Some(Listed { task: task.task_id.clone(), going_for })
        });
        (over.chain(going).collect(), in_flight)
    }
}

#[cfg(test)]
mod tests {
    use job::{Durations, TaskId};

    use super::*;
    use crate::ports::CallFault;
    use crate::testing::{World, start};

    const MODEL: Model = Model::Wan27Image;

    fn row(n: usize, status: TaskStatus, age_s: u64) -> ListedTask {
        ListedTask {
            task_id: format!("t{n}").parse().unwrap(),
            status,
            model_name: None,
            request_id: None,
            created_at: Some(start() - Duration::from_secs(age_s)),
            started_at: None,
            ended_at: None,
            api_key_id: None,
            region: None,
        }
    }

    fn page_of(number: u64, pages: u64, tasks: Vec<ListedTask>) -> TaskPage {
        TaskPage {
            request_id: None,
            page_no: Some(number),
            page_size: Some(tasks.len() as u64),
            total: None,
            total_pages: Some(pages),
            unreadable: 0,
            tasks,
        }
    }

    /// A world whose first account has so many jobs in flight.
    fn world(in_flight: u64) -> World {
        let world = World::new();
        *world.jobs.in_flight.lock().unwrap() = in_flight;
        world
    }

    /// Tasks run for 20 s.
    fn learned() -> Arc<Durations> {
        let shape = "2k".parse().unwrap();
        let mut durations = Durations::default();
        (0..50).for_each(|_| durations.learn(MODEL, shape, Duration::from_secs(20)));
        Arc::new(durations)
    }

    async fn one_turn(world: &World) -> Result<Duration, NoLook> {
        a_turn(world, 0).await
    }

    async fn a_turn(world: &World, walked: u32) -> Result<Duration, NoLook> {
        let account = &world.env.accounts.now().current[0];
        turn(
            &world.env,
            &account.name,
            MODEL,
            account.limits[&MODEL].queries_per_second,
            &mut Memory { rows: 10, walked },
        )
        .await
    }

    #[tokio::test]
    async fn two_tasks_are_not_worth_a_list() {
        let world = world(2);
        assert_eq!(one_turn(&world).await.unwrap(), world.env.config.rules.list.every * 2);
        assert!(world.api.log().is_empty());
    }

    #[tokio::test]
    async fn what_is_over_is_due_and_what_goes_on_is_left_alone_for_a_while() {
        let world = world(3);
        let rows = vec![
            row(1, TaskStatus::Pending, 1),
            row(2, TaskStatus::Running, 9),
            row(3, TaskStatus::Succeeded, 20),
            row(4, TaskStatus::Failed, 30),
            row(5, TaskStatus::Other("NEW".to_owned()), 30),
        ];
        world.api.on_list(Ok(page_of(1, 1, rows)));
        let wait = one_turn(&world).await.unwrap();
        assert_eq!(wait, world.env.config.rules.list.every);
        let listed: Vec<(TaskId, Option<Duration>)> =
            world.jobs.listed().into_iter().map(|listed| (listed.task, listed.going_for)).collect();
        let name = |n: usize| format!("t{n}").parse().unwrap();
        let left_alone = Some(wait * 4);
        assert_eq!(listed, [(name(3), None), (name(4), None), (name(1), left_alone), (name(2), left_alone)]);
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_read_as_long_as_they_show_what_is_waited_for() {
        let world = world(30);
        for number in 1..=5 {
            let first = (number as usize - 1) * 10;
            let rows = (first..first + 10).map(|n| row(n, TaskStatus::Running, 5)).collect();
            world.api.on_list(Ok(page_of(number, 9, rows)));
        }
        one_turn(&world).await.unwrap();
        assert_eq!(world.api.log(), ["list 1", "list 2", "list 3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn pages_of_tasks_that_are_too_young_to_be_over_are_passed_over_but_for_one() {
        let world = world(60);
        *world.jobs.young.lock().unwrap() = 39;
        world.env.durations.set(learned());
        for _ in 0..4 {
            world.api.on_list(Ok(page_of(1, 6, (0..10).map(|n| row(n, TaskStatus::Running, 25)).collect())));
        }
        a_turn(&world, u32::MAX).await.unwrap();
        let log = world.api.log();
        assert_eq!(log[1..], ["list 4", "list 5", "list 6"]);
        assert!(["list 1", "list 2", "list 3"].contains(&log[0].as_str()), "{log:?}");
    }

    #[test]
    fn pages_of_young_tasks_are_walked_once_and_then_one_is_drawn() {
        assert_eq!(glances(0, 17, 6, 0.0), 1..7);
        assert_eq!(glances(6, 17, 6, 0.0), 7..13);
        assert_eq!(glances(12, 17, 6, 0.0), 13..18);
        assert_eq!(glances(17, 17, 6, 0.5), 9..10);
        assert_eq!(glances(u32::MAX, 17, 6, 1.0), 17..18);
        assert!(glances(0, 0, 6, 0.5).is_empty());
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_had_leaves_due_times_as_they_are() {
        let world = world(5);
        world.api.on_list(Err(CallFault::Unanswered { message: "reset".to_owned() }));
        assert!(matches!(one_turn(&world).await, Err(NoLook::Provider(_))));
        assert!(world.jobs.listed().is_empty());
    }
}
