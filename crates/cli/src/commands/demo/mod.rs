//! `imagemill demo`: the main job on this machine, without a key and without cost.
//!
//! A private Redis (a child process), a demo store and the simulator (inside this process) stand in for the real servers. All
//! else is real: the commands that are shown are run, as child processes of this binary, with nothing but an environment that
//! points them at the stand-ins. With a key and real endpoints the same commands run for real.

mod inputs;
mod process;
mod show;

use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use dashscope_sim::{Config, Durations, Latency, Simulator};

use crate::app::App;
use crate::exit_code;
use crate::failure::{Failure, OrFail};
use crate::output::Output;
use process::Commands;

use super::stand_ins::{self, Binary, LocalStore, Pace, RedisChild, Scratch};

/// The examples: every scenario of the API page.
const EXAMPLES: &str = include_str!("examples.jsonl");

/// The batch of the demo.
const BATCH: &str = "demo";

/// Arguments of `imagemill demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where to leave the images
    #[arg(long, value_name = "DIR", default_value = "demo-images")]
    dir: PathBuf,

    /// Keep the servers running afterwards and print how to point other commands at them
    #[arg(long)]
    stay: bool,
}

/// Runs the demo, to its end or until it is told to stop. Either way its servers end and its temporary folder goes.
pub(crate) async fn run(app: &App, arguments: DemoArgs) -> Result<u8, Failure> {
    let mut terminate = signal(SignalKind::terminate()).or_fail("failed to listen for signals")?;
    let servers = tokio::select! {
        servers = demo(app.out, &arguments.dir) => servers?,
        _ = tokio::signal::ctrl_c() => return Err(interrupted()),
        _ = terminate.recv() => return Err(interrupted()),
    };
    if arguments.stay {
        show::stay(app.out, &servers.environment())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    servers.simulator.shutdown().await;
    Ok(exit_code::DONE)
}

/// Waits for both to end well. The first that fails ends the wait: without a worker a watch would last forever.
async fn both(
    watch: impl Future<Output = Result<(), Failure>>,
    worker: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::try_join!(watch, worker).map(|((), ())| ())
}

fn interrupted() -> Failure {
    Failure::message("interrupted").exit(exit_code::INTERRUPTED)
}

/// The stand-ins for the real servers; all end with this.
struct Servers {
    redis: RedisChild,
    store: LocalStore,
    simulator: Simulator,
    folder: Scratch,
}

/// Goes through it, and leaves the images in `to`.
async fn demo(out: Output, to: &Path) -> Result<Servers, Failure> {
    let servers = Servers::start().await?;
    let folder = &servers.folder;
    show::servers(out, &servers.redis.url(), &servers.store.endpoint(), &servers.simulator.base_url())?;

    let examples = folder.path("examples");
    std::fs::create_dir_all(&examples).or_fail("failed to make a temporary folder")?;
    inputs::write(&examples).or_fail("failed to write the example images")?;
    std::fs::write(examples.join("examples.jsonl"), EXAMPLES).or_fail("failed to write the examples")?;

    let binary = Binary::new(&examples, servers.environment()).or_fail("failed to find this binary")?;
    let commands = Commands::new(binary, out);
    commands.run(&["enqueue", "examples.jsonl", "--batch", BATCH]).await?;
    let mut worker = commands.start(&["worker", "--until-idle"], &folder.path("worker.log"))?;
    if let Err(failure) = both(commands.run(&["watch", BATCH]), worker.end()).await {
        show::log(out, &folder.path("worker.log"));
        return Err(failure);
    }
    commands.run(&["batch", "show", BATCH]).await?;

    let images = export(&folder.path("store").join(stand_ins::BUCKET), to).map_err(Failure::new)?;
    let totals = servers.simulator.totals().totals;
    show::images(out, &images, to)?;
    show::ledger(out, totals.tasks_created, totals.images_billed, images.len())?;
    let expected = usize::try_from(totals.images_billed).unwrap_or(usize::MAX);
    let damaged = images.iter().filter(|image| image.size.is_none()).count();
    if images.len() != expected || damaged > 0 {
        let text =
            format!("{expected} images were billed, {} are there, {damaged} of them damaged", images.len());
        return Err(Failure::message(text));
    }
    Ok(servers)
}

impl Servers {
    async fn start() -> Result<Self, Failure> {
        let folder = Scratch::make("demo").or_fail("failed to make a temporary folder")?;
        let redis = RedisChild::start("redis-server", &folder.path("redis")).await?;
        let store = LocalStore::start(&folder.path("store"), Pace::default()).await.map_err(Failure::new)?;
        // Tasks take 12 to 22 s at the provider; here a sixth of that.
        let durations = Durations { scale: 1.0 / 6.0, ..Durations::default() };
        let create_latency = Latency::Fixed { ms: 40 };
        let simulator = Simulator::start(Config { durations, create_latency, ..Config::default() }).await;
        let simulator = simulator.or_fail("failed to start the simulator")?;
        Ok(Self { redis, store, simulator, folder })
    }

    /// What points a command at them.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = stand_ins::environment(&self.redis, &self.store);
        environment.push(("DASHSCOPE_API_KEY", "sk-demo".to_owned()));
        environment.push(("DASHSCOPE_HTTP_BASE_URL", self.simulator.base_url()));
        environment
    }
}

