//! Files of many jobs: interrupted, repeated, in order.

use std::fmt::Write as _;
use std::time::Duration;

use job::BatchName;
use queue::{JobFilter, Queue};
use tests::{World, eventually};

/// A file of so many jobs, `sku-1` and so on.
fn file(lines: usize) -> String {
    (1..=lines).fold(String::new(), |mut text, n| {
        writeln!(text, "{{\"custom_id\": \"sku-{n}\", \"prompt\": \"article {n} on white\"}}").unwrap();
        text
    })
}

/// The `custom_id`s of a batch's jobs, in the order of their places.
async fn in_order(queue: &Queue, batch: &BatchName) -> Vec<String> {
    let filter = JobFilter { batch: Some(Some(batch.clone())), ..JobFilter::default() };
    let (mut jobs, mut cursor) = (Vec::new(), None);
    loop {
        let page = queue.jobs(&filter, cursor.as_ref(), 500).await.unwrap();
        jobs.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    jobs.sort_by_key(|job| job.seq);
    let mut names = Vec::with_capacity(jobs.len());
    for job in jobs {
        names.push(queue.spec(job.id).await.unwrap().unwrap().custom_id.unwrap().to_string());
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_that_was_killed_is_completed_by_the_same_command_in_the_order_of_the_file() {
    const LINES: usize = 10_000;
    let world = World::quick().await.unwrap();
    let queue = world.redis.queue(7).await.unwrap();
    let batch: BatchName = "spring".parse().unwrap();
    world.write("jobs.jsonl", &file(LINES)).unwrap();
    let arguments = ["enqueue", "jobs.jsonl", "--batch", "spring", "--json"];

    let mut enqueue = world.imagemill.start("enqueue", &arguments).unwrap();
    let there = async || queue.batch(Some(&batch)).await.unwrap().map_or(0, |batch| batch.total);
    eventually("some of the jobs to be there", Duration::from_secs(60), async || {
        if there().await >= 1_000 { Ok(()) } else { Err(there().await) }
    })
    .await;
    enqueue.kill();
    let before = there().await;
    assert!(before < LINES as u64, "it was over before it could be killed");

    let repeated = world.imagemill.run(&arguments).await.unwrap().expect_code(0).json();
    let figure = |name: &str| repeated[name].as_u64().unwrap();
    // What Redis had read from the killed one's connection it did all the same.
    assert!(figure("duplicates") >= before && figure("enqueued") > 0, "{before} before, then {repeated}");
    assert_eq!(figure("duplicates") + figure("enqueued"), LINES as u64, "{repeated}");
    let wanted: Vec<String> = (1..=LINES).map(|n| format!("sku-{n}")).collect();
    assert_eq!(in_order(&queue, &batch).await, wanted);

    let again = world.imagemill.run(&arguments).await.unwrap().expect_code(0).json();
    assert_eq!((&again["enqueued"], &again["duplicates"]), (&0.into(), &LINES.into()), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_and_a_template_become_prompts_and_the_same_table_adds_nothing() {
    let world = World::quick().await.unwrap();
    let queue = world.redis.queue(7).await.unwrap();
    let batch: BatchName = "shoes".parse().unwrap();
    let table = "custom_id,name,colour,n\nsku-1,\"shoe, left\",red,2\nsku-2,hat,dark blue,\n";
    world.write("shoes.csv", table).unwrap();
    let template = "studio photo of {name}, {colour}";
    let arguments = ["enqueue", "shoes.csv", "--batch", "shoes", "--template", template, "--json"];
    let enqueued = world.imagemill.run(&arguments).await.unwrap().expect_code(0).json();
    assert_eq!((&enqueued["enqueued"], &enqueued["images_max"]), (&2.into(), &3.into()), "{enqueued}");
    assert_eq!(in_order(&queue, &batch).await, ["sku-1", "sku-2"]);
    let id = |name: &str| job::JobId::of_custom_id("imagemill", Some(&batch), &name.parse().unwrap());
    let prompt =
        async |name: &str| queue.spec(id(name)).await.unwrap().unwrap().request.prompt.expose().to_owned();
    assert_eq!(prompt("sku-1").await, "studio photo of shoe, left, red");
    assert_eq!(prompt("sku-2").await, "studio photo of hat, dark blue");

    let piped = ["enqueue", "-", "--format", "csv", "--batch", "shoes", "--template", template, "--json"];
    let again = world.imagemill.run_with_input(&piped, table).await.unwrap().expect_code(0).json();
    assert_eq!((&again["enqueued"], &again["duplicates"]), (&0.into(), &2.into()), "{again}");
}

/// A file of jobs by `custom_id` and prompt.
fn lines(jobs: &[(&str, &str)]) -> String {
    jobs.iter().fold(String::new(), |mut text, (custom_id, prompt)| {
        writeln!(text, "{}", serde_json::json!({"custom_id": custom_id, "prompt": prompt})).unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_line_is_reported_and_replaced_only_when_asked_and_its_new_image_takes_the_old_ones_place()
{
    let world = World::quick().await.unwrap();
    let queue = world.redis.queue(7).await.unwrap();
    let batch: BatchName = "shoes".parse().unwrap();
    world.write("first.jsonl", &lines(&[("a", "a red shoe"), ("b", "a hat")])).unwrap();
    world.imagemill.run(&["enqueue", "first.jsonl", "--batch", "shoes"]).await.unwrap().expect_code(0);
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    world.write("more.jsonl", &lines(&[("c", "a sock")])).unwrap();
    world.imagemill.run(&["enqueue", "more.jsonl", "--batch", "shoes"]).await.unwrap().expect_code(0);

    let changed = lines(&[("a", "a blue shoe"), ("b", "a hat"), ("c", "two socks"), ("d", "a belt")]);
    world.write("changed.jsonl", &changed).unwrap();
    let arguments = ["enqueue", "changed.jsonl", "--batch", "shoes", "--json"];
    let dry =
        world.imagemill.run(&[&arguments[..], &["--dry-run"]].concat()).await.unwrap().expect_code(0).json();
    let there = serde_json::json!({"new": 1, "same": 1, "changed_waiting": 1, "changed_ended": 1, "changed_busy": 0, "removed": 0});
    assert_eq!(dry["there"], there, "{dry}");
    assert_eq!((&dry["images_max"], &dry["forecast"]["shares"][0]["jobs"]), (&1.into(), &1.into()), "{dry}");
    let with_replaced =
        world.imagemill.run(&[&arguments[..], &["--dry-run", "--replace"]].concat()).await.unwrap();
    let with_replaced = with_replaced.expect_code(0).json();
    assert_eq!(
        (&with_replaced["images_max"], &with_replaced["forecast"]["shares"][0]["images_max"]),
        (&3.into(), &3.into()),
        "{with_replaced}"
    );
    let said = world.imagemill.run(&arguments).await.unwrap().expect_code(65);
    assert!(
        said.stderr.contains("2 jobs (lines 1, 3)") && said.stderr.contains("--replace"),
        "{}",
        said.stderr
    );
    assert_eq!(said.json()["changed"], 2);
    let replace = [&arguments[..], &["--replace"]].concat();
    let said = world.imagemill.run(&replace).await.unwrap().expect_code(2);
    assert!(said.stderr.contains("would be replaced: at most 2 images for 0.06 USD"), "{}", said.stderr);
    let dear = [&replace[..], &["--yes", "--max-cost", "0.05"]].concat();
    let said = world.imagemill.run(&dear).await.unwrap().expect_code(65);
    assert!(
        said.stderr.contains("could cost 0.06 USD") && said.stderr.contains("allows 0.05 USD"),
        "{}",
        said.stderr
    );
    assert_eq!(world.simulator.totals().totals.tasks_created, 2, "nothing runs again unasked");

    let yes = [&replace[..], &["--yes", "--max-cost", "0.06"]].concat();
    let replaced = world.imagemill.run(&yes).await.unwrap().expect_code(0).json();
    assert_eq!((&replaced["replaced"], &replaced["duplicates"]), (&2.into(), &2.into()), "{replaced}");
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let ledger = world.simulator.ledger();
    assert_eq!((ledger.totals.tasks_created, ledger.totals.images_billed), (5, 5));
    let id = job::JobId::of_custom_id("imagemill", Some(&batch), &"a".parse().unwrap());
    let outcome = queue.outcome(id).await.unwrap().unwrap();
    let job::ImageState::Stored(stored) = &outcome.images[0].state else { panic!("{outcome:?}") };
    assert_eq!(stored.key.as_str(), "shoes/a/0.png");
    let body = world.store.store().await.unwrap().get(&stored.key, u64::MAX).await.unwrap().unwrap();
    let task = ledger.tasks.iter().find(|task| task.task_id == outcome.task.as_str()).unwrap();
    assert_eq!(Some(archive::Sha256Digest::of(&body).to_string()), task.served_sha256[0].clone());
    let summary = queue.batch(Some(&batch)).await.unwrap().unwrap();
    assert_eq!((summary.total, summary.left, summary.lost, summary.expected), (4, 0, 0, 4), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_all_and_says_so_where_redis_fails_in_the_middle_of_the_look() {
    let world = World::quick().await.unwrap();
    world.write("shoes.jsonl", &lines(&[("a", "a red shoe"), ("b", "a hat")])).unwrap();
    world.imagemill.run(&["enqueue", "shoes.jsonl", "--batch", "shoes"]).await.unwrap().expect_code(0);
    let arguments = ["enqueue", "shoes.jsonl", "--batch", "shoes", "--dry-run"];
    let said = world.imagemill.run(&arguments).await.unwrap().expect_code(0).stdout;
    assert!(said.starts_with("2 jobs, of which 0 would be enqueued: at most 0 images"), "{said}");
    // It can be connected, and fails when it is asked about the jobs.
    let mut connection = world.redis.connection().await.unwrap();
    let () = redis::cmd("SET")
        .arg("{imagemill}:tombstones")
        .arg("no set")
        .query_async(&mut connection)
        .await
        .unwrap();
    let said = world.imagemill.run(&arguments).await.unwrap().expect_code(0);
    assert!(said.stdout.starts_with("2 jobs: at most 2 images for 0.06 USD."), "{}", said.stdout);
    assert!(said.stderr.contains("is not known, and all jobs are counted"), "{}", said.stderr);
}
