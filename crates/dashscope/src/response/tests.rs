//! Recorded shapes of answers, and shapes that were only told of.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::{AccountFault, ErrorClass};

fn report(body: Value) -> TaskReport {
    TaskReport::read(body.to_string().as_bytes()).unwrap()
}

fn image(name: &str) -> Value {
    json!({"type": "image", "image": format!("https://dashscope-x.oss-y.aliyuncs.com/{name}.png?Expires=1775000000")})
}

fn choice(content: Vec<Value>) -> Value {
    json!({"finish_reason": "stop", "message": {"role": "assistant", "content": content}})
}

fn succeeded(choices: Vec<Value>) -> Value {
    json!({
        "request_id": "810fa5f5",
        "output": {
            "task_id": "a81ee7cb", "task_status": "SUCCEEDED", "finished": true, "choices": choices,
            "submit_time": "2026-03-26 17:16:01.663",
            "scheduled_time": "2026-03-26 17:16:01.716",
            "end_time": "2026-03-26 17:16:22",
        },
        "usage": {"size": "2976*1408", "total_tokens": 11017, "image_count": 1, "output_tokens": 2, "input_tokens": 11015},
    })
}

/// (choice, item) of every image.
fn places(output: &Output) -> Vec<(usize, usize)> {
    output.images.iter().map(|image| (image.choice, image.item)).collect()
}

