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
