//! Who makes something happen during a run, such as an account that breaks or a worker that is killed.

use futures::future::BoxFuture;

use super::crew::Crew;
use super::world::World;
use crate::failure::Failure;
use crate::output::batch::JobCounts;

/// What a director sees, and may change, at each look at a run.
pub(super) struct Look<'a> {
    /// The servers.
    pub(super) world: &'a World,
    /// The jobs by where they are.
    pub(super) counts: &'a JobCounts,
    /// The workers.
    pub(super) crew: &'a mut Crew,
}

/// Makes something happen.
pub(super) trait Director: Send {
    /// Called a few times a second, until all jobs are over.
    fn look<'a>(&'a mut self, look: Look<'a>) -> BoxFuture<'a, Result<(), Failure>>;

    /// Called once, when all jobs are over and no worker is left.
    fn over<'a>(&'a mut self, _: &'a World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Lets the run go on by itself.
pub(super) struct Nothing;

impl Director for Nothing {
    fn look<'a>(&'a mut self, _: Look<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
