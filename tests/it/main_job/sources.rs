//! Schedules whose list of items lies behind a link or in a bucket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use job::ObjectKey;
use rustix::process::Signal;
use serde_json::Value;
use tests::{World, eventually, put_over};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::refresh::{NEVER, catalogue, history, missed, run_now, tasks, work};

/// Longer than the wait before a tick's second try.
const SOON: Duration = Duration::from_secs(120);

/// A shop that answers every request with its list, or with 503 when it has none.
struct Shop {
    port: u16,
    list: Arc<Mutex<Option<String>>>,
}

impl Shop {
    async fn start(list: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let list = Arc::new(Mutex::new(Some(list.to_owned())));
        let shown = list.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let list = shown.lock().unwrap().clone();
                tokio::spawn(answer(socket, list));
            }
        });
        Self { port, list }
    }

    fn shows(&self, list: Option<&str>) {
        *self.list.lock().unwrap() = list.map(str::to_owned);
    }
}

async fn answer(mut socket: TcpStream, list: Option<String>) -> std::io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            bytes => request.extend_from_slice(&buffer[..bytes]),
        }
    }
    let status = if list.is_some() { "200 OK" } else { "503 Service Unavailable" };
    let body = list.unwrap_or_default();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all((head + &body).as_bytes()).await
}

fn settings(world: &World, cron: &str, source: &str, more: &str) {
    let text = format!("[[schedules]]\nname = \"shoes\"\ncron = \"{cron}\"\nsource = \"{source}\"\n{more}\n");
    world.write("imagemill.toml", &text).unwrap();
}

/// Runs the schedule by hand, whose list cannot be had: `why` is said of it here and in the history.
async fn fails(world: &World, why: &str) {
    let failed = world.imagemill.run(&["schedule", "run", "shoes"]).await.unwrap().expect_code(1);
    let runs = history(world).await;
    for said in [failed.stderr.as_str(), runs[0]["error"].as_str().unwrap()] {
        assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_behind_a_link_is_fetched_at_each_tick_and_one_that_is_away_is_tried_again() {
    let world = World::quick().await.unwrap();
    let shop = Shop::start(&catalogue(3, |_| "a shoe")).await;
    let link = format!("http://127.0.0.1:{}/feeds/shoes.jsonl?token=s3cret", shop.port);
    settings(&world, NEVER, &link, "");
    assert_eq!(run_now(&world).await, (3, 0, 0));
    work(&world).await;
    assert_eq!(run_now(&world).await, (0, 3, 0));

    shop.shows(None);
    let link_shown = format!("failed to fetch http://127.0.0.1:{}/feeds/shoes.jsonl?[redacted]", shop.port);
    fails(&world, &link_shown).await;
    fails(&world, "the host answered with status 503").await;

    // A scheduler does not give its tick up.
    settings(&world, "0 0 * * *", &link, "");
    missed(&world, "0 0 * * *", Duration::from_secs(2 * 86_400)).await;
    let mut scheduler = world.imagemill.start("scheduler", &["scheduler"]).unwrap();
    let newest = async || history(&world).await.remove(0);
    let failed = eventually("the tick's first try", SOON, async || {
        let run = newest().await;
        if run["by_hand"] == true { Err((run, scheduler.log())) } else { Ok(run) }
    })
    .await;
    assert!(failed["error"].as_str().unwrap().contains("status 503"), "{failed}");
    shop.shows(Some(&catalogue(4, |_| "a shoe")));
    let done = eventually("the tick's second try", SOON, async || {
        let run: Value = newest().await;
        if run["error"].is_null() { Ok(run) } else { Err((run, scheduler.log())) }
    })
    .await;
    assert_eq!(done["tick"], failed["tick"], "{done}");
    let counts = ["new", "unchanged", "tries"].map(|name| done[name].as_u64().unwrap());
    assert_eq!(counts, [1, 3, 1], "{done}");
    scheduler.signal(Signal::TERM);
    assert!(scheduler.wait(Duration::from_secs(20)).unwrap().success(), "{}", scheduler.log());
    assert!(!scheduler.log().contains("s3cret"), "{}", scheduler.log());
    work(&world).await;
    assert_eq!(tasks(&world), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_the_bucket_is_read_as_it_stands_there_at_each_tick() {
    let world = World::quick().await.unwrap();
    let store = world.store.store().await.unwrap();
    let key = ObjectKey::parse("feeds/shoes.csv").unwrap();
    let source = format!("s3://{}/{key}", world.store.bucket());
    settings(&world, NEVER, &source, "template = \"a {colour} shoe\"\nsize = \"1K\"");
    fails(&world, &format!("there is no object {source}")).await;

    put_over(&store, &key, "custom_id,colour\nsku-1,red\nsku-2,blue\n").await;
    assert_eq!(run_now(&world).await, (2, 0, 0));
    work(&world).await;
    assert_eq!(run_now(&world).await, (0, 2, 0));
    put_over(&store, &key, "custom_id,colour\nsku-1,red\nsku-2,green\n").await;
    assert_eq!(run_now(&world).await, (1, 1, 0));
    work(&world).await;
    assert_eq!(tasks(&world), 3);
    let item = ObjectKey::parse("shoes/sku-2/manifest.json").unwrap();
    let manifest = store.get(&item, 1 << 20).await.unwrap().unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["versions"].as_array().unwrap().len(), 2, "{manifest}");
}
