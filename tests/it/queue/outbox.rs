use std::time::Duration;

use job::Event;
use queue::{Delivery, DeliveryState, EntryDocument, EntryEnd, EntryOf, Retention, Wait};

use super::{World, name, spec};

const LEASE: Duration = Duration::from_secs(30);

impl World {
    /// Cancels a queued job of batch `b`.
    async fn cancel(&self, custom_id: &str) {
        let id = self.queue.new_job(spec("b", custom_id)).id;
        self.queue.commit_unfenced(id, Event::CancelRequested, &self.rules).await.unwrap();
    }

    async fn taken(&self, lease: Duration) -> Vec<queue::Entry> {
        self.queue.take_outbox(10, lease).await.unwrap().entries
    }

    /// What is due, without when its batch began.
    async fn names(&self, lease: Duration) -> Vec<String> {
        let name = |entry: &queue::Entry| match &entry.of {
            EntryOf::Batch { batch, end, .. } => format!("batch:{batch}:{end}"),
            hook => hook.to_string(),
        };
        self.taken(lease).await.iter().map(name).collect()
    }
}

fn waiting() -> Delivery {
    Delivery {
        state: DeliveryState::Waiting,
        tries: 0,
        at: 1,
        next_at: None,
        id: "evt_1".into(),
        error: None,
    }
}

#[tokio::test]
async fn each_end_of_a_batch_is_an_entry_and_only_an_end_is() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    world.cancel("b-0").await;
    world.cancel("b-1").await;
    assert!(world.names(LEASE).await.is_empty(), "it is not sealed: more may come");
    world.queue.seal(&name("b")).await.unwrap();
    world.queue.seal(&name("b")).await.unwrap();
    assert_eq!(world.names(LEASE).await, ["batch:b:1"]);

    // The same file again seals again, and ends nothing.
    world.enqueue("b", 2).await;
    world.queue.seal(&name("b")).await.unwrap();
    assert!(world.names(LEASE).await.is_empty());
    // A retry lets it run again, and its last job ends it by a commit.
    let id = world.queue.new_job(spec("b", "b-0")).id;
    world.queue.commit_unfenced(id, Event::RetryRequested, &world.rules).await.unwrap();
    assert!(world.names(LEASE).await.is_empty());
    world.cancel("b-0").await;
    assert_eq!(world.names(LEASE).await, ["batch:b:2"]);
    // More jobs as well, and then it is the seal that ends it, if they are over before.
    world.enqueue("b", 3).await;
    world.cancel("b-2").await;
    world.queue.seal(&name("b")).await.unwrap();
    assert_eq!(world.names(LEASE).await, ["batch:b:3"]);
    assert_eq!(world.queue.batch(Some(&name("b"))).await.unwrap().unwrap().ends, 3);
    world.check().await;
}

#[tokio::test]
async fn a_leased_entry_is_nobody_elses_until_its_lease_ends_and_then_the_first_cannot_write() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    world.queue.seal(&name("b")).await.unwrap();
    world.cancel("b-0").await;
    let short = Duration::from_millis(300);
    let first = world.taken(short).await.remove(0);
    assert_eq!(first.document.ended_at().unwrap().as_second(), world.queue.now().as_second());
    assert!(world.taken(short).await.is_empty());
    assert!(world.queue.outbox_has_work().await.unwrap());
    assert!(world.queue.keep_outbox(&first, short).await.unwrap());
    let second = tests::eventually("the lease to end", Duration::from_secs(10), async || {
        world.taken(LEASE).await.pop().ok_or("still leased")
    })
    .await;
    assert!(!world.queue.keep_outbox(&first, short).await.unwrap());
    let end = EntryEnd::Spread(Vec::new());
    assert!(!world.queue.write_outbox(&first, &end).await.unwrap());
    assert!(world.queue.in_outbox(&second.of).await.unwrap());
    assert!(world.queue.write_outbox(&second, &end).await.unwrap());
    assert!(!world.queue.write_outbox(&second, &end).await.unwrap(), "a repeat changes nothing");
    assert!(
        !world.queue.in_outbox(&second.of).await.unwrap() && !world.queue.outbox_has_work().await.unwrap()
    );
}

