//! What the queue's twin remembers, and how each call changes it. No time passes in here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use job::{
    AccountName, Event, Job, JobId, JobSpec, JobState, Model, Outcome, Prices, Rules, StateName, TaskId,
    Timestamp,
};
use queue::{AHEAD_PART, AccountLimits, Allowed, Pacer, PlacesLeft};

use super::books::Books;
use super::breaker::Holds;
use super::lineage::{Lineage, Seen};
use super::listings::Moved;
use super::quotas::Told;
use super::{Call, Due, DueClaimed, LEASE, SubmitAsk, SubmitClaimed, until};
use crate::ports::{CommitFault, CreateTime, OpenAttempt, PausedCall, Permit, Written};

/// How long after its permit a query that probes is answered at the latest. Source: that of the real queue.
const QUERY_PROBE_WINDOW: Duration = Duration::from_secs(60);

/// What a claim for submit is called where it probes.
fn token(job: &Job) -> String {
    format!("{}:{}", job.id, job.attempts)
}

/// Fence and version of the next claim: never lower than the time, so that an older queue hands out none twice.
fn next_claim(job: &Job, now: Timestamp) -> (u64, u64) {
    let floor = u64::try_from(now.as_millisecond()).unwrap_or(0);
    (floor.max(job.fence + 1), floor.max(job.version + 1))
}

/// A job with all that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) job: Job,
    pub(crate) spec: JobSpec,
    pub(crate) outcome: Option<Outcome>,
    /// Of the last call that changed it, with what that call answered.
    nonce: u64,
    extra: Option<TaskId>,
}

/// One commit: when, whose, what, and where it led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    pub(crate) job: JobId,
    pub(crate) from: StateName,
    pub(crate) event: &'static str,
    pub(crate) to: StateName,
}

/// All that the queue remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) records: BTreeMap<JobId, Record>,
    pub(crate) books: Books,
    leases: BTreeMap<(JobId, u64), Timestamp>,
    /// Put off, and not promoted yet.
    waiting: BTreeSet<JobId>,
    /// What the provider's list moved.
    pub(super) moved: Moved,
    /// What the provider says of limits.
    pub(super) told: Told,
    /// Answers of claims, by nonce: a repeat gets the same.
    replies: BTreeMap<u64, Vec<JobId>>,
    pub(crate) holds: Holds,
    pacer: Pacer,
    allowed: Allowed,
    /// When the creates of claims are to be sent, by nonce.
    send_at: BTreeMap<u64, Timestamp>,
    next_query: Option<Timestamp>,
    /// When a query without a claim has its part again.
    next_ahead: Option<Timestamp>,
    pub(crate) timeline: Vec<Moment>,
    pub(super) nonces: u64,
    seq: u64,
    pub(crate) lineage: Lineage,
    /// Rises with every start of the server.
    pub(super) run: u32,
}

