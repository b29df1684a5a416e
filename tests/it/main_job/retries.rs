use std::time::Duration;

use dashscope::Model;
use dashscope_sim::{Act, Fault, On};
use job::{Event, Micros, Rules};
use queue::{AccountLimits, SubmitAsk, SubmitClaim};
use tests::World;

use super::failures::{HASTY, show};

async fn worker(world: &World) {
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap();
}

fn failed(code: &str) -> Act {
    Act::Failed { code: code.into(), message: "scripted".into(), flat: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_jobs_run_again_by_class_once_somebody_agrees_to_the_cost() {
    let world = World::quick().await.unwrap();
    world.write("imagemill.toml", HASTY).unwrap();
    let lines: String = ["bad-0", "bad-1", "weak-0", "good-0"]
        .map(|name| format!("{{\"custom_id\": \"{name}\", \"prompt\": \"{name}\", \"n\": 2}}\n"))
        .concat();
    world.write("four.jsonl", &lines).unwrap();
    for (prompt, code) in [("bad", "DataInspectionFailed"), ("weak", "InternalError")] {
        world.simulator.faults().add(Fault::new(On::Task, failed(code)).prompt_contains(prompt)).unwrap();
    }
    world.imagemill.run(&["enqueue", "four.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    worker(&world).await;
    let shown = show(&world.imagemill, "b").await;
    assert_eq!((&shown["jobs"]["failed"], &shown["state"]), (&3.into(), &"done".into()), "{shown}");
    world.simulator.faults().clear();

    let run = async |arguments: &[&str]| world.imagemill.run(arguments).await.unwrap();
    let counted = run(&["batch", "retry", "b", "--dry-run", "--json"]).await.expect_code(0).json();
    assert_eq!((&counted["matched"]["failed"], &counted["images_max"]), (&3.into(), &6.into()), "{counted}");
    assert_eq!(
        (&counted["cost_max"]["micros"], &counted["retried"]),
        (&180_000.into(), &0.into()),
        "{counted}"
    );
    let counted = run(&["batch", "retry", "b", "--dry-run"]).await.expect_code(0).stdout;
    assert_eq!(counted, "3 jobs (3 failed) would run again: at most 6 images for 0.18 USD.\n");
    let refused = run(&["batch", "retry", "b"]).await.expect_code(2);
    assert!(
        refused.stderr.contains("3 jobs (3 failed) would run again: at most 6 images for 0.18 USD"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    run(&["job", "retry", "--batch", "b", "bad-0"]).await.expect_code(2);
    let unknown = run(&["batch", "retry", "b", "--where", "class=moderatoin"]).await.expect_code(2);
    assert!(unknown.stderr.contains("did you mean `moderation`"), "{}", unknown.stderr);
    run(&["batch", "retry", "nowhere", "--yes"]).await.expect_code(1);

    let which = ["--where", "class=moderation", "--where", "code=DataInspectionFailed"];
    let mut arguments = vec!["batch", "retry", "b", "--yes", "--json"];
    arguments.extend(which);
    let again = run(&arguments).await.expect_code(0).json();
    assert_eq!(again["retried"], 2, "{again}");
    assert_eq!(show(&world.imagemill, "b").await["jobs"]["queued"], 2);
    // The same again finds nothing to do, and what is under way is not retried.
    assert_eq!(run(&arguments).await.expect_code(0).json()["retried"], 0);
    run(&["job", "retry", "--batch", "b", "bad-0", "--yes"]).await.expect_code(1);
    run(&["job", "retry", "--batch", "b", "weak-0", "--yes"]).await.expect_code(0);
    worker(&world).await;
    let shown = show(&world.imagemill, "b").await;
    assert_eq!((&shown["jobs"]["succeeded"], &shown["state"]), (&4.into(), &"done".into()), "{shown}");
    assert_eq!((&shown["images"]["billed"], &shown["images"]["stored"]), (&8.into(), &8.into()), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_images_are_asked_for_as_jobs_of_their_own_and_only_once() {
    let world = World::quick().await.unwrap();
    world.write("imagemill.toml", HASTY).unwrap();
    let lines = [
        r#"{"custom_id": "four", "prompt": "four kites", "n": 4}"#,
        r#"{"custom_id": "set", "prompt": "a set of kites", "n": 4, "enable_sequential": true}"#,
        r#"{"custom_id": "whole", "prompt": "a boat"}"#,
    ];
    world.write("three.jsonl", &lines.map(|line| format!("{line}\n")).concat()).unwrap();
    world
        .simulator
        .faults()
        .add(Fault::new(On::Task, Act::FewerImages).prompt_contains("kites").times(2))
        .unwrap();
    world.imagemill.run(&["enqueue", "three.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    worker(&world).await;
    let billed = show(&world.imagemill, "b").await["images"]["billed"].as_u64().unwrap();

    let run = async |arguments: &[&str]| world.imagemill.run(arguments).await.unwrap();
    run(&["batch", "retry", "b", "--missing"]).await.expect_code(2);
    let asked = run(&["batch", "retry", "b", "--missing", "--yes", "--json"]).await.expect_code(0).json();
    assert_eq!((&asked["retried"], &asked["images_max"]), (&1.into(), &1.into()), "{asked}");
    let again = run(&["batch", "retry", "b", "--missing", "--yes", "--json"]).await.expect_code(0).json();
    assert_eq!((&again["retried"], &again["asked_before"]), (&0.into(), &1.into()), "{again}");
    worker(&world).await;

    let shown = show(&world.imagemill, "b").await;
    assert_eq!((&shown["jobs"]["total"], &shown["jobs"]["succeeded"]), (&4.into(), &4.into()), "{shown}");
    assert_eq!(
        (&shown["state"], &shown["images"]["billed"]),
        (&"done".into(), &(billed + 1).into()),
        "{shown}"
    );
    let new = run(&["job", "show", "--batch", "b", "four~missing", "--json"]).await.expect_code(0).json();
    assert_eq!((&new["images_max"], &new["stored"]), (&1.into(), &1.into()), "{new}");
    let old = run(&["job", "show", "--batch", "b", "four", "--json"]).await.expect_code(0).json();
    assert_eq!((&old["state"], &old["stored"]), (&"succeeded".into(), &3.into()), "{old}");
    let note = old["tries"].as_array().unwrap().last().unwrap();
    assert_eq!(note["what"], "missing_requested", "{old}");
    assert!(note["message"].as_str().unwrap().contains(new["job"].as_str().unwrap()), "{old}");
    // Every object is where its job says, the old ones untouched.
    let store = world.store.store().await.unwrap();
    for key in [&old["images"][0]["key"], &new["images"][0]["key"]] {
        let key = job::ObjectKey::parse(key.as_str().unwrap()).unwrap();
        assert!(store.head(&key).await.unwrap().is_some(), "{key}");
    }
    let whole = run(&["batch", "retry", "b", "--missing", "--json"]).await.expect_code(0).json();
    assert_eq!(whole["retried"], 0, "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_job_is_made_again_or_its_images_are_asked_for_and_never_both() {
    let world = World::quick().await.unwrap();
    let line = |name: &str| format!("{{\"custom_id\": \"{name}\", \"prompt\": \"{name}\", \"n\": 2}}\n");
    world.write("two.jsonl", &["a", "b"].map(line).concat()).unwrap();
    world.imagemill.run(&["enqueue", "two.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    // As a worker leaves them whose links died: both are billed, and nothing is stored.
    let queue = world.redis.queue(99).await.unwrap();
    let ask = SubmitAsk {
        account: "default".parse().unwrap(),
        region: None,
        weight: 1,
        others: Vec::new(),
        model: Model::Wan27ImagePro,
        limits: AccountLimits { create_per_second: 1e6, ..AccountLimits::default() },
        send_within: Duration::from_secs(5),
        lead: Duration::ZERO,
        price: Micros(0),
        budgets: queue::Budgets::default(),
        probe_window: Duration::from_secs(40),
    };
    for model in Model::ALL {
        let ask = SubmitAsk { model, ..ask.clone() };
        while let SubmitClaim::Claimed { job, .. } = queue.claim_submit(&ask, &queue.nonce()).await.unwrap() {
            let attempt = job.state.attempt().unwrap().clone();
            let task = format!("task-{}", job.id).parse().unwrap();
            let deadline = queue.now();
            for event in [
                Event::TaskCreated { attempt, task, request_id: None },
                Event::TaskSucceeded { images: 2, billed: 2, cost: Micros(150_000), deadline },
                Event::LinksDead,
            ] {
                queue.commit_unfenced(job.id, event, &Rules::default()).await.unwrap();
            }
        }
    }
    let before = show(&world.imagemill, "b").await;
    assert_eq!((&before["jobs"]["expired"], &before["images"]["billed"]), (&2.into(), &4.into()), "{before}");

    let run = async |arguments: &[&str]| world.imagemill.run(arguments).await.unwrap();
    run(&["job", "retry", "--batch", "b", "a", "--yes"]).await.expect_code(0);
    // `a` runs again and is expired no more: only the images of `b` are asked for.
    let asked = run(&["batch", "retry", "b", "--missing", "--yes", "--json"]).await.expect_code(0).json();
    assert_eq!((&asked["retried"], &asked["images_max"]), (&1.into(), &2.into()), "{asked}");
    let again = run(&["batch", "retry", "b", "--yes", "--json"]).await.expect_code(0).json();
    assert_eq!((&again["retried"], &again["asked_before"]), (&0.into(), &1.into()), "{again}");
    let refused = run(&["job", "retry", "--batch", "b", "b", "--yes"]).await.expect_code(1);
    assert!(refused.stderr.contains("asked for as a job of their own already"), "{}", refused.stderr);

    worker(&world).await;
    let after = show(&world.imagemill, "b").await;
    assert_eq!((&after["jobs"]["succeeded"], &after["jobs"]["expired"]), (&2.into(), &1.into()), "{after}");
    // What was billed before stays counted.
    assert_eq!((&after["images"]["billed"], &after["images"]["stored"]), (&8.into(), &4.into()), "{after}");
    assert_eq!(after["state"], "done", "{after}");
}
