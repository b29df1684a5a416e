//! `watch`.

use super::wait::{Show, Target, until_over};
use crate::app::App;
use crate::args::WatchArgs;
use crate::failure::Failure;

/// Follows a batch, or everything, until it is over.
pub(super) async fn run(app: &App, args: WatchArgs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let target = args.batch.map_or(Target::Everything, Target::Batch);
    until_over(app, &queue, &target, Show::Progress, &settings).await
}
