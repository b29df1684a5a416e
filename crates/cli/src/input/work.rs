//! What jobs come to: how many, of which models, where they may run, and what they cost at most. Pure.
//!
//! Judging fills one with all of an input; looking at what is there fills one with what is new and one with what would be replaced.

use std::collections::BTreeMap;

use dashscope::Model;
use job::{JobSpec, Micros, PinnedTo, Prices};

use crate::output::job::scenario;

/// Some jobs, counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    /// Jobs by model and by where alone they may run.
    pub(crate) shares: BTreeMap<(Model, Option<PinnedTo>), Share>,
    /// Jobs by kind of work.
    pub(crate) scenarios: BTreeMap<&'static str, u64>,
}

/// Jobs that wait for the same accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// How many.
    pub(crate) jobs: u64,
    /// The most images that they can bring.
    pub(crate) images: u64,
    /// Those of them that ask for several images.
    pub(crate) several: u64,
    /// The most images of one of them.
    pub(crate) largest: u8,
    /// The first line that asks for so many.
    pub(crate) largest_line: u64,
}

/// What one job comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    model: Model,
    pinned_to: Option<PinnedTo>,
    scenario: &'static str,
    images: u8,
}

impl Piece {
    /// Of what a job asks for.
    pub(crate) fn of(spec: &JobSpec) -> Self {
        Self {
            model: spec.request.model,
            pinned_to: spec.pinned_to(),
            scenario: scenario(spec).as_str(),
            images: spec.images_max(),
        }
    }
}

impl Work {
    /// Counts the job of a line.
    pub(crate) fn add(&mut self, line: u64, piece: Piece) {
        let Piece { model, pinned_to, scenario, images } = piece;
        let share = Share {
            jobs: 1,
            images: images.into(),
            several: u64::from(images > 1),
            largest: images,
            largest_line: line,
        };
        self.add_share((model, pinned_to), share);
        *self.scenarios.entry(scenario).or_default() += 1;
    }

    /// These jobs and those of another.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (place, share) in &other.shares {
            self.add_share(place.clone(), *share);
        }
        for (scenario, jobs) in &other.scenarios {
            *self.scenarios.entry(scenario).or_default() += jobs;
        }
        self
    }

    /// How many jobs.
    pub(crate) fn jobs(&self) -> u64 {
        self.shares.values().map(|share| share.jobs).sum()
    }

    /// The most images that they can bring, by model.
    pub(crate) fn images(&self) -> BTreeMap<Model, u64> {
        let mut images = BTreeMap::new();
        for ((model, _), share) in &self.shares {
            *images.entry(*model).or_default() += share.images;
        }
        images
    }

    /// The most images that they can bring.
    pub(crate) fn images_max(&self) -> u64 {
        self.shares.values().map(|share| share.images).sum()
    }

    /// What they cost at most.
    pub(crate) fn cost_max(&self, prices: &Prices) -> Micros {
        let costs =
            self.shares.iter().map(|((model, _), share)| prices.per_image(*model).times(share.images).0);
        Micros(costs.fold(0, i64::saturating_add))
    }

    fn add_share(&mut self, place: (Model, Option<PinnedTo>), more: Share) {
        let share = self.shares.entry(place).or_default();
        share.jobs += more.jobs;
        share.images += more.images;
        share.several += more.several;
        let is_first = more.largest == share.largest && more.largest_line < share.largest_line;
        if more.largest > share.largest || is_first {
            (share.largest, share.largest_line) = (more.largest, more.largest_line);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use dashscope::ImageRequest;

    use super::*;

    /// One job for `n` images, on any account.
    pub(crate) fn piece(model: Model, n: u8) -> Piece {
        Piece { images: n, ..Piece::of(&JobSpec::new(ImageRequest::new(model, "x"))) }
    }

    /// The work of one job for `n` images.
    pub(crate) fn work(model: Model, n: u8) -> Work {
        let mut work = Work::default();
        work.add(1, piece(model, n));
        work
    }

    #[test]
    fn two_works_together_come_to_their_sums_and_cost_what_both_cost() {
        let both =
            work(Model::Wan27Image, 4).and(&work(Model::Wan27Image, 1)).and(&work(Model::Wan27ImagePro, 1));
        assert_eq!((both.jobs(), both.images_max()), (3, 6));
        assert_eq!(both.images(), BTreeMap::from([(Model::Wan27Image, 5), (Model::Wan27ImagePro, 1)]));
        let standard = both.shares[&(Model::Wan27Image, None)];
        assert_eq!(standard, Share { jobs: 2, images: 5, several: 1, largest: 4, largest_line: 1 });
        assert_eq!(both.scenarios, BTreeMap::from([("text_to_image", 3)]));
        assert_eq!(both.cost_max(&Prices::default()), Micros(5 * 30_000 + 75_000));
    }
}
