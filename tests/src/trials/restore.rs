//! Redis is replaced by a copy of its data from a minute ago, while tasks are under way: each task that the provider billed is
//! accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use dashscope_sim::{Config, Durations, Latency, Limits};
use job::{AccountName, Job, JobState, StateName, TaskId};
use queue::{JobFilter, Queue};
use sha2::{Digest, Sha256};

use super::feed::Feed;
use super::keep_if_bad;
use crate::workload::{self, Sizes};
use crate::{Fleet, Haste, Imagemill, Report, World, audit};

/// What happens to the workers when Redis is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// They live on.
    Live,
    /// They are killed before, and others begin after: nobody remembers the tasks since the copy.
    Die,
}

/// How long, how much.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    /// Chooses the jobs.
    pub seed: u64,
    /// Workers at once.
    pub workers: usize,
    /// What becomes of them.
    pub fate: Workers,
    /// From the first enqueue to the copy.
    pub before: Duration,
    /// From the copy to the restore.
    pub lost: Duration,
    /// Jobs in all. A tenth of them is enqueued after the copy: the restored Redis never heard of these.
    pub jobs: usize,
    /// Tasks at once, for each model: paces the work.
    pub at_once: u32,
    /// The times of the workers.
    pub haste: Haste,
    /// How many prompts may be paid for twice.
    pub twice_max: u64,
    /// How many billed tasks may be nobody's without a word about them.
    pub lost_max: u64,
}

impl RestorePlan {
    /// A copy that is `lost` old.
    pub fn new(fate: Workers, lost: Duration) -> Self {
        // At 1.5 s a task and two models, this many jobs are not done long before the restore, nor long after.
        let at_once = 8;
        let before = (lost / 4).max(Duration::from_secs(4));
        let per_second = f64::from(at_once) * 2.0 / 1.5;
        let jobs = (per_second * (before + lost).as_secs_f64() * 1.1) as usize;
        let haste = Haste::default();
        let twice_max = if fate == Workers::Live { 0 } else { u64::MAX };
        Self { seed: 1, workers: 4, fate, before, lost, jobs, at_once, haste, twice_max, lost_max: 0 }
    }
}

/// Runs it.
pub async fn restore(plan: &RestorePlan) -> anyhow::Result<Report> {
    let config = Config {
        seed: plan.seed,
        limits: Limits::unlimited(plan.at_once),
        durations: Durations::fixed_ms(1_500),
        create_latency: Latency::Fixed { ms: 30 },
        ..Config::default()
    };
    let mut world = World::with(config).await?;
    world.write("haste.toml", &plan.haste.toml())?;
    let imagemill = world
        .imagemill
        .with("IMAGEMILL_CONFIG", "haste.toml")
        .with("IMAGEMILL_IN_FLIGHT", plan.at_once)
        .with("IMAGEMILL_QUEUE_AHEAD", 4);
    imagemill.run(&["--version"]).await?;
    let mut fleet = Fleet::new(&world, &imagemill);
    let outcome = run(plan, &mut world, &mut fleet, &imagemill).await;
    keep_if_bad(&mut world, &outcome);
    outcome
}

async fn run(
    plan: &RestorePlan,
    world: &mut World,
    fleet: &mut Fleet,
    imagemill: &Imagemill,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let text = workload::mixed(plan.seed, plan.jobs, Sizes::Small);
    let lines: Vec<&str> = text.lines().collect();
    let (old, new) = lines.split_at(plan.jobs - plan.jobs / 10);
    let known = Feed::write(world, "known", &old.join("\n"), 3)?;
    let unknown = Feed::write(world, "unknown", &new.join("\n"), 4)?;
    for _ in 0..plan.workers {
        fleet.start()?;
    }
    known.run(imagemill, Duration::ZERO).await?;
    tokio::time::sleep(plan.before).await;
    let created_before = world.simulator.totals().totals.tasks_created;
    let copy = world.redis.copy_data()?;
    let (fed, ()) = tokio::join!(unknown.run(imagemill, plan.lost * 3 / 4), tokio::time::sleep(plan.lost));
    fed?;
    if plan.fate == Workers::Die {
        fleet.kill_all();
    }
    let created_at_restore = world.simulator.totals().totals.tasks_created;
    world.redis.restart_on(copy.path()).await?;
    if plan.fate == Workers::Die {
        for _ in 0..plan.workers {
            fleet.start()?;
        }
    }
    report.say("tasks created before the copy", created_before);
    report.say("tasks that the copy does not know", created_at_restore - created_before);
    ensure!(created_at_restore > created_before, "nothing happened after the copy");
    fleet.finish(Duration::from_secs(300)).await?;
    // Until the last task can be counted as nobody's.
    tokio::time::sleep(plan.haste.orphans_counted_within()).await;
    while !fleet.members().is_empty() {
        fleet.retire(0, Duration::from_secs(40)).await?;
    }
    account_for(plan, world, imagemill, &mut report).await?;
    let queue = world.redis.queue(98).await?;
    let faults = audit(&queue, &mut world.redis.connection().await?).await?;
    report.say("indexes against records", format_args!("{} disagree", faults.len()));
    report.bound(faults.is_empty(), format!("indexes disagree: {:?}", &faults[..faults.len().min(5)]));
    Ok(report)
}

