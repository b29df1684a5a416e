use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{Imagemill, World, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use worker::outbox::WebhookSecret;

use super::failures::show;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request that a receiver was sent.
#[derive(Debug, Clone)]
struct Got {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Got {
    /// Whether its signature is that of the secret.
    fn is_signed(&self) -> bool {
        let timestamp = self.headers["webhook-timestamp"].parse().unwrap();
        let secret = WebhookSecret::parse(SECRET).unwrap();
        secret.sign(&self.headers["webhook-id"], timestamp, &self.body) == self.headers["webhook-signature"]
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver on loopback: `/fails` takes an event at the sixth try, `/dead` never, everything else at once.
struct Receiver {
    port: u16,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let seen = got.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, seen.clone()));
            }
        });
        Self { port, got }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}?token=s3cret", self.port)
    }

    fn at(&self, path: &str) -> Vec<Got> {
        let wanted = format!("/{path}?token=s3cret");
        self.got.lock().unwrap().iter().filter(|got| got.path == wanted).cloned().collect()
    }
}

async fn serve(mut socket: TcpStream, seen: Arc<Mutex<Vec<Got>>>) -> std::io::Result<()> {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.unwrap_or_default().parse().unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        }
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            bytes => read.extend_from_slice(&buffer[..bytes]),
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|got| got.path == path).count();
        seen.push(Got { path: path.clone(), headers, body });
        before
    };
    let status = match path.as_str() {
        path if path.starts_with("/dead") => "503 Service Unavailable",
        path if path.starts_with("/fails") && before < 5 => "500 Internal Server Error",
        _ => "204 No Content",
    };
    socket
        .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
        .await
}

/// Settings with a webhook for each of `paths`, and waits that fit a test.
fn settings(receiver: &Receiver, paths: &[&str]) -> String {
    let mut text = "[delivery]\nfirst = \"50ms\"\nfactor = 1\ncap = \"200ms\"\n".to_owned();
    for path in paths {
        let url = receiver.url(path);
        text.push_str(&format!(
            "\n[[webhooks]]\nname = \"{path}\"\nurl = \"{url}\"\nsecret = {{ env = \"HOOK\" }}\n"
        ));
    }
    text
}

async fn enqueue(world: &World, imagemill: &Imagemill, batch: &str, count: usize) {
    let lines: String =
        (0..count).map(|n| format!("{{\"custom_id\": \"j{n}\", \"prompt\": \"{batch} {n}\"}}\n")).collect();
    world.write("jobs.jsonl", &lines).unwrap();
    imagemill.run(&["enqueue", "jobs.jsonl", "--batch", batch]).await.unwrap().expect_code(0);
}

