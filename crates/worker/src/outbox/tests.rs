//! The ends of batches on twins, in virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use job::{Curve, KeyTemplate, ObjectKey, StateName, Timestamp, WebhookName};
use queue::{BatchSummary, DeliveryState, EntryDocument, EntryOf};
use rand::SeedableRng as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::OutboxConfig;
use super::event::tests::summary;
use super::port::{LinesUpload, Manifests, Outbox, Post, Receivers, SendFault};
use super::sign::WebhookSecret;
use super::twin::FakeOutbox;
use super::{Courier, EventKind, KEEP_EVERY, LEASE, Webhook, Webhooks};
use crate::chance::Chance;
use crate::place::{OpenPlaces, Place, Places};
use crate::ports::StoreFault;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A bucket that counts the manifests that it takes, and refuses as it is told.
#[derive(Default)]
struct FakeManifests {
    faults: Arc<Mutex<VecDeque<StoreFault>>>,
    written: Arc<Mutex<Vec<(ObjectKey, String)>>>,
    /// Rung in the middle of a manifest, which then waits to be let go.
    half: Arc<Mutex<Option<Arc<tokio::sync::Semaphore>>>>,
}

struct FakeUpload {
    key: ObjectKey,
    text: String,
    half: Arc<Mutex<Option<Arc<tokio::sync::Semaphore>>>>,
    faults: Arc<Mutex<VecDeque<StoreFault>>>,
    written: Arc<Mutex<Vec<(ObjectKey, String)>>>,
}

#[async_trait]
impl Manifests for FakeManifests {
    async fn begin(&self, key: &ObjectKey) -> Box<dyn LinesUpload> {
        Box::new(FakeUpload {
            key: key.clone(),
            text: String::new(),
            half: self.half.clone(),
            faults: self.faults.clone(),
            written: self.written.clone(),
        })
    }
}

#[async_trait]
impl LinesUpload for FakeUpload {
    async fn write(&mut self, lines: String) -> Result<(), StoreFault> {
        self.text.push_str(&lines);
        let half = self.half.lock().unwrap().clone();
        if let Some(half) = half {
            half.acquire().await.unwrap().forget();
        }
        self.faults.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }

    async fn end(self: Box<Self>) -> Result<(), StoreFault> {
        self.written.lock().unwrap().push((self.key.clone(), self.text.clone()));
        Ok(())
    }
}

/// Receivers that answer as they are told, and with 200 after that.
#[derive(Default)]
struct FakeReceivers {
    answers: Mutex<VecDeque<Result<u16, SendFault>>>,
    posts: Mutex<Vec<(Instant, Post)>>,
    hangs: Mutex<bool>,
}

#[async_trait]
impl Receivers for FakeReceivers {
    async fn send(&self, post: &Post) -> Result<u16, SendFault> {
        self.posts.lock().unwrap().push((Instant::now(), post.clone()));
        let hangs = *self.hangs.lock().unwrap();
        if hangs || post.url.starts_with("https://dead.") {
            std::future::pending::<()>().await;
        }
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(200))
    }
}

/// A place at which a worker stands still until it is let go.
#[derive(Default)]
struct Stuck(Mutex<Option<Place>>);

#[async_trait]
impl Places for Stuck {
    async fn pass(&self, place: Place) {
        let here = *self.0.lock().unwrap() == Some(place);
        if here {
            std::future::pending::<()>().await;
        }
    }
}

struct Twins {
    outbox: Arc<FakeOutbox>,
    manifests: Arc<FakeManifests>,
    receivers: Arc<FakeReceivers>,
}

impl Twins {
    fn new() -> Self {
        Self { outbox: Arc::default(), manifests: Arc::default(), receivers: Arc::default() }
    }

    fn courier(&self, places: Arc<dyn Places>) -> Arc<Courier> {
        self.courier_of(places, &["shop"])
    }

    fn courier_of(&self, places: Arc<dyn Places>, hooks: &[&str]) -> Arc<Courier> {
        let hook = |name: &&str| Webhook {
            name: name.parse().unwrap(),
            url: format!("https://{name}.example/?token=s3cret"),
            secret: WebhookSecret::parse(SECRET).unwrap(),
            events: vec![EventKind::BatchEnded],
        };
        let second = Duration::from_secs(1);
        let config = OutboxConfig {
            retry: Curve { first: second, factor: 2.0, cap: 60 * second },
            give_up_after: 600 * second,
            ..OutboxConfig::default()
        };
        Arc::new(Courier::new(
            self.outbox.clone(),
            self.manifests.clone(),
            self.receivers.clone(),
            config,
            Webhooks::new(hooks.iter().map(hook).collect()),
            KeyTemplate::default(),
            "USD".to_owned(),
            places,
            Chance::new(Box::new(rand_chacha::ChaCha8Rng::seed_from_u64(7))),
            CancellationToken::new(),
        ))
    }