#[test]
fn a_task_is_created_whether_code_and_message_are_absent_null_or_empty() {
    for extra in [json!({}), json!({"code": null, "message": null}), json!({"code": "", "message": ""})] {
        let mut body =
            json!({"output": {"task_status": "PENDING", "task_id": "0385dc79"}, "request_id": "4909100c"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let created = CreatedTask::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(created.task_id.as_str(), "0385dc79");
        assert_eq!(created.status, TaskStatus::Pending);
        assert_eq!(created.request_id.as_deref(), Some("4909100c"));
    }
}

#[test]
fn a_task_id_counts_even_beside_an_error() {
    let body = br#"{"code": "InternalError", "message": "x", "output": {"task_id": "0385dc79"}}"#;
    assert_eq!(CreatedTask::read(body).unwrap().task_id.as_str(), "0385dc79");
}

#[test]
fn an_answer_without_a_task_id_is_a_refusal_or_unreadable() {
    let read = |body: &str| CreatedTask::read(body.as_bytes()).unwrap_err();
    let refused =
        read(r#"{"code": "InvalidApiKey", "message": "No API-key provided.", "request_id": "7438d53d"}"#);
    assert!(matches!(refused, ReplyError::Refused { source } if source.code() == "InvalidApiKey"));
    let alias = read(r#"{"error": {"code": "invalid_api_key", "message": "bad", "type": "x"}}"#);
    assert!(matches!(alias, ReplyError::Refused { source } if source.code() == "invalid_api_key"));
    let missing = ReplyError::Missing { field: "output.task_id" };
    for body in [
        "{}",
        r#"{"output": {}}"#,
        r#"{"output": {"task_id": ""}}"#,
        r#"{"output": null}"#,
        r#"{"code": 200}"#,
    ] {
        assert_eq!(read(body), missing, "{body}");
    }
    for body in ["", "<html>502</html>", "[]", "\"x\"", "{\"output\": {\"task_id\": \"038"] {
        assert_eq!(read(body), ReplyError::NotJson, "{body}");
    }
}

#[test]
fn the_result_of_the_api_page_is_read_whole() {
    let report = report(succeeded(vec![choice(vec![image("1")])]));
    assert_eq!(report.task_id.as_ref().unwrap().as_str(), "a81ee7cb");
    assert_eq!(report.status, TaskStatus::Succeeded);
    assert_eq!(report.submitted_at.unwrap().to_string(), "2026-03-26T09:16:01.663Z");
    assert_eq!(report.scheduled_at.unwrap().to_string(), "2026-03-26T09:16:01.716Z");
    assert_eq!(report.ended_at.unwrap().to_string(), "2026-03-26T09:16:22Z");
    assert_eq!(places(&report.output), [(0, 0)]);
    assert!(report.output.images[0].is_complete());
    assert_eq!(report.output.images[0].url.expires_at().unwrap().as_second(), 1_775_000_000);
    let usage = Usage {
        image_count: Some(1),
        size: Some((2976, 1408)),
        input_tokens: Some(11_015),
        output_tokens: Some(2),
        total_tokens: Some(11_017),
    };
    assert_eq!(report.usage, Some(usage));
    assert_eq!(report.failure, None);
    assert_eq!(report.request_id.as_deref(), Some("810fa5f5"));
    assert_eq!(report.output.finished, Some(true));
}

#[test]
fn several_images_are_found_as_several_choices_and_as_several_items() {
    let choices = report(succeeded((0..4).map(|n| choice(vec![image(&n.to_string())])).collect()));
    assert_eq!(places(&choices.output), [(0, 0), (1, 0), (2, 0), (3, 0)]);
    let items = report(succeeded(vec![choice((0..4).map(|n| image(&n.to_string())).collect())]));
    assert_eq!(places(&items.output), [(0, 0), (0, 1), (0, 2), (0, 3)]);
}

#[test]
fn texts_between_images_are_kept_apart_and_keep_their_place() {
    let text = json!({"type": "text", "text": "Spring"});
    let report = report(succeeded(vec![choice(vec![text, image("1")]), choice(vec![image("2")])]));
    assert_eq!(places(&report.output), [(0, 1), (1, 0)]);
    assert_eq!(report.output.texts, [ResultText { choice: 0, item: 0, text: "Spring".to_owned() }]);
}

#[test]
fn equal_links_are_two_images() {
    let report = report(succeeded(vec![choice(vec![image("1"), image("1")])]));
    assert_eq!(places(&report.output), [(0, 0), (0, 1)]);
}

#[test]
fn an_image_that_did_not_stop_by_itself_says_so() {
    let mut body =
        succeeded(vec![choice(vec![image("1")]), choice(vec![image("2")]), choice(vec![image("3")])]);
    body["output"]["choices"][1]["finish_reason"] = json!("length");
    body["output"]["choices"][2]["finish_reason"] = json!(null);
    let complete: Vec<_> = report(body).output.images.iter().map(ResultImage::is_complete).collect();
    assert_eq!(complete, [true, false, true]);
}

#[test]
fn a_link_that_cannot_be_used_is_reported_and_not_lost() {
    let bad = json!({"type": "image", "image": "ftp://h/SECRET"});
    let report = report(succeeded(vec![choice(vec![bad, image("1")])]));
    assert_eq!(places(&report.output), [(0, 1)]);
    let unusable = &report.output.unusable[0];
    assert_eq!((unusable.choice, unusable.item), (0, 0));
    assert!(!unusable.reason.to_string().contains("SECRET"));
}

#[test]
fn success_without_images_or_usage_is_read_as_such() {
    for output in [json!({"task_status": "SUCCEEDED"}), json!({"task_status": "SUCCEEDED", "choices": null})]
    {
        let report = report(json!({"output": output, "usage": null}));
        assert_eq!(
            (report.status.clone(), report.usage, report.billed_images()),
            (TaskStatus::Succeeded, None, 0)
        );
        assert_eq!(report.output, Output::default());
    }
}

#[test]
fn billed_images_are_counted_by_the_service_and_else_by_their_links() {
    let mut body = succeeded(vec![choice(vec![image("1"), image("2")])]);
    assert_eq!(report(body.clone()).billed_images(), 1);
    body["usage"] = json!({"image_count": "3", "width": 1024, "height": "768"});
    assert_eq!(report(body.clone()).billed_images(), 3);
    assert_eq!(report(body.clone()).usage.unwrap().size, Some((1024, 768)));
    body["usage"] = json!({"size": "1376×768"});
    assert_eq!(report(body.clone()).billed_images(), 2);
    assert_eq!(report(body).usage.unwrap().size, Some((1376, 768)));
}

#[test]
fn older_results_are_understood() {
    let results = json!([{"url": "https://h/1.png"}, {"code": "InternalError.Timeout", "message": "late"}]);
    let report = report(json!({
        "output": {"task_status": "SUCCEEDED", "results": results, "task_metrics": {"TOTAL": 2, "SUCCEEDED": 1}},
    }));
    assert_eq!(places(&report.output), [(0, 0)]);
    assert_eq!(report.output.unusable[0].reason.code(), "InternalError.Timeout");
}

#[test]
fn the_reason_of_a_failure_is_taken_from_the_output_and_else_from_the_top() {
    let inner = json!({"task_status": "FAILED", "code": "DataInspectionFailed", "message": "no"});
    let flat = json!({"task_status": "FAILED"});
    let both = report(json!({"output": inner, "code": "Other", "message": "x"}));
    assert_eq!(both.failure.unwrap().class(), ErrorClass::Moderation);
    let top = report(json!({"output": flat, "code": "InternalError.Timeout", "message": "x"}));
    assert_eq!(top.failure.unwrap().class(), ErrorClass::ServiceTimeout);
    let none = report(json!({"output": {"task_status": "FAILED", "code": "", "message": null}}));
    assert_eq!((none.status, none.failure), (TaskStatus::Failed, None));
}

#[test]
fn a_bare_error_about_a_task_is_a_failed_task() {
    let body = json!({"request_id": "a4d78a5f", "code": "InvalidParameter", "message": "num_images_per_prompt must be 1"});
    let report = report(body);
    assert_eq!(report.status, TaskStatus::Failed);
    assert_eq!(report.failure.unwrap().class(), ErrorClass::InvalidRequest);
}

#[test]
fn a_bare_error_about_the_call_is_a_refused_query() {
    for code in ["BailianGateway.Workspace.NotAuthorised", "Throttling", "InternalError", "BrandNew"] {
        let body = json!({"code": code, "message": "x", "request_id": "r"});
        let error = TaskReport::read(body.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, ReplyError::Refused { source } if source.code() == code));
    }
    let workspace = crate::error::classify(Some(200), "BailianGateway.Workspace.NotAuthorised", "");
    assert_eq!(workspace, ErrorClass::AccountFault { kind: AccountFault::Workspace });
}

#[test]
fn all_states_and_foreign_ones_are_read() {
    let cases = [
        ("PENDING", TaskStatus::Pending, false),
        ("RUNNING", TaskStatus::Running, false),
        ("SUCCEEDED", TaskStatus::Succeeded, true),
        ("FAILED", TaskStatus::Failed, true),
        ("CANCELED", TaskStatus::Canceled, true),
        ("CANCELLED", TaskStatus::Canceled, true),
        ("cancelled", TaskStatus::Canceled, true),
        ("Running", TaskStatus::Running, false),
        ("UNKNOWN", TaskStatus::Unknown, false),
        ("SUSPENDED", TaskStatus::Other("SUSPENDED".to_owned()), false),
        ("Wobbling", TaskStatus::Other("Wobbling".to_owned()), false),
    ];
    for (word, status, is_final) in cases {
        assert_eq!(report(json!({"output": {"task_status": word}})).status, status);
        assert_eq!(status.is_final(), is_final, "{word}");
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<TaskStatus>(&json).unwrap(), status);
    }
}

#[test]
fn foreign_fields_and_those_of_the_sdks_are_passed_over() {
    let mut body = succeeded(vec![choice(vec![image("1")])]);
    body["status_code"] = json!(200);
    body["requestId"] = json!("other");
    body["output"]["audio"] = json!(null);
    body["output"]["text"] = json!(null);
    body["output"]["new"] = json!({"deep": [1]});
    body["output"]["choices"][0]["message"]["content"][0]["new"] = json!(1);
    body["usage"]["characters"] = json!(0);
    let report = report(body);
    assert_eq!(report.output.images.len(), 1);
    assert_eq!(report.request_id.as_deref(), Some("810fa5f5"));
}

fn row(task_id: &str, status: &str) -> Value {
    json!({
        "task_id": task_id, "status": status, "model_name": "wan2.7-image", "request_id": "r", "region": "cn-beijing",
        "gmt_create": 1_774_516_561_663_u64, "start_time": 1_774_516_561_700_u64, "end_time": null, "api_key_id": 4711,
        "caller_uid": "1", "caller_parent_id": "1", "user_api_unique_key": "apikey:v1:a:b:c:wan2.7-image",
    })
}

#[test]
fn a_list_is_flat_and_its_times_are_milliseconds() {
    let body = json!({
        "request_id": "q", "page_no": 1, "page_size": 10, "total": 11, "total_page": 2,
        "data": [row("t1", "RUNNING")],
    });
    let page = TaskPage::read(body.to_string().as_bytes()).unwrap();
    let task = &page.tasks[0];
    assert_eq!((task.task_id.as_str(), &task.status), ("t1", &TaskStatus::Running));
    assert_eq!(task.created_at.unwrap().as_millisecond(), 1_774_516_561_663);
    assert_eq!((task.ended_at, task.api_key_id.as_deref()), (None, Some("4711")));
    assert_eq!((page.total, page.total_pages, page.unreadable), (Some(11), Some(2), 0));
    assert!(page.has_more());
}

#[test]
fn rows_that_cannot_be_read_are_counted() {
    let body = json!({"data": [row("t1", "RUNNING"), {"task_id": "t2"}, 5, {"status": "RUNNING"}]});
    let page = TaskPage::read(body.to_string().as_bytes()).unwrap();
    assert_eq!((page.tasks.len(), page.unreadable), (1, 3));
}

#[test]
fn a_missing_list_is_not_an_empty_one() {
    let read = |body: Value| TaskPage::read(body.to_string().as_bytes());
    assert!(read(json!({"data": []})).unwrap().tasks.is_empty());
    for body in [json!({}), json!({"data": null}), json!({"tasks": []}), json!({"output": {"data": []}})] {
        assert_eq!(read(body).unwrap_err(), ReplyError::Missing { field: "data" });
    }
    assert!(matches!(read(json!({"code": "Throttling", "message": ""})), Err(ReplyError::Refused { .. })));
}

#[test]
fn more_pages_are_expected_by_their_count_and_else_after_a_full_one() {
    let more = |extra: Value| {
        let mut body = json!({"data": [row("t1", "RUNNING"), row("t2", "RUNNING")]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        TaskPage::read(body.to_string().as_bytes()).unwrap().has_more()
    };
    assert!(more(json!({"page_no": 1, "total_page": 2})));
    assert!(!more(json!({"page_no": 2, "total_page": 2, "page_size": 2})));
    assert!(more(json!({"page_size": 2})));
    assert!(!more(json!({"page_size": 3})));
    assert!(!more(json!({})));
}

#[test]
fn quotas_are_read_with_and_without_a_workspace() {
    let limit = json!({
        "request_limit": 5, "request_limit_period": 1, "usage_limit": null, "usage_limit_field": null,
        "async_user_queue_limit": 500, "async_user_concurrency_limit": 5,
    });
    let body = json!({"request_id": "q", "output": {"quotas": [
        {"model": "wan2.7-image", "workspace_id": "ws", "model_limit": limit, "workspace_limit": null}, {"no": "model"},
    ]}});
    let page = QuotaPage::read(body.to_string().as_bytes()).unwrap();
    assert_eq!(page.quotas.len(), 1);
    let limit = page.quotas[0].model_limit.unwrap();
    assert_eq!((limit.async_user_queue_limit, limit.async_user_concurrency_limit), (Some(500), Some(5)));
    assert_eq!(
        (limit.request_limit, limit.request_limit_period_seconds, limit.usage_limit),
        (Some(5), Some(1), None)
    );
    assert_eq!(page.quotas[0].workspace_limit, None);
}

#[test]
fn leave_to_upload_is_read_and_printed_without_its_signature() {
    let body = json!({"request_id": "q", "data": {
        "policy": "SECRET", "signature": "SECRET", "upload_dir": "dashscope-instant/x", "upload_host": "https://h",
        "expire_in_seconds": 300, "max_file_size_mb": "1024", "capacity_limit_mb": "999", "oss_access_key_id": "SECRET",
        "x_oss_object_acl": "private", "x_oss_forbid_overwrite": true,
    }});
    let policy = UploadPolicy::read(body.to_string().as_bytes()).unwrap();
    assert_eq!((policy.x_oss_forbid_overwrite.as_str(), policy.max_file_size_mb), ("true", Some(1024)));
    assert!(!format!("{policy:?}").contains("SECRET"));
}

#[test]
fn a_synchronous_result_has_choices_or_is_none() {
    let body =
        json!({"output": {"choices": [choice(vec![image("1")])], "finished": true}, "request_id": "s"});
    let result = SyncResult::read(body.to_string().as_bytes()).unwrap();
    assert_eq!(places(&result.output), [(0, 0)]);
    let refused = SyncResult::read(br#"{"code": "InvalidParameter", "message": "x"}"#);
    assert!(matches!(refused, Err(ReplyError::Refused { .. })));
    assert_eq!(SyncResult::read(b"{}"), Err(ReplyError::Missing { field: "output.choices" }));
}

const NAMES: [&str; 10] =
    ["output", "choices", "message", "content", "image", "usage", "data", "task_status", "task_id", "code"];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
        Just(Value::from("https://h/1.png")),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(&NAMES[..]).prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::from(serde_json::Map::from_iter(fields))),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_makes_a_reader_panic(body in json_value(), raw: Vec<u8>) {
        for bytes in [body.to_string().into_bytes(), raw] {
            let _ = CreatedTask::read(&bytes);
            let _ = TaskReport::read(&bytes).map(|report| report.billed_images());
            let _ = SyncResult::read(&bytes);
            let _ = TaskPage::read(&bytes).map(|page| page.has_more());
            let _ = QuotaPage::read(&bytes);
            let _ = UploadPolicy::read(&bytes);
        }
    }
}
