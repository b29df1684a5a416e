//! Creates without an answer, through the built binary: told apart, held, adopted, sent again, and what is left over.

use std::time::Duration;

use dashscope_sim::{Act, Config, Durations, Fault, Latency, Limits, On};
use serde_json::Value;
use tests::{Imagemill, World, eventually};

/// Settling times that fit a test. The properties do not depend on them.
const HASTY: &str = r#"
[redis]
lease = "2s"

[worker]
renew_every = "500ms"
renewal_age_max = "1s"
rescue_every = "250ms"
send_within = "1s"
create_timeout = "4s"
held_request_timeout = "4s"

[settle]
lag = "500ms"
idle_control = "6s"
clock_margin = "500ms"
first = "500ms"
cap = "1s"
give_up_after = "15s"
"#;

/// A world with these creates a second and this time to answer each.
async fn world(create_per_second: f64, answer_ms: u64, more: &str) -> (World, Imagemill) {
    let config = Config {
        limits: Limits::unlimited(64),
        durations: Durations::fixed_ms(300),
        create_latency: Latency::Fixed { ms: answer_ms },
        ..Config::default()
    };
    let world = World::with(config).await.unwrap();
    world.write("hasty.toml", &format!("{HASTY}{more}")).unwrap();
    let imagemill = world
        .imagemill
        .with("IMAGEMILL_CONFIG", "hasty.toml")
        .with("IMAGEMILL_CREATE_PER_SECOND", create_per_second);
    (world, imagemill)
}

fn line(custom_id: &str, prompt: &str, size: &str) -> String {
    serde_json::json!({ "custom_id": custom_id, "prompt": prompt, "model": "wan2.7-image", "size": size })
        .to_string()
        + "\n"
}

