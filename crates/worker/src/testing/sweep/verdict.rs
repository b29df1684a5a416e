//! What a run came to, by the ledger, the bucket and the records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use job::{ImageState, JobId, JobState, KeyTemplate, StateName, Timestamp};
use queue::{ExtraState, ExtraTask};

use super::rows::Allow;
use super::run::prompt_of;
use crate::testing::provider::{Provider, digest, picture};
use crate::testing::queue::{Store, owner_of};
use crate::testing::worker::Shared;

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Jobs by the state that they ended in.
    pub ends: BTreeMap<StateName, u32>,
    /// Jobs that are neither final nor held, whose images are missing or wrong, or whose paid task nobody knows.
    pub lost: Vec<String>,
    /// Prompts for which more than one task was billed.
    pub billed_twice: u32,
    /// Tasks beyond the first billed one of a prompt of which neither a record nor the provider's list tells.
    pub silent: u32,
    /// Tasks that no job could take, billed or cancelled in time.
    pub extra: u32,
    /// Jobs that were given the pictures of another, as the books show.
    pub others_pictures: u32,
    /// Commits at which a task was at work and its job held no place for it.
    pub without_place: u32,
    /// Whether the row's fault happened.
    pub fired: bool,
}

impl Verdict {
    /// What is wrong with it, under what its row allows.
    pub fn faults(&self, allow: Allow) -> Vec<String> {
        let mut faults = self.lost.clone();
        if self.billed_twice > 0 && !allow.twice {
            faults.push(format!("{} prompts were billed twice", self.billed_twice));
        }
        if self.extra > 0 && !allow.twice && !allow.forgotten {
            // Cancelled in time or not: a create went out that should not have.
            faults.push(format!("{} tasks were one too many", self.extra));
        }
        if self.others_pictures > 0 && !allow.twice {
            faults.push(format!("{} jobs have the pictures of another", self.others_pictures));
        }
        if self.silent > 0 {
            faults.push(format!("{} double payments are shown nowhere", self.silent));
        }
        if self.without_place > 0 && !allow.twice && !allow.forgotten {
            faults.push(format!("{} times a task was at work without a place", self.without_place));
        }
        for (state, count) in &self.ends {
            let allowed = match state {
                StateName::Held => allow.held,
                StateName::Failed => allow.failed,
                StateName::Canceled => allow.canceled,
                StateName::Expired => allow.expired,
                _ => true,
            };
            if !allowed {
                faults.push(format!("{count} jobs are {state}"));
            }
        }
        faults
    }
}

