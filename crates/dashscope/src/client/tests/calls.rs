//! The calls that cost nothing.

use std::time::Duration;

use super::server::{Act, Server, answer, json};
use super::{chain, client, impatient};
use crate::client::{CallError, CancelTaskError, ListQuery, UploadError};
use crate::error::ErrorClass;
use crate::{ImageInput, Model, TaskId, TaskStatus};

fn task(id: &str) -> TaskId {
    id.parse().unwrap()
}

#[tokio::test]
async fn a_query_carries_the_key_and_no_header_of_a_create() {
    let server =
        Server::start([json(200, r#"{"output": {"task_id": "t/1", "task_status": "RUNNING"}}"#)]).await;
    let report = client(&server).fetch_task(&task("t/1")).await.unwrap();
    assert_eq!(report.status, TaskStatus::Running);
    let request = &server.requests()[0];
    assert_eq!(request.line(), "GET /api/v1/tasks/t%2F1 HTTP/1.1");
    assert_eq!(request.header("authorization").as_deref(), Some("Bearer sk-SECRETKEY"));
    for absent in ["x-dashscope-async", "content-type", "x-dashscope-ossresourceresolve", "content-length"] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn queries_share_a_connection() {
    let running = r#"{"output": {"task_status": "RUNNING"}}"#;
    let server = Server::start([json(200, running), json(200, running)]).await;
    let client = client(&server);
    for _ in 0..2 {
        client.fetch_task(&task("t1")).await.unwrap();
    }
    assert!(server.requests().iter().all(|request| request.connection == 1), "{:?}", server.record());
}

#[tokio::test]
async fn a_task_the_service_does_not_know_is_a_report_and_not_an_error() {
    let server = Server::start([json(
        200,
        r#"{"request_id": "r", "output": {"task_id": "x", "task_status": "UNKNOWN"}}"#,
    )])
    .await;
    assert_eq!(client(&server).fetch_task(&task("t1")).await.unwrap().status, TaskStatus::Unknown);
}

#[tokio::test]
async fn a_failed_query_says_what_it_was_and_whether_to_ask_again() {
    let flat = |code: &str| format!(r#"{{"code": "{code}", "message": "m", "request_id": "r"}}"#);
    let cases = [
        (403, flat("AccessDenied"), ErrorClass::AccessDenied, false),
        (404, flat("NotFound"), ErrorClass::NotFound, false),
        (429, flat("Throttling"), ErrorClass::Throttled { kind: crate::error::Throttle::Rate }, true),
        (500, flat("BrandNew"), ErrorClass::ServiceFault, true),
        (200, flat("InternalError"), ErrorClass::ServiceFault, true),
        (400, flat("BrandNew"), ErrorClass::Unknown, false),
        (502, "<html>".to_owned(), ErrorClass::Transport, true),
        (200, "<html>".to_owned(), ErrorClass::Unknown, true),
        (200, "{}".to_owned(), ErrorClass::Unknown, true),
    ];
    let server =
        Server::start(cases.iter().map(|(status, body, ..)| json(*status, body)).collect::<Vec<_>>()).await;
    let client = client(&server);
    for (status, body, class, retryable) in cases {
        let error = client.fetch_task(&task("t1")).await.unwrap_err();
        assert_eq!((error.class(), error.is_retryable()), (class, retryable), "{status} {body}");
        assert_eq!(error.http_status(), Some(status));
        assert_eq!(error.request_id(), body.contains("request_id").then_some("r"));
    }
}

#[tokio::test]
async fn a_query_without_an_answer_says_whether_it_waited() {
    let server = Server::start([Act::Close]).await;
    let error = client(&server).fetch_task(&task("t1")).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { timed_out: false, .. }), "{error:?}");
    let server = Server::start([Act::Hang]).await;
    let error = impatient(&server).fetch_task(&task("t1")).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { timed_out: true, .. }), "{error:?}");
    assert!(error.is_retryable() && !chain(&error).contains("SECRET"));
}

#[tokio::test]
async fn a_query_is_not_led_elsewhere_with_the_key() {
    let other = Server::start([json(200, r#"{"output": {"task_status": "RUNNING"}}"#)]).await;
    let location = format!("location: {}\r\n", other.base_url());
    let server = Server::start([answer(302, &location, "")]).await;
    let error = client(&server).fetch_task(&task("t1")).await.unwrap_err();
    assert_eq!(error.http_status(), Some(302));
    assert!(other.record().is_empty(), "{:?}", other.record());
}

#[tokio::test]
async fn the_wait_that_a_proxy_asks_for_is_kept() {
    let server = Server::start([answer(429, "retry-after: 3\r\n", "<html>slow down")]).await;
    let error = client(&server).fetch_task(&task("t1")).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert_eq!(error.class(), ErrorClass::Throttled { kind: crate::error::Throttle::Rate });
}

#[tokio::test]
async fn a_list_is_asked_for_with_the_service_s_own_names_and_times() {
    let empty = r#"{"data": [], "page_no": 2, "total_page": 2}"#;
    let server = Server::start([json(200, empty), json(200, empty)]).await;
    let query = ListQuery {
        page_no: Some(2),
        page_size: Some(100),
        model: Some(Model::Wan27Image),
        status: Some(TaskStatus::Running),
        start: Some("2026-03-26T16:00:00Z".parse().unwrap()),
        end: Some("2026-03-26T17:16:01.9Z".parse().unwrap()),
    };
    let client = client(&server);
    assert!(!client.list_tasks(&query).await.unwrap().has_more());
    client.list_tasks(&ListQuery::default()).await.unwrap();
    let lines: Vec<_> = server.requests().iter().map(super::server::Recorded::line).collect();
    let expected = "GET /api/v1/tasks?page_no=2&page_size=100&model_name=wan2.7-image&status=RUNNING\
                    &start_time=20260327000000&end_time=20260327011601 HTTP/1.1";
    assert_eq!(lines, [expected, "GET /api/v1/tasks HTTP/1.1"]);
}

#[tokio::test]
async fn a_waiting_task_is_cancelled_and_a_running_one_is_not() {
    let running = r#"{"code": "UnsupportedOperation", "message": "only PENDING", "request_id": "r"}"#;
    let bodies = [
        json(200, r#"{"request_id": "r"}"#),
        json(400, running),
        json(500, r#"{"code": "InternalError", "message": ""}"#),
        json(200, r#"{"code": "InvalidApiKey", "message": ""}"#),
    ];
    let server = Server::start(bodies).await;
    let client = client(&server);
    client.cancel_task(&task("t1")).await.unwrap();
    assert_eq!(server.requests()[0].line(), "POST /api/v1/tasks/t1/cancel HTTP/1.1");
    let error = client.cancel_task(&task("t1")).await.unwrap_err();
    assert!(matches!(error, CancelTaskError::NotCancellable { .. }), "{error:?}");
    for _ in 0..2 {
        let error = client.cancel_task(&task("t1")).await.unwrap_err();
        assert!(matches!(error, CancelTaskError::Call { source: CallError::Refused { .. } }), "{error:?}");
    }
}

#[tokio::test]
async fn limits_are_asked_for_by_model() {
    let body = r#"{"output": {"quotas": [{"model": "wan2.7-image", "model_limit": {"request_limit": 5}}]}}"#;
    let server = Server::start([json(200, body)]).await;
    let page = client(&server).quotas(Some(Model::Wan27Image)).await.unwrap();
    assert_eq!(page.quotas[0].model_limit.unwrap().request_limit, Some(5));
    assert_eq!(server.requests()[0].line(), "GET /api/v1/quotas?model=wan2.7-image HTTP/1.1");
}

/// Leave to upload to the store at `host`.
fn policy(host: &str) -> Act {
    json(
        200,
        &format!(
            r#"{{"data": {{"policy": "P", "signature": "S", "upload_dir": "dir/x", "upload_host": "{host}", "expire_in_seconds": 300,
        "max_file_size_mb": 1, "oss_access_key_id": "K", "x_oss_object_acl": "private", "x_oss_forbid_overwrite": "true"}}}}"#
        ),
    )
}

#[tokio::test]
async fn a_file_is_uploaded_with_the_store_s_form_and_without_the_key() {
    let store = Server::start([answer(200, "", "")]).await;
    let host = store.base_url().replace("/api/v1/", "");
    let server = Server::start([policy(&host)]).await;
    let input = client(&server).upload_file("IMAGE".into(), "a.png", Model::Wan27Image).await.unwrap();
    assert_eq!(input, ImageInput::parse("oss://dir/x/a.png".to_owned()).unwrap());
    assert_eq!(
        server.requests()[0].line(),
        "GET /api/v1/uploads?action=getPolicy&model=wan2.7-image HTTP/1.1"
    );
    let form = &store.requests()[0];
    assert_eq!(form.header("authorization"), None, "the key stays with the API");
    let names: Vec<_> =
        form.body().split("name=\"").skip(1).map(|rest| rest[..rest.find('"').unwrap()].to_owned()).collect();
    let expected = [
        "OSSAccessKeyId",
        "Signature",
        "policy",
        "key",
        "x-oss-object-acl",
        "x-oss-forbid-overwrite",
        "success_action_status",
    ];
    assert_eq!(names[..7], expected);
    assert_eq!(names[7], "file", "the file is last");
    assert!(form.body().contains("dir/x/a.png") && form.body().contains("IMAGE"));
}

#[tokio::test]
async fn a_refused_or_impossible_upload_says_why() {
    let xml = "<Error><Code>AccessDenied</Code></Error>";
    let store = Server::start([answer(403, "", xml), Act::Close]).await;
    let host = store.base_url().replace("/api/v1/", "");
    let server = Server::start([
        policy(&host),
        policy(&host),
        policy(&host),
        policy("not a url"),
        json(429, r#"{"code": "Throttling"}"#),
    ])
    .await;
    let client = client(&server);
    let upload = |bytes: usize| client.upload_file(vec![0; bytes].into(), "a.png", Model::Wan27Image);
    let error = upload(1).await.unwrap_err();
    assert!(
        matches!(&error, UploadError::Store { http_status: 403, code: Some(code), .. } if code == "AccessDenied")
    );
    assert!(!error.is_retryable());
    assert!(matches!(upload(1).await.unwrap_err(), UploadError::NoAnswer { timed_out: false, .. }));
    assert!(matches!(upload((1 << 20) + 1).await.unwrap_err(), UploadError::TooLarge { .. }));
    assert!(matches!(upload(1).await.unwrap_err(), UploadError::Host));
    let throttled = upload(1).await.unwrap_err();
    assert!(matches!(throttled, UploadError::Policy { .. }) && throttled.is_retryable());
    let named = client.upload_file("x".into(), "../a.png", Model::Wan27Image).await.unwrap_err();
    assert!(matches!(named, UploadError::FileName));
}
