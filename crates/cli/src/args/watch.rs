//! `imagemill watch`.

use clap::Args;
use job::BatchName;

/// Follow batches, or everything, until they are done.
///
/// On a terminal this is a bar for each with rate and time left, elsewhere a line now and then; with --json a line of JSON for each
/// change. Ctrl-C ends the watching, not the jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code says how the jobs ended: 0 well, 1 some failed, 3 some images are missing, 4 held jobs remain. Without a batch
it speaks of the jobs that end while this watches, and 3 is never said: missing images are counted by batch.

Examples:
  imagemill watch spring
  imagemill watch spring summer
  imagemill watch                          # everything that is in the queue")]
pub(crate) struct WatchArgs {
    /// The batches; without one, everything
    #[arg(value_name = "BATCH")]
    pub(crate) batches: Vec<BatchName>,
}
