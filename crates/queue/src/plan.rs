//! What a commit changes, computed from the record before and after. Pure.
//!
//! The script of the same step (`lua/commit.lua`) only carries it out, under the condition that the record before is still the
//! one in Redis.

use std::time::Duration;

use job::{
    AccountName, Attempt, BatchName, Durations, Job, JobSpec, JobState, Micros, Outcome, StateName, TaskId,
    Timestamp, Transition,
};
use serde::Serialize;

use crate::account::TaskOwner;
use crate::copies::pace_step;
use crate::extras::ExtraTask;
use crate::keys::Keys;
use crate::places::{Place, is_left, lease_member, places, reserved, reserved_cost, to_copy};
use crate::record::to_fields;

/// A commit, ready for the script.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Plan {
    #[serde(skip)]
    pub(crate) index_keys: Vec<String>,
    set: Vec<String>,
    del: Vec<String>,
    zadd: Vec<(usize, String, String)>,
    zrem: Vec<(usize, String)>,
    incr: Vec<(usize, String, String)>,
    join: Vec<Join>,
    leave: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<(usize, String, &'static str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<(usize, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<(usize, String, usize)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Ownership>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<(usize, String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<(usize, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<(usize, String)>,
}

/// A task that becomes ours: keys of owners and of times, task, owner, ms, how we know of it, key of the tasks taken from others.
type Ownership = (usize, usize, String, String, String, &'static str, usize);

/// A job that is over: keys of the batch and of what has ended, the member there, and which of the two it is; of a job of a batch also
/// the keys of the outbox and of its entries.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Ended {
    Job(usize, usize, String, &'static str),
    OfBatch(usize, usize, String, &'static str, usize, usize),
}

/// A lane to enter: keys of the lane, of its turns, of the batch, of the virtual time; lane, place, seq; key of the batch's lanes, and
/// the lane's name there.
type Join = (usize, usize, usize, usize, String, String, String, usize, String);

/// Keys of the script that come before the index keys: the record and the events.
const FIRST_INDEX_KEY: usize = 3;

impl Plan {
    fn key(&mut self, key: String) -> usize {
        let at = self.index_keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.index_keys.push(key);
            self.index_keys.len() - 1
        });
        at + FIRST_INDEX_KEY
    }

    fn incr(&mut self, key: String, field: &str, by: i64) {
        if by != 0 {
            let key = self.key(key);
            self.incr.push((key, field.to_owned(), by.to_string()));
        }
    }

    /// The plan that replaces `before` by what `transition` made of it.
    pub(crate) fn new(
        keys: &Keys,
        before: &Job,
        transition: &Transition,
        outcome: Option<&Outcome>,
        now: Timestamp,
    ) -> Self {
        let after = &transition.job;
        let mut plan = Self::default();
        plan.record(before, after);
        plan.indexes(keys, before, after, now);
        plan.counts(keys, before, after, now);
        plan.end_of_batch(keys, before, after);
        if let Some(note) = &transition.note {
            let key = plan.key(keys.tries(after.id));
            let folds = if note.folds() { "1" } else { "0" };
            plan.note = serde_json::to_string(note).ok().map(|line| (key, line, folds));
        }
        if let Some(outcome) = outcome {
            let key = plan.key(keys.outcome(after.id));
            plan.blob = serde_json::to_string(outcome).ok().map(|json| (key, json));
            plan.learn_duration(keys, before, after, outcome);
        }
        plan.ownership(keys, before, transition, now);
        plan
    }

    /// The same, with another spec for the job. What its task brought is the old one's, and goes.
    pub(crate) fn with_spec(mut self, keys: &Keys, before: &Job, after: &Job, spec: &str) -> Self {
        let (spec_key, outcome) = (self.key(keys.spec(after.id)), self.key(keys.outcome(after.id)));
        self.spec = Some((spec_key, spec.to_owned(), outcome));
        let images = i64::from(after.images_max) - i64::from(before.images_max);
        self.incr(keys.batch(after.batch.as_ref()), "expected", images);
        self
    }

    /// The same, for a job that comes back to life: not if its item has had another job since.
    pub(crate) fn last_of_item(mut self, keys: &Keys, spec: &JobSpec) -> Self {
        if let (Some(refresh), Some(item)) = (&spec.refresh, &spec.custom_id) {
            let items = self.key(keys.items(Some(&refresh.collection)));
            self.item = Some((items, item.to_string()));
        }
        self
    }

    /// Only the fields that differ; the version is the script's business.
    fn record(&mut self, before: &Job, after: &Job) {
        let (old, mut new) = (to_fields(before), to_fields(after));
        new.remove("v");
        let mut set: Vec<_> = new.iter().filter(|(field, value)| old.get(*field) != Some(value)).collect();
        set.sort();
        self.set = set.into_iter().flat_map(|(field, value)| [field.clone(), value.clone()]).collect();
        self.del = old.into_keys().filter(|field| field != "v" && !new.contains_key(field)).collect();
        self.del.sort();
    }

    fn indexes(&mut self, keys: &Keys, before: &Job, after: &Job, now: Timestamp) {
        if before.claimed && !after.claimed {
            let leases = self.key(keys.leases());
            self.zrem.push((leases, lease_member(before)));
        }
        let new = places(keys, after, now);
        for old in possible_places(keys, before, now) {
            if new.iter().any(|place| place.is_same_entry(&old)) {
                continue;
            }
            match old {
                Place::Lane { ready, .. } => {
                    let ready = self.key(ready);
                    self.leave.push(ready);
                }
                Place::Sorted { key, member, .. } => {
                    let key = self.key(key);
                    self.zrem.push((key, member));
                }
            }
        }
        for place in new {
            match place {
                Place::Lane { ready, turns, batch, virtual_time, lane, place, seq, lanes, name } => {
                    let (ready, turns) = (self.key(ready), self.key(turns));
                    let (batch, virtual_time, lanes) =
                        (self.key(batch), self.key(virtual_time), self.key(lanes));
                    let seq = seq.to_string();
                    self.join.push((ready, turns, batch, virtual_time, lane, place, seq, lanes, name));
                }
                Place::Sorted { key, member, score } => {
                    let key = self.key(key);
                    self.zadd.push((key, score.to_string(), member));
                }
            }
        }
    }

    fn counts(&mut self, keys: &Keys, before: &Job, after: &Job, now: Timestamp) {
        let batch = keys.batch(after.batch.as_ref());
        let (old, new) = (before.state_name(), after.state_name());
        if old != new {
            for key in [batch.clone(), keys.counts()] {
                self.incr(key.clone(), old.as_str(), -1);
                self.incr(key, new.as_str(), 1);
            }
        }
        let billed = i64::from(after.billed) - i64::from(before.billed);
        let Micros(cost) = Micros(after.cost.0 - before.cost.0);
        self.incr(batch.clone(), "billed", billed);
        self.incr(batch.clone(), "stored", i64::from(after.stored) - i64::from(before.stored));
        self.incr(batch.clone(), "cost", cost);
        let partial = |job: &Job| i64::from(matches!(job.state, JobState::Succeeded { partial: true, .. }));
        self.incr(batch.clone(), "partial", partial(after) - partial(before));
        for key in [batch, keys.counts()] {
            let lost = i64::from(after.lost_images()) - i64::from(before.lost_images());
            self.incr(key.clone(), "lost", lost);
            self.incr(key, "lost_cost", after.lost_cost().0 - before.lost_cost().0);
        }
        self.incr(keys.counts(), "to_copy", to_copy(after) - to_copy(before));
        // What ends without an image says nothing about how fast images are copied.
        if old == StateName::Archiving && new == StateName::Succeeded {
            self.incr(keys.copied(), &pace_step(now).to_string(), 1);
        }

        self.reservations(keys, before, after);
        let account = before.state.attempt().or(after.state.attempt()).map(|attempt| &attempt.account);
        if let Some(account) = account
            && (billed != 0 || cost != 0)
        {
            let day = now.strftime("%Y-%m-%d").to_string();
            let ledger = keys.ledger(&day);
            let batch = after.batch.as_ref().map_or("-", BatchName::as_str);
            let line = format!("{account}:{}:{batch}", after.model);
            self.incr(ledger.clone(), &format!("images:{account}"), billed);
            self.incr(ledger.clone(), &format!("images:{line}"), billed);
            self.incr(ledger.clone(), &format!("cost:{line}"), cost);
            // What claims hold against the budgets.
            self.incr(ledger.clone(), &format!("cost:{account}"), cost);
            self.incr(ledger, "cost", cost);
        }
    }

    /// What the attempt under way may yet bring and cost, by the record before and by the one after. A task that comes late may be of another
    /// account than the attempt that it takes the place of.
    fn reservations(&mut self, keys: &Keys, before: &Job, after: &Job) {
        for key in [keys.batch(after.batch.as_ref()), keys.counts()] {
            self.incr(key, "reserved_cost", reserved_cost(after) - reserved_cost(before));
        }
        let account = |attempt: Option<&Attempt>| attempt.map(|attempt| keys.account(&attempt.account));
        let places = (account(before.state.slot()), account(after.state.slot()));
        let bills = (account(before.state.unbilled()), account(after.state.unbilled()));
        self.moved("reserved", places, (reserved(before), reserved(after)));
        self.moved("reserved_cost", bills, (reserved_cost(before), reserved_cost(after)));
    }

    /// What was noted of one account, and is noted of another, or of the same.
    fn moved(&mut self, field: &str, (old, new): (Option<String>, Option<String>), (was, is): (i64, i64)) {
        match (old, new) {
            (Some(old), Some(new)) if old == new => self.incr(old, field, is - was),
            (old, new) => {
                old.into_iter().for_each(|old| self.incr(old, field, -was));
                new.into_iter().for_each(|new| self.incr(new, field, is));
            }
        }
    }

    /// How long the task ran, where it just turned out to be over. One that was adopted may be another's.
    fn learn_duration(&mut self, keys: &Keys, before: &Job, after: &Job, outcome: &Outcome) {
        let just_over =
            before.state_name() == StateName::Polling && after.state_name() == StateName::Archiving;
        let (Some(shape), Some(started), Some(ended)) = (before.shape, outcome.started_at, outcome.ended_at)
        else {
            return;
        };
        if let Ok(ran) = Duration::try_from(ended.duration_since(started))
            && just_over
            && !before.adopted
        {
            self.incr(keys.durations(), &Durations::field(before.model, shape, ran), 1);
        }
    }

    fn end_of_batch(&mut self, keys: &Keys, before: &Job, after: &Job) {
        let (was_left, is_left) = (is_left(before.state_name()), is_left(after.state_name()));
        if was_left == is_left {
            return;
        }
        let batch = self.key(keys.batch(after.batch.as_ref()));
        let ended = self.key(keys.ended());
        let member = match &after.batch {
            Some(batch) => format!("batch:{batch}"),
            None => format!("job:{}", after.id),
        };
        if is_left {
            self.incr.push((batch, "left".to_owned(), "1".to_owned()));
            self.undone = Some((ended, member));
        } else if after.batch.is_some() {
            let (outbox, entries) = (self.key(keys.outbox()), self.key(keys.outbox_entries()));
            self.ended = Some(Ended::OfBatch(batch, ended, member, "batch", outbox, entries));
        } else {
            self.ended = Some(Ended::Job(batch, ended, member, "job"));
        }
    }

    /// Writes down that a task is ours, for as long as the provider knows it.
    fn ownership(&mut self, keys: &Keys, before: &Job, transition: &Transition, now: Timestamp) {
        let after = &transition.job;
        let new: Option<(&TaskId, u32)> = match &transition.extra_task {
            Some(extra) => {
                Some((extra, transition.note.as_ref().map_or(after.attempts, |note| note.attempt)))
            }
            None if before.state.task() == after.state.task() => None,
            None => after.state.task().map(|task| (task, after.attempts)),
        };
        // An extra task's account stands in its note: the job itself may be over, or be another account's by now.
        let noted = transition.note.as_ref().and_then(|note| note.account.as_deref()?.parse().ok());
        let of_state =
            || after.state.attempt().or(before.state.attempt()).map(|attempt| attempt.account.clone());
        let account: Option<AccountName> = if transition.extra_task.is_some() { noted } else { of_state() };
        // A task that was found in the list is not taken from another job; the job whose create was answered with it is its owner,
        // whoever found it before.
        let found = after.adopted && transition.extra_task.is_none();
        if let (Some((task, attempt)), Some(account)) = (new, account) {
            let (tasks, by_time) = (self.key(keys.tasks(&account)), self.key(keys.tasks_by_time(&account)));
            let owner = match after.state.attempt().filter(|current| current.number == attempt) {
                Some(_) if found => format!("{}:{attempt}:{}", after.id, TaskOwner::FOUND),
                Some(current) => format!("{}:{attempt}:{}", after.id, current.claimed_at.as_millisecond()),
                None => format!("{}:{attempt}", after.id),
            };
            let ms = now.as_millisecond().to_string();
            // A task that its job leaves behind was not answered just now either: it is not taken from whoever owns it.
            let left = transition.note.as_ref().is_some_and(|note| note.what.starts_with("resolved_"));
            let (task, how) = (task.to_string(), if found || left { "found" } else { "answered" });
            let taken = self.key(keys.taken(&account));
            if let Some(extra) = &transition.extra_task {
                let key = self.key(keys.extras(&account));
                let extra = ExtraTask::new(extra.clone(), after.id, attempt, after.model, now);
                self.extra = Some((key, task.clone(), extra.to_json()));
            }
            self.task = Some((tasks, by_time, task, owner, ms, how, taken));
        }
    }
}

