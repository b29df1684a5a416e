//! Where a job stands in the indexes, computed from its record alone.
//!
//! A commit moves a job from the places of the record that it replaces to the places of the new one; a sweep can rebuild an
//! index from the same function. Pure.

use job::{Job, JobState, StateName, Timestamp};

use crate::keys::{Keys, lane_member, lane_name, lane_place};

/// One entry in an index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// In a lane, waiting for a claim.
    Lane {
        ready: String,
        turns: String,
        batch: String,
        virtual_time: String,
        lane: String,
        /// The place that its jobs wait for: see [`lane_place`].
        place: String,
        seq: u64,
        /// The lanes of its batch, and what it is called there.
        lanes: String,
        name: String,
    },
    /// In a sorted set.
    Sorted { key: String, member: String, score: i64 },
}

impl Place {
    /// Whether the two are the same entry, whatever its score.
    pub(crate) fn is_same_entry(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lane { ready, .. }, Self::Lane { ready: other, .. }) => ready == other,
            (Self::Sorted { key, member, .. }, Self::Sorted { key: other_key, member: other_member, .. }) => {
                key == other_key && member == other_member
            }
            _ => false,
        }
    }
}

/// A lease's member: the fence is part of it.
pub(crate) fn lease_member(job: &Job) -> String {
    format!("{}:{}", job.id, job.fence)
}

/// Every place of a job, except its lease while it is claimed (a lease has a score that only Redis's clock gives).
pub(crate) fn places(keys: &Keys, job: &Job, now: Timestamp) -> Vec<Place> {
    let mut places = Vec::with_capacity(2);
    let sorted = |key: String, score: Timestamp| Place::Sorted {
        key,
        member: job.id.to_string(),
        score: score.as_millisecond(),
    };
    if let Some(attempt) = job.state.slot() {
        places.push(Place::Sorted {
            key: keys.slots(&attempt.account, job.model),
            member: format!("{}:{}", job.id, attempt.number),
            score: attempt.claimed_at.as_millisecond(),
        });
    }
    if let JobState::Archiving { deadline, .. } = &job.state {
        places.push(sorted(keys.links(), *deadline));
    }
    if job.claimed {
        return places;
    }
    match &job.state {
        JobState::Settling { due, .. } | JobState::Polling { due, .. } | JobState::Archiving { due, .. }
            if job.alone =>
        {
            places.push(sorted(keys.quarantine(), *due));
        }
        JobState::Queued { due, .. } if *due > now => places.push(sorted(keys.delayed(), *due)),
        JobState::Queued { .. } => {
            let lane = lane_member(job.priority, job.batch.as_ref());
            places.push(Place::Lane {
                ready: keys.ready(job.model, job.pinned_to.as_ref(), &lane),
                turns: keys.turns(job.model, job.pinned_to.as_ref()),
                batch: keys.batch(job.batch.as_ref()),
                virtual_time: keys.virtual_time(job.model),
                lane,
                place: lane_place(job.pinned_to.as_ref()),
                seq: job.seq,
                lanes: keys.lanes(job.batch.as_ref()),
                name: lane_name(job.model, job.pinned_to.as_ref(), job.priority),
            });
        }
        JobState::Settling { due, .. } => places.push(sorted(keys.due_settle(), *due)),
        JobState::Polling { attempt, due, .. } => places.push(sorted(keys.due_poll(&attempt.account), *due)),
        JobState::Archiving { due, deadline, .. } => places.push(if *due > now {
            sorted(keys.wait_archive(), *due)
        } else {
            sorted(keys.ready_archive(), *deadline)
        }),
        JobState::Held { since, .. } => places.push(sorted(keys.held(), *since)),
        // Submitting is always claimed; a final job stands in its batch only.
        JobState::Submitting { .. }
        | JobState::Succeeded { .. }
        | JobState::Failed { .. }
        | JobState::Canceled { .. }
        | JobState::Expired { .. } => {}
    }
    places
}

/// Images that the job's account may yet be billed for, by its attempt under way.
pub(crate) fn reserved(job: &Job) -> i64 {
    if job.state.slot().is_some() { i64::from(job.images_max) } else { 0 }
}

/// What the job's attempt may yet cost: what its claim reserved of the budgets.
///
/// It follows from the record alone, as its places do. The claim writes both, and whoever writes a record (`lua/commit.lua`, and nobody
/// else once it is claimed) changes the sums in the same script by the difference between the two records: so the sums are those of the
/// records at every moment, and no reservation can be left behind by an attempt that is over. Retention and `batch rm` remove records
/// that are over, of which nothing is reserved; a Redis that went back in time has records and sums of the same moment. The trials hold
/// the two against each other. What a worker of an older version leaves in the sums goes when nothing is under way (`reserved.rs`).
pub(crate) fn reserved_cost(job: &Job) -> i64 {
    job.state.unbilled().map_or(0, |attempt| attempt.cost_max.0)
}

/// Images of the job that wait to be copied.
pub(crate) fn to_copy(job: &Job) -> i64 {
    match &job.state {
        JobState::Archiving { images, .. } => i64::from(images.saturating_sub(job.stored)),
        _ => 0,
    }
}

/// Whether the job counts as not yet over in its batch.
pub(crate) fn is_left(state: StateName) -> bool {
    !state.is_final()
}
