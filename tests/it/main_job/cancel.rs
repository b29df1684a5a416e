//! A batch is canceled while its jobs are in every state, and removed, through the built binary.

use std::time::Duration;

use dashscope_sim::{Act, Config, Durations, Fault, Limits, On};
use job::StateName;
use rustix::process::Signal;
use tests::{World, eventually};

/// Settling and leases that fit a test; retries that wait for longer than it takes.
const SETTINGS: &str = r#"
[redis]
lease = "2s"

[worker]
renew_every = "500ms"
renewal_age_max = "1s"
send_within = "1s"
create_timeout = "8s"
held_request_timeout = "4s"

[settle]
lag = "500ms"
idle_control = "6s"
clock_margin = "500ms"
first = "500ms"
cap = "1s"
give_up_after = "60s"

[retry]
first = "60s"
"#;

/// In this order: places are taken by the first, and what comes last waits for one.
const FIRST: [&str; 9] = ["done", "failed", "again", "copied", "lost", "runs 1", "runs 2", "pending", "wire"];

fn lines() -> String {
    let line = |prompt: &str, more: &str| {
        format!("{{\"custom_id\": \"{}\", \"prompt\": \"{prompt}\"{more}}}\n", prompt.replace(' ', "-"))
    };
    let mut lines: Vec<String> = FIRST.iter().map(|prompt| line(prompt, "")).collect();
    lines.push(line("delayed", ", \"not_before\": \"2099-01-01T00:00:00Z\""));
    lines.extend((0..1_200).map(|n| line(&format!("queued {n}"), "")));
    lines.concat()
}

