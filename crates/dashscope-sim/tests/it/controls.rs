//! The simulator's own controls over HTTP.

use dashscope_sim::{Act, Fault, Ledger, On, Simulator, StartError};
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::bench::{Answer, Bench, quick, send, text_to_image};

async fn control(bench: &Bench, method: Method, path: &str, body: &str) -> Answer {
    let url = format!("{}{path}", bench.sim.base_url().replace("/api/v1", "/_sim"));
    send(bench.http.request(method, url).body(body.to_owned())).await.unwrap()
}

#[tokio::test]
async fn the_ledger_over_http_is_the_one_of_the_library() {
    let bench = Bench::start(quick()).await;
    bench.finished(&text_to_image("a")).await;
    bench.task(&text_to_image("a")).await;
    let shown = control(&bench, Method::GET, "/ledger", "").await;
    let ledger: Ledger = serde_json::from_slice(&shown.body).unwrap();
    assert_eq!(ledger, bench.sim.ledger());
    assert_eq!((ledger.tasks.len(), ledger.tasks_by_prompt.len()), (2, 1));
    let totals = control(&bench, Method::GET, "/ledger?tasks=false", "").await;
    let totals: Ledger = serde_json::from_slice(&totals.body).unwrap();
    assert_eq!(totals, bench.sim.totals());
    assert!(totals.tasks.is_empty());
}

#[tokio::test]
async fn the_ledger_shows_no_prompt() {
    let bench = Bench::start(quick()).await;
    bench.task(&text_to_image("a secret wish")).await;
    assert!(!control(&bench, Method::GET, "/ledger", "").await.text().contains("secret"));
}

#[tokio::test]
async fn faults_can_be_scripted_in_toml_and_json_and_taken_back() {
    let bench = Bench::start(quick()).await;
    let toml = "[[faults]]\non = \"create\"\ndo = \"html_502\"";
    assert_eq!(control(&bench, Method::PUT, "/faults", toml).await.status, 200);
    assert_eq!(bench.create(&text_to_image("a")).await.status, 502);
    let json = r#"{"faults": [{"on": "query", "do": "unknown_once"}]}"#;
    let both = control(&bench, Method::POST, "/faults", json).await.json();
    assert_eq!(both["faults"][0]["struck"], 1);
    assert_eq!(both["faults"][1]["do"], "unknown_once");
    control(&bench, Method::PUT, "/faults", "").await;
    assert_eq!(bench.create(&text_to_image("a")).await.status, 200);
}

#[tokio::test]
async fn a_script_that_cannot_be_is_refused_and_changes_nothing() {
    let bench = Bench::with_fault(Fault::new(On::Create, Act::Html502)).await;
    let wrong = control(&bench, Method::PUT, "/faults", "[[faults]]\non = \"list\"\ndo = \"corrupt\"").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("use one of [Result]"), "{}", wrong.text());
    assert_eq!(bench.create(&text_to_image("a")).await.status, 502);
    assert!(bench.sim.faults().add(Fault::new(On::List, Act::Corrupt)).is_err());
    bench.sim.faults().clear();
    assert_eq!(bench.create(&text_to_image("a")).await.status, 200);
}

#[tokio::test]
async fn the_clock_can_be_moved_and_never_goes_back() {
    let bench = Bench::start(quick()).await;
    let id = bench.task(&text_to_image("a")).await;
    let moved = control(&bench, Method::POST, "/clock", r#"{"advance_s": 11.5}"#).await.json();
    assert_eq!(moved, json!({ "now_ms": 1_774_958_411_500u64, "offset_s": 11.5 }));
    assert_eq!(bench.query(&id).await["output"]["task_status"], "SUCCEEDED");
    assert_eq!(control(&bench, Method::POST, "/clock", r#"{"advance_s": -1}"#).await.status, 400);
    bench.sim.set_clock_offset(std::time::Duration::from_secs(5));
    assert_eq!(control(&bench, Method::GET, "/clock", "").await.json()["offset_s"], 11.5);
}

#[tokio::test]
async fn settings_that_contradict_themselves_do_not_start() {
    let faults = vec![Fault::new(On::Quotas, Act::Corrupt)];
    let Err(error) = Simulator::start(dashscope_sim::Config { faults, ..quick() }).await else {
        panic!("it started")
    };
    assert!(matches!(error, StartError::Config { .. }), "{error:?}");
}

#[tokio::test]
async fn a_shutdown_closes_connections_that_wait_for_nothing() {
    let bench = Bench::start(quick()).await;
    let mut idle = tokio::net::TcpStream::connect(bench.sim.address()).await.unwrap();
    // An answered call on a second connection proves that the first one has been accepted.
    bench.task(&text_to_image("a")).await;
    bench.sim.shutdown().await;
    let mut byte = [0];
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), idle.read(&mut byte));
    assert_eq!(read.await.expect("the connection stayed open").unwrap_or(0), 0);
}
