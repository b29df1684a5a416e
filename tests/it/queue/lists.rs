use std::collections::BTreeSet;

use job::{Event, StateName};
use queue::{Enqueued, EntryEnd, JobFilter, Retention};

use super::{World, name, spec};

#[tokio::test]
async fn a_list_goes_through_every_job_once_by_cursor() {
    let world = World::new().await;
    for batch in ["a", "b", "c"] {
        world.enqueue(batch, 70).await;
    }
    let mut seen = BTreeSet::new();
    let mut cursor = None;
    let mut pages = 0;
    loop {
        let page = world.queue.jobs(&JobFilter::default(), cursor.as_ref(), 50).await.unwrap();
        assert!(page.items.len() <= 50);
        for job in page.items {
            assert!(seen.insert(job.id), "{} came twice", job.id);
        }
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 210);
    assert!(pages >= 5);

    world.queue.commit_unfenced(*seen.first().unwrap(), Event::CancelRequested, &world.rules).await.unwrap();
    let filter = JobFilter { batch: None, states: vec![StateName::Canceled] };
    let found = world.queue.jobs(&filter, None, 10).await.unwrap();
    assert_eq!(found.items.len(), 1);
    let filter = JobFilter { batch: Some(Some(name("b"))), states: Vec::new() };
    assert_eq!(world.queue.jobs(&filter, None, 1_000).await.unwrap().items.len(), 70);
}

#[tokio::test]
async fn retention_removes_whole_ended_batches_and_a_repeated_file_stays_unpaid() {
    let world = World::new().await;
    world.enqueue("old", 3).await;
    world.enqueue("busy", 3).await;
    for batch in ["old", "busy"] {
        world.queue.seal(&name(batch)).await.unwrap();
    }
    let old = JobFilter { batch: Some(Some(name("old"))), states: Vec::new() };
    for job in world.queue.jobs(&old, None, 10).await.unwrap().items {
        world.queue.commit_unfenced(job.id, Event::CancelRequested, &world.rules).await.unwrap();
    }
    let keep = Retention::default();
    assert_eq!(world.queue.retain(&keep).await.unwrap(), 0);
    let ended =
        world.queue.take_outbox(1, std::time::Duration::from_secs(30)).await.unwrap().entries.remove(0);
    world.queue.write_outbox(&ended, &EntryEnd::Spread(Vec::new())).await.unwrap();
    let none = Retention { age: std::time::Duration::ZERO, ..keep };
    assert_eq!(world.queue.retain(&none).await.unwrap(), 3);
    assert!(world.queue.batch(Some(&name("old"))).await.unwrap().is_none());
    assert_eq!(world.queue.jobs(&JobFilter::default(), None, 10).await.unwrap().items.len(), 3);
    let again = world.queue.new_job(spec("old", "old-0"));
    assert_eq!(world.queue.enqueue(Some(&name("old")), &[again]).await.unwrap(), [Enqueued::RemovedBefore]);
    world.check().await;
}

#[tokio::test]
async fn batches_are_listed_with_their_counts() {
    let world = World::new().await;
    world.enqueue("first", 2).await;
    world.enqueue("second", 1).await;
    world.claim().await.unwrap();
    let page = world.queue.batches(None, 1).await.unwrap();
    let rest = world.queue.batches(page.next.as_ref(), 10).await.unwrap();
    let mut names: Vec<_> =
        page.items.iter().chain(&rest.items).map(|batch| batch.name.clone().unwrap()).collect();
    names.sort();
    assert_eq!(names, [name("first"), name("second")]);
    let in_flight: u64 = page.items.iter().chain(&rest.items).map(|batch| batch.in_flight()).sum();
    assert_eq!(in_flight, 1);
}
