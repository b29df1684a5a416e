//! What stands behind the ports in production: the queue, the provider's client, the archive. They translate, and decide
//! nothing.

mod api;
mod archive;
mod jobs;
mod outbox;
mod receivers;
mod stop_at;
mod uploads;

use std::error::Error;

pub use self::api::{ApiSetupError, DashScopeApi};
pub use self::archive::BucketArchive;
pub use self::jobs::QueueJobs;
pub(crate) use self::jobs::{HeldLease, query_limits};
pub use self::outbox::{BucketManifests, QueueOutbox};
pub use self::receivers::HttpReceivers;
pub use self::stop_at::{InvalidStop, StopAt};

/// An error and its causes, on one line. The errors below hold neither links nor credentials.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
