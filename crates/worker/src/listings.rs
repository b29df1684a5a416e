//! The part of the jobs' port that is about when tasks are asked: what their list shows, and how long they run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use job::{AccountName, Durations, Model};
pub(crate) use queue::{Heeded, ListTurn, Listed};

use crate::ports::JobsFault;

/// What the workers know together of tasks in flight.
#[async_trait]
pub trait Listings: Send + Sync {
    /// Asks for the turn to read the list of an account's tasks of a model: for `hold` it is nobody else's. Also counts the places
    /// that were taken less than `young_for` ago.
    async fn take_list_turn(
        &self,
        account: &AccountName,
        model: Model,
        hold: Duration,
        young_for: Duration,
    ) -> Result<ListTurn, JobsFault>;

    /// Says when the list may be read again, by whoever comes first then.
    async fn end_list_turn(
        &self,
        account: &AccountName,
        model: Model,
        wait: Duration,
    ) -> Result<(), JobsFault>;

    /// Lets what a list shows decide when its tasks are asked.
    async fn heed_list(&self, account: &AccountName, listed: &[Listed]) -> Result<Heeded, JobsFault>;

    /// Looks at what was learned by now of how long tasks run; what follows is timed by it.
    async fn learn_durations(&self) -> Result<Arc<Durations>, JobsFault>;
}
