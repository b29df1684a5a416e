use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use job::{Event, Job, StateName};
use queue::Repair;
use redis::AsyncCommands as _;

use tests::eventually;

use super::{World, account, fast, name};

/// So short that every step may follow the last at once.
const AT_ONCE: Duration = Duration::from_millis(1);

impl World {
    /// One whole pass of the sweep over everything; what it put right.
    pub(super) async fn sweep(&self) -> Vec<Repair> {
        let mut connection = self.redis.connection().await.unwrap();
        let mut repaired = Vec::new();
        loop {
            let _: u64 = connection.del(self.queue.keys().sweep_turn()).await.unwrap();
            let step = self.queue.sweep(&[account()], AT_ONCE).await.unwrap();
            assert!(step.ours);
            repaired.extend(step.repaired);
            let cursor: String = connection.get(self.queue.keys().sweep_cursor()).await.unwrap();
            if cursor == "0" {
                return repaired;
            }
        }
    }

    /// Takes an entry away behind the queue's back, and expects the sweep to find just that, once.
    async fn lose(&self, job: &Job, key: String, member: &str, kind: &str) {
        let mut connection = self.redis.connection().await.unwrap();
        let removed: u64 = connection.zrem(&key, member).await.unwrap();
        assert_eq!(removed, 1, "{member} was not in {key}");
        let expected = Repair { job: job.id, kind: kind.to_owned() };
        assert_eq!(self.sweep().await, [expected], "{kind}");
        assert_eq!(self.sweep().await, [], "{kind}");
        self.check().await;
    }

    /// Puts an entry where no record says so.
    async fn plant(&self, key: &str, member: &str) {
        let added: u64 = self.redis.connection().await.unwrap().zadd(key, member, 1).await.unwrap();
        assert_eq!(added, 1);
    }

    /// Makes a waiting job due at once.
    async fn due_now(&self, job: &Job, key: String) {
        let _: u64 = self.redis.connection().await.unwrap().zadd(key, job.id.to_string(), 1).await.unwrap();
    }

    async fn poll_that_succeeds(&self) -> Job {
        let claimed = eventually("a poll to be due", Duration::from_secs(20), async || {
            let claimed = self.queue.claim_polls(&account(), &fast(), 1, &self.queue.nonce()).await.unwrap();
            claimed.jobs.into_iter().next().ok_or("nothing is due")
        })
        .await;
        let deadline = self.queue.now() + Duration::from_secs(3600);
        let done = Event::TaskSucceeded { images: 1, billed: 1, cost: job::Micros(1), deadline };
        self.queue.commit(&claimed.job, done, &self.rules, None).await.unwrap().job
    }

    async fn copy(&self) -> Job {
        let nonce = self.queue.nonce();
        let claimed = self.queue.claim_archives(1, Duration::ZERO, &nonce).await.unwrap().jobs.remove(0);
        let copied = Event::Copied { stored: 1, lost: 0, retry_after: None };
        self.queue.commit(&claimed.job, copied, &self.rules, None).await.unwrap().job
    }

    /// Some steps of some jobs, as a worker that forgets one in ten.
    async fn live_a_bit(&self, step: u64) {
        let forgotten = step.is_multiple_of(10);
        if let Some(job) = self.claim().await
            && !forgotten
        {
            let event = match step % 4 {
                0 => Event::Refused(job::Refusal::ours("Throttling", "slow down")),
                1 => Event::NoAnswer { cause: "timeout".into() },
                _ => Event::TaskCreated {
                    attempt: super::attempt(&job),
                    task: format!("t{step}").parse().unwrap(),
                    request_id: None,
                },
            };
            let _ = self.queue.commit(&job, event, &self.rules, None).await;
        }
        let polls = self.queue.claim_polls(&account(), &fast(), 3, &self.queue.nonce()).await.unwrap();
        for claimed in polls.jobs.into_iter().skip(usize::from(forgotten)) {
            let deadline = self.queue.now() + Duration::from_secs(3600);
            let done = Event::TaskSucceeded { images: 1, billed: 1, cost: job::Micros(1), deadline };
            let _ = self.queue.commit(&claimed.job, done, &self.rules, None).await;
        }
        let copies = self.queue.claim_archives(3, Duration::ZERO, &self.queue.nonce()).await.unwrap();
        for (at, claimed) in copies.jobs.into_iter().enumerate().skip(usize::from(forgotten)) {
            let stored = u8::from(at != 1);
            let copied = Event::Copied { stored, lost: 0, retry_after: None };
            let _ = self.queue.commit(&claimed.job, copied, &self.rules, None).await;
        }
    }

