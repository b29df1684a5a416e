//! Finished tasks whose links die at mixed times: with 1.2 times the copying that they need, and with 0.7 times.
//!
//! How long a copy takes is the simulator's delay before each download, and what the machine adds to it; that is measured first, and
//! again in each run. How many copies run at once is a setting.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dashscope_sim::{Config, Durations, Limits};
use job::{JobState, StateName, Timestamp};
use queue::JobFilter;
use tests::dying::Dying;
use tests::{World, least_late};

/// Jobs that are copied at once.
const AT_ONCE: u32 = 8;

/// Lives of links, from a fifth of the longest on.
const GROUPS: u32 = 20;

/// The settings of the worker.
const SETTINGS: &str = "[worker]\narchive_concurrency = 8\n\n[poll]\nfirst = \"1s\"\n";

pub(crate) async fn run(tasks: usize, longest_s: u64) -> anyhow::Result<()> {
    println!(
        "== {tasks} finished tasks, links that live {} s to {longest_s} s, {AT_ONCE} copies at once",
        longest_s / 5
    );
    let long = Dying { jobs: 300, lives: vec![Duration::from_secs(3_600)] };
    let delay = Duration::from_millis(200);
    let calm = measure(&long, delay).await?;
    let added = (f64::from(AT_ONCE) / calm.per_second - delay.as_secs_f64()).max(0.0);
    println!("a copy takes             its delay and {:.0} ms", added * 1e3);
    println!();
    let longest = Duration::from_secs(longest_s);
    let step = longest * 4 / 5 / (GROUPS - 1);
    let dying = Dying { jobs: tasks, lives: (0..GROUPS).map(|group| longest / 5 + step * group).collect() };
    // The tasks end one after another, within some seconds.
    let needed = tasks as f64 / (longest.as_secs_f64() + 4.0);
    for share in [1.2, 0.7] {
        let delay = (f64::from(AT_ONCE) / (needed * share) - added).max(0.0);
        let run = measure(&dying, Duration::from_secs_f64(delay)).await?;
        run.print(share);
        run.check(share)?;
    }
    Ok(())
}

/// What came of a run.
struct Run {
    /// Jobs whose images are stored.
    stored: usize,
    /// Jobs that expired.
    expired: usize,
    /// Copies per second, measured in the middle of the run.
    per_second: f64,
    /// Copies per second that earliest-deadline order needs to lose nothing.
    needed: f64,
    /// The fewest that can be lost at the measured pace.
    least: usize,
    /// Images and money lost, as `batch show` says.
    reported: (u64, i64),
    /// The warning of `status`, a third into the run.
    warning: String,
    /// Whether the worker's log warned.
    warned: bool,
    took: Duration,
}

