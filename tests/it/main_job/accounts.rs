use std::time::Duration;

use dashscope_sim::{Config, Durations, Fault, Limits, On, Simulator, Totals};
use tests::{World, eventually};

/// A world with two accounts, each at a simulator of its own: `large` has three times the places of `small`.
struct Two {
    world: World,
    other: Simulator,
}

fn config(tasks_at_once: u32, ms: u64) -> Config {
    Config {
        limits: Limits::unlimited(tasks_at_once),
        durations: Durations::fixed_ms(ms),
        ..Config::default()
    }
}

impl Two {
    async fn new(ms: u64) -> Self {
        let world = World::with(config(6, ms)).await.unwrap();
        let other = Simulator::start(config(2, ms)).await.unwrap();
        let account = |name: &str, base_url: String, places: u32| {
            let limits: String = ["wan2.7-image", "wan2.7-image-pro"]
                .iter()
                .map(|model| {
                    format!("[accounts.limits.\"{model}\"]\ncreate_per_second = 500\nin_flight = {places}\nqueue_ahead = {places}\n")
                })
                .collect();
            format!(
                "[[accounts]]\nname = \"{name}\"\nregion = \"r-{name}\"\nbase_url = \"{base_url}\"\n\
                 queries_per_second = 500\napi_key = {{ env = \"KEY_{name}\" }}\n{limits}"
            )
        };
        let settings =
            account("large", world.simulator.base_url(), 6) + &account("small", other.base_url(), 2);
        world.write("imagemill.toml", &settings).unwrap();
        Self { world, other }
    }

    fn imagemill(&self) -> tests::Imagemill {
        self.world.imagemill.with("KEY_large", "sk-large").with("KEY_small", "sk-small")
    }

    async fn enqueue(&self, batch: &str, jobs: usize, more: &[&str]) {
        let lines: String = (0..jobs).map(|n| format!("{{\"prompt\": \"{batch} {n}\"}}\n")).collect();
        self.world.write("jobs.jsonl", &lines).unwrap();
        let line = [&["enqueue", "jobs.jsonl", "--batch", batch], more].concat();
        self.imagemill().run(&line).await.unwrap().expect_code(0);
    }

    fn totals(&self) -> (Totals, Totals) {
        (self.world.simulator.totals().totals, self.other.totals().totals)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_name_nothing_fill_the_places_of_every_account() {
    let two = Two::new(2_000).await;
    two.enqueue("b", 24, &[]).await;
    two.enqueue("pinned", 2, &["--region", "r-small"]).await;
    let mut worker = two.imagemill().start("worker", &["worker", "--until-idle"]).unwrap();
    let both = eventually("both accounts to be at work", Duration::from_secs(30), async || {
        let (large, small) = two.totals();
        if (large.running, small.running) == (6, 2) { Ok((large, small)) } else { Err((large, small)) }
    })
    .await;
    assert!(worker.wait(Duration::from_secs(90)).unwrap().success(), "{both:?}");
    let (large, small) = two.totals();
    assert_eq!(large.tasks_created + small.tasks_created, 26, "{large:?} {small:?}");
    assert!(small.tasks_created >= 4, "{small:?}");
    let shown = two.imagemill().run(&["batch", "show", "pinned", "--json"]).await.unwrap().json();
    assert_eq!(shown["jobs"]["succeeded"], 2, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_account_stops_working_its_jobs_go_to_the_other() {
    let two = Two::new(500).await;
    let refused = super::failures::status(401, "InvalidApiKey");
    two.enqueue("b", 30, &[]).await;
    let mut worker = two.imagemill().start("worker", &["worker", "--until-idle"]).unwrap();
    eventually("some of the jobs to be done", Duration::from_secs(30), async || {
        let (large, _) = two.totals();
        if large.succeeded >= 2 { Ok(()) } else { Err(large) }
    })
    .await;
    two.world.simulator.faults().add(Fault::new(On::Create, refused)).unwrap();
    // A job that the first refused would wait 5 s, and longer each time, for an account that has no use for it.
    assert!(worker.wait(Duration::from_secs(60)).unwrap().success());
    let (large, small) = two.totals();
    assert_eq!(large.tasks_created + small.tasks_created, 30, "nothing is paid twice: {large:?} {small:?}");
    let shown = two.imagemill().run(&["batch", "show", "b", "--json"]).await.unwrap().json();
    assert_eq!(shown["jobs"]["succeeded"], 30, "{shown}");
}

/// A world with one account whose settings name no figure but what is kept PENDING.
async fn unsaid(faults: Vec<Fault>) -> World {
    let limits = Limits { creates_per_second: 50, ..Limits::unlimited(8) };
    let durations = Durations::fixed_ms(1_000);
    let world = World::with(Config { limits, durations, faults, ..Config::default() }).await.unwrap();
    let ahead = ["wan2.7-image", "wan2.7-image-pro"]
        .map(|model| format!("[accounts.limits.\"{model}\"]\nqueue_ahead = 0\n"));
    let settings = format!(
        "[[accounts]]\nname = \"a\"\nbase_url = \"{}\"\nqueries_per_second = 500\n{}",
        world.simulator.base_url(),
        ahead.concat()
    );
    world.write("imagemill.toml", &settings).unwrap();
    let lines: String = (0..30).map(|n| format!("{{\"prompt\": \"picture {n}\"}}\n")).collect();
    world.write("jobs.jsonl", &lines).unwrap();
    world.imagemill.run(&["enqueue", "jobs.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    world
}

/// The figures of a model as `status` shows them, each with its source.
async fn figures(world: &World) -> serde_json::Value {
    let status = world.imagemill.run(&["status", "--json"]).await.unwrap().expect_code(0).json();
    status["accounts"][0]["models"][0]["limits"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_goes_by_the_limits_that_the_provider_names_where_the_settings_name_none() {
    let world = unsaid(Vec::new()).await;
    let mut worker = world.imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    eventually("all places that the provider names to be taken", Duration::from_secs(30), async || {
        let totals = world.simulator.totals().totals;
        if totals.running == 8 { Ok(()) } else { Err(totals) }
    })
    .await;
    assert!(worker.wait(Duration::from_secs(60)).unwrap().success());
    let expected = serde_json::json!({
        "create_per_second": { "value": 50.0, "source": "quotas" },
        "in_flight": { "value": 8, "source": "quotas" },
        "queue_ahead": { "value": 0, "source": "settings" },
    });
    assert_eq!(figures(&world).await, expected);
    // One question for each model, and another worker goes by what was told.
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.simulator.totals().requests.quotas, 2);
    world.check_all_succeeded().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_provider_names_no_limits_those_that_it_documents_stand() {
    let world = unsaid(vec![Fault::new(On::Quotas, super::failures::status(404, "NotFound"))]).await;
    let mut worker = world.imagemill.start("worker", &["worker", "--until-idle"]).unwrap();
    eventually("the documented places to be taken", Duration::from_secs(30), async || {
        let totals = world.simulator.totals().totals;
        assert!(totals.running <= 5, "{totals:?}");
        if totals.running == 5 { Ok(()) } else { Err(totals) }
    })
    .await;
    assert!(worker.wait(Duration::from_secs(60)).unwrap().success());
    assert!(!worker.log().contains("WARN") && !worker.log().contains("quotas"), "{}", worker.log());
    let expected = serde_json::json!({
        "create_per_second": { "value": 5.0, "source": "documented" },
        "in_flight": { "value": 5, "source": "documented" },
        "queue_ahead": { "value": 0, "source": "settings" },
    });
    assert_eq!(figures(&world).await, expected);
    world.check_all_succeeded().await.unwrap();
}