/// Holds records, bill and bucket against each other.
pub(crate) fn judge(shared: &Shared, ids: &[JobId], over: bool) -> Verdict {
    let now = shared.time.now();
    let store = shared.queue.store();
    let mut verdict = Verdict {
        fired: shared.faults.fired(),
        extra: store.books.extras.len() as u32,
        ..Verdict::default()
    };
    if !over {
        verdict.lost.push("the run did not come to its end in time".to_owned());
    }
    let mut expected: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut may_stand = BTreeSet::new();
    for (number, id) in ids.iter().enumerate() {
        let Some(record) = store.records.get(id) else {
            verdict.lost.push(format!("job {number} is gone"));
            continue;
        };
        let state = record.job.state_name();
        *verdict.ends.entry(state).or_default() += 1;
        if !state.is_final() && state != StateName::Held {
            verdict.lost.push(format!("job {number} is still {state}"));
        }
        let template = KeyTemplate::default();
        let custom_id = record.spec.custom_id.as_ref();
        let refresh = record.spec.refresh.as_ref();
        let folder = refresh.map(|refresh| &refresh.collection).or(record.job.batch.as_ref());
        for index in 0..record.job.images_max {
            if let Ok(key) = template.key(folder, custom_id, *id, index) {
                if refresh.is_some() {
                    // The stable keys show no images of a refresh before it is over.
                    may_stand.extend(KeyTemplate::version_key(&key, *id).ok().map(|key| key.to_string()));
                } else {
                    may_stand.insert(key.to_string());
                }
            }
        }
        let JobState::Succeeded { task, partial, .. } = &record.job.state else { continue };
        let outcome = record.outcome.as_ref().filter(|outcome| outcome.task == *task);
        let Some(outcome) = outcome else {
            verdict.lost.push(format!("job {number} succeeded and has no result"));
            continue;
        };
        if shared.provider.any_task(|made| made.id == *task && made.prompt != prompt_of(number)) {
            let delivered = |extra: &ExtraTask| extra.state == ExtraState::DeliveredTwice;
            if store.books.extras.get(task).is_some_and(delivered) {
                verdict.others_pictures += 1;
            } else {
                verdict.lost.push(format!("job {number} has the pictures of another, and nothing shows it"));
            }
        }
        if *partial || outcome.images.len() != usize::from(record.job.images_max) {
            verdict.lost.push(format!("job {number} has lost images"));
        }
        for image in &outcome.images {
            let ImageState::Stored(stored) = &image.state else { continue };
            let served = picture(task, u32::from(image.item));
            if stored.sha256 != digest(&served) {
                verdict.lost.push(format!("job {number} recorded another picture"));
            }
            let Ok(stable) = template.key(folder, custom_id, *id, image.index) else { continue };
            if image.index == 0
                && let Ok(manifest) = KeyTemplate::manifest_key(&stable)
            {
                expected.insert(manifest.to_string(), None);
            }
            // The record names the version, which is the job's own for as long as it is kept.
            if refresh.is_some() && KeyTemplate::stable_key(&stored.key, *id).as_ref() != Some(&stable) {
                verdict.lost.push(format!("job {number} recorded `{}`, and not its version", stored.key));
            }
            expected.insert(stored.key.to_string(), Some(served.clone()));
            expected.insert(stable.to_string(), Some(served));
        }
    }
    for (key, object) in shared.bucket.objects().iter() {
        match expected.remove(key) {
            Some(Some(served)) if served != *object => verdict.lost.push(format!("`{key}` holds {object}")),
            Some(_) => {}
            // What a job that is not over well has copied so far.
            None if may_stand.contains(key) => {}
            None => verdict.lost.push(format!("nobody expects `{key}`")),
        }
    }
    verdict.lost.extend(expected.keys().map(|key| format!("`{key}` is missing")));
    judge_bill(&store, &shared.provider, ids, now, &mut verdict);
    verdict
}

/// Who is paid for what, and who knows of it.
fn judge_bill(store: &Store, provider: &Provider, ids: &[JobId], now: Timestamp, verdict: &mut Verdict) {
    let bill = provider.bill(now);
    verdict.billed_twice = bill.values().filter(|(tasks, _)| *tasks > 1).count() as u32;
    for task in provider.tasks().iter().filter(|task| task.billed(now) > 0) {
        let number = ids.iter().enumerate().find(|(number, _)| task.prompt == prompt_of(*number));
        let Some((number, record)) = number.and_then(|(number, id)| Some((number, store.records.get(id)?)))
        else {
            verdict.lost.push(format!("task {} is nobody's", task.id));
            continue;
        };
        let owned = owner_of(store, &task.id).is_some();
        let held = record.job.state_name() == StateName::Held;
        // Whatever the list shows and nobody owns is counted and shown to people.
        let shown = owned || task.is_ever_listed();
        if bill[&task.prompt].0 > 1 {
            verdict.silent += u32::from(!shown);
        } else if !owned && !held {
            verdict.lost.push(format!("task {} of job {number} is paid for and nobody owns it", task.id));
        }
    }
}

/// Counts commits at which a task was at work and nothing stood for its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<AtomicU32>);

impl Places {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Looks at every commit whether each task at work has a place.
pub(crate) fn watch_places(shared: &Arc<Shared>) -> Places {
    let places = Places::default();
    let (count, provider, time) = (places.clone(), shared.provider.clone(), shared.time);
    shared.queue.look_on(Box::new(move |store| {
        let now = time.now();
        provider.each_task(|task| {
            if !task.is_at_work(now) {
                return;
            }
            let record =
                store.records.values().find(|record| record.spec.request.prompt.expose() == task.prompt);
            let stands_for_it = record.is_some_and(|record| match &record.job.state {
                state if state.slot().is_some() => true,
                JobState::Held { slot_free: true, .. } => true,
                // One that is too many: it was written down, and is being cancelled.
                state => owner_of(store, &task.id).is_some() && state.task() != Some(&task.id),
            });
            if !stands_for_it {
                count.0.fetch_add(1, Ordering::Relaxed);
            }
        });
    }));
    places
}
