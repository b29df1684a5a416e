//! Requests as they arrive: their rate, and the faults that strike them.
//!
//! Each kind of request has its identity, from which shares of faults and request ids are drawn: that of a query is its
//! task and its number, so that it does not matter what other calls do meanwhile.

use super::{TaskIndex, World};
use crate::draw::{Draw, Uuid};
use crate::fault::{Act, Candidate, On, Phase};
use crate::refusal::Refusal;
use crate::validate::Order;

/// What the faults say about a request that has arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    /// The id that the answer will carry.
    pub(crate) request_id: Uuid,
    /// Real time to let pass first.
    pub(crate) delay_ms: u64,
    pub(crate) act: Option<Act>,
}

impl World {
    /// A create call has arrived, is well formed, and asks for leave. Its rate is counted here.
    pub(crate) fn arrive_create(&mut self, order: &Order, now_ms: i64) -> Result<Verdict, Refusal> {
        self.advance(now_ms);
        if !self.create_rate[order.model.index()].grant(self.now_ms) {
            self.throttled.create_rate += 1;
            return Err(Refusal::rate(self.config.limits.retry_after_s));
        }
        let repeats = self.repeats.entry(order.identity).or_default();
        repeats.arrived += 1;
        let arrived = repeats.arrived.to_be_bytes();
        let identity = [&order.identity[..], &arrived].concat();
        Ok(self.verdict(On::Create, Phase::Arrival, Some(&order.prompt), None, &identity))
    }

    /// What the faults say about an accepted create call.
    pub(crate) fn accepted(&mut self, index: TaskIndex) -> Verdict {
        let task = &self.tasks[index as usize];
        let (id, request_id, prompt) = (task.id, task.request_id, task.prompt.clone());
        let verdict = self.verdict(On::Create, Phase::Accepted, Some(&prompt), Some(index), id.as_bytes());
        Verdict { request_id, ..verdict }
    }

    /// A query, list page or cancellation has arrived. Their common rate is counted here. `shown` is the task id in the
    /// path, if there is one.
    pub(crate) fn arrive_query(
        &mut self,
        on: On,
        shown: Option<&str>,
        now_ms: i64,
    ) -> Result<Verdict, Refusal> {
        self.advance(now_ms);
        if !self.query_rate.grant(self.now_ms) {
            self.throttled.query_rate += 1;
            return Err(Refusal::rate(self.config.limits.retry_after_s));
        }
        let Some(index) = shown.and_then(|id| self.find(id)) else {
            return Ok(self.arrive_other(on));
        };
        let task = &mut self.tasks[index as usize];
        if on == On::Query {
            task.queries += 1;
        }
        let count = task.queries.to_be_bytes();
        let (id, prompt) = (task.id, task.prompt.clone());
        let purpose = if on == On::Query { b'q' } else { b'c' };
        let identity = [&id.as_bytes()[..], &count, &[purpose]].concat();
        Ok(self.verdict(on, Phase::Arrival, Some(&prompt), Some(index), &identity))
    }

    /// An upload policy is asked for. Its rate is counted here.
    pub(crate) fn arrive_upload_policy(&mut self, now_ms: i64) -> Result<Verdict, Refusal> {
        self.advance(now_ms);
        if !self.upload_rate.grant(self.now_ms) {
            self.throttled.upload_rate += 1;
            return Err(Refusal::rate(self.config.limits.retry_after_s));
        }
        Ok(self.arrive_other(On::Upload))
    }

    /// A request about no particular task has arrived; its identity is its number.
    pub(crate) fn arrive_other(&mut self, on: On) -> Verdict {
        self.anonymous_requests += 1;
        let identity = self.anonymous_requests.to_be_bytes();
        self.verdict(on, Phase::Arrival, None, None, &identity)
    }

    /// A download of one of a task's images has arrived.
    pub(crate) fn arrive_result(&mut self, index: TaskIndex, image: u8, now_ms: i64) -> Verdict {
        self.advance(now_ms);
        let task = &mut self.tasks[index as usize];
        task.downloads += 1;
        let (id, count, prompt) = (task.id, task.downloads.to_be_bytes(), task.prompt.clone());
        let identity = [&id.as_bytes()[..], &count, &[image]].concat();
        self.verdict(On::Result, Phase::Arrival, Some(&prompt), Some(index), &identity)
    }

    /// An id for an answer that no fault was asked about.
    pub(crate) fn next_request_id(&mut self) -> Uuid {
        self.anonymous_requests += 1;
        Draw::new(self.config.seed, "request", &[&self.anonymous_requests.to_be_bytes()]).uuid()
    }

    fn verdict(
        &mut self,
        on: On,
        phase: Phase,
        prompt: Option<&str>,
        task: Option<TaskIndex>,
        identity: &[u8],
    ) -> Verdict {
        let at_ms = self.now_ms - self.started_ms;
        let (delay_ms, act) = self.faults.pick(&Candidate { on, phase, at_ms, prompt, task, identity });
        let purpose = format!("request {on:?} {phase:?}");
        Verdict { request_id: Draw::new(self.config.seed, &purpose, &[identity]).uuid(), delay_ms, act }
    }
}