async fn delivered(imagemill: &Imagemill, batch: &str, webhook: &str) -> Value {
    eventually("the webhook to be told", Duration::from_secs(60), async || {
        let shown = show(imagemill, batch).await;
        let deliveries = shown["deliveries"].as_array().cloned().unwrap_or_default();
        let found = deliveries.into_iter().find(|of| of["webhook"] == webhook && of["state"] == "delivered");
        found.ok_or(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_five_times_is_told_once_for_each_end_and_a_dead_one_holds_nobody_up() {
    let world = World::quick().await.unwrap();
    let receiver = Receiver::start().await;
    world.write("imagemill.toml", &settings(&receiver, &["fails", "dead", "well"])).unwrap();
    let imagemill = world.imagemill.with("HOOK", SECRET);
    enqueue(&world, &imagemill, "b", 4).await;
    let mut workers: Vec<_> =
        ["one", "two"].map(|name| imagemill.start(name, &["worker"]).unwrap()).into_iter().collect();
    let told = delivered(&imagemill, "b", "fails").await;
    assert_eq!((&told["tries"], &told["end"]), (&6.into(), &1.into()), "{told}");
    delivered(&imagemill, "b", "well").await;

    // Another end of the same batch is another event.
    enqueue(&world, &imagemill, "b", 5).await;
    eventually("the second end to be told", Duration::from_secs(60), async || {
        if receiver.at("well").len() == 2 { Ok(()) } else { Err(receiver.at("well").len()) }
    })
    .await;
    // Both ends are closed for both receivers: nobody is told more than that, though two workers look.
    eventually("nothing to be left for those who answer", Duration::from_secs(60), async || {
        let listed = imagemill.run(&["webhook", "ls", "--json"]).await.unwrap().json();
        let of = |name: &str| {
            let hooks = listed["webhooks"].as_array().unwrap();
            hooks.iter().find(|hook| hook["webhook"] == name).cloned().unwrap_or_default()
        };
        let closed = |hook: Value| hook["delivered"] == 2 && hook["waiting"] == 0;
        if closed(of("fails")) && closed(of("well")) { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;
    let (fails, well) = (receiver.at("fails"), receiver.at("well"));
    assert_eq!((fails.len(), well.len()), (7, 2));
    for got in fails.iter().chain(&well).chain(&receiver.at("dead")) {
        assert!(got.is_signed(), "{got:?}");
    }
    assert!(fails[..6].iter().all(|got| got.headers["webhook-id"] == fails[0].headers["webhook-id"]));
    assert_ne!(fails[6].headers["webhook-id"], fails[0].headers["webhook-id"]);
    let event = well[0].json();
    assert_eq!(
        (&event["type"], &event["id"]),
        (&"batch.ended".into(), &well[0].headers["webhook-id"].as_str().into())
    );
    let data = &event["data"];
    assert_eq!(
        (&data["batch"], &data["state"], &data["end"]),
        (&"b".into(), &"succeeded".into(), &1.into()),
        "{data}"
    );
    assert_eq!((&data["jobs"]["succeeded"], &data["images"]["stored"]), (&4.into(), &4.into()), "{data}");
    assert_eq!(data["cost"]["micros"], 120_000, "{data}");
    assert_eq!(data["manifest"]["key"], "b/manifest.jsonl");
    assert_eq!(well[1].json()["data"]["jobs"]["succeeded"], 5);

    let status = imagemill.run(&["status"]).await.unwrap().expect_code(0).stdout;
    assert!(
        status.contains("webhook dead: 0 told, 2 waiting for a try; last error")
            && status.contains("HTTP 503"),
        "{status}"
    );
    let listed = imagemill.run(&["webhook", "ls", "--json"]).await.unwrap().expect_code(0);
    assert!(!listed.stdout.contains("s3cret") && !listed.stdout.contains("MfKQ"), "{}", listed.stdout);
    assert_eq!(listed.json()["webhooks"][0]["delivered"], 2, "{}", listed.stdout);
    let mut logs = String::new();
    for worker in &mut workers {
        worker.signal(Signal::TERM);
        assert!(worker.wait(Duration::from_secs(10)).unwrap().success());
        logs += &worker.log();
    }
    assert!(logs.contains("Webhook dead did not take the end of batch b (HTTP 503)"), "{logs}");
    assert!(!logs.contains("s3cret") && !logs.contains("MfKQ"), "secrets are in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_worker_dies_before_it_is_written_down_comes_again_under_the_same_id() {
    let world = World::quick().await.unwrap();
    let receiver = Receiver::start().await;
    world.write("imagemill.toml", &settings(&receiver, &["well"])).unwrap();
    let imagemill = world.imagemill.with("HOOK", SECRET);
    enqueue(&world, &imagemill, "b", 1).await;
    let stops = imagemill.with("IMAGEMILL_STOP_AT", "event_answered");
    let mut first = stops.start("first", &["worker"]).unwrap();
    eventually("the first worker to stand still", Duration::from_secs(60), async || {
        if first.is_stopped() { Ok(()) } else { Err(first.log()) }
    })
    .await;
    assert_eq!(receiver.at("well").len(), 1);
    first.kill();
    let shown = show(&imagemill, "b").await;
    assert_eq!(shown["deliveries"][0]["state"], "waiting", "{shown}");
    // `--until-idle` waits for what is worked on, be its worker dead.
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let got = receiver.at("well");
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!((&got[0].headers["webhook-id"], &got[0].body), (&got[1].headers["webhook-id"], &got[1].body));
    assert_eq!(show(&imagemill, "b").await["deliveries"][0]["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_reads_its_settings_again_tells_the_webhooks_that_are_there_by_then() {
    let world = World::quick().await.unwrap();
    let receiver = Receiver::start().await;
    world.write("hook.secret", SECRET).unwrap();
    world.write("imagemill.toml", &settings(&receiver, &["old"])).unwrap();
    let imagemill = world.imagemill.with("HOOK", SECRET);
    let mut worker = imagemill.start("worker", &["worker"]).unwrap();
    enqueue(&world, &imagemill, "first", 1).await;
    delivered(&imagemill, "first", "old").await;

    let new = |file: &str| {
        let from = format!("{{ file = \"{file}\" }}");
        settings(&receiver, &["new"]).replace("{ env = \"HOOK\" }", &from)
    };
    world.write("imagemill.toml", &new("none.secret")).unwrap();
    let reloaded = async |expected: &str| {
        worker.signal(Signal::HUP);
        eventually(&format!("the log to say `{expected}`"), Duration::from_secs(60), async || {
            let log = worker.log();
            if log.contains(expected) { Ok(()) } else { Err(log) }
        })
        .await;
    };
    reloaded("the secret of webhook `new` cannot be read").await;
    world.write("imagemill.toml", &new("hook.secret")).unwrap();
    reloaded("The webhooks were read again and hold from now on (new: new; gone: old)").await;
    enqueue(&world, &imagemill, "second", 1).await;
    delivered(&imagemill, "second", "new").await;
    assert_eq!((receiver.at("old").len(), receiver.at("new").len()), (1, 1));
    assert!(receiver.at("new")[0].is_signed());
    worker.signal(Signal::TERM);
    assert!(worker.wait(Duration::from_secs(10)).unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_of_a_batch_has_the_lines_of_its_results() {
    let world = World::quick().await.unwrap();
    enqueue(&world, &world.imagemill, "b", 5).await;
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let store = world.store.store().await.unwrap();
    let key = job::ObjectKey::parse("b/manifest.jsonl").unwrap();
    let manifest = store.get(&key, u64::MAX).await.unwrap().expect("it is there once the worker is idle");
    let results = world.imagemill.run(&["batch", "results", "b"]).await.unwrap().expect_code(0).stdout;
    assert_eq!(String::from_utf8(manifest.to_vec()).unwrap(), results);
    assert_eq!(results.lines().count(), 5);
    world.check_all_succeeded().await.unwrap();

    let without = world.imagemill.with("IMAGEMILL_RESULTS_BATCH_MANIFEST", "false");
    enqueue(&world, &without, "none", 1).await;
    without.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let key = job::ObjectKey::parse("none/manifest.jsonl").unwrap();
    assert!(store.head(&key).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_removed_once_its_end_was_dealt_with_and_says_so_where_nobody_does() {
    let world = World::quick().await.unwrap();
    let imagemill = &world.imagemill;
    let cancelled = async |batch: &str| {
        let later = ["--prompt", "later", "--not-before", "2099-01-01T00:00:00Z"];
        imagemill.run(&[&["enqueue", "--batch", batch][..], &later].concat()).await.unwrap().expect_code(0);
        imagemill.run(&["batch", "cancel", batch]).await.unwrap().expect_code(0);
    };
    let remove = async |batch| imagemill.run(&["batch", "rm", batch, "--yes"]).await.unwrap().expect_code(0);
    cancelled("early").await;
    cancelled("untold").await;
    // A worker would have looked within seconds: none is waited for any longer, and of an end that stood so long none at all.
    let began = Instant::now();
    let untold = remove("untold").await;
    assert!(untold.stderr.contains("the end of batch untold was not dealt with"), "{}", untold.stderr);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let early = remove("early").await;
    assert!(early.stderr.contains("the end of batch early was not dealt with"), "{}", early.stderr);
    assert!(!early.stderr.contains("Waiting"), "{}", early.stderr);

    let _worker = imagemill.start("worker", &["worker"]).unwrap();
    let store = world.store.store().await.unwrap();
    let has_manifest = async |batch: &str| {
        let key = job::ObjectKey::parse(&format!("{batch}/manifest.jsonl")).unwrap();
        store.head(&key).await.unwrap().is_some()
    };
    cancelled("served").await;
    eventually("a worker to be there", Duration::from_secs(60), async || {
        if has_manifest("served").await { Ok(()) } else { Err(()) }
    })
    .await;
    cancelled("told").await;
    let told = remove("told").await;
    assert!(!told.stderr.contains("not dealt with"), "{}", told.stderr);
    assert!(has_manifest("told").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_can_be_tried_and_says_what_is_wrong_with_it() {
    let world = World::quick().await.unwrap();
    let receiver = Receiver::start().await;
    world.write("imagemill.toml", &settings(&receiver, &["well", "dead"])).unwrap();
    let imagemill = world.imagemill.with("HOOK", SECRET);
    let run = async |imagemill: &Imagemill, arguments: &[&str]| imagemill.run(arguments).await.unwrap();
    let taken = run(&imagemill, &["webhook", "test", "well"]).await.expect_code(0);
    assert!(taken.stdout.starts_with("webhook well took the event evt_ping_"), "{}", taken.stdout);
    let got = receiver.at("well").remove(0);
    assert!(got.is_signed() && got.json()["type"] == "ping", "{got:?}");
    let refused = run(&imagemill, &["webhook", "test", "dead"]).await.expect_code(1);
    assert!(refused.stderr.contains("caused by: HTTP 503"), "{}", refused.stderr);
    let unknown = run(&imagemill, &["webhook", "test", "wel"]).await.expect_code(2);
    assert!(unknown.stderr.contains("did you mean `well`?"), "{}", unknown.stderr);

    let unset = run(&world.imagemill, &["worker", "--until-idle"]).await.expect_code(78);
    assert!(unset.stderr.contains("the secret of webhook `well` cannot be read"), "{}", unset.stderr);
    let short =
        run(&imagemill.with("HOOK", "whsec_c2hvcnQ="), &["worker", "--until-idle"]).await.expect_code(78);
    assert!(short.stderr.contains("it has 5 bytes, and must have 24 to 64"), "{}", short.stderr);
    assert!(!short.stderr.contains("c2hv"), "{}", short.stderr);
}
