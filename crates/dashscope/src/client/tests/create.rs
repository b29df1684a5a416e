//! The paid calls: what is sent, how often, and what every outcome means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::server::{Act, Server, answer, json};
use super::{builder, chain, client, impatient, prepared};
use crate::client::{CreateTaskError, NotSent, PreparedCreate};
use crate::error::{ErrorClass, Throttle};
use crate::response::ReplyError;
use crate::{ImageInput, ImageRequest, Model, TaskStatus};

const CREATED: &str = r#"{"request_id": "r", "output": {"task_id": "t1", "task_status": "PENDING"}}"#;

#[tokio::test]
async fn a_task_is_created_with_the_documented_headers_and_body() {
    let headers = "date: Thu, 26 Mar 2026 09:16:01 GMT\r\n";
    let server = Server::start([answer(200, headers, CREATED)]).await;
    let created = client(&server).create(&prepared(), || Ok(())).await.unwrap();
    assert_eq!((created.task_id.as_str(), created.status), ("t1", TaskStatus::Pending));
    assert_eq!(created.request_id.as_deref(), Some("r"));
    assert_eq!(created.answered_at.unwrap().to_string(), "2026-03-26T09:16:01Z");
    let [request] = &server.requests()[..] else { panic!("{:?}", server.record()) };
    assert_eq!(request.line(), "POST /api/v1/services/aigc/image-generation/generation HTTP/1.1");
    assert_eq!(request.header("authorization").as_deref(), Some("Bearer sk-SECRETKEY"));
    assert_eq!(request.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(request.header("x-dashscope-async").as_deref(), Some("enable"));
    assert_eq!(request.header("content-length").unwrap(), prepared().body_bytes().to_string());
    for absent in ["transfer-encoding", "expect", "x-dashscope-ossresourceresolve", "x-dashscope-workspace"] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
    let expected = ImageRequest::new(Model::Wan27Image, "SECRETPROMPT").to_body();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&request.body()).unwrap(), expected);
}

#[tokio::test]
async fn a_temporary_file_and_a_workspace_have_a_header_each() {
    let server = Server::start([json(200, CREATED)]).await;
    let client = builder(&server.base_url()).workspace("llm-abc".parse().unwrap()).build().unwrap();
    let mut request = ImageRequest::new(Model::Wan27Image, "x");
    request.images = vec![ImageInput::parse("oss://dashscope-instant/x/1.png".to_owned()).unwrap()];
    client.create(&PreparedCreate::new(&request).unwrap(), || Ok(())).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.header("x-dashscope-ossresourceresolve").as_deref(), Some("enable"));
    assert_eq!(request.header("x-dashscope-workspace").as_deref(), Some("llm-abc"));
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let server = Server::start([json(200, CREATED)]).await;
    let mut request = ImageRequest::new(Model::Wan27Image, "x");
    let mut png = crate::inspect::tests::png(500, 500, 2, &[]);
    png.resize(3 << 20, 7);
    request.images = vec![crate::inspect::DataUri::encode(crate::inspect::ImageFormat::Png, &png).into()];
    let prepared = PreparedCreate::new(&request).unwrap();
    client(&server).create(&prepared, || Ok(())).await.unwrap();
    assert_eq!(server.requests()[0].body().len(), prepared.body_bytes());
}

#[tokio::test]
async fn a_request_that_breaks_a_limit_cannot_be_prepared() {
    let mut request = ImageRequest::new(Model::Wan27Image, "x");
    request.n = 5;
    assert_eq!(PreparedCreate::new(&request).unwrap_err().as_slice()[0].field, "n");
}

#[tokio::test]
async fn a_synchronous_call_has_its_own_path_and_no_async_header() {
    let body = r#"{"output": {"choices": [{"finish_reason": "stop", "message": {"content": [{"image": "https://h/1.png"}]}}]}}"#;
    let server = Server::start([json(200, body)]).await;
    let result = client(&server).create_sync(&prepared()).await.unwrap();
    assert_eq!(result.output.images.len(), 1);
    let request = &server.requests()[0];
    assert_eq!(request.line(), "POST /api/v1/services/aigc/multimodal-generation/generation HTTP/1.1");
    assert_eq!(request.header("x-dashscope-async"), None);
}

