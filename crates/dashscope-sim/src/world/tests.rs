use serde_json::json;

use super::*;
use crate::config::{Durations, Limits, Retention};
use crate::fault::{Act, Fault};

fn order(prompt: &str, parameters: serde_json::Value) -> Order {
    let body = json!({
        "model": "wan2.7-image",
        "input": { "messages": [{ "role": "user", "content": [{ "text": prompt }] }] },
        "parameters": parameters,
    });
    Order::read(body.to_string().as_bytes()).unwrap()
}

fn world(config: Config) -> World {
    World::new(Arc::new(config), 0)
}

fn create(world: &mut World, prompt: &str, now_ms: i64) -> Result<TaskIndex, Refusal> {
    world.create(&order(prompt, json!({ "n": 1 })), (1_024, 1_024), "1", false, now_ms)
}

fn quick() -> Config {
    Config { durations: Durations::fixed_ms(1_000), ..Config::default() }
}

fn states(world: &World) -> Vec<&'static str> {
    world.tasks.iter().map(|task| task.state.name()).collect()
}

#[test]
fn a_task_is_pending_then_running_then_done_and_billed_once() {
    let mut world = world(quick());
    let index = create(&mut world, "a", 0).unwrap();
    let mut seen = Vec::new();
    for now_ms in [0, 44, 45, 1_044, 1_045, 9_000] {
        world.advance(now_ms);
        seen.push((world.task(index).state.name(), world.totals.images_billed));
    }
    assert_eq!(
        seen,
        [("PENDING", 0), ("PENDING", 0), ("RUNNING", 0), ("RUNNING", 0), ("SUCCEEDED", 1), ("SUCCEEDED", 1),]
    );
}

#[test]
fn the_sixth_task_waits_for_a_slot() {
    let mut world = world(quick());
    for task in 0..6 {
        create(&mut world, &task.to_string(), 0).unwrap();
    }
    world.advance(500);
    assert_eq!(states(&world), ["RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "PENDING"]);
    world.advance(1_045);
    assert_eq!(states(&world)[5], "RUNNING");
}

#[test]
fn as_many_tasks_as_allowed_may_be_pending_and_one_more_is_refused() {
    let mut world = world(Config { limits: Limits { pending_max: 3, ..Limits::default() }, ..quick() });
    for task in 0..3 {
        create(&mut world, &task.to_string(), 0).unwrap();
    }
    let refusal = create(&mut world, "x", 0).unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.code.as_str()), (429, "Throttling.Concurrency"));
    assert_eq!(world.throttled.pending_full, 1);
    create(&mut world, "x", 45).unwrap();
}

#[test]
fn only_a_pending_task_can_be_canceled_and_it_costs_nothing() {
    let mut world = world(quick());
    let pending = create(&mut world, "a", 0).unwrap();
    let running = create(&mut world, "b", 0).unwrap();
    world.cancel(pending, 10).unwrap();
    assert_eq!(world.cancel(pending, 20).unwrap_err().code, "UnsupportedOperation");
    assert_eq!(world.cancel(running, 45).unwrap_err().code, "UnsupportedOperation");
    world.advance(9_000);
    assert_eq!(states(&world), ["CANCELED", "SUCCEEDED"]);
    let totals = world.ledger(false).totals;
    assert_eq!((totals.images_billed, totals.canceled, totals.pending, totals.running), (1, 1, 0, 0));
}

#[test]
fn a_task_is_known_until_its_24_hours_are_over() {
    let mut world = world(Config { retention: Retention { task_s: 100, ..Retention::default() }, ..quick() });
    let index = create(&mut world, "a", 0).unwrap();
    let id = world.task(index).id.to_string();
    world.advance(99_999);
    assert_eq!(world.find(&id), Some(index));
    assert_eq!(world.list(&ListQuery::default()).unwrap().total, 1);
    world.advance(100_000);
    assert_eq!(world.find(&id), None);
    assert_eq!(world.list(&ListQuery::default()).unwrap().total, 0);
    assert_eq!(world.ledger(true).tasks.len(), 1, "the ledger forgets nothing");
}

#[test]
fn a_task_of_a_synchronous_call_is_in_the_ledger_and_nowhere_else() {
    let mut world = world(quick());
    let index = world.create(&order("a", json!({})), (1_024, 1_024), "1", true, 0).unwrap();
    assert_eq!(world.find(&world.task(index).id.to_string()), None);
    assert_eq!(world.list(&ListQuery::default()).unwrap().total, 0);
    assert_eq!(world.ledger(true).tasks[0].n, 4);
}

#[test]
fn the_list_lags_behind_by_the_set_time() {
    let mut world = world(Config { limits: Limits { list_lag_ms: 500, ..Limits::default() }, ..quick() });
    create(&mut world, "a", 1_000).unwrap();
    world.advance(1_499);
    assert_eq!(world.list(&ListQuery::default()).unwrap().total, 0);
    world.advance(1_500);
    assert_eq!(world.list(&ListQuery::default()).unwrap().total, 1);
}