    async fn only(&self) -> Job {
        self.queue.jobs(&Default::default(), None, 10).await.unwrap().items.remove(0)
    }
}

async fn one_job() -> World {
    let world = World::new().await;
    world.enqueue("b", 1).await;
    assert_eq!(world.sweep().await, []);
    world
}

fn lane_of(world: &World, job: &Job) -> String {
    world.queue.keys().ready(job.model, None, &format!("{}:b", job.priority))
}

#[tokio::test]
async fn every_entry_that_is_lost_is_rebuilt_and_the_job_goes_on() {
    let world = one_job().await;
    let keys = world.queue.keys();
    let job = world.only().await;
    let id = job.id.to_string();
    let lane = lane_of(&world, &job);
    world.lose(&job, lane, &id, "ready").await;
    world.lose(&job, keys.turns(job.model, None), &format!("{}:b", job.priority), "turn").await;
    world.lose(&job, keys.members(Some(&name("b"))), &id, "member").await;

    let job = world.claim().await.expect("what was rebuilt can be claimed");
    world.lose(&job, keys.leases(), &format!("{id}:{}", job.fence), "lease").await;
    world.lose(&job, keys.slots(&account(), job.model), &format!("{id}:1"), "slot").await;
    // The same worker goes on under the lease that was granted anew.
    let job = world.created(&job, "t1").await;
    world.lose(&job, keys.due_poll(&account()), &id, "due").await;

    let job = world.poll_that_succeeds().await;
    world.lose(&job, keys.ready_archive(), &id, "copy").await;
    world.lose(&job, keys.links(), &id, "links").await;
    let job = world.copy().await;
    assert_eq!(job.state_name(), StateName::Succeeded);
    let repairs = world.queue.repairs().await.unwrap();
    let kinds: Vec<&str> = repairs.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["copy", "due", "lease", "links", "member", "ready", "slot", "turn"]);
    assert!(repairs.values().all(|count| *count == 1), "{repairs:?}");
}

#[tokio::test]
async fn jobs_that_wait_for_their_time_or_for_a_person_are_found_as_well() {
    let world = one_job().await;
    let keys = world.queue.keys();
    let job = world.claim().await.unwrap();
    let id = job.id.to_string();
    let refused = Event::Refused(job::Refusal::ours("Throttling", "slow down"));
    let job = world.queue.commit(&job, refused, &world.rules, None).await.unwrap().job;
    world.lose(&job, keys.delayed(), &id, "ready").await;
    world.due_now(&job, keys.delayed()).await;
    world.queue.promote(500).await.unwrap();
    // Promoted before its time, as by a clock that was set back: it stands where it may stand.
    assert_eq!(world.sweep().await, []);

    let job = world.claim().await.unwrap();
    let unanswered = Event::NoAnswer { cause: "timeout".into() };
    let job = world.queue.commit(&job, unanswered, &world.rules, None).await.unwrap().job;
    world.lose(&job, keys.due_settle(), &id, "due").await;
    world.due_now(&job, keys.due_settle()).await;
    let claimed = world.queue.claim_settles(1, &world.queue.nonce()).await.unwrap();
    let undecidable = Event::Undecidable {
        reason: job::HeldReason::CannotTell,
        slot_free: false,
        doubt: job::Doubt { why: "a test".into(), candidates: Vec::new() },
    };
    let job = world.queue.commit(&claimed.jobs[0].job, undecidable, &world.rules, None).await.unwrap().job;
    world.lose(&job, keys.held(), &id, "held").await;
    world.lose(&job, keys.slots(&account(), job.model), &format!("{id}:2"), "slot").await;
}

#[tokio::test]
async fn a_job_that_is_lost_in_quarantine_is_found() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    let job = super::quarantine::quarantined(&world).await;
    world.lose(&job, world.queue.keys().quarantine(), &job.id.to_string(), "quarantine").await;
}

#[tokio::test]
async fn what_no_record_accounts_for_is_taken_away() {
    let world = one_job().await;
    let keys = world.queue.keys();
    let job = world.only().await;
    let id = job.id.to_string();
    let slots = keys.slots(&account(), job.model);
    let gone = job::JobId::fresh(1, 1);
    // A place at the provider that nobody gives back is one less for good.
    world.plant(&slots, &format!("{id}:7")).await;
    world.plant(&slots, &format!("{gone}:1")).await;
    world.plant(&keys.due_settle(), &id).await;
    world.plant(&keys.held(), &id).await;
    let mut found = world.sweep().await;
    found.sort_by(|a, b| a.kind.cmp(&b.kind).then(a.job.cmp(&b.job)));
    let mut expected =
        vec![(job.id, "extra_due"), (job.id, "extra_held"), (job.id, "extra_slot"), (gone, "extra_slot")];
    expected.sort_by(|a, b| a.1.cmp(b.1).then(a.0.cmp(&b.0)));
    let found: Vec<_> = found.iter().map(|repair| (repair.job, repair.kind.as_str())).collect();
    assert_eq!(found, expected);
    assert_eq!(world.sweep().await, []);
    world.check().await;
}

