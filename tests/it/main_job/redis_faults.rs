//! What goes wrong with Redis while the built binary works.

use std::time::{Duration, Instant};

use dashscope_sim::{Act, Config, Durations, Fault, Limits, On};
use job::StateName;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tests::{CuttingProxy, World, audit, eventually};

const HASTY: &str = r#"
[redis]
lease = "2s"

[worker]
renew_every = "400ms"
renewal_age_max = "1s"
rescue_every = "200ms"
"#;

/// A world whose tasks take so long, with so many jobs enqueued.
async fn world(jobs: usize, task_ms: u64) -> World {
    let limits = Limits::unlimited(64);
    let config = Config { limits, durations: Durations::fixed_ms(task_ms), ..Config::default() };
    let world = World::with(config).await.unwrap();
    world.write("imagemill.toml", HASTY).unwrap();
    world.write("jobs.jsonl", &lines(jobs)).unwrap();
    world.imagemill.run(&["enqueue", "jobs.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    world
}

fn lines(jobs: usize) -> String {
    (0..jobs).map(|n| format!("{{\"custom_id\": \"j{n}\", \"prompt\": \"picture {n}\"}}\n")).collect()
}

async fn until_created(world: &World, tasks: u64) {
    eventually("tasks to be created", Duration::from_secs(60), async || {
        let totals = world.simulator.totals().totals;
        if totals.tasks_created >= tasks { Ok(()) } else { Err(totals) }
    })
    .await;
}

async fn set(connection: &mut MultiplexedConnection, name: &str, value: &str) {
    let mut command = redis::cmd("CONFIG");
    let _: String = command.arg("SET").arg(name).arg(value).query_async(connection).await.unwrap();
}

async fn used_memory(world: &World) -> u64 {
    world.redis.queue(3).await.unwrap().server_facts().await.unwrap().used_memory_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_takes_nothing_new_and_lets_all_that_is_there_go_on() {
    let world = world(60, 2_500).await;
    let mut connection = world.redis.connection().await.unwrap();
    let mut first = world.imagemill.start("first", &["worker"]).unwrap();
    until_created(&world, 60).await;

    // At 90 % nothing new is taken, and it is said why.
    let nearly = used_memory(&world).await * 10 / 9;
    set(&mut connection, "maxmemory", &nearly.to_string()).await;
    world.write("more.jsonl", "{\"custom_id\": \"late\", \"prompt\": \"late\"}\n").unwrap();
    let refused = world.imagemill.run(&["enqueue", "more.jsonl", "--batch", "b"]).await.unwrap();
    let refused = refused.expect_code(69);
    assert!(refused.stderr.contains("maxmemory"), "{}", refused.stderr);
    world.write("changed.jsonl", "{\"custom_id\": \"j1\", \"prompt\": \"another picture\"}\n").unwrap();
    let replace = ["enqueue", "changed.jsonl", "--batch", "b", "--replace", "--yes"];
    let refused = world.imagemill.run(&replace).await.unwrap().expect_code(69);
    assert!(refused.stderr.contains("maxmemory"), "{}", refused.stderr);

    // Over the limit: whatever is not allowed to write then gets an error.
    set(&mut connection, "maxmemory", &(used_memory(&world).await / 2).to_string()).await;
    let plain: Result<(), _> = redis::cmd("SET").arg("x").arg("y").query_async(&mut connection).await;
    assert_eq!(plain.unwrap_err().code(), Some("OOM"));
    first.kill();
    // Its leases are taken over, polled, copied; and a worker that is told to stop gives everything back.
    let mut second = world.imagemill.start("second", &["worker"]).unwrap();
    eventually("work to go on", Duration::from_secs(60), async || {
        let counts = world.redis.queue(4).await.unwrap().counts().await.unwrap();
        if counts[&StateName::Succeeded] > 0 { Ok(()) } else { Err(counts) }
    })
    .await;
    second.signal(Signal::TERM);
    let told = Instant::now();
    let status = second.wait(Duration::from_secs(10)).unwrap();
    assert!(status.success(), "{status}\n{}", second.log());
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.check_all_succeeded().await.unwrap().tasks, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_many_jobs_asks_once_how_full_redis_is() {
    let world = world(200, 100).await;
    let mut connection = world.redis.connection().await.unwrap();
    let before = infos(&mut connection).await;
    world.write("changed.jsonl", &lines(200).replace("picture", "another picture")).unwrap();
    let replace = ["enqueue", "changed.jsonl", "--batch", "b", "--replace", "--yes", "--json"];
    let replaced = world.imagemill.run(&replace).await.unwrap().expect_code(0).json();
    assert_eq!(replaced["replaced"], 200, "{replaced}");
    let asked = infos(&mut connection).await - before;
    assert!(asked < 40, "INFO was asked for {asked} times");
}

/// How often this Redis was asked about itself.
async fn infos(connection: &mut MultiplexedConnection) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_info:calls=")).unwrap_or("0,");
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_its_scripts_or_is_read_only_for_a_while_costs_nothing() {
    let world = world(300, 300).await;
    let mut connection = world.redis.connection().await.unwrap();
    let slow = world.imagemill.with("IMAGEMILL_CREATE_PER_SECOND", 100);
    let mut worker = slow.start("worker", &["worker", "--until-idle"]).unwrap();
    for tasks in [20, 60] {
        until_created(&world, tasks).await;
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    }
    until_created(&world, 100).await;
    // A replica of nobody: it keeps its data, and takes no write.
    let () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1").query_async(&mut connection).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut connection).await.unwrap();
    let status = worker.wait(Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{status}\n{}", worker.log());
    assert!(!worker.log().contains("vanished"), "{}", worker.log());
    assert_eq!(world.check_all_succeeded().await.unwrap().tasks, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_longer_than_a_lease_no_living_worker_s_job_is_taken_over() {
    let mut world = world(20, 100).await;
    // Each first question about a task takes longer than the outage: the claims are alive all the time.
    let slow = Fault::new(On::Query, Act::Delay { ms: 6_000 });
    world.simulator.faults().add(slow).unwrap();
    let mut workers =
        ["one", "two"].map(|name| world.imagemill.start(name, &["worker", "--until-idle"]).unwrap());
    let queue = world.redis.queue(5).await.unwrap();
    eventually("polls to be under way", Duration::from_secs(60), async || {
        let queries = world.simulator.totals().requests.queries;
        if queries >= 20 { Ok(()) } else { Err(queries) }
    })
    .await;
    // It hangs for one and a half leases, ...
    world.redis.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.redis.signal(Signal::CONT);
    eventually("an answer", Duration::from_secs(10), async || queue.counts().await).await;
    // ... and is gone for as long.
    world.redis.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.redis.restart().await.unwrap();
    world.simulator.faults().clear();
    for worker in &mut workers {
        let status = worker.wait(Duration::from_secs(90)).unwrap();
        assert!(status.success(), "{status}\n{}", worker.log());
        assert!(!worker.log().contains("vanished"), "{}", worker.log());
        assert!(!worker.log().contains("was taken over"), "{}", worker.log());
    }
    assert_eq!(world.check_all_succeeded().await.unwrap().tasks, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_that_is_cut_off_at_any_byte_and_repeated_has_each_job_once() {
    let world = World::quick().await.unwrap();
    world.write("jobs.jsonl", &lines(600)).unwrap();
    let mut cuts = 0;
    for bytes in [1, 300, 2_000, 20_000, 50_000, 100_000, 150_000] {
        let proxy = CuttingProxy::start(world.redis.port(), bytes).await.unwrap();
        let imagemill =
            world.imagemill.with("IMAGEMILL_REDIS_URL", format!("redis://127.0.0.1:{}", proxy.port()));
        let mut enqueue =
            imagemill.start(&format!("enqueue-{bytes}"), &["enqueue", "jobs.jsonl", "--batch", "b"]).unwrap();
        let started = Instant::now();
        while !proxy.has_cut() && enqueue.try_wait().is_none() {
            assert!(started.elapsed() < Duration::from_secs(30), "{}", enqueue.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It would try again for a minute; whoever started it does not wait for that.
        enqueue.kill();
        cuts += usize::from(proxy.has_cut());
    }
    assert!(cuts >= 5, "only {cuts} were cut off");
    world.imagemill.run(&["enqueue", "jobs.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let queue = world.redis.queue(6).await.unwrap();
    assert_eq!(queue.counts().await.unwrap()[&StateName::Queued], 600);
    let faults = audit(&queue, &mut world.redis.connection().await.unwrap()).await.unwrap();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_say_that_redis_is_away_with_a_code_of_its_own() {
    let mut world = World::quick().await.unwrap();
    world.write("jobs.jsonl", &lines(1)).unwrap();
    world.redis.kill();
    for arguments in [
        &["enqueue", "jobs.jsonl", "--batch", "b"][..],
        &["status"],
        &["worker", "--until-idle"],
        &["batch", "show", "b"],
        &["job", "ls"],
    ] {
        let output = world.imagemill.run(arguments).await.unwrap();
        let output = output.expect_code(69);
        assert!(output.stderr.contains("hint: "), "{arguments:?}: {}", output.stderr);
    }
}
