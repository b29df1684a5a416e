//! `watch`.

use super::wait::{Show, Target, until_all_over};
use crate::app::App;
use crate::args::WatchArgs;
use crate::failure::Failure;

/// Follows batches, or everything, until they are over.
pub(super) async fn run(app: &App, args: WatchArgs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let mut batches = args.batches;
    batches.sort();
    batches.dedup();
    let targets = match batches.is_empty() {
        true => vec![Target::Everything],
        false => batches.into_iter().map(Target::Batch).collect(),
    };
    until_all_over(app, &queue, &targets, Show::Progress, &settings).await
}
