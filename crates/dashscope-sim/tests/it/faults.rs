//! Faults of the API, each by name.

use std::time::Duration;

use dashscope_sim::{Act, Fault, On};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Bench, CREATE_SYNC, DONE, links, send, text_to_image, with_parameters};

fn failed(flat: bool) -> Act {
    Act::Failed { code: "DataInspectionFailed".into(), message: "green net".into(), flat }
}

fn created(bench: &Bench) -> u64 {
    bench.sim.totals().totals.tasks_created
}

/// The answer to a query of a finished task with `n` images that this act shapes.
async fn shaped(act: Act, n: u8) -> (Bench, Value) {
    let bench = Bench::with_fault(Fault::new(On::Task, act)).await;
    let answer = bench.finished(&with_parameters("a", json!({ "n": n }))).await;
    assert_eq!(bench.sim.faults().report()[0].struck, 1);
    (bench, answer)
}

#[tokio::test]
async fn status_refuses_any_call_with_code_text_and_retry_after() {
    let act =
        Act::Status { http: 429, code: "Throttling".into(), message: "slow".into(), retry_after_s: Some(9) };
    for (on, method, path) in [
        (On::Query, Method::GET, "/tasks/x"),
        (On::List, Method::GET, "/tasks"),
        (On::Cancel, Method::POST, "/tasks/x/cancel"),
        (On::Quotas, Method::GET, "/quotas"),
        (On::Upload, Method::GET, "/uploads?action=getPolicy&model=wan2.7-image"),
    ] {
        let bench = Bench::with_fault(Fault::new(on, act.clone()).times(1)).await;
        let struck = send(bench.request(method.clone(), path)).await.unwrap();
        assert_eq!(struck.refusal(), (429, "Throttling".into()), "{path}");
        assert_eq!(
            (struck.json()["message"].as_str(), struck.header("retry-after")),
            (Some("slow"), Some("9"))
        );
        assert_ne!(send(bench.request(method, path)).await.unwrap().status, 429, "{path}: only once");
    }
    let bench = Bench::with_fault(Fault::new(On::Create, act)).await;
    assert_eq!(bench.create(&text_to_image("a")).await.status, 429);
    assert_eq!(created(&bench), 0);
    assert_eq!(bench.sim.totals().throttled.create_rate, 0, "a scripted refusal is not a violation");
}

#[tokio::test]
async fn html_502_is_what_a_proxy_says_and_creates_nothing() {
    let bench = Bench::with_fault(Fault::new(On::Create, Act::Html502)).await;
    let answer = bench.create(&text_to_image("a")).await;
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("text/html")));
    assert!(answer.text().starts_with("<html>"));
    assert_eq!(created(&bench), 0);
}

#[tokio::test]
async fn flat_200_is_a_success_whose_body_is_an_error() {
    let act = Act::Flat200 { code: "BailianGateway.Workspace.NotAuthorised".into(), message: "no".into() };
    let bench = Bench::with_fault(Fault::new(On::Create, act)).await;
    let answer = bench.create(&text_to_image("a")).await;
    assert_eq!(answer.refusal(), (200, "BailianGateway.Workspace.NotAuthorised".into()));
    assert!(answer.json().get("output").is_none());
    assert_eq!(created(&bench), 0);
}

#[tokio::test]
async fn a_cut_connection_may_or_may_not_have_created_a_task() {
    for (act, tasks) in [(Act::RefuseCut, 0), (Act::AcceptThenCut, 1)] {
        let bench = Bench::with_fault(Fault::new(On::Create, act).times(1)).await;
        let error = send(bench.create_request(&text_to_image("a"))).await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!(created(&bench), tasks);
        bench.task(&text_to_image("a")).await;
    }
}

#[tokio::test]
async fn accept_then_status_creates_the_task_and_says_504_in_html() {
    let bench = Bench::with_fault(Fault::new(On::Create, Act::AcceptThenStatus { http: 504 })).await;
    let answer = bench.create(&text_to_image("a")).await;
    assert_eq!((answer.status, answer.header("content-type")), (504, Some("text/html")));
    assert_eq!(created(&bench), 1);
}