/// Where a billed task went. The first that fits counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Its job has it, and its images.
    Delivered,
    /// It is kept as one too many, and `status` shows it.
    Shown,
    /// Its job is held for a person.
    Held,
    /// Nobody knows of it.
    Lost,
}

async fn account_for(
    plan: &RestorePlan,
    world: &World,
    imagemill: &Imagemill,
    report: &mut Report,
) -> anyhow::Result<()> {
    let queue = world.redis.queue(97).await?;
    let jobs = jobs_by_prompt(&queue).await?;
    let status = imagemill.run(&["status", "--json"]).await?.expect_code(0);
    let account =
        status.json()["accounts"][0]["account"].as_str().context("status names the account")?.to_owned();
    let account = AccountName::parse(&account)?;
    let shown = Shown::read(&status.json());

    let ledger = world.simulator.ledger();
    let billed: Vec<_> = ledger.tasks.iter().filter(|task| task.images_billed > 0).collect();
    let ids: Vec<TaskId> =
        billed.iter().map(|task| TaskId::new(task.task_id.clone())).collect::<Result<_, _>>()?;
    let mut owners = Vec::new();
    for chunk in ids.chunks(500) {
        owners.extend(queue.task_owners(&account, chunk).await?);
    }
    let mut places: BTreeMap<Place, u64> = BTreeMap::new();
    let mut unowned = 0_u64;
    for (task, owner) in billed.iter().zip(&owners) {
        let job = jobs.get(&task.prompt_sha256);
        let delivered = job.is_some_and(|job| match &job.state {
            JobState::Succeeded { task: own, .. } => own.as_str() == task.task_id,
            _ => false,
        });
        unowned += u64::from(owner.is_none());
        let place = if delivered {
            Place::Delivered
        } else if shown.ids.contains(&task.task_id) {
            Place::Shown
        } else if job.is_some_and(|job| job.state_name() == StateName::Held) {
            Place::Held
        } else {
            Place::Lost
        };
        *places.entry(place).or_default() += 1;
    }
    let mut by_prompt: BTreeMap<&str, u64> = BTreeMap::new();
    for task in &billed {
        *by_prompt.entry(&task.prompt_sha256).or_default() += 1;
    }
    let twice = by_prompt.values().filter(|&&tasks| tasks > 1).count() as u64;
    let states = jobs.values().fold(BTreeMap::<StateName, u64>::new(), |mut states, job| {
        *states.entry(job.state_name()).or_default() += 1;
        states
    });
    let of = |place| places.get(&place).copied().unwrap_or(0);
    report.say("jobs that Redis knows", format_args!("{states:?}"));
    report.say("tasks billed", billed.len());
    report.say("  delivered by their job", of(Place::Delivered));
    report.say("  shown by status", of(Place::Shown));
    report.say("  of a held job", of(Place::Held));
    // `status` lists at most some by their ids, and counts all.
    let counted = shown.count.saturating_sub(of(Place::Shown));
    let lost = of(Place::Lost).saturating_sub(counted);
    report.say("  counted by status, not listed", of(Place::Lost) - lost);
    report.say("  lost silently", lost);
    report.say("tasks without an owner in Redis", unowned);
    report.say("prompts paid for twice", twice);
    report.bound(lost <= plan.lost_max, format!("{lost} billed tasks are lost silently"));
    report.bound(twice <= plan.twice_max, format!("{twice} prompts were paid for twice"));
    let over = |state: &StateName| matches!(state, StateName::Succeeded | StateName::Held);
    report.bound(states.keys().all(over), format!("jobs are left: {states:?}"));
    Ok(())
}

/// What `status` shows of tasks that no job has.
struct Shown {
    ids: BTreeSet<String>,
    count: u64,
}

impl Shown {
    /// From `status --json`. A version that does not count such tasks shows none.
    fn read(status: &serde_json::Value) -> Self {
        let mut shown = Self { ids: BTreeSet::new(), count: 0 };
        for account in status["accounts"].as_array().into_iter().flatten() {
            let (extra, orphans) = (&account["extra"], &account["orphans"]);
            let named = [extra, orphans].into_iter().filter_map(|kind| kind["tasks"].as_array()).flatten();
            shown.ids.extend(named.filter_map(|task| task.as_str()).map(str::to_owned));
            let counts = [
                &extra["open"],
                &extra["paid"],
                &extra["delivered_twice"],
                &extra["forgotten"],
                &orphans["count"],
            ];
            shown.count += counts.iter().filter_map(|count| count.as_u64()).sum::<u64>();
        }
        shown
    }
}

async fn jobs_by_prompt(queue: &Queue) -> anyhow::Result<BTreeMap<String, Job>> {
    let (mut jobs, mut cursor) = (BTreeMap::new(), None);
    loop {
        let page = queue.jobs(&JobFilter::default(), cursor.as_ref(), 500).await?;
        for job in page.items {
            let spec = queue.spec(job.id).await?.context("a job has a spec")?;
            jobs.insert(hex::encode(Sha256::digest(spec.request.prompt.expose().as_bytes())), job);
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(jobs);
        }
    }
}
