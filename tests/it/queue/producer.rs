//! The producer that programs use.

use dashscope::{ImageRequest, Model};
use job::{JobSpec, Refresh};
use queue::{EnqueueError, JobRefused, Producer, PushError};
use rustix::process::Signal;

use super::{World, name, spec};

fn named(n: usize) -> JobSpec {
    JobSpec::named(
        format!("sku-{n}").parse().unwrap(),
        ImageRequest::new(Model::Wan27Image, format!("article {n}")),
    )
}

#[tokio::test]
async fn a_producer_sends_chunks_in_order_ends_the_batch_and_adds_nothing_when_it_runs_again() {
    const JOBS: usize = 2 * queue::CHUNK_MAX + 7;
    let world = World::new().await;
    let produce = async |last: usize| {
        let mut producer = Producer::new(&world.queue, name("b"));
        for n in 0..last {
            producer.push(named(n)).await.unwrap();
        }
        producer
    };
    // One that is dropped, as by a crash, has sent its whole chunks.
    drop(produce(queue::CHUNK_MAX + 3).await);
    let summary = async || world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((summary().await.total, summary().await.sealed), (queue::CHUNK_MAX as u64, false));
    let tally = produce(JOBS).await.finish().await.unwrap();
    assert_eq!((tally.new, tally.same), ((JOBS - queue::CHUNK_MAX) as u64, queue::CHUNK_MAX as u64));
    assert_eq!((summary().await.total, summary().await.sealed), (JOBS as u64, true));

    let mut producer = Producer::new(&world.queue, name("b"));
    let mut changed = named(3);
    changed.request.n = 2;
    producer.push(changed).await.unwrap();
    let tally = producer.finish().await.unwrap();
    assert_eq!((tally.changed, tally.changed_ids[0].as_str()), (1, "sku-3"));
    world.check().await;
}

#[tokio::test]
async fn what_could_be_paid_for_twice_or_be_refused_is_not_taken() {
    let world = World::new().await;
    let mut producer = Producer::new(&world.queue, name("b"));
    let unnamed = JobSpec { custom_id: None, ..named(1) };
    assert!(matches!(producer.push(unnamed).await, Err(PushError::Refused(JobRefused::Unnamed))));
    assert!(matches!(
        producer.push(spec("other", "x")).await,
        Err(PushError::Refused(JobRefused::OtherBatch(_)))
    ));
    let refresh = Refresh { collection: name("shoes"), content: "c".repeat(16), keep: 0 };
    let refreshing = JobSpec { refresh: Some(refresh), ..named(1) };
    assert!(matches!(producer.push(refreshing).await, Err(PushError::Refused(JobRefused::Refreshes(_)))));
    let mut invalid = named(1);
    invalid.request.n = 9;
    let refused = producer.push(invalid).await.unwrap_err();
    assert!(matches!(refused, PushError::Refused(JobRefused::Invalid { .. })), "{refused}");
    assert_eq!(producer.finish().await.unwrap(), queue::Tally::default());
    assert!(world.queue.batch(Some(&name("b"))).await.unwrap().is_none());
}

#[tokio::test]
async fn a_job_that_could_not_be_sent_is_kept_and_goes_with_the_next_ones_once() {
    const JOBS: usize = queue::CHUNK_MAX + 2;
    let world = World::new().await;
    let mut producer = Producer::new(&world.queue, name("b"));
    for n in 1..queue::CHUNK_MAX {
        producer.push(named(n)).await.unwrap();
    }
    // It hangs, and the minute that is waited for it is over at once.
    world.redis.signal(Signal::STOP);
    tokio::time::pause();
    let kept = producer.push(named(queue::CHUNK_MAX)).await;
    assert!(
        matches!(&kept, Err(PushError::Kept(EnqueueError::Queue(error))) if error.is_retryable()),
        "{kept:?}"
    );
    tokio::time::resume();
    world.redis.signal(Signal::CONT);
    for n in [JOBS - 1, JOBS] {
        producer.push(named(n)).await.unwrap();
    }
    let tally = producer.finish().await.unwrap();
    assert_eq!(tally.new + tally.same, JOBS as u64, "{tally:?}");
    let summary = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((summary.total, summary.sealed), (JOBS as u64, true));
    world.check().await;
}
