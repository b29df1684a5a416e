//! The queue's scripts against a real Redis.

mod breakers;
mod budget_lives;
mod budgets;
mod claims;
mod clocks;
mod commits;
mod copies;
mod enqueue;
mod leftovers;
mod listing;
mod lists;
mod outages;
mod outbox;
mod pauses;
mod permits;
mod producer;
mod quarantine;
mod repair;
mod replace;
mod rescue;
mod restore;
mod results;
mod schedules;
mod slots;
mod soonest;
mod turns;
mod waiting;

use std::time::Duration;

use dashscope::{ImageRequest, Model};
use job::{AccountName, BatchName, Event, Job, JobSpec, JobState, Micros, Rules, TaskId};
use queue::{AccountLimits, Budgets, Queue, SubmitAsk, SubmitClaim, WhyWait};
use tests::{RedisServer, audit};

/// What an image costs here.
const PRICE: Micros = Micros(30_000);

/// A Redis and a queue on it.
struct World {
    redis: RedisServer,
    queue: Queue,
    rules: Rules,
}

impl World {
    async fn new() -> Self {
        Self::with_lease(Duration::from_secs(10)).await
    }

    async fn with_lease(lease: Duration) -> Self {
        let redis = RedisServer::start().await.unwrap();
        let settings = |settings: &mut queue::RedisSettings| {
            settings.lease = lease;
            // Nothing is claimed for so long after a start of Redis.
            settings.response_timeout = lease.min(settings.response_timeout);
        };
        let queue = redis.queue_with(1, settings).await.unwrap();
        Self { redis, queue, rules: Rules::default() }
    }

    /// Enqueues `count` jobs called `<batch>-0` and so on.
    async fn enqueue(&self, batch: &str, count: usize) {
        let jobs: Vec<_> =
            (0..count).map(|n| self.queue.new_job(spec(batch, &format!("{batch}-{n}")))).collect();
        for chunk in jobs.chunks(queue::CHUNK_MAX) {
            self.queue.enqueue(Some(&name(batch)), chunk).await.unwrap();
        }
    }

    /// Claims a job for submit under limits that never hold anything back.
    async fn claim(&self) -> Option<Job> {
        self.claim_as(&ask(fast())).await.ok()
    }

    async fn claim_as(&self, ask: &SubmitAsk) -> Result<Job, (WhyWait, queue::Wait)> {
        match self.queue.claim_submit(ask, &self.queue.nonce()).await.unwrap() {
            SubmitClaim::Claimed { job, .. } => Ok(*job),
            SubmitClaim::Wait { why, wait } => Err((why, wait)),
        }
    }

    /// Commits that the claimed job's create call was answered with `task`.
    async fn created(&self, job: &Job, task: &str) -> Job {
        let event = Event::TaskCreated {
            attempt: attempt(job),
            task: task.parse::<TaskId>().unwrap(),
            request_id: None,
        };
        self.queue.commit(job, event, &self.rules, None).await.unwrap().job
    }

    /// Fails the test if an index disagrees with the records.
    async fn check(&self) {
        let mut connection = self.redis.connection().await.unwrap();
        let found = audit(&self.queue, &mut connection).await.unwrap();
        assert!(found.is_empty(), "{found:#?}");
    }
}

fn attempt(job: &Job) -> job::Attempt {
    match &job.state {
        JobState::Submitting { attempt } => attempt.clone(),
        other => panic!("not submitting: {other:?}"),
    }
}

fn name(batch: &str) -> BatchName {
    BatchName::parse(batch).unwrap()
}

fn account() -> AccountName {
    AccountName::parse("main").unwrap()
}

fn spec(batch: &str, custom_id: &str) -> JobSpec {
    JobSpec {
        batch: Some(name(batch)),
        custom_id: Some(custom_id.parse().unwrap()),
        ..JobSpec::new(ImageRequest::new(Model::Wan27Image, format!("a picture of {custom_id}")))
    }
}

fn fast() -> AccountLimits {
    AccountLimits {
        create_per_second: 1e6,
        queries_per_second: 1e6,
        in_flight: 1_000_000,
        queue_ahead: 0,
        images_per_day: None,
        cost_per_day: None,
    }
}

fn ask(limits: AccountLimits) -> SubmitAsk {
    SubmitAsk {
        account: account(),
        region: None,
        weight: 1,
        others: Vec::new(),
        model: Model::Wan27Image,
        limits,
        send_within: Duration::from_secs(5),
        lead: Duration::ZERO,
        price: PRICE,
        budgets: Budgets::default(),
        probe_window: Duration::from_secs(40),
    }
}
