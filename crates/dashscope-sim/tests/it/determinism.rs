//! Same seed and same calls, same output, byte for byte.

use dashscope_sim::{Act, Config, Durations, Fault, Limits, On, When};
use futures::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::bench::{Bench, DONE, SCHEDULED, quick, send, text_to_image, with_parameters};

/// The port differs in each run; the name by which the client calls the simulator need not.
fn named(request: RequestBuilder) -> RequestBuilder {
    request.header("host", "sim.test")
}

fn config(seed: u64) -> Config {
    let some =
        |on, act, rate| Fault { when: When { rate: Some(rate), ..When::default() }, ..Fault::new(on, act) };
    let faults = vec![
        some(On::Create, Act::Html502, 0.2),
        some(On::Query, Act::UnknownOnce, 0.3),
        some(On::Task, Act::FewerImages, 0.3),
    ];
    Config { seed, faults, durations: Durations::default(), limits: Limits::unlimited(5), ..quick() }
}

/// A session with every endpoint in it: the bodies of all answers, in order.
async fn session(seed: u64) -> Vec<String> {
    let bench = Bench::start(config(seed)).await;
    let mut bodies = Vec::new();
    let mut ids = Vec::new();
    for number in 0..12 {
        let parameters = json!({ "n": number % 4 + 1, "enable_sequential": number % 3 == 0, "size": "1K" });
        let create =
            named(bench.create_request(&with_parameters(&format!("prompt {}", number / 2), parameters)));
        let answer = send(create).await.unwrap();
        if answer.status == 200 {
            ids.push(answer.json()["output"]["task_id"].as_str().unwrap().to_owned());
        }
        bodies.push(answer.text());
    }
    for step in [SCHEDULED, DONE, DONE * 2] {
        bench.sim.advance_clock(step);
        for id in &ids {
            let answer = send(named(bench.request(Method::GET, &format!("/tasks/{id}")))).await.unwrap();
            for link in crate::bench::links(&answer.json()) {
                let here = link.replace("http://sim.test", &bench.sim.base_url().replace("/api/v1", ""));
                bodies.push(hex::encode(bench.download(&here).await.body));
            }
            bodies.push(answer.text());
        }
        for path in [
            "/tasks?page_size=4",
            "/quotas",
            "/tasks/unknown",
            "/uploads?action=getPolicy&model=wan2.7-image",
        ] {
            bodies.push(send(named(bench.request(Method::GET, path))).await.unwrap().text());
        }
    }
    bodies.push(serde_json::to_string(&bench.sim.ledger()).unwrap());
    bodies
}

#[tokio::test]
async fn the_same_seed_and_the_same_calls_give_the_same_bytes() {
    let (one, other) = (session(7).await, session(7).await);
    assert_eq!(one.len(), other.len());
    for (index, (one, other)) in one.iter().zip(&other).enumerate() {
        assert!(one == other, "answer {index} differs:\n{one:.2000}\n{other:.2000}");
    }
}

#[tokio::test]
async fn another_seed_gives_other_bytes() {
    let (mut one, mut other) = (session(7).await, session(8).await);
    // The ledger names its seed.
    one.pop();
    other.pop();
    assert!(one.iter().zip(&other).all(|(one, other)| one != other), "every answer carries ids of its seed");
}

/// What a create call answered, and what its task came to, for calls that race each other.
async fn race(prompts: impl Iterator<Item = u32>) -> Vec<String> {
    let bench = Bench::start(Config { limits: Limits::unlimited(0), ..config(7) }).await;
    let prompts: Vec<u32> = prompts.collect();
    let creates = prompts.iter().map(|prompt| {
        let body = text_to_image(&format!("prompt {}", prompt % 20));
        send(named(bench.create_request(&body)))
    });
    let answers: Vec<_> = join_all(creates).await.into_iter().map(Result::unwrap).collect();
    bench.sim.advance_clock(DONE * 3);
    let created = answers.iter().filter(|answer| answer.status == 200);
    let ids: Vec<String> =
        created.map(|answer| answer.json()["output"]["task_id"].as_str().unwrap().to_owned()).collect();
    let queries = ids.iter().map(|id| send(named(bench.request(Method::GET, &format!("/tasks/{id}")))));
    let mut bodies: Vec<String> = answers.iter().map(|answer| answer.text()).collect();
    bodies.extend(join_all(queries).await.into_iter().map(|answer| answer.unwrap().text()));
    bodies.sort_unstable();
    bodies
}

#[tokio::test]
async fn the_order_in_which_calls_arrive_changes_nothing() {
    assert_eq!(race(0..60).await, race((0..60).rev()).await);
}