async fn enqueue(world: &World, imagemill: &Imagemill, lines: &[String]) {
    world.write("lines.jsonl", &lines.concat()).unwrap();
    imagemill.run(&["enqueue", "lines.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
}

async fn show(imagemill: &Imagemill, custom_id: &str) -> Value {
    imagemill.run(&["job", "show", "--batch", "b", custom_id, "--json"]).await.unwrap().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_creates_whose_answers_are_lost_are_told_apart_and_none_waits_for_a_person() {
    let (world, imagemill) = world(2.0, 0, "").await;
    let faults = world.simulator.faults();
    faults.add(Fault::new(On::Create, Act::AcceptThenCut).prompt_contains("lost").times(8)).unwrap();
    // These make nothing, and it does not show from outside. They come last: before a task that is found by its time they could have
    // made it, if the gateway held them, and a person would have to say.
    faults.add(Fault::new(On::Create, Act::Html502).prompt_contains("refused").times(6)).unwrap();
    // Between any two there is an answer: three without one in a row would open the breaker.
    let kind = |n: usize| match n {
        0..16 if n % 2 == 1 => "lost",
        16..28 if n % 2 == 1 => "refused",
        _ => "answered",
    };
    // The answered ones at the end show that the list is up to date.
    let lines: Vec<_> =
        (0..40).map(|n| line(&format!("j{n}"), &format!("{} {n}", kind(n)), "768*768")).collect();
    enqueue(&world, &imagemill, &lines).await;
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    // Each picture is byte-equal to what was served for its own prompt: every task was given to its own job.
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!((checked.tasks, checked.images), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_creates_on_the_wire_at_a_kill_are_told_apart() {
    let (world, imagemill) = world(2.0, 2_500, "").await;
    let lines: Vec<_> = (0..30).map(|n| line(&format!("j{n}"), &format!("prompt {n}"), "768*768")).collect();
    enqueue(&world, &imagemill, &lines).await;
    let mut worker = imagemill.start("killed", &["worker"]).unwrap();
    eventually("tasks to be created", Duration::from_secs(60), async || {
        let totals = world.simulator.totals().totals;
        if totals.tasks_created >= 20 { Ok(()) } else { Err(totals) }
    })
    .await;
    worker.kill();
    let counts = world.redis.queue(99).await.unwrap().counts().await.unwrap();
    let on_the_wire = counts[&job::StateName::Submitting];
    assert!(on_the_wire >= 2, "nothing to tell apart: {counts:?}");

    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let checked = world.check_all_succeeded().await.unwrap();
    assert_eq!((checked.tasks, checked.images), (30, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_adopted_is_held_with_its_candidates() {
    let (world, imagemill) = world(50.0, 0, "adopt = \"never\"\n").await;
    world
        .simulator
        .faults()
        .add(Fault::new(On::Create, Act::AcceptThenCut).prompt_contains("lost").times(1))
        .unwrap();
    enqueue(&world, &imagemill, &[line("a", "lost", "768*768"), line("b", "answered", "768*768")]).await;
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(4);

    let shown = show(&imagemill, "a").await;
    assert_eq!(shown["doubt"]["why"], "a task fits, and `adopt = \"never\"` is set", "{shown}");
    let candidates = shown["doubt"]["candidates"].as_array().unwrap();
    let [candidate] = &candidates[..] else { panic!("{shown}") };
    let task = candidate["task"].as_str().unwrap();
    let listed = imagemill.run(&["job", "ls", "--held"]).await.unwrap().expect_code(0);
    assert!(listed.stdout.contains(task), "{}", listed.stdout);
    let listed = imagemill.run(&["job", "ls", "--held", "--json"]).await.unwrap().json();
    assert_eq!(listed["jobs"][0]["doubt"]["candidates"][0]["task"], task);

    imagemill.run(&["job", "resolve", "--batch", "b", "a", "--adopt", task]).await.unwrap().expect_code(0);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.check_all_succeeded().await.unwrap().images, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_pays_twice_does_so_and_status_shows_the_task_that_nobody_owns() {
    let more = "ambiguous = \"resubmit-may-pay-twice\"\norphans_every = \"1s\"\n";
    let (world, imagemill) = world(50.0, 0, more).await;
    world.simulator.faults().add(Fault::new(On::Create, Act::AcceptThenCut).times(1)).unwrap();
    enqueue(&world, &imagemill, &[line("a", "lost", "768*768")]).await;
    let mut worker = imagemill.start("worker", &["worker"]).unwrap();
    let status = eventually("the orphan to be counted", Duration::from_secs(60), async || {
        let status = imagemill.run(&["status", "--json"]).await.unwrap().json();
        let counted = status["accounts"][0]["orphans"]["count"] == 1;
        if counted && status["jobs"]["succeeded"] == 1 { Ok(status) } else { Err(status) }
    })
    .await;
    worker.kill();
    assert_eq!(show(&imagemill, "a").await["state"], "succeeded", "{status}");
    let ledger = world.simulator.ledger();
    assert_eq!((ledger.totals.tasks_created, ledger.totals.tasks_of_one_prompt_max), (2, 2));
    assert_eq!(status["accounts"][0]["orphans"]["tasks"][0], ledger.tasks[0].task_id.as_str());
    let status = imagemill.run(&["status"]).await.unwrap().expect_code(0);
    assert!(status.stdout.contains("1 task with our key that no job owns"), "{}", status.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_another_size_that_was_adopted_is_held_until_a_person_takes_or_replaces_it() {
    let (world, imagemill) = world(50.0, 0, "ambiguous = \"hold\"\n").await;
    world.simulator.faults().add(Fault::new(On::Create, Act::AcceptThenCut).times(2)).unwrap();
    enqueue(&world, &imagemill, &[line("a", "small", "768*768"), line("b", "wide", "1536*768")]).await;
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(4);
    let ledger = world.simulator.ledger();
    let task_of = |prompt: &str| {
        let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(prompt.as_bytes()));
        ledger.tasks.iter().find(|task| task.prompt_sha256 == sha256).unwrap().task_id.clone()
    };
    let resolve = |verdict: Vec<String>| {
        let imagemill = imagemill.clone();
        async move {
            let arguments: Vec<&str> = ["job", "resolve", "--batch", "b"]
                .into_iter()
                .chain(verdict.iter().map(String::as_str))
                .collect();
            imagemill.run(&arguments).await.unwrap()
        }
    };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();

    // A person mixes the two up.
    let (wide, small) = (task_of("wide"), task_of("small"));
    resolve(words(&["a", "--adopt", &wide])).await.expect_code(0);
    resolve(words(&["b", "--adopt", &small])).await.expect_code(0);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(4);
    for custom_id in ["a", "b"] {
        let shown = show(&imagemill, custom_id).await;
        assert_eq!((&shown["state"], &shown["billed"]), (&"held".into(), &1.into()), "{shown}");
        assert!(shown["doubt"]["why"].as_str().unwrap().contains("the job asks for"), "{shown}");
    }

    // The first is good enough. The second is made again: nobody is asked twice, and nobody is not asked.
    resolve(words(&["a", "--adopt", &wide])).await.expect_code(0);
    let unasked = resolve(words(&["b", "--resubmit"])).await.expect_code(2);
    assert!(unasked.stderr.contains("paid for already"), "{}", unasked.stderr);
    assert_eq!(show(&imagemill, "b").await["state"], "held");
    resolve(words(&["b", "--resubmit", "--yes"])).await.expect_code(0);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    let batch = imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().json();
    assert_eq!((&batch["images"]["billed"], &batch["images"]["stored"]), (&3.into(), &2.into()), "{batch}");
    assert_eq!(world.simulator.totals().totals.images_billed, 3);
}
