//! What the queue costs when it is long.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dashscope::{ImageRequest, Model};
use job::{AccountName, BatchName, JobSpec};
use queue::{AccountLimits, CHUNK_MAX, NewJob, Queue, SubmitAsk, SubmitClaim};
use redis::aio::MultiplexedConnection;
use tests::{Fsync, RedisServer};

/// How many claims are measured at each length.
const CLAIMS: usize = 2_000;

pub(crate) async fn run(most: usize) -> anyhow::Result<()> {
    claims(most).await?;
    due_at_once(100_000).await
}

async fn claims(most: usize) -> anyhow::Result<()> {
    let redis = RedisServer::start_with(Fsync::EverySecond, &["--slowlog-log-slower-than", "1000"]).await?;
    let queue = redis.queue(1).await?;
    let mut connection = redis.connection().await?;
    println!("== claims with more and more jobs waiting (20 batches, one account, {CLAIMS} claims each)");
    println!("{:>10}  {:>14}  {:>14}  {:>12}", "waiting", "us per claim", "us per enqueue", "bytes per job");
    let (mut waiting, mut length) = (0, 1_000);
    while length <= most {
        let memory = used_memory(&mut connection).await?;
        let before = script_time(&mut connection).await?;
        let added = length - waiting;
        enqueue(&queue, waiting, added).await?;
        let enqueuing = script_time(&mut connection).await? - before;
        let bytes = (used_memory(&mut connection).await? - memory) / added as i64;
        waiting = length;

        let before = script_time(&mut connection).await?;
        for _ in 0..CLAIMS.min(length / 2) {
            let claimed = claim(&queue).await?;
            ensure!(claimed, "nothing to claim with {waiting} waiting");
        }
        let claiming = script_time(&mut connection).await? - before;
        let done = CLAIMS.min(length / 2);
        waiting -= done;
        println!(
            "{length:>10}  {:>14.1}  {:>14.1}  {bytes:>12}",
            claiming as f64 / done as f64,
            enqueuing as f64 / added as f64
        );
        length *= 10;
    }
    slowest(&mut connection).await
}

async fn due_at_once(count: usize) -> anyhow::Result<()> {
    let redis = RedisServer::start_with(Fsync::EverySecond, &["--slowlog-log-slower-than", "1000"]).await?;
    let queue = redis.queue(2).await?;
    let mut connection = redis.connection().await?;
    println!("== {count} jobs that become due in the same second");
    let due = queue.now() + Duration::from_secs(20);
    let started = Instant::now();
    let batch = BatchName::parse("due")?;
    for chunk in 0..count / CHUNK_MAX {
        let jobs: Vec<NewJob> = (0..CHUNK_MAX)
            .map(|n| {
                let mut spec = spec(&batch, chunk * CHUNK_MAX + n)?;
                spec.not_before = Some(due);
                Ok(queue.new_job(spec))
            })
            .collect::<anyhow::Result<_>>()?;
        queue.enqueue(Some(&batch), &jobs).await?;
    }
    println!("enqueued in              {:.1} s", started.elapsed().as_secs_f64());
    while queue.now() < due {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let started = Instant::now();
    let (mut moved, mut longest) = (0, Duration::ZERO);
    while moved < count as u64 {
        let one = Instant::now();
        moved += queue.promote(500).await?.moved;
        longest = longest.max(one.elapsed());
    }
    println!(
        "promoted in              {:.1} s, the longest call took {:.1} ms",
        started.elapsed().as_secs_f64(),
        longest.as_secs_f64() * 1e3
    );
    let started = Instant::now();
    for _ in 0..count {
        ensure!(claim(&queue).await?, "nothing to claim");
    }
    println!("claimed in               {:.1} s, one by one", started.elapsed().as_secs_f64());
    slowest(&mut connection).await
}

fn spec(batch: &BatchName, number: usize) -> anyhow::Result<JobSpec> {
    let prompt = format!(
        "Item {number} of the catalogue on white ground, soft light from the left, no shadow, photographic"
    );
    Ok(JobSpec {
        batch: Some(batch.clone()),
        custom_id: Some(format!("sku-{number:07}").parse()?),
        ..JobSpec::new(ImageRequest::new(Model::Wan27Image, prompt))
    })
}

async fn enqueue(queue: &Queue, from: usize, count: usize) -> anyhow::Result<()> {
    const BATCHES: usize = 20;
    for at in 0..BATCHES {
        let batch = BatchName::parse(&format!("batch-{at}"))?;
        let numbers: Vec<usize> = (from..from + count).filter(|number| number % BATCHES == at).collect();
        for chunk in numbers.chunks(CHUNK_MAX) {
            // Numbers are reused after claims, so that the custom id carries the total as well.
            let jobs: Vec<NewJob> = chunk
                .iter()
                .map(|number| {
                    let mut spec = spec(&batch, *number)?;
                    spec.custom_id = Some(format!("sku-{number:07}-{count}").parse()?);
                    Ok(queue.new_job(spec))
                })
                .collect::<anyhow::Result<_>>()?;
            queue.enqueue(Some(&batch), &jobs).await?;
        }
    }
    Ok(())
}

async fn claim(queue: &Queue) -> anyhow::Result<bool> {
    let limits = AccountLimits {
        create_per_second: 1e6,
        queries_per_second: 1e6,
        in_flight: 10_000_000,
        queue_ahead: 0,
        images_per_day: None,
        cost_per_day: None,
    };
    let ask = SubmitAsk {
        account: AccountName::parse("main")?,
        region: None,
        weight: 1,
        others: Vec::new(),
        model: Model::Wan27Image,
        limits,
        send_within: Duration::from_secs(5),
        lead: Duration::ZERO,
        price: job::Micros(0),
        budgets: queue::Budgets::default(),
        probe_window: Duration::from_secs(40),
    };
    for _ in 0..1_000 {
        match queue.claim_submit(&ask, &queue.nonce()).await? {
            SubmitClaim::Claimed { .. } => return Ok(true),
            SubmitClaim::Wait { why: queue::WhyWait::Permit, .. } => {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
            SubmitClaim::Wait { .. } => return Ok(false),
        }
    }
    Ok(false)
}

/// Microseconds that Redis has spent in scripts so far.
async fn script_time(connection: &mut MultiplexedConnection) -> anyhow::Result<i64> {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await?;
    let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
    let usec = line.and_then(|line| line.split("usec=").nth(1)).and_then(|rest| rest.split(',').next());
    Ok(usec.map_or(0, |usec| usec.parse().unwrap_or(0)))
}

async fn used_memory(connection: &mut MultiplexedConnection) -> anyhow::Result<i64> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(connection).await?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .context("Redis says how much it uses")?;
    Ok(line.trim().parse()?)
}

async fn slowest(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    type Entry = (i64, i64, i64, Vec<String>, String, String);
    let entries: Vec<Entry> = redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(connection).await?;
    let slow = entries
        .iter()
        .filter(|entry| entry.3.first().is_some_and(|name| name.starts_with("EVALSHA")))
        .map(|entry| entry.2);
    println!(
        "slowest script           {:.1} ms (of {} over 1 ms)",
        slow.clone().max().unwrap_or(0) as f64 / 1e3,
        slow.count()
    );
    println!();
    Ok(())
}