#[test]
fn the_list_shows_newest_first_in_pages_up_to_the_cap() {
    let limits = Limits { list_page_max: 4, pending_max: 0, ..Limits::default() };
    let mut world = world(Config { limits, ..quick() });
    for task in 0..10 {
        create(&mut world, &task.to_string(), task).unwrap();
    }
    let page = |world: &World, page_no: &str, page_size: &str| {
        let query = ListQuery {
            page_no: Some(page_no.into()),
            page_size: Some(page_size.into()),
            ..ListQuery::default()
        };
        let page = world.list(&query).unwrap();
        assert_eq!(page.total, 10);
        page.tasks.iter().map(|task| task.created_ms).collect::<Vec<_>>()
    };
    assert_eq!(page(&world, "1", "4"), [9, 8, 7, 6]);
    assert_eq!(page(&world, "3", "4"), [1, 0]);
    assert_eq!(page(&world, "4", "4"), [0i64; 0]);
    assert_eq!(page(&world, "1", "1000").len(), 4);
}

#[test]
fn the_list_can_be_narrowed_by_every_field() {
    let mut world = world(quick());
    let index = create(&mut world, "a", 0).unwrap();
    create(&mut world, "b", 0).unwrap();
    world.cancel(index, 0).unwrap();
    let id = world.task(index).id.to_string();
    let total = |query: ListQuery| world.list(&query).unwrap().total;
    assert_eq!(total(ListQuery { status: Some("CANCELED".into()), ..ListQuery::default() }), 1);
    assert_eq!(total(ListQuery { task_id: Some(id), ..ListQuery::default() }), 1);
    assert_eq!(total(ListQuery { model_name: Some("wan2.7-image".into()), ..ListQuery::default() }), 2);
    assert_eq!(total(ListQuery { model_name: Some("wan2.7-image-pro".into()), ..ListQuery::default() }), 0);
    assert_eq!(total(ListQuery { api_key_id: Some("2".into()), ..ListQuery::default() }), 0);
    assert_eq!(total(ListQuery { region: Some("cn-beijing".into()), ..ListQuery::default() }), 0);
}

#[test]
fn creations_above_the_rate_are_refused_for_each_model_by_itself() {
    let mut world = world(quick());
    let order = order("a", json!({ "n": 1 }));
    let granted = (0..7).filter(|_| world.arrive_create(&order, 0).is_ok()).count();
    assert_eq!(granted, 5);
    assert_eq!(world.throttled.create_rate, 2);
    let pro = Order { model: Model::Pro, ..order };
    assert!(world.arrive_create(&pro, 0).is_ok());
}

#[test]
fn queries_lists_and_cancels_share_twenty_a_second() {
    let mut world = world(quick());
    let kinds = [On::Query, On::List, On::Cancel];
    let granted = (0..24).filter(|call| world.arrive_query(kinds[call % 3], Some("x"), 0).is_ok()).count();
    assert_eq!(granted, 20);
    assert_eq!(world.throttled.query_rate, 4);
    assert!(world.arrive_query(On::Query, Some("x"), 1_000).is_ok());
}

#[test]
fn a_failed_task_costs_nothing() {
    let fault =
        Fault::new(On::Task, Act::Failed { code: "InternalError".into(), message: "x".into(), flat: false });
    let mut world = world(Config { faults: vec![fault.prompt_contains("bad")], ..quick() });
    create(&mut world, "a bad one", 0).unwrap();
    create(&mut world, "a good one", 0).unwrap();
    world.advance(9_000);
    assert_eq!(states(&world), ["FAILED", "SUCCEEDED"]);
    assert_eq!(world.totals.images_billed, 1);
}

#[test]
fn the_same_calls_make_the_same_tasks_in_whatever_order_they_arrive() {
    let run = |prompts: &[&str]| {
        let mut world = world(Config::default());
        let mut tasks: Vec<_> = prompts
            .iter()
            .map(|prompt| {
                let index = create(&mut world, prompt, 0).unwrap();
                world.task(index).id
            })
            .collect();
        tasks.sort_unstable();
        tasks
    };
    assert_eq!(run(&["a", "b", "a", "c"]), run(&["c", "a", "a", "b"]));
    assert_ne!(run(&["a", "b"]), run(&["a", "c"]));
}

#[test]
fn one_prompt_sent_twice_makes_two_tasks_and_the_ledger_says_so() {
    let mut world = world(quick());
    let first = create(&mut world, "a", 0).unwrap();
    let second = create(&mut world, "a", 0).unwrap();
    assert_ne!(world.task(first).id, world.task(second).id);
    let ledger = world.ledger(true);
    assert_eq!((ledger.totals.prompts, ledger.totals.tasks_of_one_prompt_max), (1, 2));
    assert_eq!(ledger.tasks_by_prompt.values().copied().collect::<Vec<_>>(), [2]);
}
