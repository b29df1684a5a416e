//! Budgets and the cost report through the built binary: what may be spent is never exceeded, and what is said is what was billed.

use std::time::Duration;

use dashscope_sim::{Config, Durations, Limits};
use serde_json::Value;
use tests::{Fleet, Imagemill, World, audit, eventually};

use super::crashes::HASTY;

/// What an image of wan2.7-image-pro costs, in millionths.
const PRO: u64 = 75_000;

/// How long anything here may take.
const LONG: Duration = Duration::from_secs(120);

async fn world(per_second: u32) -> (World, Imagemill) {
    let config =
        Config { limits: Limits::unlimited(64), durations: Durations::fixed_ms(300), ..Config::default() };
    let world = World::with(config).await.unwrap();
    let imagemill = world.imagemill.with("IMAGEMILL_CREATE_PER_SECOND", per_second);
    (world, imagemill)
}

fn write_jobs(world: &World, jobs: usize) {
    let line = |n: usize| format!("{{\"custom_id\": \"{n}\", \"prompt\": \"a picture of {n}\"}}\n");
    world.write("jobs.jsonl", &(0..jobs).map(line).collect::<String>()).unwrap();
}

const ENQUEUE: [&str; 6] = ["enqueue", "jobs.jsonl", "--batch", "b", "--model", "wan2.7-image-pro"];

async fn json(imagemill: &Imagemill, arguments: &[&str]) -> Value {
    let ran = imagemill.run(&[arguments, &["--json"]].concat()).await.unwrap();
    ran.expect_code(0).json()
}

/// Waits until the batch has so many images billed and nothing under way. Meanwhile the simulator has never billed more than `most`.
async fn until_billed(world: &World, imagemill: &Imagemill, images: u64, most: u64) -> Value {
    eventually("the budget to be spent", LONG, async || {
        let billed = world.simulator.totals().totals.images_billed;
        assert!(billed <= most, "{billed} images are billed, and {most} are paid for by the budget");
        let batch = json(imagemill, &["batch", "show", "b"]).await;
        let done = batch["images"]["billed"] == images && batch["jobs"]["in_flight"] == 0;
        if done { Ok(batch) } else { Err(batch) }
    })
    .await
}