#[tokio::test]
async fn what_is_put_off_comes_back_and_what_is_over_is_counted() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    world.queue.seal(&name("b")).await.unwrap();
    world.cancel("b-0").await;
    let entry = world.taken(LEASE).await.remove(0);
    let created = entry.of.created();
    let hook = |hook: &str| EntryOf::Hook { hook: hook.parse().unwrap(), batch: name("b"), created, end: 1 };
    let document =
        EntryDocument { id: Some("evt_1".into()), body: Some("{}".into()), ..EntryDocument::default() };
    let spread = ["shop", "site"].map(|name| (hook(name), document.clone(), waiting()));
    assert!(world.queue.write_outbox(&entry, &EntryEnd::Spread(spread.into())).await.unwrap());

    let taken = world.taken(LEASE).await;
    assert_eq!(taken.len(), 2);
    // Put back untried, as one is that waits for its receiver's turn: a worker does not go idle meanwhile.
    for entry in &taken {
        let wait = Duration::from_millis(300);
        let put_back = EntryEnd::Later { wait, document: entry.document.clone(), delivery: None };
        assert!(world.queue.write_outbox(entry, &put_back).await.unwrap());
    }
    assert!(world.taken(LEASE).await.is_empty() && world.queue.outbox_has_work().await.unwrap());
    let mut taken = tests::eventually("both to be due again", Duration::from_secs(10), async || match world
        .taken(Duration::from_millis(1))
        .await
    {
        both if both.len() == 2 => Ok(both),
        some => Err(some),
    })
    .await;
    taken.sort_by(|a, b| a.of.cmp(&b.of));
    let [shop, site] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(shop.document, document);
    let failed = Delivery { error: Some("HTTP 500".into()), tries: 1, ..waiting() };
    let later = EntryEnd::Later {
        wait: Duration::from_secs(60),
        document: document.tried(world.queue.now()),
        delivery: Some(failed.clone()),
    };
    assert!(world.queue.write_outbox(shop, &later).await.unwrap());
    let delivered = Delivery { state: DeliveryState::Delivered, tries: 1, ..waiting() };
    assert!(world.queue.write_outbox(site, &EntryEnd::Closed(delivered.clone())).await.unwrap());

    let again = world.queue.take_outbox(10, LEASE).await.unwrap();
    assert!(again.entries.is_empty());
    let Wait::For(wait) = again.wait else { panic!("{again:?}") };
    assert!((50..=60).contains(&wait.as_secs()), "{wait:?}");
    assert!(!world.queue.outbox_has_work().await.unwrap(), "nobody waits for what is put off");
    let said: Vec<_> = world.queue.deliveries(&name("b")).await.unwrap();
    let said: Vec<_> = said.iter().map(|of| (of.hook.as_str(), of.end, &of.delivery)).collect();
    assert_eq!(said, [("shop", 1, &failed), ("site", 1, &delivered)]);
    let counts = world.queue.hook_counts().await.unwrap();
    let counts: Vec<_> =
        counts.iter().map(|of| (of.hook.as_str(), of.delivered, of.given_up, of.waiting)).collect();
    assert_eq!(counts, [("shop", 0, 0, 1), ("site", 1, 0, 0)]);
}

#[tokio::test]
async fn retention_waits_for_the_end_of_a_batch_to_be_told_and_goes_on_with_the_others() {
    let world = World::new().await;
    for batch in ["b", "c"] {
        world.enqueue(batch, 1).await;
        world.queue.seal(&name(batch)).await.unwrap();
        let id = world.queue.new_job(spec(batch, &format!("{batch}-0"))).id;
        world.queue.commit_unfenced(id, Event::CancelRequested, &world.rules).await.unwrap();
    }
    let taken = world.taken(LEASE).await;
    let other = taken.iter().find(|entry| entry.of.batch() == &name("c")).unwrap();
    assert!(world.queue.write_outbox(other, &EntryEnd::Spread(Vec::new())).await.unwrap());
    let at_once = Retention { age: Duration::ZERO, ended_max: 0, tombstones: Duration::from_secs(60) };
    while world.queue.retain(&at_once).await.unwrap() > 0 {}
    let left = async |batch: &str| world.queue.batch(Some(&name(batch))).await.unwrap().is_some();
    assert!(left("b").await && !left("c").await);
    let first = taken.iter().find(|entry| entry.of.batch() == &name("b")).unwrap();
    let created = first.of.created();
    let hook = EntryOf::Hook { hook: "shop".parse().unwrap(), batch: name("b"), created, end: 1 };
    let spread = EntryEnd::Spread(vec![(hook, EntryDocument::default(), waiting())]);
    assert!(world.queue.write_outbox(first, &spread).await.unwrap());
    while world.queue.retain(&at_once).await.unwrap() > 0 {}
    assert!(!left("b").await);
    assert!(world.queue.deliveries(&name("b")).await.unwrap().is_empty(), "they live as long as the batch");

    // The event has all that it needs. What became of it is counted, and nothing is said of a batch that is gone.
    let event = world.taken(LEASE).await.remove(0);
    let delivered = Delivery { state: DeliveryState::Delivered, tries: 1, ..waiting() };
    assert!(world.queue.write_outbox(&event, &EntryEnd::Closed(delivered)).await.unwrap());
    assert!(world.queue.deliveries(&name("b")).await.unwrap().is_empty());
    assert_eq!(world.queue.hook_counts().await.unwrap()[0].delivered, 1);
    world.check().await;
}