#[tokio::test]
async fn a_call_that_hangs_gets_no_answer_and_ends_with_the_simulator() {
    for (act, tasks) in [(Act::Hang, 0), (Act::AcceptThenHang, 1)] {
        let bench = Bench::with_fault(Fault::new(On::Create, act)).await;
        let body = text_to_image("a");
        let late = bench.create_request(&body).timeout(Duration::from_millis(200));
        assert!(send(late).await.unwrap_err().is_timeout());
        assert_eq!(created(&bench), tasks);
        bench.sim.shutdown().await;
    }
}

#[tokio::test]
async fn a_delay_comes_before_the_usual_answer() {
    let bench = Bench::with_fault(Fault::new(On::Query, Act::Delay { ms: 300 })).await;
    let early = bench.request(Method::GET, "/tasks/x").timeout(Duration::from_millis(100));
    assert!(send(early).await.unwrap_err().is_timeout());
    assert_eq!(bench.query("x").await["output"]["task_status"], "UNKNOWN");
}

#[tokio::test]
async fn a_fault_strikes_the_chosen_prompt_only() {
    let fault = Fault::new(On::Create, Act::Html502).prompt_contains("cat");
    let bench = Bench::with_fault(fault).await;
    assert_eq!(bench.create(&text_to_image("a dog")).await.status, 200);
    assert_eq!(bench.create(&text_to_image("a cat")).await.status, 502);
}

#[tokio::test]
async fn unknown_once_hides_a_task_from_its_first_query() {
    let bench = Bench::with_fault(Fault::new(On::Query, Act::UnknownOnce)).await;
    let id = bench.task(&text_to_image("a")).await;
    let states = [bench.query(&id).await, bench.query(&id).await];
    assert_eq!(states.map(|state| state["output"]["task_status"].clone()), ["UNKNOWN", "PENDING"]);
}

#[tokio::test]
async fn unknown_forever_hides_a_task_for_good_although_it_is_billed() {
    let bench = Bench::with_fault(Fault::new(On::Query, Act::UnknownForever).prompt_contains("lost")).await;
    let id = bench.task(&text_to_image("a lost one")).await;
    let other = bench.finished(&text_to_image("another")).await;
    assert_eq!(other["output"]["task_status"], "SUCCEEDED");
    for _ in 0..3 {
        assert_eq!(bench.query(&id).await["output"]["task_status"], "UNKNOWN");
    }
    assert_eq!(bench.sim.totals().totals.images_billed, 2);
}

#[tokio::test]
async fn an_unrecognised_state_is_shown_as_scripted() {
    let act = Act::UnrecognisedState { state: "SUSPENDED".into() };
    let bench = Bench::with_fault(Fault::new(On::Query, act).nth(&[1])).await;
    let id = bench.task(&text_to_image("a")).await;
    assert_eq!(bench.query(&id).await["output"]["task_status"], "SUSPENDED");
    assert_eq!(bench.query(&id).await["output"]["task_status"], "PENDING");
}

#[tokio::test]
async fn a_failed_task_says_why_in_its_output_or_flat_and_is_free() {
    let (bench, inside) = shaped(failed(false), 1).await;
    assert_eq!(inside["output"]["task_status"], "FAILED");
    assert_eq!(
        (&inside["output"]["code"], &inside["output"]["message"]),
        (&json!("DataInspectionFailed"), &json!("green net"))
    );
    assert!(inside.get("usage").is_none() && inside.get("code").is_none());
    let totals = bench.sim.totals().totals;
    assert_eq!((totals.failed, totals.images_billed), (1, 0));

    let (_bench, flat) = shaped(failed(true), 1).await;
    assert_eq!((&flat["code"], &flat["message"]), (&json!("DataInspectionFailed"), &json!("green net")));
    assert!(flat.get("output").is_none());
}

#[tokio::test]
async fn a_synchronous_call_of_a_failing_task_is_refused() {
    let bench = Bench::with_fault(Fault::new(On::Task, failed(false))).await;
    let call = send(bench.request(Method::POST, CREATE_SYNC).json(&text_to_image("a")));
    let clock = async {
        while created(&bench) == 0 {
            tokio::task::yield_now().await;
        }
        bench.sim.advance_clock(DONE);
    };
    let (answer, ()) = tokio::join!(call, clock);
    assert_eq!(answer.unwrap().refusal(), (400, "DataInspectionFailed".into()));
}

