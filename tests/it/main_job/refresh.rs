//! Catalogues that are refreshed: by schedules, by hand, and by a plain cron.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use archive::Store;
use dashscope_sim::{Act, Fault, On};
use job::{BatchName, ObjectKey};
use serde_json::Value;
use tests::{Running, World, eventually};

/// Items of a catalogue whose tick is killed: enough to be in the middle for a while.
const ITEMS: usize = 2_000;

/// Items that change.
const CHANGED: usize = 37;

/// Items of the catalogue that is made three times: 300, or as many as this variable says. 2,000 take minutes.
const ITEMS_VARIABLE: &str = "CATALOGUE_ITEMS";

/// A tick that never comes while a test runs.
pub(super) const NEVER: &str = "0 0 1 1 *";

pub(super) const SOON: Duration = Duration::from_secs(120);

fn line(item: usize, prompt: &str) -> String {
    format!("{{\"custom_id\": \"sku-{item}\", \"prompt\": \"{prompt} {item}\", \"size\": \"1K\"}}\n")
}

pub(super) fn catalogue(items: usize, prompt: impl Fn(usize) -> &'static str) -> String {
    (0..items).map(|item| line(item, prompt(item))).collect()
}

pub(super) fn schedule(world: &World, cron: &str, more: &str) {
    let text = format!(
        "[redis]\nlease = \"2s\"\n[worker]\nrenew_every = \"500ms\"\nrenewal_age_max = \"1s\"\n\
         [[schedules]]\nname = \"shoes\"\ncron = \"{cron}\"\nsource = \"shoes.jsonl\"\n{more}\n"
    );
    world.write("imagemill.toml", &text).unwrap();
}

pub(super) async fn json(world: &World, arguments: &[&str]) -> Value {
    world.imagemill.run(arguments).await.unwrap().expect_code(0).json()
}

/// Runs the schedule by hand: new, unchanged and busy items.
pub(super) async fn run_now(world: &World) -> (u64, u64, u64) {
    let run = json(world, &["schedule", "run", "shoes", "--json"]).await;
    let count = |name: &str| run[name].as_u64().unwrap_or_else(|| panic!("{run}"));
    (count("new"), count("unchanged"), count("busy"))
}

pub(super) async fn work(world: &World) {
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
}

pub(super) fn tasks(world: &World) -> u64 {
    world.simulator.ledger().totals.tasks_created
}

/// The keys under `prefix`.
async fn keys(store: &Store, prefix: &str) -> Vec<String> {
    let objects = store.list(prefix, None, 100_000).await.unwrap();
    objects.into_iter().map(|object| object.key).collect()
}

