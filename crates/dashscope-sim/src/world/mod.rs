//! The simulated service: tasks, limits, faults and the ledger behind one lock.
//!
//! Everything here is a function of the calls, the seed, and the `now_ms` that each call brings along. It never waits,
//! never reads a clock, never touches a connection. The server drives it.

mod arrival;
mod listing;
mod slots;
mod task;
mod uploads;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use arrival::Verdict;
pub(crate) use listing::{ListQuery, Page};
pub(crate) use slots::TaskIndex;
pub(crate) use task::{CodeField, Shape, State, Task};
pub(crate) use uploads::{ACCESS_KEY_ID, Issued, POLICY_S, UploadForm, Uploads};

use crate::config::Config;
use crate::draw::{Draw, Uuid};
use crate::fault::{Candidate, FaultBook, On, Phase};
use crate::ledger::{Ledger, Requests, Throttled, Totals, Violations};
use crate::limiter::SlidingWindow;
use crate::model::{Model, SizeClass};
use crate::refusal::Refusal;
use crate::validate::Order;
use slots::{Slots, Transition};

/// All that the service remembers.
pub(crate) struct World {
    config: Arc<Config>,
    started_ms: i64,
    now_ms: i64,
    tasks: Vec<Task>,
    by_id: HashMap<Uuid, TaskIndex>,
    slots: Slots,
    create_rate: [SlidingWindow; 2],
    query_rate: SlidingWindow,
    upload_rate: SlidingWindow,
    /// Arrivals and tasks so far, by identity of the order.
    repeats: HashMap<[u8; 32], Repeats>,
    tasks_of_prompt: HashMap<[u8; 32], u32>,
    anonymous_requests: u64,
    totals: Totals,
    pub(crate) faults: FaultBook,
    pub(crate) uploads: Uploads,
    pub(crate) requests: Requests,
    pub(crate) violations: Violations,
    throttled: Throttled,
}

#[derive(Debug, Clone, Copy, Default)]
struct Repeats {
    arrived: u32,
    created: u32,
}

impl World {
    pub(crate) fn new(config: Arc<Config>, now_ms: i64) -> Self {
        let window = |rate| SlidingWindow::new(rate, 1_000);
        let create =
            |model| SlidingWindow::new(config.creates_per_second(model), config.limits.create_window_ms);
        Self {
            started_ms: now_ms,
            now_ms,
            tasks: Vec::new(),
            by_id: HashMap::new(),
            slots: Slots::new(Model::ALL.map(|model| config.tasks_at_once(model)), now_ms),
            create_rate: Model::ALL.map(create),
            query_rate: window(config.limits.queries_per_second),
            upload_rate: window(config.limits.upload_policies_per_second),
            repeats: HashMap::new(),
            tasks_of_prompt: HashMap::new(),
            anonymous_requests: 0,
            totals: Totals::default(),
            faults: FaultBook::new(config.seed, config.faults.clone()),
            uploads: Uploads::new(config.seed),
            requests: Requests::default(),
            violations: Violations::default(),
            throttled: Throttled::default(),
            config,
        }
    }

    /// Lets time pass up to `now_ms`. Every other call that takes a time begins with this.
    pub(crate) fn advance(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
        let (tasks, totals) = (&mut self.tasks, &mut self.totals);
        self.slots.advance(self.now_ms, |transition, at_ms| match transition {
            Transition::Started(index) => {
                let task = &mut tasks[index as usize];
                task.state = State::Running;
                task.started_ms = Some(at_ms);
                totals.pending -= 1;
                totals.running += 1;
            }
            Transition::Ended(index) => {
                let task = &mut tasks[index as usize];
                let failed = task.shape().failure.is_some();
                task.state = if failed { State::Failed } else { State::Succeeded };
                task.ended_ms = Some(at_ms);
                totals.running -= 1;
                totals.failed += u64::from(failed);
                totals.succeeded += u64::from(!failed);
                totals.images_billed += u64::from(task.images_billed());
            }
        });
    }

    /// Creates the task. `size` is the width and height of its images.
    pub(crate) fn create(
        &mut self,
        order: &Order,
        size: (u32, u32),
        api_key_id: &str,
        sync: bool,
        now_ms: i64,
    ) -> Result<TaskIndex, Refusal> {
        self.advance(now_ms);
        let pending_max = self.config.pending_max(order.model);
        if pending_max > 0 && self.slots.pending(order.model) >= pending_max {
            self.throttled.pending_full += 1;
            return Err(Refusal::queue_full(self.config.limits.retry_after_s));
        }
        let repeats = self.repeats.entry(order.identity).or_default();
        repeats.created += 1;
        let created = repeats.created.to_be_bytes();
        let seed = self.config.seed;
        let draw = |purpose| Draw::new(seed, purpose, &[&order.identity, &created]);

        let index =
            TaskIndex::try_from(self.tasks.len()).expect("four billion tasks would not fit into memory");
        let id = draw("task").uuid();
        let shape = Shape::from_acts(self.faults.pick_all(&Candidate {
            on: On::Task,
            phase: Phase::Arrival,
            at_ms: self.now_ms - self.started_ms,
            prompt: Some(&order.prompt),
            task: Some(index),
            identity: id.as_bytes(),
        }));
        let parameters = &order.parameters;
        let shortfall = self.config.set_shortfall;
        let makes = task::images_made(
            parameters.n,
            parameters.sequential,
            shape.as_deref(),
            shortfall,
            &draw("count"),
        );
        let run_ms = match shape.as_ref().and_then(|shape| shape.takes_ms) {
            Some(ms) => i64::try_from(ms).unwrap_or(i64::MAX / 2),
            None => self.run_ms(order, size, makes, &draw("duration")),
        };
        let wait_ms = i64::try_from(self.config.durations.schedule_ms).unwrap_or(i64::MAX / 2);
        self.slots.submit(order.model, index, self.now_ms, wait_ms, run_ms);
        self.tasks.push(Task {
            id,
            request_id: draw("create").uuid(),
            model: order.model,
            api_key_id: api_key_id.into(),
            prompt: order.prompt.as_str().into(),
            prompt_sha256: order.prompt_sha256,
            prompt_cut: order.prompt_cut,
            input_images: order.images.len() as u8,
            sync,
            sequential: parameters.sequential,
            n: parameters.n,
            makes,
            width: size.0,
            height: size.1,
            state: State::Pending,
            created_ms: self.now_ms,
            started_ms: None,
            ended_ms: None,
            queries: 0,
            downloads: 0,
            shape,
            served: vec![None; usize::from(makes)].into(),
        });
        self.by_id.insert(id, index);
        self.count_created(order);
        Ok(index)
    }