/// Everywhere that the job may stand: promotion moves a job from its waiting set on without touching its record.
fn possible_places(keys: &Keys, job: &Job, now: Timestamp) -> Vec<Place> {
    let mut all = places(keys, job, now);
    if job.claimed {
        return all;
    }
    let member = job.id.to_string();
    let sorted = |key: String| Place::Sorted { key, member: member.clone(), score: 0 };
    match &job.state {
        JobState::Queued { due, .. } if *due > now => all.extend(places(keys, job, *due)),
        JobState::Queued { .. } => all.push(sorted(keys.delayed())),
        JobState::Archiving { .. } => {
            for key in [keys.wait_archive(), keys.ready_archive()] {
                let place = sorted(key);
                if !all.iter().any(|known| known.is_same_entry(&place)) {
                    all.push(place);
                }
            }
        }
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use job::{Event, Model, Priority, Rules};

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn submitting() -> Job {
        let id = job::JobId::fresh(1, 2);
        let batch = Some("b".parse().unwrap());
        let queued =
            Job::queued(id, batch, Model::Wan27Image, None, 2, Priority::default(), "d".into(), at(0));
        queued.begin_attempt(AccountName::parse("a").unwrap(), at(10), at(5_010), Micros(150_000))
    }

    fn plan(before: &Job, event: Event, now: i64) -> (Plan, Job) {
        let transition = before.apply(event, at(now), &Rules::default(), 0.5).unwrap();
        (Plan::new(&Keys::new("i"), before, &transition, None, at(now)), transition.job)
    }

    #[test]
    fn a_created_task_keeps_its_slot_gives_its_lease_back_and_is_owned() {
        let before = submitting();
        let JobState::Submitting { attempt } = before.state.clone() else { panic!("not submitting") };
        let (plan, _) =
            plan(&before, Event::TaskCreated { attempt, task: "t1".parse().unwrap(), request_id: None }, 100);
        let key =
            |key: &str| plan.index_keys.iter().position(|known| known == key).unwrap() + FIRST_INDEX_KEY;
        assert_eq!(plan.zrem, [(key("{i}:leases"), format!("{}:10", before.id))]);
        assert!(plan.zadd.contains(&(key("{i}:due:poll:a"), "3100".into(), before.id.to_string())));
        assert!(
            plan.zadd
                .iter()
                .any(|(at, _, member)| *at == key("{i}:slots:a:wan2.7-image") && member.ends_with(":1"))
        );
        assert_eq!(plan.task.unwrap().2, "t1");
        assert!(plan.ended.is_none());
    }

    #[test]
    fn a_refused_job_gives_up_slot_and_reservation_and_waits_in_delayed() {
        let before = submitting();
        let refusal = job::Refusal::ours("Throttling", "slow down");
        let (plan, _) = plan(&before, Event::Refused(refusal), 100);
        let key =
            |key: &str| plan.index_keys.iter().position(|known| known == key).unwrap() + FIRST_INDEX_KEY;
        assert!(plan.zrem.contains(&(key("{i}:slots:a:wan2.7-image"), format!("{}:1", before.id))));
        assert!(plan.zadd.iter().any(|(at, _, _)| *at == key("{i}:delayed")));
        assert!(plan.incr.contains(&(key("{i}:account:a"), "reserved".into(), "-2".into())));
        for key in [key("{i}:account:a"), key("{i}:batch:b"), key("{i}:counts")] {
            assert!(plan.incr.contains(&(key, "reserved_cost".into(), "-150000".into())));
        }
        assert!(plan.del.iter().any(|field| field == "c") && plan.del.iter().any(|field| field == "an"));
    }

    #[test]
    fn a_job_that_promotion_moved_is_found_in_its_lane() {
        let id = job::JobId::fresh(1, 2);
        let mut queued =
            Job::queued(id, None, Model::Wan27Image, None, 1, Priority::default(), "d".into(), at(0));
        queued.state = JobState::Queued { due: at(5_000), cause: None };
        let (plan, _) = plan(&queued, Event::CancelRequested, 100);
        assert_eq!(plan.leave.len(), 1);
        assert_eq!(plan.zrem.len(), 1);
        assert!(
            matches!(&plan.ended, Some(Ended::Job(_, _, member, "job")) if *member == format!("job:{id}"))
        );
    }
}