#[tokio::test]
async fn many_batches_whose_end_is_not_told_keep_retention_from_none_of_those_behind_them() {
    // More than retention looks at in one round trip.
    const UNTOLD: usize = 120;
    let world = World::new().await;
    let end = async |batch: &str| {
        world.enqueue(batch, 1).await;
        world.queue.seal(&name(batch)).await.unwrap();
        let id = world.queue.new_job(spec(batch, &format!("{batch}-0"))).id;
        world.queue.commit_unfenced(id, Event::CancelRequested, &world.rules).await.unwrap();
    };
    for number in 0..UNTOLD {
        end(&format!("untold-{number}")).await;
    }
    world.queue.take_outbox(100, LEASE).await.unwrap();
    world.queue.take_outbox(100, LEASE).await.unwrap();
    // It ends last, and so stands behind all of them.
    end("told").await;
    let entry = world.taken(LEASE).await.remove(0);
    assert_eq!(entry.of.batch(), &name("told"));
    assert!(world.queue.write_outbox(&entry, &EntryEnd::Spread(Vec::new())).await.unwrap());
    let at_once = Retention { age: Duration::ZERO, ended_max: 0, tombstones: Duration::from_secs(60) };
    assert_eq!(world.queue.retain(&at_once).await.unwrap(), 1);
    assert!(world.queue.batch(Some(&name("told"))).await.unwrap().is_none());
    assert_eq!(world.queue.retain(&at_once).await.unwrap(), 0);
    assert!(world.queue.batch(Some(&name("untold-0"))).await.unwrap().is_some());
}

#[tokio::test]
async fn a_batch_that_a_person_removed_leaves_no_end_to_tell_and_another_of_its_name_is_another() {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    world.queue.seal(&name("b")).await.unwrap();
    world.cancel("b-0").await;
    let first = world.taken(Duration::from_millis(1)).await.remove(0);
    assert_eq!(world.queue.remove_batch(&name("b"), true).await.unwrap(), (1, true));
    assert!(!world.queue.in_outbox(&first.of).await.unwrap());
    assert!(!world.queue.outbox_has_work().await.unwrap());
    world.enqueue("b", 1).await;
    world.queue.seal(&name("b")).await.unwrap();
    world.cancel("b-0").await;
    let second = world.taken(LEASE).await.remove(0);
    assert_ne!(second.of, first.of);
    // What a worker still says of the first says nothing of the second.
    assert!(!world.queue.write_outbox(&first, &EntryEnd::Spread(Vec::new())).await.unwrap());
}

#[tokio::test]
async fn an_end_knows_its_batch_as_it_was_then() {
    let world = World::new().await;
    world.enqueue("b", 2).await;
    world.cancel("b-0").await;
    world.queue.seal(&name("b")).await.unwrap();
    world.cancel("b-1").await;
    let entry = world.taken(LEASE).await.remove(0);
    let told = entry.document.summary(&name("b")).unwrap();
    let now = world.queue.batch(Some(&name("b"))).await.unwrap().unwrap();
    assert_eq!((told.total, &told.by_state, told.expected), (2, &now.by_state, now.expected));
    assert_eq!(told.created_at.as_millisecond(), entry.of.created());
}

#[tokio::test]
async fn an_entry_that_nobody_understands_is_taken_out_and_keeps_nobody_busy() {
    let world = World::new().await;
    let mut connection = world.redis.connection().await.unwrap();
    let () = redis::cmd("ZADD")
        .arg(world.queue.keys().outbox())
        .arg(1)
        .arg("something:else")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(world.queue.outbox_has_work().await.unwrap());
    assert!(world.taken(LEASE).await.is_empty());
    assert!(!world.queue.outbox_has_work().await.unwrap());
}

#[tokio::test]
async fn the_outbox_is_tended_while_nothing_waits_there_for_long_or_a_worker_holds_something() {
    let world = World::new().await;
    let tended = async || world.queue.outbox_is_tended().await.unwrap();
    assert!(tended().await, "nothing waits");
    world.enqueue("b", 1).await;
    world.queue.seal(&name("b")).await.unwrap();
    world.cancel("b-0").await;
    assert!(tended().await, "it has waited for no second yet");

    let (outbox, now_ms) = (world.queue.keys().outbox(), world.queue.now().as_millisecond());
    let mut redis = world.redis.connection().await.unwrap();
    let mut put = async |entry: &str, due_ms: i64| {
        let _: () = redis::AsyncCommands::zadd(&mut redis, &outbox, entry, due_ms).await.unwrap();
    };
    put("batch:old:1:1", now_ms - 10_000).await;
    for n in 0..150 {
        put(&format!("hook:shop:old-{n}:1:1"), now_ms + 60_000).await;
    }
    assert!(!tended().await, "an entry that is put off is nobody's");
    // Longer than the others are put off.
    let taken = world.queue.take_outbox(2, Duration::from_secs(120)).await.unwrap();
    assert_eq!(taken.entries.len(), 2);
    put("batch:older:1:1", now_ms - 20_000).await;
    assert!(tended().await, "whoever leased the others may have its hands full");
    for entry in &taken.entries {
        put(&entry.of.to_string(), now_ms - 10_000).await;
    }
    assert!(!tended().await, "it was killed, and its leases are over");
    world.check().await;
}
