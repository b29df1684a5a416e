use job::StateName;
use queue::{EnqueueError, Enqueued, Origin, SourceFile};
use tests::{Fsync, RedisServer};

use super::{World, name, spec};

#[tokio::test]
async fn a_line_that_is_enqueued_again_is_the_same_job() {
    let world = World::new().await;
    let batch = name("spring");
    let first = world.queue.new_job(spec("spring", "sku-1"));
    let second = world.queue.new_job(spec("spring", "sku-2"));
    let mut changed = spec("spring", "sku-1");
    changed.request.n = 2;
    let changed = world.queue.new_job(changed);
    assert_eq!(first.id, changed.id);

    let answers = world.queue.enqueue(Some(&batch), &[first.clone(), second, first.clone()]).await.unwrap();
    assert_eq!(answers, [Enqueued::New, Enqueued::New, Enqueued::Same]);
    let answers = world.queue.enqueue(Some(&batch), &[first.clone(), changed]).await.unwrap();
    assert_eq!(answers, [Enqueued::Same, Enqueued::Changed]);

    let summary = world.queue.batch(Some(&batch)).await.unwrap().unwrap();
    assert_eq!((summary.total, summary.left, summary.expected), (2, 2, 2));
    assert_eq!(world.queue.spec(first.id).await.unwrap().unwrap(), first.spec);
    world.check().await;
}

#[tokio::test]
async fn a_job_keeps_everything_that_was_asked_for() {
    let world = World::new().await;
    let mut wanted = spec("b", "one");
    wanted.priority = 2.try_into().unwrap();
    wanted.account = Some("eu".parse().unwrap());
    wanted.request.n = 3;
    let new = world.queue.new_job(wanted.clone());
    world.queue.enqueue(Some(&name("b")), std::slice::from_ref(&new)).await.unwrap();
    let job = world.queue.job(new.id).await.unwrap().unwrap();
    assert_eq!(job.state_name(), StateName::Queued);
    assert_eq!((job.images_max, job.priority, &job.pinned_to), (3, wanted.priority, &wanted.pinned_to()));
    assert_eq!(job.digest, wanted.digest());
    assert_eq!(job.batch, wanted.batch);
    world.check().await;
}

#[tokio::test]
async fn a_full_redis_takes_no_new_jobs_and_still_lets_old_ones_finish() {
    let redis = RedisServer::start_with(Fsync::EverySecond, &["--maxmemory", "12mb"]).await.unwrap();
    let queue = redis.queue(1).await.unwrap();
    let mut accepted = 0;
    let refusal = loop {
        let jobs: Vec<_> = (0..100)
            .map(|n| {
                let mut spec = spec("big", &format!("{accepted}-{n}"));
                spec.request.prompt = "x".repeat(2_000).into();
                queue.new_job(spec)
            })
            .collect();
        match queue.enqueue(Some(&name("big")), &jobs).await {
            Ok(_) => accepted += jobs.len(),
            Err(error) => break error,
        }
        assert!(accepted < 100_000, "Redis never filled up");
    };
    assert!(matches!(refusal, EnqueueError::NearlyFull { used_percent } if used_percent >= 85), "{refusal}");

    // A job that asks for something else is as good as a new one: nobody is told that it could be replaced.
    let other = queue.new_job(spec("big", "0-0"));
    let refused = queue.enqueue(Some(&name("big")), &[other]).await;
    assert!(matches!(refused, Err(EnqueueError::NearlyFull { .. })), "{refused:?}");

    // Fill it for good, past what enqueue would ever use: claims and commits must go on.
    let mut connection = redis.connection().await.unwrap();
    let mut full = false;
    for n in 0..100_000 {
        let set: redis::RedisResult<()> = redis::cmd("SET")
            .arg(format!("filler:{n}"))
            .arg("y".repeat(10_000))
            .query_async(&mut connection)
            .await;
        if set.is_err() {
            full = true;
            break;
        }
    }
    assert!(full, "Redis never filled up");
    let world = World { redis, queue, rules: Default::default() };
    let job = world.claim().await.expect("a claim goes on");
    let job = world.created(&job, "task-1").await;
    assert_eq!(job.state_name(), StateName::Polling);
    world.check().await;
}

#[tokio::test]
async fn jobs_of_one_source_stand_in_the_order_of_its_lines_whatever_comes_when() {
    let world = World::new().await;
    let batch = name("b");
    let file = SourceFile { digest: "d1".to_owned(), lines: 6 };
    let line = |line: u64| world.queue.new_job(spec("b", &format!("f{line}"))).at(line);
    let send = async |file: &SourceFile, lines: &[u64]| {
        let jobs: Vec<_> = lines.iter().map(|at| line(*at)).collect();
        world
            .queue
            .enqueue_from(Some(&batch), Origin { source: Some(file), tick: None }, &jobs)
            .await
            .unwrap()
    };
    send(&file, &[5, 6]).await;
    let single = world.queue.new_job(spec("b", "single"));
    world.queue.enqueue(Some(&batch), &[single]).await.unwrap();
    // Another source comes behind, and the first one is run again to its end.
    let other = SourceFile { digest: "d2".to_owned(), lines: 1 };
    let of_other = world.queue.new_job(spec("b", "other")).at(1);
    let origin = Origin { source: Some(&other), tick: None };
    world.queue.enqueue_from(Some(&batch), origin, &[of_other]).await.unwrap();
    send(&file, &[3, 4]).await;
    let answers = send(&file, &[1, 2, 3]).await;
    assert_eq!(answers, [Enqueued::New, Enqueued::New, Enqueued::Same]);

    let filter = queue::JobFilter { batch: Some(Some(batch.clone())), states: Default::default() };
    let mut jobs = world.queue.jobs(&filter, None, 100).await.unwrap().items;
    jobs.sort_by_key(|job| job.seq);
    let mut names = Vec::new();
    for job in &jobs {
        names.push(world.queue.spec(job.id).await.unwrap().unwrap().custom_id.unwrap().to_string());
    }
    assert_eq!(names, ["f1", "f2", "f3", "f4", "f5", "f6", "single", "other"]);
    assert!(jobs.windows(2).all(|pair| pair[0].seq < pair[1].seq), "no two jobs have one place");
    world.check().await;
}
