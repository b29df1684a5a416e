//! Input images: links on loopback, data URIs, temporary uploads.

use dashscope_sim::Config;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, links, quick, send, text_to_image, with_image, with_parameters};

/// A picture of 1280×720 as a link that must be fetched byte for byte.
async fn picture_link(bench: &Bench) -> String {
    links(&bench.finished(&with_parameters("an input", json!({ "n": 1, "size": "1280*720" }))).await)
        .remove(0)
}

async fn output_size(bench: &Bench, body: &Value) -> Value {
    bench.finished(body).await["usage"]["size"].clone()
}

#[tokio::test]
async fn a_link_on_loopback_is_fetched_and_the_output_takes_its_shape() {
    let bench = Bench::start(quick()).await;
    let link = picture_link(&bench).await;
    assert_eq!(output_size(&bench, &with_image(&link)).await, "1365*768");
    assert_eq!(bench.sim.totals().totals.images_served, 1);
}

#[tokio::test]
async fn a_link_on_loopback_that_does_not_open_is_refused() {
    let bench = Bench::start(quick()).await;
    let altered = picture_link(&bench).await.replace("%3D", "=");
    let denied = bench.create(&with_image(&altered)).await;
    assert_eq!(denied.refusal(), (400, "BadRequest.InputDownloadFailed".into()));
    let page = format!("{}/_sim/clock", bench.sim.base_url().replace("/api/v1", ""));
    assert_eq!(bench.create(&with_image(&page)).await.refusal(), (400, "InvalidImageFormat".into()));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = bench.create(&with_image(&format!("http://{free}/a.png"))).await;
    assert_eq!(nobody.refusal(), (400, "InvalidURL.ConnectionRefused".into()));
    assert_eq!(bench.sim.totals().totals.tasks_created, 1, "the input's own task");
}

#[tokio::test]
async fn fetching_can_be_switched_off_and_other_hosts_are_never_asked() {
    let bench = Bench::start(Config { fetch_loopback_inputs: false, ..quick() }).await;
    for link in ["http://127.0.0.1:1/a.png", "https://example.invalid/a.png", "http://example.invalid/a.png"]
    {
        bench.task(&with_image(link)).await;
    }
    assert_eq!(output_size(&bench, &with_image("http://127.0.0.1:1/a.png")).await, "1024*1024");
}

#[tokio::test]
async fn a_data_uri_is_looked_at_and_its_shape_taken() {
    let bench = Bench::start(quick()).await;
    let picture = bench.download(&picture_link(&bench).await).await.body;
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(picture);
    assert_eq!(
        output_size(&bench, &with_image(&format!("data:image/png;base64,{encoded}"))).await,
        "1365*768"
    );
    let mislabelled = bench.create(&with_image(&format!("data:image/webp;base64,{encoded}"))).await;
    assert_eq!(mislabelled.refusal(), (400, "InvalidParameter".into()));
}

#[tokio::test]
async fn boxes_must_lie_inside_an_image_that_is_known() {
    let bench = Bench::start(quick()).await;
    let mut body = with_image(&picture_link(&bench).await);
    body["parameters"]["bbox_list"] = json!([[[0, 0, 1280, 720]]]);
    bench.task(&body).await;
    body["parameters"]["bbox_list"] = json!([[[0, 0, 1281, 720]]]);
    assert_eq!(bench.create(&body).await.refusal(), (400, "InvalidParameter".into()));
}

/// Gets a policy and posts a file with it, as the official SDK does.
async fn upload(bench: &Bench, model: &str, name: &str, file: Vec<u8>) -> (Answer, String) {
    let policy = bench.get(&format!("/uploads?action=getPolicy&model={model}")).await.json()["data"].clone();
    let text = |name: &str| policy[name].as_str().unwrap().to_owned();
    let key = format!("{}/{name}", text("upload_dir"));
    let form = Form::new()
        .text("OSSAccessKeyId", text("oss_access_key_id"))
        .text("Signature", text("signature"))
        .text("policy", text("policy"))
        .text("key", key.clone())
        .text("x-oss-object-acl", text("x_oss_object_acl"))
        .text("x-oss-forbid-overwrite", text("x_oss_forbid_overwrite"))
        .text("success_action_status", "200")
        .part("file", Part::bytes(file).file_name(name.to_owned()));
    let answer = send(bench.http.post(text("upload_host")).multipart(form)).await.unwrap();
    (answer, format!("oss://{key}"))
}

async fn create_resolving(bench: &Bench, body: &Value) -> Answer {
    send(bench.create_request(body).header("X-DashScope-OssResourceResolve", "enable")).await.unwrap()
}

#[tokio::test]
async fn an_uploaded_file_can_be_used_by_its_model_with_the_resolve_header() {
    let bench = Bench::start(quick()).await;
    let picture = bench.download(&picture_link(&bench).await).await.body;
    let (stored, reference) = upload(&bench, "wan2.7-image", "a.png", picture).await;
    assert_eq!((stored.status, stored.body.len()), (200, 0));

    let body = with_image(&reference);
    assert_eq!(bench.create(&body).await.refusal(), (400, "InvalidURL".into()), "without the header");
    assert_eq!(create_resolving(&bench, &body).await.status, 200);
    let mut pro = body.clone();
    pro["model"] = json!("wan2.7-image-pro");
    assert_eq!(create_resolving(&bench, &pro).await.refusal(), (400, "InvalidURL".into()), "another model");
    bench.sim.advance_clock(std::time::Duration::from_secs(48 * 3_600));
    assert_eq!(create_resolving(&bench, &body).await.refusal(), (400, "InvalidURL".into()), "after 48 hours");
    let requests = bench.sim.totals().requests;
    assert_eq!((requests.upload_policies, requests.uploads), (1, 1));
}

#[tokio::test]
async fn an_upload_that_is_no_image_is_stored_and_refused_when_used() {
    let bench = Bench::start(quick()).await;
    let (stored, reference) = upload(&bench, "wan2.7-image", "a.txt", b"words".to_vec()).await;
    assert_eq!(stored.status, 200);
    assert_eq!(
        create_resolving(&bench, &with_image(&reference)).await.refusal(),
        (400, "InvalidParameter".into())
    );
}

#[tokio::test]
async fn an_upload_with_a_made_up_policy_is_refused_in_xml() {
    let bench = Bench::start(quick()).await;
    let host = bench.sim.base_url().replace("/api/v1", "/upload-host");
    let form = Form::new().text("policy", "x").part("file", Part::bytes(vec![1]).file_name("a"));
    let answer = send(bench.http.post(&host).multipart(form)).await.unwrap();
    assert_eq!((answer.status, answer.text().contains("<Code>AccessDenied</Code>")), (403, true));
    let plain = send(bench.request(Method::GET, "/uploads?action=other&model=wan2.7-image")).await.unwrap();
    assert_eq!(plain.refusal(), (400, "InvalidParameter".into()));
    bench.task(&text_to_image("still at work")).await;
}
