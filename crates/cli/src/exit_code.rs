//! The exit codes of `imagemill`: a promise to scripts. They stand in `imagemill --help` as well.

/// Done, and nothing is amiss.
pub(crate) const DONE: u8 = 0;

/// The command failed, or some of the jobs that it waited for did: failed, expired or canceled.
pub(crate) const FAILED: u8 = 1;

/// The command line itself is wrong. Also what `clap` uses.
pub(crate) const USAGE: u8 = 2;

/// All jobs ended well, but some images that were billed are not in the bucket.
pub(crate) const PARTIAL: u8 = 3;

/// Jobs are left that wait for a person: `imagemill job ls --held`.
pub(crate) const HELD: u8 = 4;

/// The input is wrong; what is wrong of it was not taken. (`EX_DATAERR`)
pub(crate) const BAD_INPUT: u8 = 65;

/// Redis, the store or DashScope cannot be reached. Trying later may help. (`EX_UNAVAILABLE`)
pub(crate) const UNAVAILABLE: u8 = 69;

/// A setting is wrong or missing. (`EX_CONFIG`)
pub(crate) const SETTINGS: u8 = 78;

/// Interrupted by a signal before the end. (128 + SIGINT)
pub(crate) const INTERRUPTED: u8 = 130;

/// The codes with their meaning, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    failed, or some jobs failed, expired or were canceled
  2    wrong usage
  3    partial: some billed images are not in the bucket
  4    held jobs remain, see `imagemill job ls --held`
  65   bad input; what is wrong was not taken
  69   Redis, S3 or DashScope cannot be reached
  78   wrong settings, see `imagemill config check`
  130  interrupted";