#[tokio::test]
async fn a_create_whose_connection_is_dropped_after_sending_is_sent_once_and_may_have_created() {
    for act in [
        Act::Close,
        Act::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
        Act::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"output\"".to_owned()),
    ] {
        let server = Server::start([act.clone(), json(200, CREATED), json(200, CREATED)]).await;
        let error = client(&server).create(&prepared(), || Ok(())).await.unwrap_err();
        assert!(matches!(error, CreateTaskError::NoAnswer { timed_out: false, .. }), "{act:?}: {error:?}");
        assert!(error.may_have_created_task() && error.is_retryable() && !error.timed_out_waiting());
        assert_eq!(server.record().len(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn a_create_is_sent_once_though_the_connection_before_it_went_stale() {
    for _ in 0..5 {
        let stale = Act::AnswerAndClose(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{CREATED}",
            CREATED.len()
        ));
        let server = Server::start([stale, Act::Close, json(200, CREATED)]).await;
        let client = client(&server);
        client.create(&prepared(), || Ok(())).await.unwrap();
        let error = client.create(&prepared(), || Ok(())).await.unwrap_err();
        assert!(error.may_have_created_task());
        let connections: Vec<_> = server.record().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [1, 2], "one request each, on a connection of its own");
    }
}

#[tokio::test]
async fn a_create_has_its_own_connection_though_one_could_be_kept() {
    let server = Server::start([json(200, CREATED), json(200, CREATED)]).await;
    let client = client(&server);
    client.create(&prepared(), || Ok(())).await.unwrap();
    client.create(&prepared(), || Ok(())).await.unwrap();
    let connections: Vec<_> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1, 2]);
}

#[tokio::test]
async fn a_create_to_a_server_that_hangs_up_is_tried_once() {
    for _ in 0..5 {
        let server = Server::start([Act::CloseAtOnce, json(200, CREATED)]).await;
        client(&server).create(&prepared(), || Ok(())).await.unwrap_err();
        assert_eq!(server.wait_for(1).await.len(), 1);
    }
}

#[tokio::test]
async fn a_create_that_waits_in_vain_may_have_created_and_says_that_it_waited() {
    let server = Server::start([Act::Hang]).await;
    let error = impatient(&server).create(&prepared(), || Ok(())).await.unwrap_err();
    assert!(matches!(error, CreateTaskError::NoAnswer { timed_out: true, .. }), "{error:?}");
    assert!(error.may_have_created_task() && error.timed_out_waiting());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_create_that_waits_in_vain_within_the_answer_may_have_created_and_says_that_it_waited() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned();
    let server = Server::start([Act::Answer(half), Act::Hang]).await;
    let error = impatient(&server).create(&prepared(), || Ok(())).await.unwrap_err();
    assert!(matches!(error, CreateTaskError::NoAnswer { timed_out: true, .. }), "{error:?}");
}