    /// Cancels a task, if it is PENDING.
    pub(crate) fn cancel(&mut self, index: TaskIndex, now_ms: i64) -> Result<(), Refusal> {
        self.advance(now_ms);
        let task = &mut self.tasks[index as usize];
        if task.state != State::Pending {
            return Err(Refusal::not_pending());
        }
        task.state = State::Canceled;
        task.ended_ms = Some(self.now_ms);
        self.slots.cancel(task.model, index, self.now_ms);
        self.totals.pending -= 1;
        self.totals.canceled += 1;
        Ok(())
    }

    /// The task with this id, if any answer may still speak of it.
    pub(crate) fn find(&self, shown: &str) -> Option<TaskIndex> {
        let index = self.by_id.get(&Uuid::parse(shown)?).copied()?;
        let task = self.task(index);
        (!task.sync && !self.is_forgotten(task)).then_some(index)
    }

    /// The task of a result link. Links are kept apart from task data: they may outlive it.
    pub(crate) fn find_result(&self, id: Uuid) -> Option<TaskIndex> {
        self.by_id.get(&id).copied().filter(|&index| self.task(index).state == State::Succeeded)
    }

    pub(crate) fn task(&self, index: TaskIndex) -> &Task {
        &self.tasks[index as usize]
    }

    /// Notes the digest of an image, when it is made for a download.
    pub(crate) fn note_made(&mut self, index: TaskIndex, image: u8, sha256: [u8; 32]) {
        if let Some(digest) = self.tasks[index as usize].served.get_mut(usize::from(image)) {
            *digest = Some(sha256);
        }
    }

    /// Counts a whole, unaltered image that is being sent.
    pub(crate) fn note_served(&mut self) {
        self.totals.images_served += 1;
    }

    /// When the next task starts or ends.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.slots.next_ms()
    }

    /// The task list as it stands now.
    pub(crate) fn list(&self, query: &ListQuery) -> Result<Page<'_>, Refusal> {
        listing::list(&self.tasks, query, &self.config, self.now_ms)
    }

    pub(crate) fn ledger(&self, with_tasks: bool) -> Ledger {
        let (mut tasks, mut tasks_by_prompt) = (Vec::new(), std::collections::BTreeMap::new());
        if with_tasks {
            tasks = self.tasks.iter().map(Task::entry).collect();
            tasks_by_prompt =
                self.tasks_of_prompt.iter().map(|(sha, count)| (hex::encode(sha), *count)).collect();
        }
        Ledger {
            seed: self.config.seed,
            started_ms: self.started_ms,
            now_ms: self.now_ms,
            totals: Totals { prompts: self.tasks_of_prompt.len() as u64, ..self.totals },
            requests: self.requests,
            throttled: self.throttled,
            violations: self.violations,
            models: Model::ALL.into_iter().map(|model| (model, self.slots.report(model))).collect(),
            faults: self.faults.report(),
            tasks_by_prompt,
            tasks,
        }
    }

    fn is_forgotten(&self, task: &Task) -> bool {
        let kept_ms =
            i64::try_from(self.config.retention.task_s).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
        self.now_ms.saturating_sub(task.created_ms) >= kept_ms
    }

    fn run_ms(&self, order: &Order, (width, height): (u32, u32), makes: u8, draw: &Draw) -> i64 {
        let durations = &self.config.durations;
        let size = SizeClass::of(u64::from(width) * u64::from(height));
        let further = if order.parameters.sequential { f64::from(makes.saturating_sub(1)) } else { 0.0 };
        let scale = durations.scale * (1.0 + durations.set_image_share * further);
        durations.of(order.model, size).sample_ms(draw, scale)
    }

    fn count_created(&mut self, order: &Order) {
        let of_prompt = self.tasks_of_prompt.entry(order.prompt_sha256).or_default();
        *of_prompt += 1;
        self.totals.tasks_of_one_prompt_max = self.totals.tasks_of_one_prompt_max.max(*of_prompt);
        self.totals.tasks_created += 1;
        self.totals.pending += 1;
        self.totals.prompts_cut += u64::from(order.prompt_cut);
    }
}

#[cfg(test)]
mod tests;