async fn check(world: &World) {
    let queue = world.redis.queue(7).await.unwrap();
    let found = audit(&queue, &mut world.redis.connection().await.unwrap()).await.unwrap();
    assert!(found.is_empty(), "{found:#?}");
    assert!(queue.repairs().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_workers_spend_a_budget_to_its_last_image_and_go_on_when_it_is_raised() {
    let (world, imagemill) = world(2_000).await;
    write_jobs(&world, 400);
    imagemill.run(&[&ENQUEUE[..], &["--budget", "10.00"]].concat()).await.unwrap().expect_code(0);
    let mut fleet = Fleet::new(&world, &imagemill);
    for _ in 0..8 {
        fleet.start().unwrap();
    }
    let batch = until_billed(&world, &imagemill, 133, 133).await;
    assert_eq!(batch["cost"]["micros"], 9_975_000);
    assert_eq!(batch["jobs"]["queued"], 267);
    assert_eq!((&batch["state"], &batch["waits_for"][0]["budget"]), (&"running".into(), &"batch".into()));
    assert_eq!(batch["budget"]["reserved"]["micros"], 0);
    assert!(batch.get("eta").is_none(), "{batch}");
    assert_eq!(world.simulator.totals().totals.tasks_created, 133);
    let status = json(&imagemill, &["status"]).await;
    assert_eq!(status["waiting_for_budget"][0]["batch"], "b");
    assert_eq!(status["no_turn"], 267);
    let watching = imagemill.start("watch", &["watch"]).unwrap();
    eventually("watch to say what everything waits for", LONG, async || {
        let log = watching.log();
        if log.contains("a budget has no room for all of it") { Ok(()) } else { Err(log) }
    })
    .await;
    drop(watching);
    let list = imagemill.run(&["batch", "ls"]).await.unwrap();
    assert!(list.stdout.contains("waits for its budget"), "{}", list.stdout);
    let queued = json(&imagemill, &["job", "ls", "--batch", "b", "--state", "queued", "--limit", "1"]).await;
    let job = queued["jobs"][0]["job"].as_str().unwrap();
    let shown = imagemill.run(&["job", "show", job]).await.unwrap();
    assert!(shown.stdout.contains("jobs wait for the budget of the batch"), "{}", shown.stdout);
    check(&world).await;
    the_report_is_the_ledger(&world, &imagemill, 133).await;

    // 12.00 is 160 images exactly.
    imagemill.run(&["batch", "budget", "b", "12.00"]).await.unwrap().expect_code(0);
    let batch = until_billed(&world, &imagemill, 160, 160).await;
    assert_eq!(batch["cost"]["micros"], 12_000_000);
    imagemill.run(&["batch", "budget", "b", "none"]).await.unwrap().expect_code(0);
    until_billed(&world, &imagemill, 400, 400).await;
    fleet.kill_all();
    imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    world.check_all_succeeded().await.unwrap();
    check(&world).await;
    the_report_is_the_ledger(&world, &imagemill, 400).await;
}

/// The report in each of its forms says what the simulator billed, to the image.
async fn the_report_is_the_ledger(world: &World, imagemill: &Imagemill, images: u64) {
    assert_eq!(world.simulator.totals().totals.images_billed, images);
    let report = json(imagemill, &["cost", "--by", "day,batch,model,account"]).await;
    assert_eq!(report["total"]["images"], images);
    assert_eq!(report["total"]["cost"]["micros"], images * PRO);
    assert_eq!(report["total"]["extra_images"], 0);
    let sum = |field: &str| {
        report["rows"].as_array().unwrap().iter().map(|row| row[field].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(sum("images"), images, "{report}");
    let row = &report["rows"][0];
    assert_eq!(
        (&row["batch"], &row["model"], &row["account"]),
        (&"b".into(), &"wan2.7-image-pro".into(), &"default".into())
    );
    let csv = imagemill.run(&["cost", "--by", "batch", "--format", "csv"]).await.unwrap();
    let amount = job::Micros(i64::try_from(images * PRO).unwrap());
    assert_eq!(
        csv.stdout,
        format!("batch,images,cost,currency,extra_images,extra_cost\r\nb,{images},{amount},USD,0,0.00\r\n")
    );
    let table = imagemill.run(&["cost"]).await.unwrap();
    assert!(table.stdout.lines().last().unwrap().contains(&format!("{amount} USD")), "{}", table.stdout);
    let none = json(imagemill, &["cost", "--batch", "another"]).await;
    assert_eq!((&none["total"]["images"], none["rows"].as_array().unwrap().len()), (&0.into(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_on_the_way_do_not_let_the_others_spend_more() {
    let (world, imagemill) = world(40).await;
    world.write("hasty.toml", HASTY).unwrap();
    let imagemill = imagemill.with("IMAGEMILL_CONFIG", "hasty.toml");
    write_jobs(&world, 400);
    imagemill.run(&[&ENQUEUE[..], &["--budget", "10.00"]].concat()).await.unwrap().expect_code(0);
    let mut fleet = Fleet::new(&world, &imagemill);
    for _ in 0..8 {
        fleet.start().unwrap();
    }
    for round in 1..=3 {
        eventually("tasks to be created", LONG, async || {
            let totals = world.simulator.totals().totals;
            if totals.tasks_created >= round * 30 { Ok(()) } else { Err(totals) }
        })
        .await;
        fleet.kill(0);
        fleet.start().unwrap();
    }
    // What a killed worker had on the wire is settled, or held for a person: then it may have been billed, and is so reserved.
    let batch = eventually("the budget to be spent", LONG, async || {
        let billed = world.simulator.totals().totals.images_billed;
        assert!(billed <= 133, "{billed} images are billed");
        let batch = json(&imagemill, &["batch", "show", "b"]).await;
        let held = batch["jobs"]["held"].as_u64().unwrap();
        let spent = batch["images"]["billed"].as_u64().unwrap() + held == 133;
        if spent && batch["jobs"]["in_flight"] == 0 { Ok(batch) } else { Err(batch) }
    })
    .await;
    let held = batch["jobs"]["held"].as_u64().unwrap();
    assert_eq!(batch["budget"]["reserved"]["micros"], held * PRO);
    let (totals, report) = (world.simulator.totals().totals, json(&imagemill, &["cost"]).await);
    let reported = report["total"]["images"].as_u64().unwrap();
    assert!(
        reported <= totals.images_billed && totals.images_billed <= reported + held,
        "{report} {totals:?}"
    );
    check(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budgets_of_a_day_and_of_an_account_hold_and_say_so() {
    let (world, imagemill) = world(2_000).await;
    let accounts = |budget: &str| {
        let limits = "create_per_second = 500\nin_flight = 20\nqueue_ahead = 20\n";
        format!(
            "[budget]\nper_day = \"1.50\"\n[[accounts]]\nname = \"main\"\nbase_url = \"{}\"\nqueries_per_second = 500\n\
             api_key = {{ env = \"KEY\" }}\nbudget_per_day = \"{budget}\"\n\
             [accounts.limits.\"wan2.7-image-pro\"]\n{limits}[accounts.limits.\"wan2.7-image\"]\n{limits}",
            world.simulator.base_url()
        )
    };
    world.write("imagemill.toml", &accounts("0.75")).unwrap();
    let imagemill = imagemill.with("KEY", "sk-main");
    write_jobs(&world, 40);
    imagemill.run(&ENQUEUE).await.unwrap().expect_code(0);
    let worker = imagemill.start("worker", &["worker"]).unwrap();
    let batch = until_billed(&world, &imagemill, 10, 10).await;
    let waits = &batch["waits_for"][0];
    assert_eq!((&waits["budget"], &waits["account"]), (&"account".into(), &"main".into()), "{batch}");
    let status = json(&imagemill, &["status"]).await;
    assert_eq!(status["accounts"][0]["budget_today"]["booked"]["micros"], 10 * PRO);
    let pro = &status["accounts"][0]["models"][0];
    assert_eq!((&pro["model"], &pro["creates"]), (&"wan2.7-image-pro".into(), &"later".into()), "{status}");
    assert_eq!(status["waiting"][0]["no_eta"], "budget", "{status}");

    // A running worker takes the account's over; then the day's is the narrower one.
    world.write("imagemill.toml", &accounts("100")).unwrap();
    worker.signal(rustix::process::Signal::HUP);
    let batch = until_billed(&world, &imagemill, 20, 20).await;
    assert_eq!(batch["waits_for"][0]["budget"], "day", "{batch}");
    let status = imagemill.run(&["status"]).await.unwrap();
    assert!(status.stdout.contains("1.50 of 1.50 USD spent"), "{}", status.stdout);
    assert!(status.stdout.contains("jobs wait for the budget of the day"), "{}", status.stdout);
    check(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_several_images_says_what_it_waits_for_and_one_that_costs_more_than_a_budget_is_told_at_once()
 {
    let (world, imagemill) = world(2_000).await;
    // Five images: a job of three, and nothing for the next one of three.
    world.write("imagemill.toml", "[budget]\nper_day = \"0.375\"\n").unwrap();
    write_jobs(&world, 2);
    let ran = imagemill.run(&[&ENQUEUE[..], &["-n", "3"]].concat()).await.unwrap().expect_code(0);
    assert!(!ran.stderr.contains("can never be made"), "{}", ran.stderr);
    let _worker = imagemill.start("worker", &["worker"]).unwrap();
    let batch = until_billed(&world, &imagemill, 3, 3).await;
    assert_eq!(batch["waits_for"][0]["budget"], "day", "{batch}");
    assert!(batch["waits_for"][0]["until"].is_string(), "{batch}");
    let status = json(&imagemill, &["status"]).await;
    assert_eq!(
        (&status["waits_for"][0]["budget"], &status["waiting"][0]["no_eta"]),
        (&"day".into(), &"budget".into())
    );
    let pro = &status["accounts"][0]["models"][0];
    assert_eq!((&pro["model"], &pro["creates"]), (&"wan2.7-image-pro".into(), &"later".into()), "{status}");

    // The price of one such job is more than there will ever be on one day. Another model goes on meanwhile.
    let raised = imagemill.with("IMAGEMILL_BUDGET_PER_DAY", "0.30");
    let large = ["enqueue", "--prompt", "a set", "--batch", "large", "--model", "wan2.7-image", "-n", "4"];
    let told = imagemill.run(&[&large[..], &["--budget", "0.10"]].concat()).await.unwrap().expect_code(0);
    assert!(told.stderr.contains("and the budget of the batch is 0.10 USD"), "{}", told.stderr);
    let shown = raised.run(&["status"]).await.unwrap().expect_code(0);
    assert!(shown.stdout.contains("the budget of the day (it begins anew"), "{}", shown.stdout);
    let small = imagemill.with("IMAGEMILL_BUDGET_PER_DAY", "0.20");
    let shown = small.run(&["status"]).await.unwrap().expect_code(0);
    assert!(shown.stdout.contains("all of it is less than the next job can cost"), "{}", shown.stdout);
    check(&world).await;
}

/// What `enqueue` says of jobs that no budget will pay for.
async fn never(imagemill: &Imagemill, arguments: &[&str]) -> String {
    let ran = imagemill.run(&[&["enqueue"][..], arguments].concat()).await.unwrap().expect_code(0);
    let said: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("can never be made")).collect();
    said.join("\n")
}

/// A line that asks for `n` images.
fn item(name: &str, n: usize) -> String {
    format!("{{\"custom_id\": \"{name}\", \"prompt\": \"{name}\", \"n\": {n}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_no_budget_will_pay_for_is_named_by_what_its_batch_may_spend_and_only_while_it_is_new() {
    let (world, imagemill) = world(2_000).await;
    let file = ["jobs.jsonl", "--batch", "b"];
    let dry = [&file[..], &["--dry-run"]].concat();
    world.write("jobs.jsonl", &item("one", 1)).unwrap();
    assert_eq!(never(&imagemill, &file).await, "");
    imagemill.run(&["batch", "budget", "b", "0.10"]).await.unwrap().expect_code(0);
    world.write("jobs.jsonl", &(item("one", 1) + &item("four", 4))).unwrap();
    let own = "warning: line 2 can never be made: it asks for 4 images of wan2.7-image, at most 0.12 USD, and the budget of the batch is \
               0.10 USD; it will wait, and the jobs behind it. Raise it with `imagemill batch budget b AMOUNT`, or ask for fewer images";
    assert_eq!(never(&imagemill, &dry).await, own);
    // What would be set counts, and is not set.
    assert_eq!(never(&imagemill, &[&dry[..], &["--budget", "0.12"]].concat()).await, "");
    assert_eq!(never(&imagemill, &file).await, own);
    for there in [&file[..], &dry] {
        assert_eq!(never(&imagemill, there).await, "", "it was said when the job was new");
    }
    // Of a batch that has none of its own, that of the settings; and not of one that is to have none.
    let few = imagemill.with("IMAGEMILL_BUDGET_PER_BATCH", "0.11");
    world.write("jobs.jsonl", &item("another four", 4)).unwrap();
    imagemill.run(&["batch", "budget", "b", "none"]).await.unwrap().expect_code(0);
    assert_eq!(never(&few, &file).await, "");
    world.write("jobs.jsonl", &item("four more", 4)).unwrap();
    imagemill.run(&["batch", "budget", "b", "default"]).await.unwrap().expect_code(0);
    assert!(never(&few, &file).await.contains("`budget.per_batch` is 0.11 USD"));
    // A job that is replaced is made as well.
    world.write("jobs.jsonl", &item("one", 4)).unwrap();
    let replaced = never(&few, &[&file[..], &["--replace", "--yes"]].concat()).await;
    assert!(replaced.contains("line 1") && replaced.contains("4 images"), "{replaced}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_and_a_tick_name_the_items_that_no_budget_will_pay_for_where_they_get_new_images() {
    let (world, imagemill) = world(2_000).await;
    let few = imagemill.with("IMAGEMILL_BUDGET_PER_DAY", "0.10");
    world.write("shoes.jsonl", &item("one", 1)).unwrap();
    let refresh = ["shoes.jsonl", "--batch", "b", "--refresh", "if_changed"];
    assert_eq!(never(&few, &refresh).await, "");
    world.write("shoes.jsonl", &(item("one", 1) + &item("four", 4))).unwrap();
    let dry = never(&few, &[&refresh[..], &["--dry-run"]].concat()).await;
    assert!(
        dry.starts_with("warning: line 2 can never be made") && dry.contains("`budget.per_day`"),
        "{dry}"
    );
    assert_eq!(never(&few, &refresh).await, dry);
    assert_eq!(never(&few, &refresh).await, "", "its job is there");

    let schedule = "[budget]\nper_batch = \"0.10\"\n[[schedules]]\nname = \"hats\"\ncron = \"0 0 1 1 *\"\nsource = \"hats.jsonl\"\n";
    world.write("imagemill.toml", schedule).unwrap();
    world.write("hats.jsonl", &(item("one", 1) + &item("four", 4))).unwrap();
    let run = async || imagemill.run(&["schedule", "run", "hats"]).await.unwrap().expect_code(0).stderr;
    let said = run().await;
    assert!(said.contains("WARN") && said.contains("of schedule hats, line 2 can never be made"), "{said}");
    assert!(said.contains("`budget.per_batch` is 0.10 USD"), "{said}");
    let again = run().await;
    assert!(!again.contains("can never be made"), "its job is under way: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_budgets_and_days_are_refused_and_say_what_to_try() {
    let (world, imagemill) = world(100).await;
    write_jobs(&world, 1);
    let refused = async |arguments: &[&str]| {
        let ran = imagemill.run(arguments).await.unwrap();
        assert_ne!(ran.code, 0, "{arguments:?} was taken");
        format!("{}\n{}", ran.code, ran.stderr.trim_end())
    };
    insta::assert_snapshot!(refused(&[&ENQUEUE[..], &["--budget", "ten"]].concat()).await, @r"
    2
    error: invalid value 'ten' for '--budget <AMOUNT>': it is written such as `0.075`; `none` and `default` may be said as well

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&[&ENQUEUE[..], &["--budget", "-1"]].concat()).await, @r"
    2
    error: invalid value '-1' for '--budget <AMOUNT>': it must be 0 or more; `none` and `default` may be said as well

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["enqueue", "--prompt", "a", "--budget", "1"]).await, @r"
    2
    error: the following required arguments were not provided:
      --batch <NAME>

    Usage: imagemill enqueue --batch <NAME> --prompt <TEXT> --budget <AMOUNT> [FILE]

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["batch", "budget", "nobody", "5"]).await, @r"
    1
    error: there is no batch `nobody`

    hint: `imagemill batch ls` lists the batches
    ");
    insta::assert_snapshot!(refused(&["batch", "budget", "b", "1.0000001"]).await, @r"
    2
    error: invalid value '1.0000001' for '[AMOUNT]': it has more than 6 decimals, and money is counted to a millionth; `none` and `default` may be said as well

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["cost", "--since", "2026-11-31"]).await, @r"
    2
    error: invalid value '2026-11-31' for '--since <YYYY-MM-DD>': parsed date is not valid: parameter 'day' for `2026-11` is invalid, must be in range `1..=30`

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["cost", "--since", "2026-11-02", "--until", "2026-11-01"]).await, @r"
    2
    error: --until 2026-11-01 is before --since 2026-11-02

    hint: both days are among those that are reported
    ");
    insta::assert_snapshot!(refused(&["cost", "--since", "1990-01-01", "--until", "2026-11-01"]).await, @r"
    2
    error: from 1990-01-01 to 2026-11-01 are more than ten years

    hint: ask for fewer days at once
    ");
    insta::assert_snapshot!(refused(&["cost", "--by", "week"]).await, @r"
    2
    error: invalid value 'week' for '--by <KEYS>'
      [possible values: day, batch, model, account]

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["cost", "--json", "--format", "csv"]).await, @r"
    2
    error: --json and --format ask for different things

    hint: leave one of them away
    ");
    let nothing = imagemill.run(&["cost", "--since", "2026-11-01", "--until", "2026-11-02"]).await.unwrap();
    assert_eq!(
        (nothing.code, nothing.stderr.trim()),
        (0, "Nothing was billed from 2026-11-01 to 2026-11-02.")
    );
}