    fn posts(&self) -> Vec<Post> {
        self.receivers.posts.lock().unwrap().iter().map(|(_, post)| post.clone()).collect()
    }
}

fn start(courier: &Arc<Courier>) -> tokio::task::JoinHandle<()> {
    let courier = courier.clone();
    tokio::spawn(async move { courier.run().await })
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(24 * 3600);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn ended() -> BatchSummary {
    summary(&[(StateName::Succeeded, 2)], 2)
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_five_times_gets_one_event_under_one_id_with_a_valid_signature() {
    let twins = Twins::new();
    let faults = [Ok(500), Ok(302), Err(SendFault::TimedOut(Duration::from_secs(15))), Ok(429), Ok(400)];
    twins.receivers.answers.lock().unwrap().extend(faults);
    twins.outbox.end(ended());
    let running = start(&twins.courier(Arc::new(OpenPlaces)));
    until("it is delivered", || twins.outbox.open().is_empty()).await;
    running.abort();

    let posts = twins.posts();
    assert_eq!(posts.len(), 6);
    let secret = WebhookSecret::parse(SECRET).unwrap();
    for post in &posts {
        assert_eq!((&post.id, &post.body), (&posts[0].id, &posts[0].body), "the same event at each try");
        assert_eq!(post.signature, secret.sign(&post.id, post.timestamp, &post.body));
    }
    let sent = twins.receivers.posts.lock().unwrap();
    let waits: Vec<_> = sent.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let bounds = [(500, 2_000), (1_000, 3_000), (2_000, 5_000), (4_000, 9_000), (8_000, 17_000)];
    for (wait, (least, most)) in
        waits.iter().zip(bounds.map(|(a, b)| (Duration::from_millis(a), Duration::from_millis(b))))
    {
        assert!((least..=most).contains(wait), "waits grow: {waits:?}");
    }
    let said = twins.outbox.said();
    let delivery = &said["hook:shop:spring:1000:1"];
    assert_eq!((delivery.state, delivery.tries), (DeliveryState::Delivered, 6));
    let written = twins.manifests.written.lock().unwrap();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].1.lines().count(), 2, "all pages");
}