#[tokio::test]
async fn a_task_may_end_with_fewer_images_or_none_and_the_bill_follows() {
    let (bench, fewer) = shaped(Act::FewerImages, 4).await;
    assert_eq!((links(&fewer).len(), &fewer["usage"]["image_count"]), (3, &json!(3)));
    assert_eq!(bench.sim.totals().totals.images_billed, 3);
    let (bench, none) = shaped(Act::NoImages, 4).await;
    assert_eq!((none["output"]["task_status"].as_str(), links(&none).len()), (Some("SUCCEEDED"), 0));
    assert_eq!(bench.sim.totals().totals.images_billed, 0);
}

#[tokio::test]
async fn a_text_may_stand_among_the_images() {
    let (_bench, answer) = shaped(Act::TextItem, 2).await;
    let content = &answer["output"]["choices"][0]["message"]["content"];
    assert_eq!((content[0]["type"].as_str(), content[1]["type"].as_str()), (Some("text"), Some("image")));
    assert_eq!(links(&answer).len(), 2);
}

#[tokio::test]
async fn two_images_may_have_one_link() {
    let (_bench, answer) = shaped(Act::EqualUrls, 2).await;
    let links = links(&answer);
    assert_eq!((links.len(), links[0] == links[1]), (2, true));
    assert_eq!(answer["usage"]["image_count"], 2);
}

#[tokio::test]
async fn independent_images_may_share_a_choice() {
    let (_bench, answer) = shaped(Act::OneChoiceManyItems, 3).await;
    assert_eq!((answer["output"]["choices"].as_array().unwrap().len(), links(&answer).len()), (1, 3));
}

#[tokio::test]
async fn code_and_message_may_be_null_empty_or_missing() {
    for (act, value) in
        [(Act::CodeNull, Some(Value::Null)), (Act::CodeEmpty, Some(json!(""))), (Act::CodeMissing, None)]
    {
        let (_bench, answer) = shaped(act, 1).await;
        assert_eq!((answer.get("code").cloned(), answer.get("message").cloned()), (value.clone(), value));
        assert_eq!(links(&answer).len(), 1);
    }
}

#[tokio::test]
async fn fields_that_no_page_names_may_be_anywhere() {
    let (_bench, answer) = shaped(Act::ExtraFields, 1).await;
    for path in ["/x_unknown", "/output/x_unknown", "/usage/x_unknown", "/output/choices/0/x_unknown"] {
        assert!(answer.pointer(path).is_some(), "{path}");
    }
}

#[tokio::test]
async fn times_may_come_without_milliseconds() {
    let (_bench, answer) = shaped(Act::TimesWithoutMillis, 1).await;
    assert_eq!(answer["output"]["submit_time"], "2026-03-31 20:00:00");
}

#[tokio::test]
async fn a_task_may_take_as_long_as_scripted() {
    let bench = Bench::with_fault(Fault::new(On::Task, Act::Takes { ms: 60_000 })).await;
    let id = bench.task(&text_to_image("a")).await;
    bench.sim.advance_clock(Duration::from_secs(60));
    assert_eq!(bench.query(&id).await["output"]["task_status"], "RUNNING");
    bench.sim.advance_clock(Duration::from_secs(1));
    assert_eq!(bench.query(&id).await["output"]["task_status"], "SUCCEEDED");
}

#[tokio::test]
async fn a_tasks_links_may_die_earlier_than_those_of_others() {
    let short = Fault::new(On::Task, Act::LinkLives { ms: 30_000 }).prompt_contains("short");
    let bench = Bench::with_fault(short).await;
    let [short, other] =
        [bench.finished(&text_to_image("short")).await, bench.finished(&text_to_image("b")).await];
    let (short, other) = (links(&short).remove(0), links(&other).remove(0));
    assert_eq!(bench.download(&short).await.status, 200);
    bench.sim.advance_clock(Duration::from_secs(31));
    assert_eq!(bench.download(&short).await.status, 403);
    assert_eq!(bench.download(&other).await.status, 200);
}