#[tokio::test]
async fn a_create_without_a_connection_has_created_nothing_and_does_not_ask_the_gate() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base_url = format!("http://127.0.0.1:{port}/api/v1");
    let asked = Arc::new(AtomicBool::new(false));
    let gate = {
        let asked = Arc::clone(&asked);
        move || {
            asked.store(true, Ordering::SeqCst);
            Ok(())
        }
    };
    let error = builder(&base_url).build().unwrap().create(&prepared(), gate).await.unwrap_err();
    assert!(matches!(error, CreateTaskError::Connect { .. }), "{error:?}");
    assert!(!error.may_have_created_task() && error.is_retryable());
    assert!(!asked.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_gate_that_refuses_lets_no_byte_out() {
    let server = Server::start([json(200, CREATED)]).await;
    let gate = || Err(NotSent::new("the lease is too old"));
    let error = client(&server).create(&prepared(), gate).await.unwrap_err();
    assert!(matches!(&error, CreateTaskError::NotSent { source } if source.reason == "the lease is too old"));
    assert!(!error.may_have_created_task() && error.is_retryable());
    let record = server.wait_for(1).await;
    assert_eq!(record.len(), 1, "the connection was opened first");
    assert_eq!(record[0].bytes, b"", "and nothing came on it");
}

#[tokio::test]
async fn a_create_waits_for_its_moment_with_the_connection_open_and_nothing_sent() {
    use tokio::io::AsyncWriteExt as _;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://127.0.0.1:{}/api/v1", listener.local_addr().unwrap().port());
    let (client, prepared) = (builder(&base_url).build().unwrap(), prepared());
    let (waits, waiting) = tokio::sync::oneshot::channel();
    let (go, moment) = tokio::sync::oneshot::channel();
    let asked = Arc::new(AtomicBool::new(false));
    let gate = {
        let asked = Arc::clone(&asked);
        move || {
            asked.store(true, Ordering::SeqCst);
            Ok(())
        }
    };
    let ready = async {
        waits.send(()).unwrap();
        moment.await.unwrap();
    };
    let serve = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        waiting.await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!asked.load(Ordering::SeqCst), "the gate is asked last");
        let read = connection.try_read(&mut [0; 16]).unwrap_err();
        assert_eq!(read.kind(), std::io::ErrorKind::WouldBlock, "nothing was written");
        go.send(()).unwrap();
        connection.readable().await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{CREATED}", CREATED.len());
        connection.write_all(answer.as_bytes()).await.unwrap();
        connection
    };
    let (created, _connection) = tokio::join!(client.create_when(&prepared, ready, gate), serve);
    assert_eq!(created.unwrap().task_id.as_str(), "t1");
    assert!(asked.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_gate_is_asked_once_for_each_create() {
    let server = Server::start([Act::Close]).await;
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let gate = {
        let count = Arc::clone(&count);
        move || {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    client(&server).create(&prepared(), gate).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_leaves_it_open() {
    for status in [301, 302, 303, 307, 308] {
        let server =
            Server::start([answer(status, "location: /elsewhere\r\n", ""), json(200, CREATED)]).await;
        let error = client(&server).create(&prepared(), || Ok(())).await.unwrap_err();
        assert_eq!(error.http_status(), Some(status));
        assert!(matches!(error, CreateTaskError::UnreadableAnswer { .. }), "{error:?}");
        assert_eq!(server.record().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_and_leaves_it_open() {
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_owned();
    let unannounced = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(crate::client::ANSWER_BYTES_MAX + 1));
    for bytes in [announced, unannounced] {
        let server = Server::start([Act::AnswerAndClose(bytes)]).await;
        let error = client(&server).create(&prepared(), || Ok(())).await.unwrap_err();
        let too_long = ReplyError::TooLong { bytes_max: crate::client::ANSWER_BYTES_MAX };
        assert!(
            matches!(&error, CreateTaskError::UnreadableAnswer { source, .. } if *source == too_long),
            "{error:?}"
        );
    }
}

/// What an answer must mean: no task for sure, one perhaps, or somebody waited in vain (and one perhaps).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Means {
    NoTask,
    Perhaps,
    Waited,
}

#[tokio::test]
async fn every_answer_proves_what_it_proves_and_no_more() {
    use Means::{NoTask, Perhaps, Waited};
    let flat = |code: &str| format!(r#"{{"code": "{code}", "message": "m", "request_id": "r"}}"#);
    let html = || "<html>Bad Gateway</html>".to_owned();
    let cases = [
        (401, flat("InvalidApiKey"), NoTask),
        (401, flat("BrandNew"), NoTask),
        (401, html(), Perhaps),
        (403, flat("AccessDenied"), NoTask),
        (403, flat("Model.AccessDenied"), NoTask),
        (404, flat("ModelNotFound"), NoTask),
        (404, html(), Perhaps),
        (413, flat("BadRequest.TooLarge"), NoTask),
        (413, html(), Perhaps),
        (429, flat("Throttling.RateQuota"), NoTask),
        (429, flat("BrandNew"), NoTask),
        (429, html(), Perhaps),
        (400, flat("InvalidParameter"), NoTask),
        (400, flat("DataInspectionFailed"), NoTask),
        (400, flat("Arrearage"), NoTask),
        (400, flat("BrandNew"), Perhaps),
        (400, flat("ClientDisconnect"), Perhaps),
        (400, flat("InternalError.Algo"), Perhaps),
        (400, html(), Perhaps),
        (200, flat("BailianGateway.Workspace.NotAuthorised"), NoTask),
        (200, flat("InvalidParameter"), NoTask),
        (200, flat("BrandNew"), Perhaps),
        (200, flat("InternalError"), Perhaps),
        (200, "{}".to_owned(), Perhaps),
        (200, String::new(), Perhaps),
        (200, html(), Perhaps),
        (202, flat("InvalidParameter"), Perhaps),
        (405, flat("InvalidParameter"), Perhaps),
        (408, flat("RequestTimeOut"), Waited),
        (408, html(), Waited),
        (409, flat("Conflict"), Perhaps),
        (422, flat("InvalidParameter"), Perhaps),
        (500, flat("InternalError"), Perhaps),
        (500, flat("InvalidParameter"), Perhaps),
        (502, html(), Perhaps),
        (503, flat("ServiceUnavailable"), Perhaps),
        (504, flat("GatewayTimeout"), Waited),
        (504, html(), Waited),
    ];
    let acts: Vec<_> = cases.iter().map(|(status, body, _)| json(*status, body)).collect();
    let server = Server::start(acts).await;
    let client = client(&server);
    for (status, body, means) in &cases {
        let error = client.create(&prepared(), || Ok(())).await.unwrap_err();
        let found = match (error.may_have_created_task(), error.timed_out_waiting()) {
            (false, false) => NoTask,
            (true, false) => Perhaps,
            (true, true) => Waited,
            (false, true) => panic!("{error:?}"),
        };
        assert_eq!(found, *means, "{status} {body}");
        assert_eq!(error.http_status(), Some(*status));
        if body.starts_with("{\"code") {
            assert_eq!((error.request_id(), error.message()), (Some("r"), Some("m")));
        }
    }
    assert_eq!(server.record().len(), cases.len(), "each was sent once");
}

#[tokio::test]
async fn a_task_id_is_taken_under_any_status() {
    let server = Server::start([json(504, CREATED)]).await;
    let created = client(&server).create(&prepared(), || Ok(())).await.unwrap();
    assert_eq!(created.task_id.as_str(), "t1");
}

#[tokio::test]
async fn a_throttled_create_names_its_limit_and_how_long_to_wait() {
    let body = r#"{"code": "Throttling.Concurrency", "message": "busy"}"#;
    let server = Server::start([answer(429, "retry-after: 7\r\nx-request-id: h\r\n", body)]).await;
    let error = client(&server).create(&prepared(), || Ok(())).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Throttled { kind: Throttle::Concurrency });
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!((error.code(), error.request_id()), (Some("Throttling.Concurrency"), Some("h")));
    assert!(error.is_retryable() && !error.may_have_created_task());
}

#[tokio::test]
async fn an_unreadable_answer_still_tells_what_its_head_says() {
    let headers = "retry-after: 9\r\nx-request-id: h\r\ncontent-type: text/html\r\n";
    let server = Server::start([answer(503, headers, "<html>")]).await;
    let error = client(&server).create(&prepared(), || Ok(())).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Capacity);
    assert_eq!((error.retry_after(), error.request_id()), (Some(Duration::from_secs(9)), Some("h")));
}

#[tokio::test]
async fn no_error_shows_the_key_or_the_prompt() {
    let bodies = ["<html>SECRETPROMPT", r#"{"code": "InvalidApiKey", "message": "wrong key sk-SECRETKEY"}"#];
    let mut acts: Vec<_> = bodies.iter().map(|body| json(401, body)).collect();
    acts.push(Act::Close);
    let server = Server::start(acts).await;
    let client = client(&server);
    for _ in 0..3 {
        let text = chain(&client.create(&prepared(), || Ok(())).await.unwrap_err());
        assert!(!text.contains("SECRET"), "{text}");
    }
    let printed = format!("{client:?} {:?}", prepared());
    assert!(!printed.contains("SECRET"), "{printed}");
}

#[tokio::test]
async fn a_create_that_is_dropped_before_the_gate_is_not_sent_later() {
    let server = Server::start([json(200, CREATED)]).await;
    let client = client(&server);
    // Polled once: the connection is under way, and nothing has asked for the body.
    let mut call = Box::pin(async move { client.create(&prepared(), || Ok(())).await });
    assert!(futures_poll(call.as_mut()).is_pending());
    drop(call);
    tokio::task::yield_now().await;
    let record = server.record();
    assert!(record.iter().all(|request| request.bytes.is_empty()), "{record:?}");
}

fn futures_poll<T>(call: std::pin::Pin<&mut impl Future<Output = T>>) -> std::task::Poll<T> {
    call.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