impl Store {
    pub(crate) fn nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.nonces
    }

    pub(crate) fn insert(&mut self, mut job: Job, spec: JobSpec) {
        self.seq += 1;
        job.seq = self.seq;
        self.records.insert(job.id, Record { job, spec, outcome: None, nonce: 0, extra: None });
    }

    /// `commit.lua`, with what the client does around it.
    pub(crate) fn write(
        &mut self,
        id: JobId,
        fence: Option<u64>,
        event: Event,
        outcome: Option<&Outcome>,
        call: Call,
        rules: &Rules,
    ) -> Result<Written, CommitFault> {
        let Call { nonce, chance, now } = call;
        let record = self.records.get_mut(&id).ok_or(CommitFault::Missing)?;
        if record.nonce == nonce {
            return Ok(Written { job: record.job.clone(), extra_task: record.extra.clone() });
        }
        let before = record.job.clone();
        if fence.is_some_and(|fence| before.fence != fence || !before.claimed) {
            return Err(CommitFault::Fenced);
        }
        let name = event.name();
        let transition = before.apply(event, now, rules, chance)?;
        self.books.book(&before, &transition, now)?;
        self.timeline.push(Moment {
            at: now,
            job: id,
            from: before.state_name(),
            event: name,
            to: transition.job.state_name(),
        });
        if transition.job == before && transition.note.is_none() && transition.extra_task.is_none() {
            return Ok(Written { job: before, extra_task: None });
        }
        record.job = Job { version: before.version + 1, ..transition.job };
        record.nonce = nonce;
        self.moved.forget(id);
        record.extra = transition.extra_task;
        if let Some(outcome) = outcome {
            record.outcome = Some(outcome.clone());
        }
        if before.claimed && !record.job.claimed {
            self.leases.remove(&(id, before.fence));
        }
        let put_off = matches!(record.job.state, JobState::Queued { .. } | JobState::Archiving { .. })
            && !record.job.claimed
            && record.job.state.due().is_some_and(|due| due > now);
        let written = Written { job: record.job.clone(), extra_task: record.extra.clone() };
        if put_off {
            self.waiting.insert(id);
        } else {
            self.waiting.remove(&id);
        }
        Ok(written)
    }

    /// Moves what has become due to where claims look.
    pub(crate) fn promote(&mut self, now: Timestamp) -> Option<Duration> {
        let due = |id: &JobId| self.records.get(id).and_then(|record| record.job.state.due());
        let moved: Vec<JobId> =
            self.waiting.iter().filter(|id| due(id).is_none_or(|due| due <= now)).copied().collect();
        let next = self.waiting.iter().filter_map(due).filter(|due| *due > now).min();
        for id in &moved {
            self.waiting.remove(id);
        }
        if moved.is_empty() { next.map(|next| until(now, next)) } else { Some(Duration::ZERO) }
    }

    /// `take_permit.lua` with `QUERY_AHEAD`, or a permit of `claim_due.lua`, without.
    pub(crate) fn query_permit(
        &mut self,
        now: Timestamp,
        limits: &AccountLimits,
        ahead: Duration,
        probe: &str,
    ) -> Permit {
        const QUERY: [PausedCall; 1] = [PausedCall::Query];
        if let Some(wait) = self.holds.wait(&QUERY, now) {
            return Permit::Wait(wait);
        }
        let at = self.next_query.map_or(now, |next| next.max(now));
        if at > now + ahead {
            return Permit::Wait(until(now + ahead, at));
        }
        let step = Duration::from_secs_f64(1.0 / limits.queries_per_second);
        if !ahead.is_zero() {
            let idle = self.next_query.map_or(now, |next| next + step);
            if let Some(next) = self.next_ahead.map(|next| next.min(idle)).filter(|next| *next > now) {
                return Permit::Wait(until(now, next));
            }
            self.next_ahead = Some(now + step * AHEAD_PART as u32);
        }
        self.next_query = Some(at + step);
        let probes = self.holds.go_out(&QUERY, probe, now + QUERY_PROBE_WINDOW);
        if probes { Permit::ProbeIn(until(now, at)) } else { Permit::In(until(now, at)) }
    }

    /// `lower_places.lua`.
    pub(crate) fn lower_places(
        &mut self,
        account: &AccountName,
        model: Model,
        limits: &AccountLimits,
        claimed_at: Timestamp,
        now: Timestamp,
    ) -> PlacesLeft {
        let used = self.placed(account, model).len() as u64;
        self.allowed.lower(limits, used, claimed_at, now)
    }

    /// `take_permit.lua`, for a create that missed its moment.
    pub(crate) fn create_time(
        &mut self,
        model: Model,
        per_second: f64,
        lead: Duration,
        now: Timestamp,
    ) -> CreateTime {
        if let Some(wait) = self.holds.paused(PausedCall::CreateModel(model), now) {
            return CreateTime::Wait(wait);
        }
        match self.pacer.take(now, per_second, lead) {
            Ok(at) => CreateTime::In(until(now, at)),
            Err(wait) => CreateTime::Wait(wait),
        }
    }

    /// `claim_submit.lua`.
    pub(crate) fn claim_submit(
        &mut self,
        ask: &SubmitAsk,
        seen: Seen,
        limits: &AccountLimits,
        nonce: u64,
        now: Timestamp,
    ) -> SubmitClaimed {
        let (account, model) = (&ask.account, ask.model);
        if let Some(wait) = self.lineage.holds_back(seen, self.run, now) {
            return SubmitClaimed::Wait(wait);
        }
        if let Some(before) = self.replies.get(&nonce) {
            let same =
                before.iter().filter_map(|id| self.records.get(id)).find(|record| record.nonce == nonce);
            return same.map_or(SubmitClaimed::Wait(Some(Duration::ZERO)), |record| {
                let (job, spec) = (record.job.clone(), record.spec.clone());
                let send_at = self.send_at.get(&nonce).copied().unwrap_or(now);
                SubmitClaimed::Claimed {
                    send_in: until(now, send_at),
                    probe: self.holds.is_out(&token(&job)),
                    claim: Box::new((job, spec)),
                }
            });
        }
        let calls = [PausedCall::Create, PausedCall::CreateModel(model)];
        if let Some(wait) = self.holds.wait(&calls, now) {
            return SubmitClaimed::Wait(Some(wait));
        }
        let fits = |job: &Job| {
            matches!(job.state, JobState::Queued { .. })
                && job.model == model
                && job.pinned_to.as_ref().is_none_or(|pinned_to| pinned_to.allows(account, None))
                && !self.waiting.contains(&job.id)
        };
        let jobs = self.records.values().map(|record| &record.job);
        let Some(id) =
            jobs.filter(|job| fits(job)).min_by_key(|job| (job.priority, job.seq)).map(|job| job.id)
        else {
            return SubmitClaimed::Wait(None);
        };
        let (used, mut allowed) = (self.placed(account, model).len() as u64, self.allowed);
        if !allowed.take(limits, used, now) {
            return SubmitClaimed::Wait(None);
        }
        let send_at = match self.pacer.take(now, limits.create_per_second, ask.lead) {
            Ok(send_at) => send_at,
            Err(wait) => return SubmitClaimed::Wait(Some(wait)),
        };
        self.allowed = allowed;
        self.send_at.insert(nonce, send_at);
        self.replies.insert(nonce, vec![id]);
        let Some(record) = self.records.get_mut(&id) else { return SubmitClaimed::Wait(None) };
        let cost_max = Prices::default().per_image(model).times(record.job.images_max.into());
        record.job = record.job.begin_attempt(account.clone(), now, now + ask.send_within, cost_max);
        record.nonce = nonce;
        self.leases.insert((id, record.job.fence), now + LEASE);
        self.lineage.count(nonce, self.run);
        let (job, spec) = (record.job.clone(), record.spec.clone());
        let probe = self.holds.go_out(&calls, &token(&job), now + ask.probe_window);
        SubmitClaimed::Claimed { claim: Box::new((job, spec)), send_in: until(now, send_at), probe }
    }

    /// `claim_due.lua`.
    pub(crate) fn claim_due(
        &mut self,
        what: Due,
        max: usize,
        limits: &AccountLimits,
        nonce: u64,
        now: Timestamp,
    ) -> DueClaimed {
        let mut found = Vec::new();
        let (mut wait, mut probe) = (None, false);
        if let Some(before) = self.replies.get(&nonce) {
            found.extend(before.iter().copied().filter(|id| self.records[id].nonce == nonce));
            probe = found.first().is_some_and(|id| self.holds.is_out(&id.to_string()));
        } else {
            let mut due: Vec<(Timestamp, JobId)> = self
                .records
                .values()
                .filter_map(|record| Some((self.due(what, &record.job)?, record.job.id)))
                .collect();
            due.sort();
            wait = due.iter().map(|(due, _)| *due).find(|due| *due > now).map(|due| until(now, due));
            for (at, id) in due {
                if found.len() == max || at > now {
                    break;
                }
                if what == Due::Poll {
                    match self.query_permit(now, limits, Duration::ZERO, &id.to_string()) {
                        Permit::In(_) => {}
                        Permit::ProbeIn(_) => probe = true,
                        Permit::Wait(missing) => {
                            wait = Some(missing);
                            break;
                        }
                    }
                }
                found.push(id);
            }
            for id in &found {
                let Some(Record { job, nonce: last, .. }) = self.records.get_mut(id) else { continue };
                (job.fence, job.version) = next_claim(job, now);
                (job.claimed, *last) = (true, nonce);
                if let JobState::Polling { due, .. } = &mut job.state {
                    *due = self.moved.due(*id, *due);
                }
                self.leases.insert((*id, job.fence), now + LEASE);
            }
            self.replies.insert(nonce, found.clone());
        }
        let jobs = found.iter().filter_map(|id| self.records.get(id));
        DueClaimed {
            jobs: jobs.map(|record| (record.job.clone(), record.outcome.clone())).collect(),
            wait,
            probe,
        }
    }

    /// Whether a claim would find anything.
    pub(crate) fn is_any_due(&self, what: Due, now: Timestamp) -> bool {
        self.records.values().any(|record| self.due(what, &record.job).is_some_and(|due| due <= now))
    }

    /// When a job is due for a kind of claim, if it is one for it. Copies come by the time at which their links die.
    fn due(&self, what: Due, job: &Job) -> Option<Timestamp> {
        if job.claimed || job.alone != (what == Due::Alone) {
            return None;
        }
        match (what, &job.state) {
            (Due::Alone, state) => state.due(),
            (Due::Poll, JobState::Polling { due, .. }) => Some(self.moved.due(job.id, *due)),
            (Due::Settle, JobState::Settling { due, .. }) => Some(*due),
            (Due::Archive, JobState::Archiving { .. }) if self.waiting.contains(&job.id) => None,
            (Due::Archive, JobState::Archiving { due, .. }) => Some(*due),
            _ => None,
        }
    }

    /// `renew.lua`: those that are lost.
    pub(crate) fn renew(&mut self, leases: &[(JobId, u64)], now: Timestamp) -> Vec<(JobId, u64)> {
        let mut lost = Vec::new();
        for lease in leases {
            match self.leases.get_mut(lease) {
                Some(over) => *over = now + LEASE,
                None => lost.push(*lease),
            }
        }
        lost
    }

    /// `rescue.lua`.
    pub(crate) fn rescue(&mut self, max: usize, now: Timestamp) -> Vec<(Job, Duration)> {
        let over: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, over)| **over <= now)
            .map(|(lease, over)| (*lease, *over))
            .take(max)
            .collect();
        let mut taken = Vec::new();
        for ((id, fence), over) in over {
            self.leases.remove(&(id, fence));
            let nonce = self.nonce();
            let Some(record) = self.records.get_mut(&id) else { continue };
            if record.job.fence != fence || !record.job.claimed {
                continue;
            }
            (record.job.fence, record.job.version) = next_claim(&record.job, now);
            record.nonce = nonce;
            self.leases.insert((id, record.job.fence), now + LEASE);
            taken.push((record.job.clone(), until(over, now)));
        }
        taken
    }

    /// The jobs whose attempts hold, or may hold, a place.
    pub(crate) fn placed(&self, account: &AccountName, model: Model) -> Vec<Job> {
        let here = |job: &&Job| {
            job.model == model && job.state.slot().is_some_and(|attempt| attempt.account == *account)
        };
        self.records.values().map(|record| &record.job).filter(here).cloned().collect()
    }

    /// Attempts that may yet turn out to have created a task.
    pub(crate) fn open_attempts(&self, account: &AccountName, model: Model) -> Vec<OpenAttempt> {
        let open = |job: &Job| match &job.state {
            JobState::Submitting { attempt }
            | JobState::Settling { attempt, .. }
            | JobState::Held { attempt, unsettled: true, task: None, .. }
                if job.model == model && attempt.account == *account =>
            {
                let on_the_way = matches!(job.state, JobState::Submitting { .. });
                Some(OpenAttempt { job: job.id, attempt: attempt.clone(), on_the_way })
            }
            _ => None,
        };
        self.records.values().filter_map(|record| open(&record.job)).collect()
    }

    pub(crate) fn counts(&self) -> BTreeMap<StateName, u64> {
        let mut counts = BTreeMap::new();
        for record in self.records.values() {
            *counts.entry(record.job.state_name()).or_default() += 1;
        }
        counts
    }
}
