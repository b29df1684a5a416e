//! A simulator and a client that speaks plain HTTP to it. Time moves only where a test says so.

use std::time::Duration;

use dashscope_sim::{Config, Durations, Fault, FrozenClock, Limits, Simulator};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

pub(crate) const CREATE: &str = "/services/aigc/image-generation/generation";
pub(crate) const CREATE_SYNC: &str = "/services/aigc/multimodal-generation/generation";
/// How long every task runs here, and more than the scheduler's delay on top.
pub(crate) const TASK: Duration = Duration::from_secs(10);
pub(crate) const DONE: Duration = Duration::from_secs(11);
/// Long enough for the scheduler, too short for a task.
pub(crate) const SCHEDULED: Duration = Duration::from_secs(1);
/// 2026-03-31 12:00:00 UTC.
pub(crate) const NOON_S: i64 = 1_774_958_400;

pub(crate) struct Bench {
    pub(crate) sim: Simulator,
    pub(crate) http: reqwest::Client,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Status and error code, for comparisons.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// A client without defaults: no redirects, no pool that would hide a closed connection.
pub(crate) fn client() -> reqwest::Client {
    // An error means that another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a plain client can be built")
}

/// Tasks of ten seconds and no rate limits.
pub(crate) fn quick() -> Config {
    Config {
        durations: Durations::fixed_ms(TASK.as_millis() as u64),
        limits: Limits { queries_per_second: 0, creates_per_second: 0, ..Limits::default() },
        ..Config::default()
    }
}

impl Bench {
    pub(crate) async fn start(config: Config) -> Self {
        let noon = FrozenClock(Timestamp::from_second(NOON_S).unwrap());
        let sim = Simulator::start_with_clock(config, noon).await.unwrap();
        Self { sim, http: client() }
    }

    pub(crate) async fn with_fault(fault: Fault) -> Self {
        Self::start(Config { faults: vec![fault], ..quick() }).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.sim.base_url())).bearer_auth("sk-test")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await.unwrap()
    }

    pub(crate) fn create_request(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, CREATE).header("x-dashscope-async", "enable").json(body)
    }

    pub(crate) async fn create(&self, body: &Value) -> Answer {
        send(self.create_request(body)).await.unwrap()
    }

    /// Creates a task that must be accepted; its id.
    pub(crate) async fn task(&self, body: &Value) -> String {
        let answer = self.create(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["output"]["task_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn query(&self, id: &str) -> Value {
        self.get(&format!("/tasks/{id}")).await.json()
    }

    /// Creates a task, lets it end, and returns the answer of a query.
    pub(crate) async fn finished(&self, body: &Value) -> Value {
        let id = self.task(body).await;
        self.sim.advance_clock(DONE);
        self.query(&id).await
    }

    /// A request without any header of the API, as the result host wants it.
    pub(crate) async fn download(&self, link: &str) -> Answer {
        send(self.http.get(link)).await.unwrap()
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
}

/// The body of a create call for one square image of 1K.
pub(crate) fn text_to_image(prompt: &str) -> Value {
    with_parameters(prompt, json!({ "n": 1, "size": "1K" }))
}

pub(crate) fn with_parameters(prompt: &str, parameters: Value) -> Value {
    let content = json!([{ "text": prompt }]);
    json!({
        "model": "wan2.7-image",
        "input": { "messages": [{ "role": "user", "content": content }] },
        "parameters": parameters,
    })
}

pub(crate) fn with_image(image: &str) -> Value {
    let mut body = text_to_image("an edit");
    body["input"]["messages"][0]["content"] = json!([{ "image": image }, { "text": "an edit" }]);
    body
}

/// All image links of an answer, in order.
pub(crate) fn links(answer: &Value) -> Vec<String> {
    let choices = answer["output"]["choices"].as_array().cloned().unwrap_or_default();
    let items = choices
        .iter()
        .flat_map(|choice| choice["message"]["content"].as_array().cloned().unwrap_or_default());
    items.filter_map(|item| item["image"].as_str().map(str::to_owned)).collect()
}