/// An image that the demo leaves behind.
struct Exported {
    /// Where it stands below the folder, with `/`.
    name: String,
    bytes: u64,
    /// Width and height; `None` for a file that is not a whole PNG.
    size: Option<(u32, u32)>,
}

/// Copies the objects of the store as plain files, and checks every image once more.
fn export(bucket: &Path, to: &Path) -> anyhow::Result<Vec<Exported>> {
    let mut images = Vec::new();
    let mut folders = vec![bucket.join(BATCH)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(bucket)?;
            let target = to.join(relative);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::copy(&path, &target)?;
            if path.extension().is_some_and(|extension| extension == "png") {
                let body = std::fs::read(&target)?;
                let size = archive::png::verify(&body).ok().map(|facts| (facts.width, facts.height));
                images.push(Exported {
                    name: relative.display().to_string(),
                    bytes: body.len() as u64,
                    size,
                });
            }
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whichever_of_watch_and_worker_fails_first_ends_the_demo() {
        let failed = || ready(Err(Failure::message("ended early")));
        let limit = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(limit, both(pending(), failed())).await.unwrap().is_err());
        assert!(tokio::time::timeout(limit, both(failed(), pending())).await.unwrap().is_err());
        assert!(both(ready(Ok(())), ready(Ok(()))).await.is_ok());
    }

    #[test]
    fn the_examples_use_every_scenario_and_make_at_least_twelve_images() {
        let lines: Vec<serde_json::Value> =
            EXAMPLES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let has = |test: fn(&serde_json::Value) -> bool| lines.iter().any(test);
        assert!(has(|line| line["size"] == "4K"));
        assert!(has(|line| line["images"].as_array().is_some_and(|images| images.len() == 2)));
        assert!(has(|line| line["bbox_list"].is_array()));
        assert!(has(|line| line["enable_sequential"] == true && line["images"].is_null()));
        assert!(has(|line| line["enable_sequential"] == true && line["images"].is_array()));
        assert!(has(|line| line["color_palette"].is_array()));
        assert!(has(|line| line["seed"].is_number()));
        assert!(has(|line| line["prompt"].as_str().is_some_and(|prompt| !prompt.is_ascii())));
        assert!(has(|line| line["body"].is_object()));
        // Sets may bring fewer images than asked for, but at least one.
        let fewest: u64 = lines
            .iter()
            .map(|line| if line["enable_sequential"] == true { 1 } else { line["n"].as_u64().unwrap_or(1) })
            .sum();
        assert!(fewest >= 12, "{fewest}");
    }
}
