//! The account's limits over HTTP.

use dashscope_sim::{Config, Limits};
use reqwest::Method;

use crate::bench::{Bench, DONE, SCHEDULED, quick, send, text_to_image};

#[tokio::test]
async fn the_sixth_creation_within_a_second_is_refused_and_creates_nothing() {
    let bench =
        Bench::start(Config { limits: Limits { retry_after_s: 3, ..Limits::default() }, ..quick() }).await;
    for task in 0..5 {
        bench.task(&text_to_image(&task.to_string())).await;
    }
    let sixth = bench.create(&text_to_image("x")).await;
    assert_eq!(sixth.refusal(), (429, "Throttling.RateQuota".into()));
    assert_eq!(sixth.header("retry-after"), Some("3"));
    bench.sim.advance_clock(SCHEDULED);
    bench.task(&text_to_image("x")).await;
    let ledger = bench.sim.totals();
    assert_eq!(
        (ledger.totals.tasks_created, ledger.throttled.create_rate, ledger.requests.creates),
        (6, 1, 7)
    );
}

#[tokio::test]
async fn queries_lists_and_cancels_share_one_rate() {
    let bench =
        Bench::start(Config { limits: Limits { queries_per_second: 6, ..Limits::default() }, ..quick() })
            .await;
    for _ in 0..2 {
        assert_eq!(bench.get("/tasks/x").await.status, 200);
        assert_eq!(bench.get("/tasks").await.status, 200);
        assert_eq!(send(bench.request(Method::POST, "/tasks/x/cancel")).await.unwrap().status, 400);
    }
    let refused = bench.get("/tasks/x").await;
    assert_eq!(refused.refusal(), (429, "Throttling.RateQuota".into()));
    assert!(refused.header("retry-after").is_none());
    assert_eq!(bench.sim.totals().throttled.query_rate, 1);
}

#[tokio::test]
async fn no_more_than_the_slots_run_and_what_waits_beyond_the_queue_is_refused() {
    let limits = Limits { tasks_at_once: 2, pending_max: 3, creates_per_second: 0, ..Limits::default() };
    let bench = Bench::start(Config { limits, ..quick() }).await;
    for task in 0..2 {
        bench.task(&text_to_image(&task.to_string())).await;
    }
    bench.sim.advance_clock(SCHEDULED);
    for task in 2..5 {
        bench.task(&text_to_image(&task.to_string())).await;
    }
    assert_eq!(bench.create(&text_to_image("x")).await.refusal(), (429, "Throttling.Concurrency".into()));
    let totals = bench.sim.totals();
    assert_eq!((totals.totals.running, totals.totals.pending, totals.throttled.pending_full), (2, 3, 1));
    bench.sim.advance_clock(DONE * 3);
    let model = bench.sim.totals().models[&dashscope_sim::Model::Standard];
    assert_eq!((model.running_max, model.pending_max, model.busy_ms), (2, 3, 50_000));
}

#[tokio::test]
async fn upload_policies_have_a_rate_of_their_own() {
    let limits = Limits { upload_policies_per_second: 1, ..Limits::default() };
    let bench = Bench::start(Config { limits, ..quick() }).await;
    let path = "/uploads?action=getPolicy&model=wan2.7-image";
    assert_eq!(bench.get(path).await.status, 200);
    assert_eq!(bench.get(path).await.status, 429);
    assert_eq!(bench.sim.totals().throttled.upload_rate, 1);
}
