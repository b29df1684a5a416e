use std::time::Duration;

use rustix::process::Signal;
use tests::{Fsync, RedisServer, World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_that_no_replica_knows_of() {
    let world = World::quick().await.unwrap();
    let port = world.redis.port().to_string();
    let replica =
        RedisServer::start_with(Fsync::EverySecond, &["--replicaof", "127.0.0.1", &port]).await.unwrap();
    let mut connection = world.redis.connection().await.unwrap();
    eventually("the replica to follow", Duration::from_secs(20), async || {
        let mut connection = connection.clone();
        let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await.unwrap();
        if info.contains("state=online") { Ok(()) } else { Err(info) }
    })
    .await;
    world.write("imagemill.toml", "[redis]\nreplicas = 1\nreplica_wait = \"200ms\"\n").unwrap();
    let lines: String =
        (0..20).map(|n| format!("{{\"custom_id\": \"j{n}\", \"prompt\": \"picture {n}\"}}\n")).collect();
    world.write("jobs.jsonl", &lines).unwrap();
    world.imagemill.run(&["enqueue", "jobs.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);

    replica.signal(Signal::STOP);
    let mut worker = world.imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    eventually("a claim to be given back", Duration::from_secs(20), async || {
        let log = worker.log();
        if log.contains("is not sent: fewer than 1 replicas have its claim") { Ok(()) } else { Err(log) }
    })
    .await;
    // Time for several claims, were they sent.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.simulator.totals().requests.creates, 0);
    let slots: u64 = redis::cmd("ZCARD")
        .arg("{imagemill}:slots:default:wan2.7-image")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(slots, 0, "what was given back holds no place");
    assert!(worker.log().matches("is not sent").count() <= 4, "it claims again and again\n{}", worker.log());

    replica.signal(Signal::CONT);
    let status = worker.wait(Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{status}\n{}", worker.log());
    assert_eq!(world.check_all_succeeded().await.unwrap().tasks, 20);
}
