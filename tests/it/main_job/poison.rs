use std::time::{Duration, Instant};

use dashscope_sim::{Act, Fault, On};
use job::{HeldReason, JobState, StateName};
use queue::JobFilter;
use tests::World;

const HASTY: &str = r#"
[redis]
lease = "1s"

[worker]
renew_every = "200ms"
renewal_age_max = "500ms"
rescue_every = "100ms"
create_timeout = "2s"
sweep_every = "1s"

[copy]
first = "100ms"
cap = "200ms"
"#;

/// The job kills each worker that asks about its task: as soon as the log shows that step, the process is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_workers_is_run_alone_in_the_end_and_held_while_all_others_succeed() {
    let world = World::quick().await.unwrap();
    world.write("imagemill.toml", HASTY).unwrap();
    let mut lines: String =
        (0..50).map(|n| format!("{{\"custom_id\": \"j{n}\", \"prompt\": \"picture {n}\"}}\n")).collect();
    lines.push_str("{\"custom_id\": \"bad\", \"prompt\": \"arsenic\"}\n");
    world.write("jobs.jsonl", &lines).unwrap();
    let slow = Fault::new(On::Query, Act::Delay { ms: 30_000 }).prompt_contains("arsenic");
    world.simulator.faults().add(slow).unwrap();
    let imagemill = world.imagemill.with("RUST_LOG", "info,worker=debug");
    imagemill.run(&["enqueue", "jobs.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let queue = world.redis.queue(5).await.unwrap();
    let page = queue.jobs(&JobFilter::default(), None, 100).await.unwrap();
    let mut bad = None;
    for job in page.items {
        if queue.spec(job.id).await.unwrap().unwrap().request.prompt.expose() == "arsenic" {
            bad = Some(job.id);
        }
    }
    let bad = bad.unwrap();
    let its_step = format!("Job {bad} is claimed: poll begins");

    let mut last_log = String::new();
    let mut deaths = 0;
    let status = loop {
        let mut worker = imagemill.start(&format!("worker-{deaths}"), &["worker", "--until-idle"]).unwrap();
        let started = Instant::now();
        let ended = loop {
            if worker.log().contains(&its_step) {
                break None;
            }
            if let Some(status) = worker.try_wait() {
                break Some(status);
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "it neither dies nor ends\n{}",
                worker.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        if let Some(status) = ended {
            break status;
        }
        worker.kill();
        last_log = worker.log();
        deaths += 1;
        assert!(deaths < 10, "it is never held");
    };
    assert_eq!(status.code(), Some(4), "held jobs remain");
    assert_eq!(deaths, 3 + 1);
    let job = queue.job(bad).await.unwrap().unwrap();
    assert!(matches!(job.state, JobState::Held { reason: HeldReason::Poison, .. }), "{job:?}");
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts[&StateName::Succeeded], counts[&StateName::Held]), (50, 1));
    // The last worker that it killed had nothing else in hand.
    assert!(last_log.contains(&format!("Job {bad} lost 3 workers while it was polling; it is run alone")));
    let begun = last_log.matches("is claimed: ").count();
    let over = last_log.matches(" is over").count();
    assert_eq!(begun - over, 1, "{last_log}");
    let checked = world.check_all_accounted_for().await.unwrap();
    assert_eq!(checked.tasks, 51);
}
