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
    assert_eq!(repeated["duplicates"], before, "{repeated}");
    assert_eq!(repeated["enqueued"], LINES as u64 - before, "{repeated}");
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