#[tokio::test(start_paused = true)]
async fn two_workers_that_live_deliver_once_and_a_dead_ones_event_comes_again_under_the_same_id() {
    let twins = Twins::new();
    // One that answers slowly: its lease has to be renewed meanwhile.
    *twins.receivers.hangs.lock().unwrap() = true;
    twins.outbox.end(ended());
    let open = || Arc::new(OpenPlaces);
    let (one, two) = (start(&twins.courier(open())), start(&twins.courier(open())));
    tokio::time::sleep(LEASE * 4).await;
    assert_eq!(twins.posts().len(), 1, "who lives keeps its lease");
    one.abort();
    two.abort();
    *twins.receivers.hangs.lock().unwrap() = false;
    // This one is killed between the answer and the note of it.
    let stuck = Stuck(Mutex::new(Some(Place::EventAnswered)));
    let third = start(&twins.courier(Arc::new(stuck)));
    until("it is sent again", || twins.posts().len() == 2).await;
    third.abort();
    let fourth = start(&twins.courier(open()));
    until("it is delivered", || twins.outbox.open().is_empty()).await;
    fourth.abort();
    let posts = twins.posts();
    assert_eq!(posts.len(), 3);
    assert!(posts.iter().all(|post| post.id == posts[0].id));
    assert!(KEEP_EVERY * 2 < LEASE, "a renewal may fail once");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_after_its_time_or_at_once_by_410() {
    let twins = Twins::new();
    twins.receivers.answers.lock().unwrap().extend(std::iter::repeat_n(Ok(503), 1_000));
    twins.outbox.end(ended());
    let began = Instant::now();
    let running = start(&twins.courier(Arc::new(OpenPlaces)));
    until("it is given up", || twins.outbox.open().is_empty()).await;
    let took = began.elapsed();
    assert!((600..=700).contains(&took.as_secs()), "{took:?}");
    let said = twins.outbox.said();
    let delivery = &said["hook:shop:spring:1000:1"];
    assert_eq!((delivery.state, delivery.error.as_deref()), (DeliveryState::GivenUp, Some("HTTP 503")));
    let before = twins.posts().len();
    *twins.receivers.answers.lock().unwrap() = [Ok(410)].into();
    twins.outbox.end(BatchSummary { ends: 2, ..ended() });
    until("it is given up at once", || twins.outbox.open().is_empty()).await;
    running.abort();
    assert_eq!(twins.posts().len(), before + 1);
    assert_eq!(twins.outbox.said()["hook:shop:spring:1000:2"].state, DeliveryState::GivenUp);
    assert_ne!(twins.posts()[before].id, twins.posts()[0].id, "another end is another event");
}

#[tokio::test(start_paused = true)]
async fn the_manifest_comes_before_the_event_and_a_bucket_that_refuses_for_good_holds_no_event_up() {
    let twins = Twins::new();
    let fault = |later| StoreFault { code: "store", reason: "out of order".into(), later, of_object: false };
    twins.manifests.faults.lock().unwrap().extend([fault(true), fault(true), fault(false)]);
    twins.outbox.end(ended());
    let running = start(&twins.courier(Arc::new(OpenPlaces)));
    until("it is delivered", || twins.outbox.open().is_empty()).await;
    assert!(twins.posts()[0].body.contains("\"manifest\":null"), "{}", twins.posts()[0].body);
    twins.outbox.end(BatchSummary { ends: 2, ..ended() });
    until("it is delivered", || twins.outbox.open().is_empty()).await;
    running.abort();
    assert!(twins.posts()[1].body.contains("spring/manifest.jsonl"), "{}", twins.posts()[1].body);
    assert_eq!(twins.manifests.written.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ends_of_one_batch_keep_their_order_and_only_the_last_writes_the_manifest() {
    let twins = Twins::new();
    twins.outbox.end(ended());
    twins.outbox.end(BatchSummary { ends: 2, ..ended() });
    let running = start(&twins.courier(Arc::new(OpenPlaces)));
    until("both are told", || twins.outbox.open().is_empty()).await;
    running.abort();
    let ends: Vec<bool> = twins.posts().iter().map(|post| post.body.contains("\"end\":1,")).collect();
    assert_eq!(ends, [true, false]);
    assert_eq!(twins.manifests.written.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_of_a_batch_that_was_removed_nor_of_another_of_its_name_in_its_place() {
    let twins = Twins::new();
    twins.outbox.end(ended());
    twins.outbox.state.lock().unwrap().batches.clear();
    let running = start(&twins.courier(Arc::new(OpenPlaces)));
    until("the entry is closed", || twins.outbox.open().is_empty()).await;
    twins.outbox.end(ended());
    let another = BatchSummary { created_at: Timestamp::from_second(5).unwrap(), ..ended() };
    twins.outbox.state.lock().unwrap().batches.insert("spring".parse().unwrap(), another.clone());
    until("the entry is closed", || twins.outbox.open().is_empty()).await;
    assert!(twins.posts().is_empty() && twins.manifests.written.lock().unwrap().is_empty());
    twins.outbox.end(another);
    until("the other one is told", || twins.outbox.open().is_empty()).await;
    running.abort();
    assert_eq!(twins.posts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_whose_batch_is_removed_while_it_is_written_replaces_nothing() {
    let twins = Twins::new();
    let half = Arc::new(tokio::sync::Semaphore::new(1));
    *twins.manifests.half.lock().unwrap() = Some(half.clone());
    twins.outbox.end(ended());
    let running = start(&twins.courier(Arc::new(OpenPlaces)));
    until("the first page is written", || half.available_permits() == 0).await;
    let another = BatchSummary { created_at: Timestamp::from_second(5).unwrap(), ..ended() };
    twins.outbox.state.lock().unwrap().batches.insert("spring".parse().unwrap(), another);
    half.add_permits(10);
    until("the entry is closed", || twins.outbox.open().is_empty()).await;
    running.abort();
    assert!(twins.manifests.written.lock().unwrap().is_empty() && twins.posts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_this_worker_does_not_know_waits_for_one_that_does_and_is_dropped_after_its_time() {
    let twins = Twins::new();
    let event = |end| {
        let hook: WebhookName = "other".parse().unwrap();
        let of = EntryOf::Hook { hook, batch: "spring".parse().unwrap(), created: 1_000, end };
        let document =
            EntryDocument { id: Some("evt_1".into()), body: Some("{}".into()), ..EntryDocument::default() };
        twins.outbox.state.lock().unwrap().entries.insert(of.to_string(), (Instant::now(), document, None));
    };
    event(1);
    let old = start(&twins.courier(Arc::new(OpenPlaces)));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(twins.posts().is_empty() && twins.outbox.open().len() == 1);
    old.abort();
    let new = start(&twins.courier_of(Arc::new(OpenPlaces), &["shop", "other"]));
    until("who knows it tells it", || twins.outbox.open().is_empty()).await;
    new.abort();
    assert_eq!(twins.outbox.said()["hook:other:spring:1000:1"].state, DeliveryState::Delivered);
    event(2);
    let began = Instant::now();
    let old = start(&twins.courier(Arc::new(OpenPlaces)));
    until("it is dropped", || twins.outbox.open().is_empty()).await;
    old.abort();
    assert_eq!(twins.outbox.said()["hook:other:spring:1000:2"].state, DeliveryState::Dropped);
    assert!(began.elapsed() >= Duration::from_secs(600), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn webhooks_that_are_taken_over_are_told_of_what_waits_for_them_and_of_what_ends_from_then_on() {
    let twins = Twins::new();
    twins.receivers.answers.lock().unwrap().push_back(Ok(503));
    twins.outbox.end(ended());
    let courier = twins.courier(Arc::new(OpenPlaces));
    let running = start(&courier);
    until("the first try is over", || twins.posts().len() == 1).await;
    let shop = courier.webhooks.now()[0].clone();
    let moved = Webhook { url: "https://elsewhere.example/".to_owned(), ..shop.clone() };
    let other = Webhook { name: "other".parse().unwrap(), ..shop.clone() };
    let changes = courier.webhooks.replace(vec![moved, other]);
    assert_eq!(changes.added, ["other".parse().unwrap()]);
    assert_eq!((changes.changed, changes.removed), (vec![shop.name.clone()], vec![]));
    until("it is delivered", || twins.outbox.open().is_empty()).await;
    twins.outbox.end(BatchSummary { ends: 2, ..ended() });
    until("both are told", || twins.outbox.open().is_empty()).await;
    running.abort();
    let urls: Vec<_> = twins.posts().into_iter().map(|post| post.url).collect();
    assert_eq!(urls[..2], [shop.url.clone(), "https://elsewhere.example/".to_owned()]);
    assert_eq!(urls.len(), 4, "{urls:?}");
    assert!(urls[2..].contains(&shop.url), "another webhook at the old address: {urls:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_the_batch_as_it_was_when_it_ended() {
    let twins = Twins::new();
    twins.outbox.end(ended());
    let since = summary(&[(StateName::Queued, 5), (StateName::Succeeded, 2)], 2);
    twins.outbox.state.lock().unwrap().batches.insert("spring".parse().unwrap(), since);
    let running = start(&twins.courier(Arc::new(OpenPlaces)));
    until("it is told", || twins.outbox.open().is_empty()).await;
    running.abort();
    let body: serde_json::Value = serde_json::from_str(&twins.posts()[0].body).unwrap();
    assert_eq!(
        (&body["data"]["jobs"]["total"], &body["data"]["state"]),
        (&2.into(), &"succeeded".into()),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_takes_no_place_of_another() {
    let twins = Twins::new();
    for number in 0..60 {
        let name = Some(format!("b-{number}").parse().unwrap());
        twins.outbox.end(BatchSummary { name, ..ended() });
    }
    let running = start(&twins.courier_of(Arc::new(OpenPlaces), &["dead", "well"]));
    let told = || twins.posts().iter().filter(|post| post.url.starts_with("https://well.")).count();
    until("all are told", || told() == 60).await;
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_told_to_stop_stops_at_once_whatever_it_waits_for() {
    let twins = Twins::new();
    *twins.receivers.hangs.lock().unwrap() = true;
    twins.outbox.end(ended());
    let courier = twins.courier(Arc::new(OpenPlaces));
    let running = start(&courier);
    until("it waits for the receiver", || twins.posts().len() == 1).await;
    courier.stop.cancel();
    tokio::time::timeout(Duration::from_millis(10), running).await.expect("it stops").unwrap();
    // It is given back, and not only left.
    assert_eq!(twins.outbox.take(10, LEASE).await.unwrap().0.len(), 1);
}

#[test]
fn an_address_and_a_secret_are_in_no_debug_output() {
    let twins = Twins::new();
    let shown = format!("{:?}", twins.courier(Arc::new(OpenPlaces)).webhooks.now());
    assert!(shown.contains("shop"), "{shown}");
    assert!(!shown.contains("s3cret") && !shown.contains("MfKQ"), "{shown}");
}
