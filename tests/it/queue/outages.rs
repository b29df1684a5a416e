use std::time::Duration;

use job::{Event, StateName};
use queue::UnsafeRedis;
use tests::{Fsync, LossyProxy, RedisServer, eventually};

use super::{World, attempt, name, spec};

#[tokio::test]
async fn a_commit_waits_for_as_long_as_redis_is_away() {
    let mut world = World::new().await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    world.redis.kill();
    let (queue, rules, created) = (world.queue.clone(), world.rules.clone(), attempt(&job));
    let commit = tokio::spawn(async move {
        let event = Event::TaskCreated { attempt: created, task: "paid".parse().unwrap(), request_id: None };
        queue.commit(&job, event, &rules, None).await.map(|committed| committed.job)
    });
    // It is still trying after several refused connections.
    assert!(
        tokio::time::timeout(Duration::from_millis(500), async {
            while !commit.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await
        .is_err()
    );
    world.redis.restart().await.unwrap();
    let job = tokio::time::timeout(Duration::from_secs(30), commit).await.unwrap().unwrap().unwrap();
    assert_eq!(job.state_name(), StateName::Polling);
    world.check().await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_taken_for_somebody_elses() {
    let mut world = World::new().await;
    let proxy = LossyProxy::start(world.redis.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    world.queue = world.redis.queue_with(2, |settings| settings.url = url).await.unwrap();
    world.enqueue("b", 2).await;
    // The first use of a script is answered with "unknown": that answer is not the one to lose.
    let first = world.claim().await.unwrap();
    world.created(&first, "first").await;
    let job = world.claim().await.unwrap();
    proxy.lose_answers(1);
    // It was written; asked again under the same nonce, Redis says so instead of "changed meanwhile".
    let job = world.created(&job, "paid").await;
    assert_eq!(proxy.answers_to_lose(), 0);
    assert_eq!(job.state_name(), StateName::Polling);
    let stored = world.queue.job(job.id).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.state.task()), (job.version, job.state.task()));
    world.check().await;
}

#[tokio::test]
async fn what_redis_acknowledged_survives_its_death() {
    let mut world = World::new().await;
    world.enqueue("b", 200).await;
    let mut created = 0;
    for n in 0..50 {
        let job = world.claim().await.unwrap();
        world.created(&job, &format!("task-{n}")).await;
        created += 1;
    }
    world.redis.kill();
    world.redis.restart().await.unwrap();
    let counts =
        eventually("Redis to answer", Duration::from_secs(10), async || world.queue.counts().await).await;
    assert_eq!(counts[&StateName::Polling], created);
    assert_eq!(counts[&StateName::Queued], 150);
    world.check().await;
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let mut connection = world.redis.connection().await.unwrap();
    let _: String = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    let job = world.claim().await.unwrap();
    let _: String = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    world.created(&job, "t").await;
    world.check().await;
}

#[tokio::test]
async fn a_redis_that_could_lose_jobs_is_refused() {
    let unsafe_because = async |more: &[&str]| {
        let redis = RedisServer::start_with(Fsync::EverySecond, more).await.unwrap();
        redis.queue(1).await.unwrap().check_safety().await
    };
    assert!(unsafe_because(&[]).await.is_ok());
    let evicts = unsafe_because(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    assert!(matches!(evicts, Err(UnsafeRedis::Evicts { .. })), "{evicts:?}");
    let no_aof = unsafe_because(&["--appendonly", "no"]).await;
    assert!(matches!(no_aof, Err(UnsafeRedis::NoAof)), "{no_aof:?}");
}

#[tokio::test]
async fn a_commit_waits_for_a_redis_that_is_read_only() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    let mut connection = world.redis.connection().await.unwrap();
    let replica_of = async |connection: &mut redis::aio::MultiplexedConnection, host: &str, port: &str| {
        let mut command = redis::cmd("REPLICAOF");
        let () = command.arg(host).arg(port).query_async(connection).await.unwrap();
    };
    replica_of(&mut connection, "127.0.0.1", "1").await;
    let enqueued = world.queue.enqueue(Some(&name("b")), &[world.queue.new_job(spec("b", "late"))]).await;
    assert!(matches!(enqueued, Err(queue::EnqueueError::Queue(error)) if error.is_retryable()));
    let (queue, rules, created) = (world.queue.clone(), world.rules.clone(), attempt(&job));
    let mut commit = tokio::spawn(async move {
        let event = Event::TaskCreated { attempt: created, task: "paid".parse().unwrap(), request_id: None };
        queue.commit(&job, event, &rules, None).await.map(|committed| committed.job)
    });
    // It is still trying after several refusals.
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut commit).await.is_err());
    replica_of(&mut connection, "NO", "ONE").await;
    let job = tokio::time::timeout(Duration::from_secs(30), commit).await.unwrap().unwrap().unwrap();
    assert_eq!(job.state.task().unwrap().as_str(), "paid");
    world.check().await;
}

#[tokio::test]
async fn an_enqueue_whose_answer_was_lost_adds_nothing_twice() {
    let mut world = World::new().await;
    world.enqueue("b", 1).await;
    let proxy = LossyProxy::start(world.redis.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    world.queue = world.redis.queue_with(2, |settings| settings.url = url).await.unwrap();
    let jobs: Vec<_> = (0..10).map(|n| world.queue.new_job(spec("b", &format!("late-{n}")))).collect();
    // Whichever answer is lost, that of the question before it or its own: the repetition counts each job once.
    proxy.lose_answers(1);
    let lost = world.queue.enqueue(Some(&name("b")), &jobs).await;
    assert!(matches!(lost, Err(queue::EnqueueError::Queue(error)) if error.is_retryable()));
    proxy.lose_answers(0);
    let again = eventually("the repetition", Duration::from_secs(10), async || {
        world.queue.enqueue(Some(&name("b")), &jobs).await
    })
    .await;
    assert_eq!(again.len(), 10);
    assert_eq!(world.queue.counts().await.unwrap()[&StateName::Queued], 11);
    world.check().await;
}

#[tokio::test]
async fn a_redis_that_loads_its_data_is_away_and_not_unsafe() {
    // Half a millisecond for each command that it loads: six seconds, in which even a busy machine comes to ask.
    let mut redis = RedisServer::start_with(Fsync::EverySecond, &["--key-load-delay", "500"]).await.unwrap();
    let mut pipeline = redis::pipe();
    (0..12_000).for_each(|key| {
        pipeline.set(format!("key-{key}"), 1).ignore();
    });
    let _: () = pipeline.query_async(&mut redis.connection().await.unwrap()).await.unwrap();
    let queue = redis.queue(1).await.unwrap();
    redis.kill();
    let mut loading = 0;
    let seen = async {
        loop {
            match queue.check_safety().await {
                Ok(()) => break,
                Err(UnsafeRedis::Loading) => loading += 1,
                Err(UnsafeRedis::Unknown(_)) => {}
                Err(other) => panic!("a Redis that loads its data is taken for unsafe: {other}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (restarted, ()) = tokio::join!(redis.restart(), seen);
    restarted.unwrap();
    assert!(loading > 0, "it loaded before anybody asked");
}
