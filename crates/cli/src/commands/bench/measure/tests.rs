use std::time::Duration;

use dashscope_sim::{Model, ModelEntry, Requests, Throttled, Totals, Violations};
use job::Timestamp;
use queue::ServerFigures;

use super::super::run::Ended;
use super::super::setup::AccountSetup;
use super::*;
use crate::commands::stand_ins::Pace;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// A task of 1 s and a job that noticed its end after 50 ms and stored it after another 10 ms, `count` times, one after the other.
fn seen(count: i64) -> Seen {
    let task = |number: i64| TaskEntry {
        task_id: format!("t{number}"),
        request_id: String::new(),
        model: Model::Standard,
        prompt_sha256: format!("p{number}"),
        prompt_cut: false,
        api_key_id: String::new(),
        sync: false,
        state: "SUCCEEDED".to_owned(),
        n: 1,
        images_billed: 1,
        size: String::new(),
        created_ms: number * 1_000,
        scheduled_ms: Some(number * 1_000),
        ended_ms: Some((number + 1) * 1_000),
        queries: 2,
        served_sha256: Vec::new(),
    };
    let job = |number: i64| Ended {
        state: StateName::Succeeded,
        task: Some(format!("t{number}")),
        noticed: Some(at((number + 1) * 1_000 + 50)),
        stored: Some(at((number + 1) * 1_000 + 60)),
    };
    let tasks = count.unsigned_abs();
    let ledger = Ledger {
        seed: 1,
        started_ms: 0,
        now_ms: 0,
        totals: Totals { tasks_created: tasks, images_billed: tasks, ..Totals::default() },
        requests: Requests { creates: tasks, queries: 2 * tasks, lists: tasks, ..Requests::default() },
        throttled: Throttled { query_rate: 3, ..Throttled::default() },
        violations: Violations::default(),
        models: [(Model::Standard, ModelEntry::default())].into(),
        faults: Vec::new(),
        tasks_by_prompt: (0..count).map(|number| (format!("p{number}"), 1)).collect(),
        tasks: (0..count).map(task).collect(),
    };
    Seen {
        ledgers: vec![ledger],
        jobs: (0..count).map(job).collect(),
        images_stored: tasks,
        workers: Vec::new(),
        late_ms: vec![5, 10],
        redis_empty: ServerFigures::default(),
        redis_full: ServerFigures::default(),
        redis_over: ServerFigures::default(),
        elapsed: Duration::from_secs(1),
        busy: None,
        own_cpu: None,
    }
}

fn setup() -> Setup {
    Setup {
        scale: 10,
        seed: 1,
        jobs: 4,
        workers: 1,
        accounts: vec![AccountSetup { in_flight: 1, ..AccountSetup::documented() }],
        store: Pace::default(),
        settings: Vec::new(),
        patience: Duration::from_secs(1),
    }
}

#[test]
fn times_are_told_in_service_time() {
    let figures = figures(&setup(), &seen(4));
    assert_eq!(figures.problems, [""; 0]);
    let get = |name: &str| figures.get(name).unwrap_or_else(|| panic!("{name} is not there"));
    // Four tasks of 10 s of service time, and 60 ms of real time until the last is stored.
    assert!((get("ideal_makespan_s") - 40.0).abs() < 1e-9);
    assert!((get("makespan_s") - 40.6).abs() < 1e-9);
    assert!((get("slot_use") - 1.0).abs() < 1e-9);
    assert!((get("lag_noticed_p50_s") - 0.5).abs() < 1e-9);
    assert!((get("lag_stored_max_s") - 0.6).abs() < 1e-9);
    assert!((get("late_max_s") - 0.1).abs() < 1e-9);
    assert_eq!(
        (get("requests_per_task"), get("creates_per_task"), get("refused_query_rate")),
        (3.0, 1.0, 3.0)
    );
}

#[test]
fn a_job_that_failed_an_image_that_is_missing_and_a_second_task_are_problems() {
    let mut failed = seen(4);
    failed.jobs[2].state = StateName::Failed;
    assert_eq!(figures(&setup(), &failed).problems, ["1 jobs are failed"]);
    let mut missing = seen(4);
    missing.images_stored = 3;
    assert_eq!(figures(&setup(), &missing).problems, ["4 images were billed, 3 are stored"]);
    let mut twice = seen(4);
    twice.ledgers[0].tasks_by_prompt.insert("p1".to_owned(), 2);
    assert_eq!(figures(&setup(), &twice).problems, ["1 prompts have more than one task"]);
    // The same prompt on two accounts is paid for twice as well.
    let mut elsewhere = seen(4);
    let mut other = elsewhere.ledgers[0].clone();
    other.totals.images_billed = 0;
    other.tasks_by_prompt.retain(|prompt, _| prompt == "p3");
    elsewhere.ledgers.push(other);
    assert_eq!(figures(&setup(), &elsewhere).problems, ["1 prompts have more than one task"]);
}

#[test]
fn a_job_without_a_task_is_a_problem() {
    let mut lost = seen(4);
    lost.ledgers[0].tasks_by_prompt.remove("p0");
    assert_eq!(figures(&setup(), &lost).problems, ["3 prompts have a task, of 4 jobs"]);
}
