//! What a retry may cost.

use std::collections::{BTreeMap, BTreeSet};

use job::{Job, JobId, Micros, Prices, StateName};

use crate::output::status::at_most;
use crate::output::words::{count, counted};

/// What would be done, and what it may cost.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    /// Jobs that it is about: what is agreed to is agreed for these.
    pub(super) ids: BTreeSet<JobId>,
    /// How many they are, by state.
    pub(super) by_state: BTreeMap<StateName, u64>,
    /// The most images that may come of it.
    pub(super) images: u64,
    /// What those cost.
    pub(super) cost: Micros,
    /// Jobs whose missing images are a job of their own already.
    pub(super) asked_before: u64,
    /// Jobs whose item has had a later job since.
    pub(super) superseded: u64,
    /// Jobs with images missing whose item shows the images of one job.
    pub(super) refreshes: u64,
}

impl Estimate {
    /// One more, of which so many images may come.
    pub(super) fn add(&mut self, job: &Job, images: u8, prices: &Prices) {
        self.ids.insert(job.id);
        *self.by_state.entry(job.state_name()).or_default() += 1;
        self.images += u64::from(images);
        self.cost.0 = self.cost.0.saturating_add(prices.per_image(job.model).times(images.into()).0);
    }

    /// How many jobs.
    pub(super) fn jobs(&self) -> u64 {
        self.by_state.values().sum()
    }

    /// Such as `3 jobs (2 failed, 1 expired)`.
    fn words(&self) -> String {
        let states: Vec<String> =
            self.by_state.iter().map(|(state, jobs)| format!("{} {state}", count(*jobs))).collect();
        format!("{} ({})", counted(self.jobs(), "job"), states.join(", "))
    }
}

/// What would be done to which jobs, and what it may cost.
pub(super) fn question(estimate: &Estimate, what: &str, currency: &str) -> String {
    let subject = estimate.words();
    format!("{subject} {what}: {}.", at_most(estimate.images, estimate.cost, currency))
}
