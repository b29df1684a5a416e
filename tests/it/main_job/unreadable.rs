//! Items of a catalogue whose manifest can never be read: the others go on, and nothing is paid for them.

use archive::Sha256Digest;
use job::ObjectKey;
use serde_json::Value;
use tests::{World, put_over};

use super::refresh::{catalogue, history, run_now, schedule, tasks, work};

const ALWAYS: &str = "refresh = \"always\"";

fn manifest(item: usize) -> ObjectKey {
    ObjectKey::parse(&format!("shoes/sku-{item}/manifest.json")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_manifest_that_can_never_be_read_holds_no_other_item_up_and_is_not_paid_for() {
    let world = World::quick().await.unwrap();
    schedule(&world, super::refresh::NEVER, "");
    world.write("shoes.jsonl", &catalogue(3, |_| "a shoe")).unwrap();
    assert_eq!(run_now(&world).await, (3, 0, 0));
    work(&world).await;
    let store = world.store.store().await.unwrap();
    put_over(&store, &manifest(0), "<html>not found</html>").await;
    put_over(&store, &manifest(1), vec![b' '; 5 << 20]).await;
    world.write("shoes.jsonl", &catalogue(3, |_| "a red shoe")).unwrap();

    assert_eq!(run_now(&world).await, (1, 0, 0));
    work(&world).await;
    assert_eq!(run_now(&world).await, (0, 1, 0));
    // Nor does `always` pay for what could not be put in its place.
    schedule(&world, super::refresh::NEVER, ALWAYS);
    assert_eq!(run_now(&world).await, (1, 0, 0));
    work(&world).await;
    assert_eq!(tasks(&world), 5);
    for run in &history(&world).await[..3] {
        assert_eq!(run["unreadable"], 2, "{run}");
        let named = run["unreadable_manifests"].to_string();
        assert!(named.contains("`shoes/sku-0/manifest.json`: it is no JSON object"), "{run}");
        assert!(named.contains("`shoes/sku-1/manifest.json`: the object has 5242880 bytes or more"), "{run}");
    }
    let told = world.imagemill.run(&["schedule", "history", "shoes"]).await.unwrap().expect_code(0).stdout;
    assert!(
        told.contains("2 items have a manifest that cannot be read") && told.contains("sku-0/manifest.json"),
        "{told}"
    );
    let refresh = ["enqueue", "shoes.jsonl", "--batch", "by-cron", "--refresh", "if_changed", "--dry-run"];
    let cron = world.imagemill.run(&refresh).await.unwrap().expect_code(0);
    assert!(cron.stdout.contains("1 unchanged, 2 with a manifest that cannot be read"), "{}", cron.stdout);
    assert!(cron.stderr.contains("warning: 2 items have a manifest that cannot be read"), "{}", cron.stderr);
    let cron =
        world.imagemill.run(&[&refresh[..], &["--json"]].concat()).await.unwrap().expect_code(0).json();
    assert_eq!((&cron["enqueued"], &cron["unreadable"]), (&0.into(), &2.into()), "{cron}");

    // Where the object is gone, its item is made anew.
    store.delete(&manifest(0)).await.unwrap();
    schedule(&world, super::refresh::NEVER, "");
    assert_eq!(run_now(&world).await, (1, 1, 0));
    work(&world).await;
    let made: Value =
        serde_json::from_slice(&store.get(&manifest(0), 1 << 20).await.unwrap().unwrap()).unwrap();
    assert_eq!(made["custom_id"], "sku-0");
    assert_eq!(tasks(&world), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_items_manifest_is_spoilt_meanwhile_ends_and_its_images_can_be_found() {
    let world = World::quick().await.unwrap();
    schedule(&world, super::refresh::NEVER, "");
    world.write("shoes.jsonl", &catalogue(1, |_| "a shoe")).unwrap();
    run_now(&world).await;
    work(&world).await;
    let store = world.store.store().await.unwrap();
    let shown = ObjectKey::parse("shoes/sku-0/0.png").unwrap();
    let before = store.get(&shown, 1 << 26).await.unwrap();
    world.write("shoes.jsonl", &catalogue(1, |_| "a red shoe")).unwrap();
    assert_eq!(run_now(&world).await, (1, 0, 0));
    let good = store.get(&manifest(0), 1 << 20).await.unwrap().unwrap();
    put_over(&store, &manifest(0), "spoilt").await;
    let worked = world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert!(
        worked.stderr.contains("ERROR") && worked.stderr.contains("`shoes/sku-0/manifest.json`"),
        "{}",
        worked.stderr
    );
    assert_eq!(store.get(&shown, 1 << 26).await.unwrap(), before, "nothing is replaced");
    let batch = history(&world).await[0]["batch"].as_str().unwrap().to_owned();
    let lines = world.imagemill.run(&["batch", "results", &batch]).await.unwrap().expect_code(0).stdout;
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let image = &line["images"][0];
    assert!(image["key"].as_str().unwrap().starts_with("shoes/sku-0/versions/"), "{line}");
    assert!(image["stable_key"].is_null() && line["unpublished"] == true, "{line}");
    let job = line["job_id"].as_str().unwrap();
    let shown = world.imagemill.run(&["job", "show", job]).await.unwrap().expect_code(0).stdout;
    assert!(shown.contains("not shown by the item's stable keys"), "{shown}");
    let key = ObjectKey::parse(image["key"].as_str().unwrap()).unwrap();
    let stored = store.get(&key, 1 << 26).await.unwrap().unwrap();
    assert_eq!(image["sha256"], Sha256Digest::of(&stored).to_string());
    // With the manifest back in its place, the same is not paid for once more.
    put_over(&store, &manifest(0), good).await;
    assert_eq!(run_now(&world).await, (0, 0, 0));
    assert_eq!(history(&world).await[0]["given_up"], 1);
}