#[tokio::test]
async fn a_job_whose_lease_was_lost_with_its_worker_is_rescued() {
    let world = World::with_lease(Duration::from_millis(50)).await;
    world.enqueue("b", 1).await;
    let job = world.claim().await.unwrap();
    let mut connection = world.redis.connection().await.unwrap();
    let _: u64 = connection.del(world.queue.keys().leases()).await.unwrap();
    let rescue = async || {
        let rescued = world.queue.rescue(10, &world.queue.nonce()).await.unwrap();
        rescued.jobs.into_iter().next().map(|(job, _)| job.id).ok_or("nobody")
    };
    assert_eq!(rescue().await, Err("nobody"));
    assert_eq!(world.sweep().await.len(), 1);
    assert_eq!(eventually("a rescue", Duration::from_secs(10), rescue).await, job.id);
}

/// Jobs live their lives, some of them with workers that vanish, while the sweep goes round without a pause.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_beside_busy_workers_finds_nothing() {
    let mut world = World::with_lease(Duration::from_millis(300)).await;
    world.rules.poll.first = Duration::from_millis(1);
    world.rules.retry.curve.first = Duration::from_millis(1);
    let world = Arc::new(world);
    let (over, passes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let sweeper = tokio::spawn({
        let (world, over, passes) = (world.clone(), over.clone(), passes.clone());
        async move {
            let mut repaired = Vec::new();
            while !over.load(Ordering::SeqCst) {
                repaired.extend(world.sweep().await);
                passes.fetch_add(1, Ordering::SeqCst);
            }
            repaired
        }
    });
    let mut workers = Vec::new();
    for worker in 0..6 {
        let (world, over) = (world.clone(), over.clone());
        workers.push(tokio::spawn(async move {
            let mut step = 0_u64;
            while !over.load(Ordering::SeqCst) {
                step += 1;
                match worker {
                    0 if world.queue.counts().await.unwrap()[&StateName::Queued] < 100 => {
                        world.enqueue(&format!("b{step}"), 20).await;
                    }
                    0 => tokio::task::yield_now().await,
                    1 => drop(world.queue.promote(50).await.unwrap()),
                    2 => {
                        for (job, _) in world.queue.rescue(10, &world.queue.nonce()).await.unwrap().jobs {
                            let _ = world.queue.commit(&job, Event::Rescued, &world.rules, None).await;
                        }
                    }
                    _ => world.live_a_bit(worker * 1_000_000 + step).await,
                }
            }
        }));
    }
    let started = std::time::Instant::now();
    eventually("jobs to have ended", Duration::from_secs(60), async || {
        let counts = world.queue.counts().await.unwrap();
        let long_enough = started.elapsed() > Duration::from_secs(3) && passes.load(Ordering::SeqCst) > 20;
        let all = [StateName::Succeeded, StateName::Settling];
        if long_enough && all.iter().all(|state| counts[state] > 20) { Ok(()) } else { Err(counts) }
    })
    .await;
    over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(sweeper.await.unwrap(), []);
    assert!(world.queue.repairs().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_step_is_one_worker_s_at_a_time_and_the_next_goes_on_where_it_stood() {
    let world = World::new().await;
    for batch in 0..4 {
        world.enqueue(&format!("b{batch}"), 250).await;
    }
    let other = world.redis.queue(7).await.unwrap();
    let hour = Duration::from_secs(3600);
    let mut connection = world.redis.connection().await.unwrap();
    let (mut looked_at, mut steps) = (0, 0);
    loop {
        let step = world.queue.sweep(&[], hour).await.unwrap();
        assert!(step.ours);
        assert!(step.pause < hour / 2, "two thousand keys take more than one step: {:?}", step.pause);
        assert!(!other.sweep(&[], hour).await.unwrap().ours);
        (looked_at, steps) = (looked_at + step.looked_at, steps + 1);
        let cursor: String = connection.get(world.queue.keys().sweep_cursor()).await.unwrap();
        if cursor == "0" {
            break;
        }
        let _: u64 = connection.del(world.queue.keys().sweep_turn()).await.unwrap();
    }
    assert!(steps >= 2 && looked_at >= 1_000, "{looked_at} records in {steps} steps");
}
