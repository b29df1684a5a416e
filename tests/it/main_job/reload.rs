use std::collections::BTreeSet;
use std::time::Duration;

use dashscope_sim::{Config, Durations, Limits, Simulator, Totals};
use rustix::process::Signal;
use tests::{Running, World, eventually};

const LONG: Duration = Duration::from_secs(60);

fn config(tasks_at_once: u32) -> Config {
    let limits = Limits::unlimited(tasks_at_once);
    Config { limits, durations: Durations::fixed_ms(1_000), ..Config::default() }
}

/// An account whose key stands in the file `<name>.key`.
fn account(name: &str, simulator: &Simulator, places: u32) -> String {
    let limits = ["wan2.7-image", "wan2.7-image-pro"].map(|model| {
        format!(
            "[accounts.limits.\"{model}\"]\ncreate_per_second = 500\nin_flight = {places}\nqueue_ahead = 0\n"
        )
    });
    format!(
        "[[accounts]]\nname = \"{name}\"\nbase_url = \"{}\"\nqueries_per_second = 500\n\
         api_key = {{ file = \"{name}.key\" }}\n{}",
        simulator.base_url(),
        limits.concat()
    )
}

/// Reads the settings again, and waits for what the log says about it.
async fn reload(worker: &Running, expected: &str) {
    let before = worker.log().len();
    worker.signal(Signal::HUP);
    eventually(&format!("the log to say `{expected}`"), LONG, async || {
        let log = worker.log().split_off(before);
        if log.contains(expected) { Ok(()) } else { Err(log) }
    })
    .await;
}

async fn until(what: &str, simulator: &Simulator, holds: impl Fn(&Totals) -> bool) -> Totals {
    let totals = async || {
        let totals = simulator.totals().totals;
        if holds(&totals) { Ok(totals) } else { Err(totals) }
    };
    eventually(what, LONG, totals).await
}

async fn begun(worker: &Running) {
    eventually("the worker to begin", LONG, async || {
        let log = worker.log();
        if log.contains(" begins") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_come_and_change_and_go_while_a_worker_works_and_no_job_is_lost_or_paid_twice() {
    const JOBS: usize = 80;
    let world = World::with(config(6)).await.unwrap();
    let (a, b) = (&world.simulator, Simulator::start(config(6)).await.unwrap());
    world.write("a.key", "sk-first-of-a\n").unwrap();
    world.write("b.key", "sk-of-b\n").unwrap();
    world.write("imagemill.toml", &account("a", a, 4)).unwrap();
    let lines: String = (0..JOBS).map(|n| format!("{{\"prompt\": \"picture {n}\"}}\n")).collect();
    world.write("jobs.jsonl", &lines).unwrap();
    world.imagemill.run(&["enqueue", "jobs.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let mut worker = world.imagemill.start("worker", &["worker"]).unwrap();
    until("the first account to be full", a, |totals| totals.running == 4).await;

    world.write("imagemill.toml", &(account("a", a, 4) + &account("b", &b, 2))).unwrap();
    reload(&worker, "new: b").await;
    until("the new account to be full", &b, |totals| totals.running == 2).await;

    // Another key, and a place in stead of four.
    world.write("a.key", "sk-second-of-a\n").unwrap();
    world.write("imagemill.toml", &(account("a", a, 1) + &account("b", &b, 6))).unwrap();
    reload(&worker, "changed: a, b").await;
    let keys = || a.ledger().tasks.into_iter().map(|task| task.api_key_id).collect::<BTreeSet<_>>();
    eventually("the second key to be used", LONG, async || match keys() {
        keys if keys.len() == 2 => Ok(()),
        keys => Err(keys),
    })
    .await;
    until("no more than one task at the account", a, |totals| totals.running + totals.pending <= 1).await;
    until("all places of the other one to be taken", &b, |totals| {
        let at_a = a.totals().totals;
        assert!(at_a.running + at_a.pending <= 1, "{at_a:?}");
        totals.running == 6
    })
    .await;

    // Gone, with a task at work there: that is followed to its end.
    until("a task to be at work", a, |totals| totals.running == 1).await;
    world.write("imagemill.toml", &account("b", &b, 6)).unwrap();
    reload(&worker, "gone: a").await;
    let gone =
        until("the account's last tasks to end", a, |totals| totals.running + totals.pending == 0).await;
    let shown = eventually("all jobs to be done", Duration::from_secs(120), async || {
        let shown = world.imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().json();
        if shown["jobs"]["succeeded"] == JOBS { Ok(shown) } else { Err(shown.to_string()) }
    })
    .await;
    assert_eq!(shown["images"]["stored"], JOBS, "{shown}");
    let (at_a, at_b) = (a.totals().totals, b.totals().totals);
    assert_eq!(at_a.tasks_created, gone.tasks_created, "nothing begins at an account that is gone");
    assert_eq!(at_a.tasks_created + at_b.tasks_created, JOBS as u64, "{at_a:?} {at_b:?}");
    assert_eq!((at_a.tasks_of_one_prompt_max, at_b.tasks_of_one_prompt_max), (1, 1));
    worker.signal(Signal::TERM);
    assert!(worker.wait(Duration::from_secs(20)).unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_leave_a_worker_the_accounts_that_it_had() {
    let world = World::with(config(6)).await.unwrap();
    world.write("a.key", "sk-of-a\n").unwrap();
    // Only the worker reads this file: others must not stumble over it.
    let good = account("a", &world.simulator, 4);
    world.write("worker.toml", &good).unwrap();
    let mut worker = world.imagemill.start("worker", &["worker", "--config", "worker.toml"]).unwrap();
    begun(&worker).await;

    world.write("worker.toml", &format!("{good}weigth = 3\n")).unwrap();
    reload(&worker, "there is no setting").await;
    let log = worker.log();
    assert!(log.contains("goes on with the accounts and webhooks that it had"), "{log}");
    assert!(log.contains("worker.toml:14:1"), "it says where: {log}");

    world.write("worker.toml", &good.replace("a.key", "none.key")).unwrap();
    reload(&worker, "the key of account `a` cannot be read").await;

    // A key that another namespace of this Redis works with.
    let other = world
        .imagemill
        .with("IMAGEMILL_REDIS_NAMESPACE", "other")
        .with("DASHSCOPE_API_KEY", "sk-of-another-namespace");
    other.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    world.write("b.key", "sk-of-another-namespace\n").unwrap();
    world.write("worker.toml", &(good.clone() + &account("b", &world.simulator, 4))).unwrap();
    reload(&worker, "the key of account `b` is in use by namespace `other`").await;

    world.write("worker.toml", &format!("[worker]\nimages_at_once = 2\n{good}")).unwrap();
    reload(&worker, "hold after a restart: worker.images_at_once").await;

    let more = ["enqueue", "--prompt", "a kite", "--prompt", "a boat"];
    world.imagemill.run(&more).await.unwrap().expect_code(0);
    until("the jobs to be done", &world.simulator, |totals| totals.succeeded == 2).await;
    worker.signal(Signal::TERM);
    assert!(worker.wait(Duration::from_secs(20)).unwrap().success());
}
