//! What a job's record knows of its spec. Pure.

use dashscope::Model;

use crate::{JobSpec, PinnedTo, Priority, Shape, Timestamp};

/// What a job asks for, as far as its record holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedFor {
    /// The model.
    pub model: Model,
    /// Where alone it may run.
    pub pinned_to: Option<PinnedTo>,
    /// The most images that it can bring.
    pub images_max: u8,
    /// What its task makes.
    pub shape: Shape,
    /// How urgent it is.
    pub priority: Priority,
    /// Not to be started before.
    pub not_before: Option<Timestamp>,
    /// See [`JobSpec::digest`].
    pub digest: String,
}

impl AskedFor {
    /// That of a spec.
    pub fn of(spec: &JobSpec) -> Self {
        Self {
            model: spec.request.model,
            pinned_to: spec.pinned_to(),
            images_max: spec.images_max(),
            shape: Shape::of(&spec.request),
            priority: spec.priority,
            not_before: spec.not_before,
            digest: spec.digest(),
        }
    }
}