async fn world() -> World {
    let limits = Limits { tasks_at_once: 2, ..Limits::unlimited(2) };
    let config = Config { limits, durations: Durations::fixed_ms(300), ..Config::default() };
    let mut world = World::with(config).await.unwrap();
    let internal = Act::Failed { code: "InternalError".into(), message: "try again".into(), flat: false };
    let refused = Act::Failed { code: "DataInspectionFailed".into(), message: "no".into(), flat: false };
    for fault in [
        Fault::new(On::Task, refused).prompt_contains("failed"),
        Fault::new(On::Task, internal).prompt_contains("again"),
        Fault::new(On::Create, Act::AcceptThenCut).prompt_contains("lost"),
        Fault::new(On::Task, Act::Takes { ms: 12_000 }).prompt_contains("runs"),
        Fault::new(On::Create, Act::Delay { ms: 3_000 }).prompt_contains("wire"),
        Fault::new(On::Result, Act::Slow { bytes_per_s: 400 }).prompt_contains("copied"),
    ] {
        world.simulator.faults().add(fault).unwrap();
    }
    world.write("imagemill.toml", SETTINGS).unwrap();
    world.imagemill = world.imagemill.with("IMAGEMILL_IN_FLIGHT", 4).with("IMAGEMILL_QUEUE_AHEAD", 1);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_canceled_in_every_state_and_nothing_of_it_is_created_any_more() {
    let world = world().await;
    world.write("lines.jsonl", &lines()).unwrap();
    world.imagemill.run(&["enqueue", "lines.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let mut worker = world.imagemill.start("worker", &["worker"]).unwrap();
    let queue = world.redis.queue(99).await.unwrap();
    eventually("jobs in every state", Duration::from_secs(30), async || {
        let counts = queue.counts().await.unwrap();
        let at_least = |state: StateName, number: u64| counts.get(&state).copied().unwrap_or(0) >= number;
        let all = at_least(StateName::Queued, 1_202)
            && at_least(StateName::Submitting, 1)
            && at_least(StateName::Settling, 1)
            && at_least(StateName::Polling, 3)
            && at_least(StateName::Archiving, 1)
            && at_least(StateName::Succeeded, 1)
            && at_least(StateName::Failed, 1);
        if all { Ok(()) } else { Err(counts) }
    })
    .await;

    let canceled = world.imagemill.run(&["batch", "cancel", "b", "--json"]).await.unwrap().expect_code(0);
    let created = world.simulator.totals().totals.tasks_created;
    let view = canceled.json();
    assert!(view["canceled"].as_u64().unwrap() >= 1_202, "{view}");
    assert!(view["requested"].as_u64().unwrap() >= 5, "{view}");
    // A second time there is nothing left to cancel at once, and nothing is resumed that was not paused by it.
    let again = world.imagemill.run(&["batch", "cancel", "b", "--json"]).await.unwrap().expect_code(0).json();
    assert_eq!(again["canceled"], 0, "{again}");

    let watched = world.imagemill.run(&["watch", "b", "--json"]).await.unwrap().expect_code(1);
    worker.signal(Signal::TERM);
    worker.wait(Duration::from_secs(10)).unwrap();
    let totals = world.simulator.totals().totals;
    assert_eq!(totals.tasks_created, created, "a task was created after the command had returned");
    assert_eq!(created, FIRST.len() as u64, "{totals:?}");
    // `done`, `copied`, `lost` and the two that ran are paid for and in the bucket; the two that waited are not paid for, but where one began
    // before it could be canceled.
    let checked = world.check_all_over().await.unwrap();
    let (billed, at_provider) = (checked.billed, totals.canceled);
    assert_eq!(billed, checked.images, "{totals:?}");
    assert!(billed >= 5 && at_provider >= 1, "{totals:?} {}", watched.stdout);
    assert_eq!(billed + at_provider, 7, "{totals:?} {}", watched.stdout);
    let shown = world.imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().json();
    assert_eq!(shown["state"], "done", "{shown}");
    assert_eq!(
        (&shown["jobs"]["canceled"], &shown["jobs"]["failed"]),
        (&(1_202 + at_provider).into(), &1.into()),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_create_is_on_the_wire_is_canceled_once_nothing_of_it_can_be_created_any_more() {
    let world = world().await;
    world.write("one.jsonl", "{\"custom_id\": \"x\", \"prompt\": \"wire\"}\n").unwrap();
    world.imagemill.run(&["enqueue", "one.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let mut worker = world.imagemill.start("worker", &["worker"]).unwrap();
    eventually("the create to be on the wire", Duration::from_secs(30), async || {
        let totals = world.simulator.totals();
        if totals.requests.creates == 1 && totals.totals.tasks_created == 0 { Ok(()) } else { Err(totals) }
    })
    .await;
    let canceled = world.imagemill.run(&["job", "cancel", "--batch", "b", "x", "--json"]).await.unwrap();
    let created = world.simulator.totals().totals.tasks_created;
    assert_eq!(canceled.expect_code(0).json()["requested"], 1);
    world.imagemill.run(&["watch", "b"]).await.unwrap();
    worker.signal(Signal::TERM);
    worker.wait(Duration::from_secs(10)).unwrap();
    assert_eq!(world.simulator.totals().totals.tasks_created, created);
    world.check_all_over().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_batch_that_was_paused_stays_paused_and_goes_on_when_it_is_retried() {
    let world = World::quick().await.unwrap();
    world.write("two.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n").unwrap();
    let imagemill = &world.imagemill;
    imagemill.run(&["enqueue", "two.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    imagemill.run(&["batch", "pause", "b", "--why", "wait"]).await.unwrap().expect_code(0);
    let canceled = imagemill.run(&["batch", "cancel", "b"]).await.unwrap().expect_code(0);
    assert!(canceled.stdout.contains("2 jobs of batch b canceled"), "{}", canceled.stdout);
    assert!(canceled.stderr.contains("stays so"), "{}", canceled.stderr);
    imagemill
        .run(&["batch", "retry", "b", "--where", "state=canceled", "--yes"])
        .await
        .unwrap()
        .expect_code(0);
    let shown = imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().json();
    assert_eq!((&shown["state"], &shown["jobs"]["queued"]), (&"paused".into(), &2.into()), "{shown}");
    imagemill.run(&["batch", "resume", "b"]).await.unwrap().expect_code(0);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.check_all_succeeded().await.unwrap().images, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_has_ended_is_removed_and_its_file_is_paid_for_again_only_if_that_is_wanted() {
    let world = World::quick().await.unwrap();
    let file = "{\"custom_id\": \"x\", \"prompt\": \"a\"}\n";
    world.write("one.jsonl", file).unwrap();
    let imagemill = &world.imagemill;
    let enqueue = async || {
        let said = imagemill.run(&["enqueue", "one.jsonl", "--batch", "b", "--json"]).await.unwrap();
        said.expect_code(0).json()["enqueued"].as_u64().unwrap()
    };
    assert_eq!(enqueue().await, 1);
    let early = imagemill.run(&["batch", "rm", "b", "--yes"]).await.unwrap().expect_code(1);
    assert!(early.stderr.contains("1 job of batch b is not over"), "{}", early.stderr);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    // Nobody is there to ask.
    imagemill.run(&["batch", "rm", "b"]).await.unwrap().expect_code(2);
    imagemill.run(&["batch", "rm", "b", "--yes"]).await.unwrap().expect_code(0);
    imagemill.run(&["batch", "show", "b"]).await.unwrap().expect_code(1);
    assert_eq!(enqueue().await, 0, "it was paid for once");
    imagemill.run(&["batch", "rm", "b", "--yes", "--forget"]).await.unwrap();
    let totals = world.simulator.totals().totals;
    assert_eq!((totals.tasks_created, totals.images_billed), (1, 1));

    world.write("one.jsonl", &file.replace('x', "y")).unwrap();
    assert_eq!(enqueue().await, 1);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    imagemill.run(&["batch", "rm", "b", "--yes", "--forget"]).await.unwrap().expect_code(0);
    assert_eq!(enqueue().await, 1, "what is forgotten can be made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_batches_are_watched_at_once_and_the_worst_is_told() {
    let world = World::quick().await.unwrap();
    let refused = Act::Failed { code: "DataInspectionFailed".into(), message: "no".into(), flat: false };
    world.simulator.faults().add(Fault::new(On::Task, refused).prompt_contains("bad")).unwrap();
    let imagemill = &world.imagemill;
    for (batch, prompt) in [("good", "a"), ("bad", "bad")] {
        imagemill.run(&["enqueue", "--prompt", prompt, "--batch", batch]).await.unwrap().expect_code(0);
    }
    let mut worker = imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    let watched = imagemill.run(&["watch", "good", "bad"]).await.unwrap().expect_code(1);
    for line in ["batch good: 1/1 done", "batch bad: 1/1 done, 1 failed"] {
        assert!(watched.stderr.contains(line), "{}", watched.stderr);
    }
    imagemill.run(&["watch", "good"]).await.unwrap().expect_code(0);
    let missing = imagemill.run(&["watch", "good", "none"]).await.unwrap().expect_code(1);
    assert!(missing.stderr.contains("there is no batch none"), "{}", missing.stderr);
    worker.wait(Duration::from_secs(20)).unwrap();
}
