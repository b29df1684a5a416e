//! A long file into the queue: how long it takes, with how much memory, and what a kill midway leaves behind.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use job::{BatchName, CustomId, JobId, StateName};
use queue::{JobFilter, Queue};
use serde_json::json;
use tests::{Imagemill, RedisServer, eventually};

use crate::resident;

/// The longest that 100,000 lines may take, and the most memory. Source: what the issue asks for, on 2 cores.
const BOUND: (Duration, u64) = (Duration::from_secs(10), 200);

/// How many lines the bound is for.
const BOUND_LINES: usize = 100_000;

pub(crate) async fn run(lines: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lines.jsonl");
    std::fs::write(&path, text(lines))?;
    println!("== {lines} lines, Redis with appendfsync always");
    let path = path.to_str().context("a temporary path is text")?;

    let (_redis, queue, imagemill) = world(folder.path()).await?;
    imagemill.run(&["--version"]).await?; // builds it, where that is needed: not to be measured
    let (took, memory) = enqueue(&imagemill, path).await?;
    println!("enqueued, all checked before    {:.1} s, at most {memory} MiB", took.as_secs_f64());
    check(&queue, lines).await?;
    if lines <= BOUND_LINES {
        ensure!(took <= BOUND.0 && memory <= BOUND.1, "the bound is {:?} and {} MiB", BOUND.0, BOUND.1);
    }
    let (took, _) = enqueue(&imagemill, path).await?;
    println!("the same again, nothing is new  {:.1} s", took.as_secs_f64());
    check(&queue, lines).await?;

    let (_redis, queue, imagemill) = world(folder.path()).await?;
    let mut running = imagemill.start("killed", &["enqueue", path, "--batch", "b"])?;
    eventually("half of the lines to be enqueued", Duration::from_secs(300), async || {
        let queued = queued(&queue).await;
        if queued >= lines as u64 / 2 { Ok(()) } else { Err(queued) }
    })
    .await;
    running.kill();
    let left = queued(&queue).await;
    ensure!(left < lines as u64, "it was not stopped in time");
    let (took, _) = enqueue(&imagemill, path).await?;
    println!("killed at {left} jobs, and repeated  {:.1} s", took.as_secs_f64());
    check(&queue, lines).await?;
    println!("each time exactly {lines} jobs, in the order of the file");
    Ok(())
}

fn text(lines: usize) -> String {
    let mut text = String::new();
    for n in 0..lines {
        let line = json!({
            "custom_id": format!("sku-{n:07}"),
            "prompt": format!("Studio photo of article {n}, on white ground, soft shadows, seen from the side"),
            "model": if n % 3 == 0 { "wan2.7-image-pro" } else { "wan2.7-image" },
            "size": "2K",
            "seed": n % 1_000,
        });
        let _ = writeln!(text, "{line}"); // a String takes everything
    }
    text
}

async fn world(folder: &std::path::Path) -> anyhow::Result<(RedisServer, Queue, Imagemill)> {
    let redis = RedisServer::start().await?;
    let queue = redis.queue(99).await?;
    let environment = [
        ("DASHSCOPE_API_KEY", "sk-test".to_owned()),
        ("DASHSCOPE_HTTP_BASE_URL", "http://127.0.0.1:9/api/v1".to_owned()),
        ("IMAGEMILL_REDIS_URL", redis.url()),
    ];
    let imagemill = Imagemill::new(folder, environment.map(|(name, value)| (name.to_owned(), value)));
    Ok((redis, queue, imagemill))
}

async fn enqueue(imagemill: &Imagemill, path: &str) -> anyhow::Result<(Duration, u64)> {
    let started = Instant::now();
    let mut running = imagemill.start("enqueue", &["enqueue", path, "--batch", "b"])?;
    let memory = resident::watch(running.id());
    let status = tokio::task::block_in_place(|| running.wait(Duration::from_secs(600)))?;
    ensure!(status.success(), "{status}\n{}", running.log());
    Ok((started.elapsed(), memory.await?))
}

async fn queued(queue: &Queue) -> u64 {
    let counts = queue.counts().await.unwrap_or_default();
    counts.get(&StateName::Queued).copied().unwrap_or(0)
}

/// Each line is one job, in the order of the file.
async fn check(queue: &Queue, lines: usize) -> anyhow::Result<()> {
    ensure!(queued(queue).await == lines as u64, "{} jobs for {lines} lines", queued(queue).await);
    let batch: BatchName = "b".parse()?;
    let filter = JobFilter { batch: Some(Some(batch.clone())), states: Vec::new() };
    let (mut cursor, mut next) = (None, 0);
    loop {
        let page = queue.jobs(&filter, cursor.as_ref(), 500).await?;
        for job in &page.items {
            let custom_id = CustomId::parse(&format!("sku-{next:07}"))?;
            let expected = JobId::of_custom_id(queue.keys().namespace(), Some(&batch), &custom_id);
            ensure!(job.id == expected, "job {next} of the batch is not that of line {next}");
            next += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    ensure!(next == lines, "the batch has {next} members");
    Ok(())
}
