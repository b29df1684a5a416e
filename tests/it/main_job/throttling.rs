//! Accounts that refuse: for the number of tasks, for the rate, at random, and with a wait.

use std::time::{Duration, Instant};

use dashscope_sim::{Act, Config, Durations, Fault, Limits, On};
use job::StateName;
use tests::{Fleet, Imagemill, World};

fn with_limits(world: &World, per_second: &str, ahead: &str) -> Imagemill {
    [("CREATE_PER_SECOND", per_second), ("IN_FLIGHT", "5"), ("QUEUE_AHEAD", ahead)]
        .into_iter()
        .fold(world.imagemill.clone(), |imagemill, (name, value)| {
            imagemill.with(&format!("IMAGEMILL_{name}"), value)
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_holds_fewer_tasks_than_the_settings_say_refuses_few_and_stays_full() {
    const JOBS: u64 = 30;
    let limits = Limits { pending_max: 2, queries_per_second: 0, ..Limits::default() };
    let config = Config { limits, durations: Durations::fixed_ms(2_000), ..Config::default() };
    let world = World::with(config).await.unwrap();
    // Ten places by the settings, seven by the account.
    let imagemill = with_limits(&world, "5", "5");
    makespan(&world, &imagemill, "crowded", JOBS).await;
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!(checked.jobs[&StateName::Succeeded], JOBS);
    let throttled = world.simulator.totals().throttled.pending_full;
    // Those that were under way when the first was refused, and hardly any after them.
    assert!((1..=4).contains(&throttled), "{throttled} refused");
    let status = imagemill.run(&["status", "--json"]).await.unwrap().expect_code(0).json();
    let allowed = status["accounts"][0]["models"][1]["slots_allowed"].as_u64().unwrap();
    assert!((5..=7).contains(&allowed), "{status}");
}

/// How long a batch of so many jobs takes.
async fn makespan(world: &World, imagemill: &Imagemill, batch: &str, jobs: u64) -> Duration {
    let lines: String =
        (0..jobs).map(|n| format!("{{\"custom_id\": \"j{n}\", \"prompt\": \"{batch} {n}\"}}\n")).collect();
    world.write("prompts.jsonl", &lines).unwrap();
    imagemill.run(&["enqueue", "prompts.jsonl", "--batch", batch]).await.unwrap().expect_code(0);
    let started = Instant::now();
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_refusals_fails_no_job_and_takes_at_most_three_times_as_long() {
    const JOBS: u64 = 20;
    let limits = Limits { queries_per_second: 0, ..Limits::default() };
    let config = Config { limits, durations: Durations::fixed_ms(2_000), ..Config::default() };
    let world = World::with(config).await.unwrap();
    let imagemill = with_limits(&world, "5", "5");
    // Places are what is short, as with tasks that run for long. After a start of Redis nothing is created for a while: that is no part of the time.
    makespan(&world, &imagemill, "first", 1).await;
    let clean = makespan(&world, &imagemill, "clean", JOBS).await;
    for (batch, retry_after_s) in [("storm", None), ("storm-and-wait", Some(1))] {
        for on in [On::Create, On::Query, On::List] {
            let code = "Throttling.RateQuota".to_owned();
            let act = Act::Status { http: 429, code, message: "slow down".to_owned(), retry_after_s };
            let mut fault = Fault::new(on, act);
            fault.when.rate = Some(0.3);
            world.simulator.faults().add(fault).unwrap();
        }
        let storm = makespan(&world, &imagemill, batch, JOBS).await;
        world.simulator.faults().clear();
        assert!(storm <= 3 * clean, "{storm:?} with {retry_after_s:?}, {clean:?} without refusals");
    }
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!(checked.jobs[&StateName::Succeeded], 3 * JOBS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_the_service_asks_of_one_worker_holds_the_creates_of_all() {
    let config = Config { durations: Durations::fixed_ms(200), ..Config::default() };
    let world = World::with(config).await.unwrap();
    let imagemill = with_limits(&world, "5", "5");
    let lines: String =
        (0..60).map(|n| format!("{{\"custom_id\": \"j{n}\", \"prompt\": \"picture {n}\"}}\n")).collect();
    world.write("prompts.jsonl", &lines).unwrap();
    imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let mut fleet = Fleet::new(&world, &imagemill);
    for _ in 0..4 {
        fleet.start().unwrap();
    }
    fleet.all_begun(Duration::from_secs(30)).await.unwrap();
    let code = "Throttling.RateQuota".to_owned();
    let act = Act::Status { http: 429, code, message: "slow down".to_owned(), retry_after_s: Some(4) };
    world.simulator.faults().add(Fault::new(On::Create, act).times(1)).unwrap();
    let creates = || world.simulator.totals().requests.creates;
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.simulator.ledger().faults[0].struck == 0 {
        assert!(Instant::now() < deadline, "no create was refused");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What was claimed by then may still go out.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let before = creates();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(creates(), before, "no worker creates while one was asked to wait");
    fleet.finish(Duration::from_secs(60)).await.unwrap();
    world.check_all_succeeded().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_network_does_not_hold_the_others_back() {
    const JOBS: u64 = 30;
    let config = Config { durations: Durations::fixed_ms(200), ..Config::default() };
    let world = World::with(config).await.unwrap();
    let imagemill = with_limits(&world, "5", "20");
    makespan(&world, &imagemill, "first", 1).await;
    let clean = makespan(&world, &imagemill, "clean", JOBS).await;
    // Nobody listens there.
    let deaf = imagemill.with("DASHSCOPE_HTTP_BASE_URL", "http://127.0.0.1:9/api/v1");
    let mut deaf = deaf.start("deaf", &["worker"]).unwrap();
    let with_it = makespan(&world, &imagemill, "with-it", JOBS).await;
    let status = imagemill.run(&["status", "--json"]).await.unwrap().expect_code(0).json();
    deaf.kill();
    let log = deaf.log();
    assert!(log.contains("This worker lets its create calls"), "it had its turns: {log}");
    assert_eq!(status["accounts"][0]["pauses"], serde_json::json!([]), "{status}");
    // It spends a permit at each try, and its tries become rare.
    assert!(with_it <= clean * 3 / 2 + Duration::from_secs(2), "{with_it:?}, {clean:?} without it");
    world.check_all_succeeded().await.unwrap();
}
