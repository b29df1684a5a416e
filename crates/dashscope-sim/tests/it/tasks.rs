//! Create, query, list, cancel, quotas: the answers of a healthy service.

use std::time::Duration;

use dashscope_sim::{Config, Durations, Key};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{
    Bench, CREATE, CREATE_SYNC, DONE, SCHEDULED, links, quick, send, text_to_image, with_parameters,
};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_task_goes_from_pending_over_running_to_a_picture() {
    let bench = Bench::start(quick()).await;
    let created = bench.create(&text_to_image("a lighthouse")).await;
    assert_eq!(created.status, 200);
    let body = created.json();
    assert_eq!(keys(&body), ["output", "request_id"]);
    assert_eq!(keys(&body["output"]), ["task_id", "task_status"]);
    assert_eq!(body["output"]["task_status"], "PENDING");
    assert_eq!(created.header("x-request-id"), body["request_id"].as_str());
    let id = body["output"]["task_id"].as_str().unwrap();

    let pending = bench.query(id).await;
    assert_eq!(keys(&pending["output"]), ["submit_time", "task_id", "task_status"]);
    assert_eq!(pending["output"]["submit_time"], "2026-03-31 20:00:00.000", "UTC+8");
    bench.sim.advance_clock(SCHEDULED);
    let running = bench.query(id).await;
    assert_eq!(running["output"]["task_status"], "RUNNING");
    assert_eq!(running["output"]["scheduled_time"], "2026-03-31 20:00:00.045");
    assert!(running.get("usage").is_none());

    bench.sim.advance_clock(DONE);
    let done = bench.query(id).await;
    assert_eq!(done["output"]["task_status"], "SUCCEEDED");
    assert_eq!(done["output"]["end_time"], "2026-03-31 20:00:10.045");
    assert_eq!(done["output"]["finished"], true);
    let choice = &done["output"]["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["role"]), (&json!("stop"), &json!("assistant")));
    assert_eq!(choice["message"]["content"][0]["type"], "image");
    let usage = &done["usage"];
    assert_eq!((&usage["image_count"], &usage["size"]), (&json!(1), &json!("1024*1024")));
    assert_eq!(
        usage["total_tokens"],
        json!(usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap())
    );
}

#[tokio::test]
async fn independent_images_come_in_a_choice_each_and_a_set_in_one_choice() {
    let bench = Bench::start(Config { set_shortfall: 0.0, ..quick() }).await;
    let separate = bench.finished(&with_parameters("a", json!({ "n": 3 }))).await;
    assert_eq!(separate["output"]["choices"].as_array().unwrap().len(), 3);
    let set = bench.finished(&with_parameters("a", json!({ "n": 5, "enable_sequential": true }))).await;
    assert_eq!(set["output"]["choices"].as_array().unwrap().len(), 1);
    assert_eq!((links(&separate).len(), links(&set).len()), (3, 5));
    assert_eq!(set["usage"]["image_count"], 5);
}

#[tokio::test]
async fn without_n_four_images_are_made_and_billed_and_twelve_for_a_set() {
    let bench = Bench::start(Config { set_shortfall: 0.0, ..quick() }).await;
    bench.finished(&with_parameters("a", json!({}))).await;
    assert_eq!(bench.sim.totals().totals.images_billed, 4);
    bench.finished(&with_parameters("a", json!({ "enable_sequential": true }))).await;
    assert_eq!(bench.sim.totals().totals.images_billed, 16);
}

#[tokio::test]
async fn a_synchronous_call_answers_when_the_task_is_done_and_is_billed_the_same() {
    // An hour until anything happens by itself: the answer can only come because the clock was moved.
    let durations = Durations { schedule_ms: 3_600_000, ..quick().durations };
    let bench = Bench::start(Config { durations, ..quick() }).await;
    let call = send(bench.request(Method::POST, CREATE_SYNC).json(&text_to_image("a")));
    let clock = async {
        while bench.sim.totals().totals.tasks_created == 0 {
            tokio::task::yield_now().await;
        }
        bench.sim.advance_clock(Duration::from_secs(2 * 3_600));
    };
    let (answer, ()) = tokio::join!(call, clock);
    let answer = answer.unwrap().json();
    assert_eq!(keys(&answer["output"]), ["choices", "finished"], "no task id");
    assert_eq!(links(&answer).len(), 1);
    let ledger = bench.sim.ledger();
    assert_eq!(
        (ledger.totals.images_billed, ledger.requests.sync_creates, ledger.tasks[0].sync),
        (1, 1, true)
    );
}

#[tokio::test]
async fn the_async_header_is_needed_on_create_and_refused_elsewhere() {
    let bench = Bench::start(quick()).await;
    let body = text_to_image("a");
    let id = bench.task(&body).await;
    let create = || bench.request(Method::POST, CREATE).json(&body);
    for without in [create(), create().header("x-dashscope-async", "disable")] {
        let answer = send(without).await.unwrap();
        assert_eq!(answer.refusal(), (403, "AccessDenied".into()));
        assert!(answer.text().contains("current user api does not support synchronous calls"));
    }
    for (method, path) in [
        (Method::GET, format!("/tasks/{id}")),
        (Method::GET, "/tasks".into()),
        (Method::POST, CREATE_SYNC.into()),
    ] {
        let with = bench.request(method, &path).header("x-dashscope-async", "enable").json(&body);
        assert_eq!(send(with).await.unwrap().refusal(), (403, "AccessDenied".into()), "{path}");
    }
    let ledger = bench.sim.totals();
    assert_eq!((ledger.violations.async_header_missing, ledger.violations.async_header_misplaced), (2, 3));
    assert_eq!(ledger.totals.tasks_created, 1);
}

#[tokio::test]
async fn a_missing_wrong_or_foreign_key_is_refused_everywhere() {
    let key = |key: &str, region: Option<&str>| Key {
        key: key.into(),
        api_key_id: "42".into(),
        region: region.map(Into::into),
    };
    let keys = vec![key("sk-test", None), key("sk-beijing", Some("cn-beijing"))];
    let bench = Bench::start(Config { keys, ..quick() }).await;
    for path in ["/tasks/x", "/tasks", "/quotas", "/uploads?action=getPolicy&model=wan2.7-image"] {
        let url = format!("{}{path}", bench.sim.base_url());
        let without = send(bench.http.get(&url)).await.unwrap();
        assert_eq!(without.refusal(), (401, "InvalidApiKey".into()), "{path}");
        assert_eq!(without.json()["message"], "No API-key provided.");
        for wrong in ["sk-other", "sk-beijing"] {
            let wrong = send(bench.http.get(&url).bearer_auth(wrong)).await.unwrap();
            assert_eq!(wrong.json()["message"], "Invalid API-key provided.", "{path}");
        }
    }
    let create = bench.http.post(format!("{}{CREATE}", bench.sim.base_url())).bearer_auth("sk-none");
    let create = create.header("x-dashscope-async", "enable").json(&text_to_image("a"));
    assert_eq!(send(create).await.unwrap().status, 401);
    bench.task(&text_to_image("a")).await;
    assert_eq!(bench.sim.ledger().tasks[0].api_key_id, "42");
}

#[tokio::test]
async fn a_body_that_breaks_a_limit_is_refused_and_creates_nothing() {
    let bench = Bench::start(quick()).await;
    let refused = bench.create(&with_parameters("a", json!({ "n": 5 }))).await;
    assert_eq!(refused.refusal(), (400, "InvalidParameter".into()));
    assert_eq!(keys(&refused.json()), ["code", "message", "request_id"]);
    let not_json = bench.create_request(&json!({})).body("{").send().await.unwrap();
    assert_eq!(not_json.status(), 400);
    let as_text = bench.request(Method::POST, CREATE).header("x-dashscope-async", "enable");
    let as_text = as_text.header("content-type", "text/plain").body(text_to_image("a").to_string());
    assert_eq!(send(as_text).await.unwrap().status, 400);
    let ledger = bench.sim.totals();
    assert_eq!((ledger.totals.tasks_created, ledger.violations.invalid_creates), (0, 2));
}

#[tokio::test]
async fn an_unknown_task_is_a_success_with_the_state_unknown() {
    let bench = Bench::start(quick()).await;
    for id in ["0385dc79-5ff8-4d82-bcb6-000000000000", "nonsense"] {
        let answer = bench.get(&format!("/tasks/{id}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["output"], json!({ "task_id": id, "task_status": "UNKNOWN" }));
    }
    let id = bench.task(&text_to_image("a")).await;
    bench.sim.advance_clock(Duration::from_secs(24 * 3_600));
    assert_eq!(bench.query(&id).await["output"]["task_status"], "UNKNOWN", "after 24 hours");
}

#[tokio::test]
async fn the_list_is_flat_with_times_in_milliseconds_and_without_links() {
    let bench = Bench::start(quick()).await;
    let id = bench.task(&text_to_image("a")).await;
    bench.sim.advance_clock(SCHEDULED);
    let running = bench.get("/tasks/?page_size=5").await.json();
    assert_eq!(keys(&running), ["data", "page_no", "page_size", "request_id", "total", "total_page"]);
    let entry = &running["data"][0];
    assert_eq!((&entry["task_id"], &entry["status"]), (&json!(id), &json!("RUNNING")));
    assert_eq!(entry["gmt_create"], 1_774_958_400_000u64);
    assert_eq!(entry["start_time"], 1_774_958_400_045u64);
    assert!(entry.get("end_time").is_none(), "not before the end");
    assert_eq!(entry["user_api_unique_key"], "apikey:v1:aigc:image-generation:generation:wan2.7-image");
    bench.sim.advance_clock(DONE);
    let done = bench.get("/tasks").await;
    assert_eq!(done.json()["data"][0]["end_time"], 1_774_958_410_045u64);
    assert!(!done.text().contains("results"));
}

#[tokio::test]
async fn a_list_window_of_more_than_24_hours_is_refused() {
    let bench = Bench::start(quick()).await;
    let day = bench.get("/tasks?start_time=20260330200000&end_time=20260331200000").await;
    assert_eq!(day.status, 200);
    let longer = bench.get("/tasks?start_time=20260330195959&end_time=20260331200000").await;
    assert_eq!(longer.refusal(), (400, "InvalidParameter".into()));
}

#[tokio::test]
async fn a_pending_task_can_be_canceled_and_a_running_one_cannot() {
    let bench = Bench::start(quick()).await;
    let cancel = |id: String| send(bench.request(Method::POST, &format!("/tasks/{id}/cancel")));
    let pending = bench.task(&text_to_image("a")).await;
    let answer = cancel(pending.clone()).await.unwrap();
    assert_eq!((answer.status, keys(&answer.json())), (200, vec!["request_id"]));
    assert_eq!(bench.query(&pending).await["output"]["task_status"], "CANCELED");

    let running = bench.task(&text_to_image("b")).await;
    bench.sim.advance_clock(SCHEDULED);
    assert_eq!(cancel(running).await.unwrap().refusal(), (400, "UnsupportedOperation".into()));
    assert_eq!(cancel(pending).await.unwrap().refusal(), (400, "UnsupportedOperation".into()));
    bench.sim.advance_clock(DONE);
    assert_eq!(bench.sim.totals().totals.images_billed, 1);
}

#[tokio::test]
async fn a_path_that_ends_with_a_slash_is_the_same_path() {
    let bench = Bench::start(quick()).await;
    let id = bench.task(&text_to_image("a")).await;
    let queried = bench.get(&format!("/tasks/{id}/")).await;
    assert_eq!((queried.status, &queried.json()["output"]["task_id"]), (200, &json!(id)));
    let canceled = send(bench.request(Method::POST, &format!("/tasks/{id}/cancel/"))).await.unwrap();
    assert_eq!(canceled.status, 200, "{}", canceled.text());
    assert_eq!(bench.get("/tasks/").await.json()["data"][0]["status"], "CANCELED");
}

#[tokio::test]
async fn the_limits_endpoint_tells_the_limits_in_force() {
    let bench = Bench::start(Config::default()).await;
    let all = bench.get("/quotas").await.json();
    assert_eq!(all["output"]["quotas"].as_array().unwrap().len(), 2);
    let one = bench.get("/quotas?model=wan2.7-image-pro&page_no=1&page_size=20").await.json();
    let limit = &one["output"]["quotas"][0]["model_limit"];
    assert_eq!(one["output"]["quotas"][0]["model"], "wan2.7-image-pro");
    assert_eq!((&limit["request_limit"], &limit["request_limit_period"]), (&json!(5), &json!(1)));
    assert_eq!(limit["async_user_concurrency_limit"], 5);
    assert_eq!(limit["async_user_queue_limit"], 50);
}

#[tokio::test]
async fn a_cut_prompt_is_accepted_and_the_ledger_says_so() {
    let bench = Bench::start(quick()).await;
    bench.task(&text_to_image(&"x".repeat(5_001))).await;
    let ledger = bench.sim.ledger();
    assert!(ledger.tasks[0].prompt_cut);
    assert_eq!(ledger.totals.prompts_cut, 1);
}
