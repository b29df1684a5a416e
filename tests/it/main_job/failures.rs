use std::time::Duration;

use dashscope_sim::{Act, Config, Durations, Fault, Limits, On};
use serde_json::Value;
use tests::{Imagemill, World, eventually};

/// Breakers and retries with waits that fit a test.
pub(super) const HASTY: &str = r#"
[breaker]
first = "500ms"
cap = "1s"

[retry]
first = "50ms"
cap = "100ms"
"#;

pub(super) fn status(http: u16, code: &str) -> Act {
    Act::Status { http, code: code.into(), message: "scripted".into(), retry_after_s: None }
}

pub(super) async fn show(imagemill: &Imagemill, batch: &str) -> Value {
    imagemill.run(&["batch", "show", batch, "--json"]).await.unwrap().expect_code(0).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_for_a_while_fails_no_job_and_is_probed_one_at_a_time() {
    let limits = Limits::unlimited(64);
    let world = World::with(Config { limits, durations: Durations::fixed_ms(200), ..Config::default() })
        .await
        .unwrap();
    world.write("imagemill.toml", HASTY).unwrap();
    // At this pace the first answer is there before the second create goes out.
    let imagemill = world.imagemill.with("IMAGEMILL_CREATE_PER_SECOND", 2);
    let lines: String =
        (0..8).map(|n| format!("{{\"custom_id\": \"j{n}\", \"prompt\": \"picture {n}\"}}\n")).collect();
    world.write("eight.jsonl", &lines).unwrap();
    imagemill.run(&["enqueue", "eight.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    world.simulator.faults().add(Fault::new(On::Create, status(401, "InvalidApiKey"))).unwrap();
    let mut workers: Vec<_> = ["one", "two", "three"]
        .map(|name| imagemill.start(name, &["worker", "--until-idle"]).unwrap())
        .into_iter()
        .collect();
    let breaker = eventually("the breaker to have probed", Duration::from_secs(60), async || {
        let status = imagemill.run(&["status", "--json"]).await.unwrap().expect_code(0).json();
        let breaker = status["accounts"][0]["breakers"][0].clone();
        let creates = world.simulator.totals().requests.creates;
        if breaker.is_object() && creates >= 3 { Ok(breaker) } else { Err(status) }
    })
    .await;
    assert_eq!(
        (&breaker["call"], &breaker["code"]),
        (&"create".into(), &"InvalidApiKey".into()),
        "{breaker}"
    );
    assert_eq!(breaker["openings"], 1, "{breaker}");
    // One probe after 0.5 s, the next ones each after 1 s, whatever the number of workers and of jobs.
    let (before, started) = (world.simulator.totals().requests.creates, std::time::Instant::now());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let probes = world.simulator.totals().requests.creates - before;
    assert!(probes <= started.elapsed().as_secs() + 1, "{probes} probes in {:?}", started.elapsed());
    let shown = show(&imagemill, "b").await;
    assert_eq!((&shown["jobs"]["queued"], &shown["jobs"]["failed"]), (&8.into(), &0.into()), "{shown}");

    world.simulator.faults().clear();
    for worker in &mut workers {
        worker.wait(Duration::from_secs(120)).unwrap();
    }
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!(checked.images, 8);
    let status = imagemill.run(&["status", "--json"]).await.unwrap().json();
    assert_eq!(status["accounts"][0]["breakers"], serde_json::json!([]), "{status}");
    assert_eq!(status["accounts"][0]["breaker_openings"]["create"], 1, "{status}");
    // Whoever was refused has it in its history, counted.
    let refused = imagemill.run(&["job", "show", "--batch", "b", "j0", "--json"]).await.unwrap().json();
    let what: Vec<&str> =
        refused["tries"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["refused", "created"], "{refused}");
    assert!(refused["tries"][1]["request_id"].is_string(), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_fault_is_tried_again_three_times_and_a_refused_prompt_never() {
    let world = World::quick().await.unwrap();
    world.write("imagemill.toml", HASTY).unwrap();
    let failed = |code: &str| Act::Failed { code: code.into(), message: "scripted".into(), flat: false };
    for fault in [
        Fault::new(On::Task, failed("InternalError")).prompt_contains("weak").times(3),
        Fault::new(On::Task, failed("InternalError.Timeout")).prompt_contains("slow"),
        Fault::new(On::Task, failed("DataInspectionFailed")).prompt_contains("bad"),
    ] {
        world.simulator.faults().add(fault).unwrap();
    }
    let lines: String = ["weak", "slow", "bad"]
        .map(|name| format!("{{\"custom_id\": \"{name}\", \"prompt\": \"{name}\"}}\n"))
        .concat();
    world.write("three.jsonl", &lines).unwrap();
    world.imagemill.run(&["enqueue", "three.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap();
    for (name, state, reason, created) in [
        ("weak", "succeeded", None, 4),
        ("slow", "failed", Some("service_timeout: InternalError.Timeout"), 2),
        ("bad", "failed", Some("moderation: DataInspectionFailed"), 1),
    ] {
        let shown =
            world.imagemill.run(&["job", "show", "--batch", "b", name, "--json"]).await.unwrap().json();
        assert_eq!(shown["state"], state, "{shown}");
        assert_eq!(shown["reason"].as_str(), reason, "{shown}");
        let tries = shown["tries"].as_array().unwrap();
        assert_eq!(tries.iter().filter(|line| line["what"] == "created").count(), created, "{shown}");
    }
    assert_eq!(world.simulator.totals().totals.images_billed, 1, "failed tasks are free");
}