async fn manifest(store: &Store, item: usize) -> Value {
    let key = ObjectKey::parse(&format!("shoes/sku-{item}/manifest.json")).unwrap();
    serde_json::from_slice(&store.get(&key, 1 << 20).await.unwrap().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_gets_new_images_for_what_is_new_what_changed_and_what_is_old_and_for_nothing_else() {
    let world = World::quick().await.unwrap();
    schedule(&world, NEVER, "");
    let number = std::env::var(ITEMS_VARIABLE).map_or(300, |number| number.parse().unwrap());
    world.write("shoes.jsonl", &catalogue(number, |_| "a shoe")).unwrap();
    let (items, some) = (number as u64, CHANGED as u64);
    assert_eq!(run_now(&world).await, (items, 0, 0));
    assert_eq!(run_now(&world).await, (0, 0, items), "their jobs are under way");
    work(&world).await;
    assert_eq!(tasks(&world), items);

    let made = Instant::now();
    assert_eq!(run_now(&world).await, (0, items, 0));
    // A tick is named to the second, and ages are counted to its name.
    let gap = Duration::from_secs(3);
    let old_enough = || async { Some(made.elapsed()).filter(|age| *age > gap).ok_or(()) };
    eventually("images of two ages", SOON, old_enough).await;
    let prompt = |item: usize| if item < CHANGED { "a red shoe" } else { "a shoe" };
    world.write("shoes.jsonl", &catalogue(number, prompt)).unwrap();
    assert_eq!(run_now(&world).await, (some, items - some, 0));
    work(&world).await;
    assert_eq!(tasks(&world), items + some);

    let age = format!(
        "refresh = \"max_age\"\nmax_age = \"{}ms\"",
        ((made.elapsed() - gap / 2) * 20 / 19).as_millis()
    );
    schedule(&world, NEVER, &age);
    assert_eq!(run_now(&world).await, (items - some, some, 0));
    work(&world).await;
    assert_eq!(tasks(&world), 2 * items);

    let store = world.store.store().await.unwrap();
    let stable: Vec<String> = keys(&store, "shoes/")
        .await
        .into_iter()
        .filter(|key| key.ends_with("/0.png") && !key.contains("/versions/"))
        .collect();
    assert_eq!(stable.len(), number);
    let changed = manifest(&store, 7).await;
    assert_eq!(changed["versions"].as_array().unwrap().len(), 2, "{changed}");
    assert!(changed["batch"].as_str().unwrap().starts_with("shoes-20"), "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_images_stay_until_the_new_ones_are_whole_and_so_many_versions_are_kept() {
    let world = World::quick().await.unwrap();
    let items: String = (0..3).map(|item| line(item, "a shoe")).collect();
    world.write("shoes.jsonl", &items).unwrap();
    let store = world.store.store().await.unwrap();
    let refresh = ["enqueue", "shoes.jsonl", "--batch", "{name}-{date}T{time}", "--json", "--refresh"];
    let (mut shown, mut batches) = (Vec::new(), Vec::new());
    for round in 0..5_u64 {
        let enqueued = json(&world, &[&refresh[..], &["always", "--keep", "3"]].concat()).await;
        assert_eq!((&enqueued["enqueued"], &enqueued["unchanged"]), (&3.into(), &0.into()), "{enqueued}");
        // Batches are named to the second.
        let before = if round > 0 { Some(manifest(&store, 0).await) } else { None };
        assert_eq!(before, shown.last().cloned(), "the old images stay");
        work(&world).await;
        shown.push(manifest(&store, 0).await);
        batches.push(enqueued["batch"].as_str().unwrap().to_owned());
        eventually("the next second", SOON, || async {
            let now = world.redis.queue(7).await.unwrap().now().as_second();
            let batch = enqueued["batch"].as_str().unwrap();
            if batch.ends_with(&format!("{:02}", now % 60)) { Err(now) } else { Ok(()) }
        })
        .await;
    }
    assert_eq!(tasks(&world), 15);
    let versions: BTreeMap<String, usize> =
        keys(&store, "shoes/sku-1/versions/").await.into_iter().fold(BTreeMap::new(), |mut all, key| {
            *all.entry(key.split('/').nth(3).unwrap().to_owned()).or_default() += 1;
            all
        });
    assert_eq!(versions.len(), 4, "the current one and three old ones: {versions:?}");
    let last = shown.last().unwrap();
    let kept: Vec<&str> = last["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["job_id"].as_str().unwrap())
        .collect();
    let made: Vec<&str> = shown.iter().rev().map(|manifest| manifest["job_id"].as_str().unwrap()).collect();
    assert_eq!(kept, made[..4]);

    // What the newest job brought is what the stable key shows, and what the batch's results name.
    let image = store.get(&ObjectKey::parse("shoes/sku-0/0.png").unwrap(), 1 << 26).await.unwrap().unwrap();
    assert_eq!(archive::Sha256Digest::of(&image).to_string(), last["images"][0]["sha256"].as_str().unwrap());
    assert_eq!(last["images"][0]["key"], "shoes/sku-0/0.png");
    let nothing = json(&world, &[&refresh[..], &["if_changed"]].concat()).await;
    assert_eq!((&nothing["enqueued"], &nothing["unchanged"]), (&0.into(), &3.into()), "{nothing}");
    let dry = json(&world, &[&refresh[..], &["always", "--dry-run"]].concat()).await;
    assert_eq!((&dry["enqueued"], &dry["dry_run"], &dry["images_max"]), (&3.into(), &true.into(), &3.into()));
    assert_eq!(tasks(&world), 15);

    // The results of each are its own, for as long as its version is kept.
    let lines = world.imagemill.run(&["batch", "results", &batches[1]]).await.unwrap().expect_code(0).stdout;
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let image = &line["images"][0];
    assert_eq!(image["stable_key"], "shoes/sku-0/0.png", "{line}");
    assert_eq!(image["sha256"], shown[1]["images"][0]["sha256"], "{line}");
    let key = ObjectKey::parse(image["key"].as_str().unwrap()).unwrap();
    let stored = store.get(&key, 1 << 26).await.unwrap().unwrap();
    assert_eq!(image["sha256"], archive::Sha256Digest::of(&stored).to_string());
    assert_eq!(fetched(&world, &batches[1], 0).await, (3, 0, 0));
    assert_eq!(fetched(&world, &batches[0], 3).await, (0, 3, 0));
    json(&world, &[&refresh[..], &["always", "--keep", "0"]].concat()).await;
    work(&world).await;
    assert_eq!(fetched(&world, &batches[4], 3).await, (0, 3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_versions_the_results_of_a_refresh_say_that_its_images_were_replaced() {
    let world = World::quick().await.unwrap();
    world.write("shoes.jsonl", &catalogue(2, |_| "a shoe")).unwrap();
    for batch in ["monday", "tuesday"] {
        let refresh = ["enqueue", "shoes.jsonl", "--batch", batch, "--refresh", "always", "--keep", "0"];
        world.imagemill.run(&refresh).await.unwrap().expect_code(0);
        work(&world).await;
    }
    assert_eq!(fetched(&world, "tuesday", 0).await, (2, 0, 0));
    let late = world.imagemill.run(&["batch", "results", "monday", "--download", "monday"]).await.unwrap();
    let late = late.expect_code(3);
    let said = "error: `shoes/sku-0/0.png`: it was replaced since: the bucket holds another image there";
    assert!(late.stderr.contains(said), "{}", late.stderr);
    assert!(
        late.stdout.contains("0 images fetched") && late.stdout.contains("2 replaced since"),
        "{}",
        late.stdout
    );
}

/// Fetches a batch's images: how many came, were replaced, and failed.
async fn fetched(world: &World, batch: &str, code: i32) -> (u64, u64, u64) {
    let folder = format!("images of {batch}");
    let arguments = ["batch", "results", batch, "--download", &folder, "--json"];
    let done = world.imagemill.run(&arguments).await.unwrap().expect_code(code).json();
    let count = |name: &str| done[name].as_u64().unwrap();
    (count("fetched"), count("replaced"), count("failed"))
}

/// As if schedulers had known the schedule for so long, and missed its ticks.
pub(super) async fn missed(world: &World, cron: &str, since: Duration) {
    let mut redis = world.redis.connection().await.unwrap();
    let since = i64::try_from(since.as_millis()).unwrap();
    let before = world.redis.queue(5).await.unwrap().now().as_millisecond() - since;
    let _: () = redis::cmd("HSET")
        .arg("{imagemill}:schedule:shoes")
        .arg("last")
        .arg(before)
        .arg(format!("since:{cron} UTC"))
        .arg(before)
        .query_async(&mut redis)
        .await
        .unwrap();
}

pub(super) async fn history(world: &World) -> Vec<Value> {
    let history = json(world, &["schedule", "history", "shoes", "--json"]).await;
    history.as_array().unwrap().clone()
}

fn all_new(runs: &[Value]) -> u64 {
    runs.iter().map(|run| run["new"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_schedulers_at_once_do_a_missed_tick_once() {
    let world = World::quick().await.unwrap();
    schedule(&world, "* * * * *", "");
    world.write("shoes.jsonl", &catalogue(300, |_| "a shoe")).unwrap();
    missed(&world, "* * * * *", Duration::from_secs(300)).await;
    let mut running: Vec<Running> = vec![
        world.imagemill.start("scheduler-1", &["scheduler"]).unwrap(),
        world.imagemill.start("scheduler-2", &["scheduler"]).unwrap(),
        world.imagemill.start("worker", &["worker", "--with-scheduler"]).unwrap(),
    ];
    let queue = world.redis.queue(9).await.unwrap();
    eventually("all images", SOON, || async {
        let counts = queue.counts().await.unwrap();
        if counts.get(&job::StateName::Succeeded) == Some(&300) {
            Ok(())
        } else {
            Err((counts, running.iter().map(Running::log).collect::<Vec<_>>()))
        }
    })
    .await;
    let runs = history(&world).await;
    assert_eq!(all_new(&runs), 300, "{runs:#?}");
    let ticks: BTreeSet<&str> = runs.iter().map(|run| run["tick"].as_str().unwrap()).collect();
    assert_eq!(ticks.len(), runs.len(), "a tick has one line: {runs:#?}");
    for process in &mut running {
        process.signal(rustix::process::Signal::TERM);
        assert!(process.wait(Duration::from_secs(20)).unwrap().success(), "{}", process.log());
    }
    assert_eq!(tasks(&world), 300);
    assert_eq!(world.simulator.ledger().totals.tasks_of_one_prompt_max, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_whose_scheduler_is_killed_in_the_middle_is_finished_by_another_exactly_once() {
    let world = World::quick().await.unwrap();
    let cron = "0 * * * *";
    schedule(&world, cron, "");
    world.write("shoes.jsonl", &catalogue(ITEMS, |_| "a shoe")).unwrap();
    let mut redis = world.redis.connection().await.unwrap();
    // A tick of an hour ago: no other comes meanwhile, but at the turn of an hour, and that would find nothing to do.
    missed(&world, cron, Duration::from_secs(3_700)).await;
    let mut killed = world.imagemill.start("killed", &["scheduler"]).unwrap();
    let started = Instant::now();
    loop {
        let there: usize =
            redis::cmd("HLEN").arg("{imagemill}:items:shoes").query_async(&mut redis).await.unwrap();
        if there > 0 {
            break;
        }
        assert!(started.elapsed() < SOON, "{}", killed.log());
    }
    killed.kill();
    let left: usize =
        redis::cmd("HLEN").arg("{imagemill}:items:shoes").query_async(&mut redis).await.unwrap();
    assert!(left < ITEMS, "{left} of {ITEMS} were there");
    assert!(history(&world).await.is_empty());

    let mut other = world.imagemill.start("other", &["scheduler"]).unwrap();
    let runs = eventually("the tick's end", SOON, || async {
        let runs = history(&world).await;
        if runs.is_empty() { Err(other.log()) } else { Ok(runs) }
    })
    .await;
    other.signal(rustix::process::Signal::TERM);
    assert!(other.wait(Duration::from_secs(20)).unwrap().success(), "{}", other.log());
    assert_eq!((runs.len(), all_new(&runs)), (1, ITEMS as u64), "{runs:#?}");
    let batch: BatchName = runs[0]["batch"].as_str().unwrap().parse().unwrap();
    let queue = world.redis.queue(9).await.unwrap();
    let summary = queue.batch(Some(&batch)).await.unwrap().unwrap();
    assert_eq!((summary.total, summary.left), (ITEMS as u64, ITEMS as u64));
    assert_eq!(queue.counts().await.unwrap().values().sum::<u64>(), ITEMS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_list_fails_the_tick_as_a_whole_and_a_pause_holds_the_schedule_back() {
    let world = World::quick().await.unwrap();
    schedule(&world, NEVER, "");
    world
        .write("shoes.jsonl", &(line(1, "a shoe") + "{\"prompt\": \"nobody's\"}\n" + &line(2, "a shoe")))
        .unwrap();
    let failed = world.imagemill.run(&["schedule", "run", "shoes"]).await.unwrap().expect_code(65);
    assert!(failed.stderr.contains("line 2") && failed.stderr.contains("custom_id"), "{}", failed.stderr);
    let runs = history(&world).await;
    assert_eq!((&runs[0]["faulty"], &runs[0]["new"]), (&1.into(), &0.into()), "{runs:?}");
    assert!(runs[0]["faults"][0].as_str().unwrap().starts_with("line 2"), "{runs:?}");

    schedule(&world, NEVER, "skip_invalid = true\nn = 2");
    assert_eq!(run_now(&world).await, (2, 0, 0));
    let paused =
        world.imagemill.run(&["schedule", "pause", "shoes", "--why", "sale"]).await.unwrap().expect_code(0);
    assert!(paused.stdout.contains("is paused"), "{}", paused.stdout);
    let listed = json(&world, &["schedule", "ls", "--json"]).await;
    assert_eq!((&listed[0]["paused"]["why"], &listed[0]["next"]), (&"sale".into(), &Value::Null), "{listed}");
    assert_eq!(listed[0]["last"]["new"], 2, "{listed}");
    world.imagemill.run(&["schedule", "resume", "shoes"]).await.unwrap().expect_code(0);
    let listed = world.imagemill.run(&["schedule", "ls"]).await.unwrap().expect_code(0);
    assert!(listed.stdout.contains("0 0 1 1 *") && listed.stdout.contains("2 new"), "{}", listed.stdout);
    let unknown = world.imagemill.run(&["schedule", "run", "shoe"]).await.unwrap().expect_code(2);
    assert!(unknown.stderr.contains("did you mean `shoes`?"), "{}", unknown.stderr);

    // A store that is away never makes anything look changed.
    work(&world).await;
    let made = tasks(&world);
    world.write("shoes.jsonl", &line(1, "a shoe")).unwrap();
    let away = world.imagemill.with("IMAGEMILL_S3_ENDPOINT", "http://127.0.0.1:9");
    let failed = away.run(&["schedule", "run", "shoes"]).await.unwrap().expect_code(1);
    assert!(failed.stderr.contains("failed to open the bucket"), "{}", failed.stderr);
    work(&world).await;
    assert_eq!(tasks(&world), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_bring_nothing_better_is_not_paid_for_again_at_each_tick() {
    let world = World::quick().await.unwrap();
    let refused = Act::Failed { code: "DataInspectionFailed".into(), message: "no".into(), flat: false };
    let faults = world.simulator.faults();
    faults.add(Fault::new(On::Task, Act::FewerImages).prompt_contains("few")).unwrap();
    faults.add(Fault::new(On::Task, refused).prompt_contains("bad")).unwrap();
    faults.add(Fault::new(On::Task, Act::LinkLives { ms: 0 }).prompt_contains("lost")).unwrap();
    schedule(&world, NEVER, "");
    let item = |prompt: &str, n: u8| {
        format!("{{\"custom_id\": \"{prompt}\", \"prompt\": \"{prompt}\", \"n\": {n}, \"size\": \"1K\"}}\n")
    };
    let items = [item("few", 2), item("bad", 2), item("good", 2), item("lost", 1)].concat();
    world.write("shoes.jsonl", &items).unwrap();
    let first = json(&world, &["schedule", "run", "shoes", "--json"]).await;
    assert_eq!(first["new"], 4, "{first}");
    let batch = first["batch"].as_str().unwrap();
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap();
    assert_eq!(tasks(&world), 4);

    let second = json(&world, &["schedule", "run", "shoes", "--json"]).await;
    let counts = ["new", "unchanged", "given_up"].map(|name| second[name].as_u64().unwrap());
    assert_eq!(counts, [0, 1, 3], "{second}");
    // Nor are the missing images alone of any use to an item.
    let missing = json(&world, &["batch", "retry", batch, "--missing", "--yes", "--json"]).await;
    assert_eq!((&missing["retried"], &missing["refreshes"]), (&0.into(), &2.into()), "{missing}");
    // Another prompt is another try, and the item's older job none any more.
    let other = items.replace("\"prompt\": \"few\"", "\"prompt\": \"few more\"");
    world.write("shoes.jsonl", &other.replace("\"prompt\": \"bad\"", "\"prompt\": \"better\"")).unwrap();
    assert_eq!(run_now(&world).await, (2, 1, 0));
    let again = json(&world, &["batch", "retry", batch, "--yes", "--json"]).await;
    assert_eq!((&again["retried"], &again["superseded"]), (&1.into(), &1.into()), "{again}");
    let bad = ["job", "retry", "--batch", batch, "bad", "--yes"];
    let one = world.imagemill.run(&bad).await.unwrap().expect_code(1);
    assert!(one.stderr.contains("its item has had a later job since"), "{}", one.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_an_earlier_run_does_not_hide_what_changed_and_a_run_by_hand_has_its_own() {
    let world = World::quick().await.unwrap();
    let items = |first: &str| line(1, first) + &line(2, "a shoe");
    world.write("shoes.jsonl", &items("a shoe")).unwrap();
    let refresh = |batch: &'static str| {
        ["enqueue", "shoes.jsonl", "--batch", batch, "--refresh", "if_changed", "--into", "shoes", "--json"]
    };
    assert_eq!(json(&world, &refresh("catalogue")).await["enqueued"], 2);
    let again = json(&world, &refresh("catalogue")).await;
    assert_eq!(
        (&again["enqueued"], &again["duplicates"]),
        (&0.into(), &2.into()),
        "as after an interruption: {again}"
    );
    work(&world).await;
    world.write("shoes.jsonl", &items("a red shoe")).unwrap();
    let late = world.imagemill.run(&refresh("catalogue")).await.unwrap().expect_code(65);
    assert_eq!(
        (&late.json()["enqueued"], &late.json()["changed"]),
        (&0.into(), &1.into()),
        "{}",
        late.stdout
    );
    assert!(late.stderr.contains("1 job (line 1) asks for something else"), "{}", late.stderr);
    let own = "The batch is an earlier run's. For new images give each run a batch of its own: --batch \"{name}-{date}T{time}\".";
    assert!(late.stderr.contains(own) && !late.stderr.contains("--replace"), "{}", late.stderr);
    // Everything is to be new, and the batch has had it all.
    let always = ["enqueue", "shoes.jsonl", "--batch", "catalogue", "--refresh", "always", "--into", "shoes"];
    world.write("shoes.jsonl", &items("a shoe")).unwrap();
    let always = world.imagemill.run(&always).await.unwrap().expect_code(0);
    let note = "note: 2 items have their jobs in batch catalogue already, from a run that is complete, and nothing new is made in it";
    assert!(always.stderr.contains(note), "{}", always.stderr);
    world.write("shoes.jsonl", &items("a red shoe")).unwrap();

    schedule(&world, NEVER, "batch = \"{name}-{date}\"");
    let plain = ["enqueue", "shoes.jsonl", "--dry-run", "--batch"];
    for (batch, is_named) in [("shoes", true), ("boots", false)] {
        let plain = world.imagemill.run(&[&plain[..], &[batch]].concat()).await.unwrap().expect_code(0);
        let named = plain.stderr.contains("schedule shoes refreshes the images of shoes, and those of batch shoes take the same keys: the last to come is shown. Name");
        assert_eq!(named, is_named, "{}", plain.stderr);
    }
    assert_eq!(run_now(&world).await, (1, 1, 0));
    work(&world).await;
    world.write("shoes.jsonl", &items("a blue shoe")).unwrap();
    assert_eq!(run_now(&world).await, (1, 1, 0), "on the same day");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_by_hand_that_fail_in_one_second_are_told_apart() {
    let world = World::quick().await.unwrap();
    schedule(&world, NEVER, "");
    // There is no such list.
    for _ in 0..3 {
        let failed = world.imagemill.run(&["schedule", "run", "shoes"]).await.unwrap();
        assert_ne!(failed.code, 0, "{}", failed.stderr);
    }
    let runs = history(&world).await;
    let ticks: BTreeSet<_> = runs.iter().map(|run| run["tick"].as_str().unwrap().to_owned()).collect();
    assert_eq!((runs.len(), ticks.len()), (3, 3), "{runs:?}");
}
