use std::time::Duration;

use dashscope_sim::{Act, Config, Durations, Fault, Limits, On};
use rustix::process::Signal;
use tests::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_followed_by_its_id_from_the_queue_to_its_picture() {
    let world = World::quick().await.unwrap();
    let enqueued = world
        .imagemill
        .run(&["enqueue", "--prompt", "a kite", "--prompt", "a boat", "--json"])
        .await
        .unwrap();
    let enqueued = enqueued.expect_code(0).json();
    let ids: Vec<String> = serde_json::from_value(enqueued["jobs"].clone())
        .unwrap_or_else(|error| panic!("{error}: {enqueued}"));
    assert_eq!((&enqueued["enqueued"], ids.len()), (&2.into(), 2), "{enqueued}");

    let canceled =
        world.imagemill.run(&["job", "cancel", &ids[1], "--json"]).await.unwrap().expect_code(0).json();
    assert_eq!(canceled["canceled"], 1, "{canceled}");
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.simulator.totals().totals.tasks_created, 1, "a canceled job is not paid for");

    let shown = world.imagemill.run(&["job", "show", &ids[0], "--json"]).await.unwrap().expect_code(0).json();
    assert_eq!(shown["state"], "succeeded", "{shown}");
    let listed =
        world.imagemill.run(&["job", "ls", "--state", "canceled", "--json"]).await.unwrap().expect_code(0);
    assert!(listed.stdout.contains(&ids[1]) && !listed.stdout.contains(&ids[0]), "{}", listed.stdout);
    let status = world.imagemill.run(&["status", "--json"]).await.unwrap().expect_code(0).json();
    assert_eq!(
        (&status["states"]["succeeded"], &status["states"]["canceled"]),
        (&1.into(), &1.into()),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn generate_saves_pictures_that_the_days_stop_counts() {
    let world = World::quick().await.unwrap();
    let imagemill = world.imagemill.with("IMAGEMILL_MAX_IMAGES_PER_DAY", 2);
    let made =
        imagemill.run(&["generate", "a kite", "-n", "2", "--size", "1K", "-o", "kite.png"]).await.unwrap();
    assert_eq!(made.expect_code(0).stdout.lines().count(), 2);
    for name in ["kite-0.png", "kite-1.png"] {
        let bytes = std::fs::read(world.folder().join(name)).unwrap();
        assert_eq!(archive::png::verify(&bytes).unwrap().width, 1_024);
    }
    let refused = imagemill.run(&["generate", "one more", "-o", "more.png"]).await.unwrap().expect_code(1);
    assert!(refused.stderr.contains("day"), "{}", refused.stderr);
    assert_eq!(world.simulator.totals().totals.tasks_created, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generate_that_missed_the_moment_of_its_permit_takes_another() {
    let world = World::quick().await.unwrap();
    let queue = world.redis.queue(1).await.unwrap();
    let creates = || world.simulator.totals().requests.creates;
    let announced = async || {
        let strays = queue.stray_creates(&"default".parse().unwrap(), job::Model::Wan27Image).await.unwrap();
        if strays.is_empty() { Err("nothing is announced") } else { Ok(()) }
    };
    // Its moment is 300 ms after its permit: a busy machine may be too slow to stop it by then.
    for n in 0..5 {
        let before = creates();
        let name = format!("kite-{n}.png");
        let mut generate = world.imagemill.start("generate", &["generate", "a kite", "-o", &name]).unwrap();
        eventually("a create to be announced", Duration::from_secs(20), announced).await;
        generate.signal(Signal::STOP);
        let stopped = async || if generate.is_stopped() { Ok(()) } else { Err("it goes on") };
        eventually("it to stand still", Duration::from_secs(20), stopped).await;
        let in_time = creates() == before;
        tokio::time::sleep(Duration::from_millis(500)).await;
        generate.signal(Signal::CONT);
        if in_time {
            // The way to the next moment is 600 ms long.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(creates(), before, "a late create could stand in one second with too many others");
        }
        assert_eq!(generate.wait(Duration::from_secs(20)).unwrap().code(), Some(0), "{}", generate.log());
        assert_eq!(creates(), before + 1);
        if in_time {
            return;
        }
    }
    panic!("it could never be stopped in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_task_is_cancelled_at_the_provider_and_a_running_one_is_finished() {
    // One place: the second job's task stays PENDING behind the first.
    let limits = Limits { tasks_at_once: 1, ..Limits::unlimited(1) };
    let world = World::with(Config { limits, durations: Durations::fixed_ms(6_000), ..Config::default() })
        .await
        .unwrap();
    world
        .write(
            "two.jsonl",
            "{\"custom_id\": \"runs\", \"prompt\": \"a\"}\n{\"custom_id\": \"waits\", \"prompt\": \"b\"}\n",
        )
        .unwrap();
    world.imagemill.run(&["enqueue", "two.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    let mut worker = world.imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    eventually("one task to run and one to wait", Duration::from_secs(20), async || {
        let totals = world.simulator.totals().totals;
        if (totals.running, totals.pending) == (1, 1) { Ok(()) } else { Err(totals) }
    })
    .await;
    world.imagemill.run(&["job", "cancel", "--batch", "b", "--all"]).await.unwrap().expect_code(0);
    let status = worker.wait(Duration::from_secs(60)).unwrap();
    let totals = world.simulator.totals().totals;
    assert_eq!((totals.canceled, totals.succeeded, totals.images_billed), (1, 1, 1), "{status} {totals:?}");
    let shown = world.imagemill.run(&["batch", "show", "b", "--json"]).await.unwrap().json();
    assert_eq!((&shown["jobs"]["canceled"], &shown["images"]["stored"]), (&1.into(), &1.into()), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_is_settled_and_paid_for_once() {
    let world = World::quick().await.unwrap();
    let lost = Fault::new(On::Create, Act::AcceptThenCut).prompt_contains("lost").times(1);
    world.simulator.faults().add(lost).unwrap();
    let settings = [
        "worker.held_request_timeout=2s",
        "worker.create_timeout=2s",
        "settle.lag=500ms",
        "settle.clock_margin=500ms",
        "settle.first=500ms",
        "settle.cap=1s",
    ];
    let mut arguments = vec!["worker", "--until-idle"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    world
        .imagemill
        .run(&["enqueue", "--prompt", "a lost letter", "--prompt", "a found one"])
        .await
        .unwrap()
        .expect_code(0);
    world.imagemill.run(&arguments).await.unwrap().expect_code(0);
    let totals = world.simulator.totals().totals;
    assert_eq!((totals.tasks_created, totals.tasks_of_one_prompt_max), (2, 1), "{totals:?}");
    assert_eq!(world.check_all_succeeded().await.unwrap().images, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_job_is_resolved_by_a_person() {
    let world = World::quick().await.unwrap();
    world.simulator.faults().add(Fault::new(On::Create, Act::AcceptThenCut).times(2)).unwrap();
    let worker = [
        "worker",
        "--until-idle",
        "--set",
        "settle.ambiguous=hold",
        "--set",
        "worker.held_request_timeout=2s",
        "--set",
        "worker.create_timeout=2s",
    ];
    world
        .write(
            "two.jsonl",
            "{\"custom_id\": \"a\", \"prompt\": \"a\"}\n{\"custom_id\": \"b\", \"prompt\": \"b\"}\n",
        )
        .unwrap();
    world.imagemill.run(&["enqueue", "two.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    world.imagemill.run(&worker).await.unwrap().expect_code(4);

    // Both created a task that nobody owns; a person can tell which is whose.
    let ledger = world.simulator.ledger();
    let task_of = |prompt: &str| {
        let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(prompt.as_bytes()));
        ledger.tasks.iter().find(|task| task.prompt_sha256 == sha256).unwrap().task_id.clone()
    };
    let resolve = |custom_id: &str, verdict: &[&str]| {
        let arguments: Vec<String> = ["job", "resolve", "--batch", "b", custom_id]
            .iter()
            .chain(verdict)
            .map(|&text| text.to_owned())
            .collect();
        let imagemill = world.imagemill.clone();
        async move { imagemill.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap() }
    };
    resolve("a", &["--adopt", &task_of("a")]).await.expect_code(0);
    let taken = resolve("b", &["--adopt", &task_of("a")]).await.expect_code(1);
    assert!(taken.stderr.contains("owned by job"), "{}", taken.stderr);
    resolve("b", &[]).await.expect_code(2);
    resolve("b", &["--adopt", &task_of("b")]).await.expect_code(0);
    resolve("b", &["--fail"]).await.expect_code(1);
    world.imagemill.run(&worker).await.unwrap().expect_code(0);
    assert_eq!(world.check_all_succeeded().await.unwrap().images, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_pauses_waits_until_it_is_resumed() {
    let world = World::quick().await.unwrap();
    let imagemill = world.imagemill.with("USER", "kim");
    let run = async |line: &[&str]| imagemill.run(line).await.unwrap();
    world.write("two.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n").unwrap();
    for batch in ["spring", "autumn"] {
        run(&["enqueue", "two.jsonl", "--batch", batch]).await.expect_code(0);
    }
    run(&["pause"]).await.expect_code(2);
    run(&["pause", "--account", "nobody"]).await.expect_code(2);
    run(&["batch", "pause", "winter"]).await.expect_code(1);
    let paused =
        run(&["batch", "pause", "spring", "--why", "wrong prompts", "--json"]).await.expect_code(0).json();
    assert_eq!((&paused["of"], &paused["changed"]), (&"batch spring".into(), &true.into()), "{paused}");
    let shown = run(&["batch", "show", "spring", "--json"]).await.expect_code(0).json();
    assert_eq!(
        (&shown["state"], &shown["pause"]["by"], &shown["pause"]["why"]),
        (&"paused".into(), &"kim".into(), &"wrong prompts".into()),
        "{shown}"
    );
    run(&["pause", "--model", "wan2.7-image"]).await.expect_code(0);

    let mut worker = imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    run(&["resume", "--all"]).await.expect_code(0);
    let status = run(&["status", "--json"]).await.expect_code(0).json();
    let of: Vec<_> = status["paused"].as_array().unwrap().iter().map(|pause| pause["of"].clone()).collect();
    assert_eq!(of, ["model wan2.7-image", "batch spring"], "{status}");
    // Those of the paused batch have no turn; those of the other have nobody who may take them.
    let waiting = &status["waiting"][0];
    assert_eq!((&waiting["jobs"], &waiting["no_eta"]), (&2.into(), &"stopped".into()), "{status}");
    assert_eq!(status["no_turn"], 2, "{status}");
    assert_eq!(status["accounts"][0]["models"][1]["creates"], "stopped", "{status}");
    let shown = run(&["batch", "show", "autumn"]).await.expect_code(0);
    assert!(shown.stdout.contains("never while no account may create"), "{}", shown.stdout);
    assert_eq!(world.simulator.totals().totals.tasks_created, 0);
    run(&["resume", "--model", "wan2.7-image"]).await.expect_code(0);
    run(&["watch", "autumn"]).await.expect_code(0);
    assert_eq!(world.simulator.totals().totals.tasks_created, 2);
    let resumed = run(&["batch", "resume", "spring"]).await.expect_code(0);
    assert!(resumed.stderr.contains("Batch spring goes on"), "{}", resumed.stderr);
    assert!(worker.wait(Duration::from_secs(60)).unwrap().success());
    assert_eq!(world.simulator.totals().totals.tasks_created, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_says_when_it_will_be_over_once_enough_tasks_have_ended() {
    let world = World::quick().await.unwrap();
    let run = async |line: &[&str]| world.imagemill.run(line).await.unwrap();
    world.write("jobs.jsonl", &"{\"prompt\": \"a\"}\n".repeat(14)).unwrap();
    run(&["enqueue", "jobs.jsonl", "--batch", "spring"]).await.expect_code(0);
    let shown = run(&["batch", "show", "spring"]).await.expect_code(0);
    assert!(shown.stdout.contains("not known: not enough tasks have ended yet"), "{}", shown.stdout);
    run(&["worker", "--until-idle"]).await.expect_code(0);
    let done = run(&["batch", "show", "spring", "--json"]).await.expect_code(0).json();
    assert_eq!((&done["state"], done.get("eta")), (&"done".into(), None), "{done}");

    world.write("few.jsonl", &"{\"prompt\": \"a\"}\n".repeat(3)).unwrap();
    run(&["enqueue", "few.jsonl", "--batch", "autumn"]).await.expect_code(0);
    let status = run(&["status", "--json"]).await.expect_code(0).json();
    let waiting = &status["waiting"][0];
    assert_eq!((&waiting["jobs"], waiting.get("no_eta")), (&3.into(), None), "{status}");
    let time = |text: &serde_json::Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let left = time(&waiting["eta"]).duration_since(time(&status["now"])).as_secs();
    assert!((0..600).contains(&left), "{left} s: {status}");
    let shown = run(&["batch", "show", "autumn"]).await.expect_code(0);
    assert!(shown.stdout.contains("at the latest, with all that waits"), "{}", shown.stdout);
    let mut worker = world.imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    let watched = run(&["watch", "autumn", "--json"]).await.expect_code(0);
    let lines: Vec<serde_json::Value> =
        watched.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line.get("eta").is_some()), "{}", watched.stdout);
    assert_eq!(lines.last().unwrap().get("eta"), None);
    assert!(worker.wait(Duration::from_secs(60)).unwrap().success());
}
