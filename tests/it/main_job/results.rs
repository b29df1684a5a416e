use std::collections::BTreeSet;

use archive::Sha256Digest;
use dashscope_sim::{Act, Fault, On};
use serde_json::Value;
use tests::World;

use super::failures::HASTY;

/// The lines of a JSONL text.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A batch `b` of five jobs with names that no file system may see as they are: one fails, one is canceled.
async fn mixed_batch() -> World {
    let world = World::quick().await.unwrap();
    world.write("imagemill.toml", HASTY).unwrap();
    let jobs = [
        r#"{"custom_id": "../../etc/passwd", "prompt": "a boat", "n": 2, "seed": 7}"#,
        r#"{"custom_id": "bad", "prompt": "bad kite", "priority": 3}"#,
        r#"{"custom_id": "..", "prompt": "a lamp", "size": "1K"}"#,
        r#"{"custom_id": "later", "prompt": "a ship", "not_before": "2200-01-01T00:00:00Z"}"#,
        r#"{"custom_id": "鞋 1042/红", "prompt": "a shoe"}"#,
    ];
    world.write("five.jsonl", &jobs.map(|line| format!("{line}\n")).concat()).unwrap();
    let failed =
        Act::Failed { code: "DataInspectionFailed".into(), message: "held back".into(), flat: false };
    world.simulator.faults().add(Fault::new(On::Task, failed).prompt_contains("bad")).unwrap();
    world.imagemill.run(&["enqueue", "five.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_in_the_order_of_the_input_and_what_failed_can_be_mended_and_enqueued_again() {
    let world = mixed_batch().await;
    let run = async |arguments: &[&str]| world.imagemill.run(arguments).await.unwrap();
    let early = run(&["batch", "results", "b"]).await.expect_code(0);
    assert_eq!(lines(&early.stdout).len(), 5);
    assert_eq!(
        early.stderr,
        "batch b is not over: this is what came of 0 of 5 jobs so far (--wait waits for the rest)\n"
    );
    run(&["job", "cancel", "--batch", "b", "later"]).await.expect_code(0);
    run(&["worker", "--until-idle"]).await;

    let results = run(&["batch", "results", "b", "--wait", "--errors", "errors.jsonl"]).await.expect_code(1);
    assert!(
        results.stderr.contains("2 jobs to mend in errors.jsonl: enqueue them into another batch"),
        "{}",
        results.stderr
    );
    let found = lines(&results.stdout);
    let names: Vec<&str> = found.iter().map(|line| line["custom_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["../../etc/passwd", "bad", "..", "later", "鞋 1042/红"]);
    let boat = &found[0];
    let bucket = world.store.bucket();
    assert_eq!(
        boat["images"][1]["uri"],
        format!("s3://{bucket}/b/%2E%2E%2F%2E%2E%2Fetc%2Fpasswd/1.png"),
        "{boat}"
    );
    let facts = (&boat["state"], &boat["seed"], &boat["n"], &boat["billed"], &boat["cost"]["micros"]);
    assert_eq!(facts, (&"succeeded".into(), &7.into(), &2.into(), &2.into(), &60_000.into()), "{boat}");
    assert!(
        boat["account"].is_string() && boat["task_id"].is_string() && boat["request_id"].is_string(),
        "{boat}"
    );
    assert!(!results.stdout.contains("a boat"), "prompts are printed only when they are asked for");
    let error = &found[1]["error"];
    assert_eq!((&error["class"], &error["code"]), (&"moderation".into(), &"DataInspectionFailed".into()));
    assert!(error["message"].as_str().unwrap().contains("held back") && error["hint"].is_string(), "{error}");
    assert_eq!((&found[3]["error"]["class"], &found[3]["state"]), (&"canceled".into(), &"canceled".into()));
    let store = world.store.store().await.unwrap();
    for image in found.iter().flat_map(|line| line["images"].as_array().unwrap()) {
        let key = image["key"].as_str().unwrap().parse_key();
        let body = store.get(&key, u64::MAX).await.unwrap().unwrap();
        assert_eq!(image["sha256"], Sha256Digest::of(&body).to_string());
        assert_eq!(image["bytes"], body.len());
    }

    let some =
        run(&["batch", "results", "b", "--state", "failed", "--with-request", "--out", "f.jsonl"]).await;
    assert_eq!(some.expect_code(1).stdout, "");
    let some = lines(&std::fs::read_to_string(world.folder().join("f.jsonl")).unwrap());
    assert_eq!(some[0]["request"]["input"]["messages"][0]["content"][0]["text"], "bad kite", "{some:?}");

    let errors = std::fs::read_to_string(world.folder().join("errors.jsonl")).unwrap();
    assert_eq!(lines(&errors)[0]["error"]["state"], "failed", "{errors}");
    world.write("errors.jsonl", &errors.replace("bad kite", "good kite")).unwrap();
    let again = run(&["enqueue", "errors.jsonl", "--batch", "mended", "--json"]).await.expect_code(0).json();
    assert_eq!(again["enqueued"], 2, "{again}");
    run(&["worker", "--until-idle"]).await.expect_code(0);
    let mended = lines(&run(&["batch", "results", "mended"]).await.expect_code(0).stdout);
    let names: Vec<&str> = mended.iter().map(|line| line["custom_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["bad", "later"]);
    assert!(
        mended.iter().all(|line| line["state"] == "succeeded" && line.get("error").is_none()),
        "{mended:?}"
    );

    run(&["batch", "results", "nowhere"]).await.expect_code(1);
    let same = run(&["batch", "results", "b", "--out", "x", "--errors", "x"]).await.expect_code(2);
    run(&["batch", "results", "b", "--out", "x", "--errors", "./x"]).await.expect_code(2);
    assert!(same.stderr.contains("name the same file"), "{}", same.stderr);
    let long = run(&["batch", "results", "b", "--links", "8d"]).await.expect_code(2);
    assert!(long.stderr.contains("at most 7 days"), "{}", long.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_open_images_and_a_download_is_whole_checked_and_repeatable() {
    let world = mixed_batch().await;
    let run = async |arguments: &[&str]| world.imagemill.run(arguments).await.unwrap();
    run(&["job", "cancel", "--batch", "b", "later"]).await.expect_code(0);
    run(&["worker", "--until-idle"]).await;

    let linked = run(&["batch", "results", "b", "--links", "1h"]).await.expect_code(1);
    assert!(!linked.stderr.contains("X-Amz"), "{}", linked.stderr);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let mut sums = BTreeSet::new();
    for image in lines(&linked.stdout).iter().flat_map(|line| line["images"].as_array().unwrap()) {
        let answer = client.get(image["link"].as_str().unwrap()).send().await.unwrap();
        let body = answer.error_for_status().unwrap().bytes().await.unwrap();
        assert_eq!(image["sha256"], Sha256Digest::of(&body).to_string());
        sums.insert(image["sha256"].as_str().unwrap().to_owned());
    }
    assert_eq!(sums.len(), 4);

    let download = async || run(&["batch", "results", "b", "--download", "images", "--json"]).await;
    // The jobs' own end is told as well: one failed.
    let done = download().await.expect_code(1).json();
    assert_eq!(
        (&done["fetched"], &done["there"], &done["failed"]),
        (&4.into(), &0.into(), &0.into()),
        "{done}"
    );
    let images = world.folder().join("images");
    let folders: BTreeSet<String> = std::fs::read_dir(&images)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        folders,
        ["%2E%2E", "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd", "%E9%9E%8B%201042%2F%E7%BA%A2"].map(String::from).into()
    );
    let lamp = images.join("%2E%2E/0.png");
    let whole = std::fs::read(&lamp).unwrap();
    assert!(sums.contains(&Sha256Digest::of(&whole).to_string()));

    // One file is damaged, one is gone: only these are fetched again.
    std::fs::write(&lamp, &whole[..whole.len() - 1]).unwrap();
    std::fs::remove_file(images.join("%2E%2E%2F%2E%2E%2Fetc%2Fpasswd/1.png")).unwrap();
    let done = download().await.json();
    assert_eq!((&done["fetched"], &done["there"]), (&2.into(), &2.into()), "{done}");
    assert_eq!(std::fs::read(&lamp).unwrap(), whole);

    // Another image in its place is no damage, and is told apart.
    let store = world.store.store().await.unwrap();
    tests::put_over(&store, &"b/%2E%2E/0.png".parse_key(), "another image").await;
    std::fs::remove_file(&lamp).unwrap();
    let done = download().await.expect_code(1).json();
    assert_eq!(
        (&done["there"], &done["replaced"], &done["failed"]),
        (&3.into(), &1.into(), &0.into()),
        "{done}"
    );
    assert!(!lamp.exists());

    // What the bucket has lost is said, and everything else is there.
    store.delete(&"b/%2E%2E/0.png".parse_key()).await.unwrap();
    let failed = run(&["batch", "results", "b", "--download", "images"]).await.expect_code(1);
    assert!(
        failed.stderr.contains("error: `b/%2E%2E/0.png`: it is not in the bucket any more"),
        "{}",
        failed.stderr
    );
    assert_eq!(
        failed.stdout,
        "0 images fetched (0 B), 3 there already, 1 failed; run the same command again for these, in images\n"
    );
}

trait ParseKey {
    fn parse_key(&self) -> job::ObjectKey;
}

impl ParseKey for str {
    fn parse_key(&self) -> job::ObjectKey {
        job::ObjectKey::parse(self).unwrap()
    }
}