async fn measure(dying: &Dying, delay: Duration) -> anyhow::Result<Run> {
    let config = Config {
        limits: Limits::unlimited(4_000),
        durations: Durations::fixed_ms(500),
        faults: dying.faults(delay),
        ..Config::default()
    };
    let world = World::with(config).await?;
    world.write("settings.toml", SETTINGS)?;
    world.write("prompts.jsonl", &dying.lines())?;
    let imagemill = world
        .imagemill
        .with("IMAGEMILL_CONFIG", "settings.toml")
        .with("IMAGEMILL_IN_FLIGHT", 4_000)
        .with("IMAGEMILL_QUEUE_AHEAD", 0);
    imagemill.run(&["--version"]).await?; // builds it, where that is needed: not to be measured
    let enqueued = imagemill.run(&["enqueue", "prompts.jsonl", "--batch", "b"]).await?;
    ensure!(enqueued.code == 0, "{}", enqueued.stderr);
    let started = Instant::now();
    let mut worker = imagemill.start("worker", &["worker", "--until-idle"])?;
    let third = dying.lives.iter().max().copied().unwrap_or_default().min(Duration::from_secs(75)) / 3;
    let mut warning = None;
    while worker.try_wait().is_none() {
        ensure!(started.elapsed() < Duration::from_secs(600), "it does not end\n{}", worker.log());
        if warning.is_none() && started.elapsed() > third {
            let status = imagemill.run(&["status", "--json"]).await?.json();
            warning = Some(status["copies"]["warning"].as_str().unwrap_or("none").to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = started.elapsed();
    let shown = imagemill.run(&["batch", "show", "b", "--json"]).await?.json();
    let reported = (
        shown["lost"]["images"].as_u64().context("batch show says what is lost")?,
        shown["lost"]["cost"]["micros"].as_i64().context("batch show says what that cost")?,
    );
    let warned = worker.log().contains("cannot be copied before their");
    // Every job is over, each stored image is what was served, and nothing else is in the bucket.
    let checked = world.check_all_over().await?;
    let of = |state| checked.jobs.get(&state).copied().unwrap_or(0) as usize;
    let (stored, expired) = (of(StateName::Succeeded), of(StateName::Expired));
    let (ends, deadlines, begin) = times(&world, dying).await?;
    let per_second = pace(&ends).context("too few copies for a pace")?;
    let takes = (1e6 / per_second) as u64;
    let jobs: Vec<(u64, u64)> = deadlines.iter().map(|deadline| (takes, since(begin, *deadline))).collect();
    let needed = deadlines
        .iter()
        .enumerate()
        .map(|(before, deadline)| (before + 1) as f64 * 1e6 / since(begin, *deadline).max(1) as f64);
    Ok(Run {
        stored,
        expired,
        per_second,
        needed: needed.fold(0.0, f64::max),
        least: least_late(&jobs),
        reported,
        warning: warning.unwrap_or_else(|| "not asked".to_owned()),
        warned,
        took,
    })
}

/// When jobs were stored, when links died, both in order, and when the first task was seen to have ended.
async fn times(world: &World, dying: &Dying) -> anyhow::Result<(Vec<Timestamp>, Vec<Timestamp>, Timestamp)> {
    let queue = world.redis.queue(98).await?;
    let ledger = world.simulator.ledger();
    let (mut ends, mut deadlines, mut begin) = (Vec::new(), Vec::new(), Timestamp::MAX);
    let mut cursor = None;
    loop {
        let page = queue.jobs(&JobFilter::default(), cursor.as_ref(), 500).await?;
        for job in page.items {
            if let JobState::Succeeded { at, .. } = &job.state {
                ends.push(*at);
            }
            let outcome = queue.outcome(job.id).await?.context("a finished job has an outcome")?;
            let spec = queue.spec(job.id).await?.context("a job has a spec")?;
            let custom_id = spec.custom_id.context("every job has a name")?;
            let life = dying.life(custom_id.as_str()).context("a name of ours")?;
            let task = ledger.tasks.iter().find(|task| task.task_id == outcome.task.as_str());
            let ended = task.and_then(|task| task.ended_ms).context("the ledger has its task")?;
            let dies = Timestamp::from_millisecond(ended)? + life;
            deadlines.push(Timestamp::from_second(dies.as_second())?);
            begin = begin.min(outcome.noticed_at);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    ends.sort_unstable();
    deadlines.sort_unstable();
    Ok((ends, deadlines, begin))
}

/// Copies per second from the first tenth to the ninth: neither the begin nor the end of a run is its pace.
fn pace(ends: &[Timestamp]) -> Option<f64> {
    let (from, to) = (ends.len() / 10, ends.len() * 9 / 10);
    let over = since(*ends.get(from)?, *ends.get(to)?) as f64 / 1e6;
    (over > 0.0).then(|| (to - from) as f64 / over)
}

/// Microseconds from `begin` to `time`; none if it was before.
fn since(begin: Timestamp, time: Timestamp) -> u64 {
    u64::try_from(time.as_microsecond() - begin.as_microsecond()).unwrap_or(0)
}

impl Run {
    fn print(&self, share: f64) {
        let Self { stored, expired, per_second, needed, least, reported: (images, micros), .. } = self;
        println!("copying planned          {share} times what is needed");
        println!(
            "copying measured         {per_second:.1} a second, needed {needed:.1}: {:.2} times",
            per_second / needed
        );
        println!("stored, expired          {stored}, {expired}");
        println!("least that can be lost   {least} (Moore and Hodgson, at the measured pace)");
        println!("`batch show` says        {images} images lost, {:.2} USD", *micros as f64 / 1e6);
        println!("`status`, a third in     warning: {}", self.warning);
        println!("the worker's log warned  {}", self.warned);
        println!("took                     {:.0} s", self.took.as_secs_f64());
        println!();
    }

    fn check(&self, share: f64) -> anyhow::Result<()> {
        ensure!(
            self.reported.0 == self.expired as u64,
            "the product reports {} images lost",
            self.reported.0
        );
        if share > 1.0 {
            ensure!(self.expired == 0, "{} jobs expired", self.expired);
        } else {
            let most = self.least as f64 * 1.1;
            ensure!(
                self.expired > 0 && self.expired as f64 <= most,
                "{} expired, {most:.0} may",
                self.expired
            );
            ensure!(self.warning == "late", "`status` warned of {}", self.warning);
        }
        Ok(())
    }
}
