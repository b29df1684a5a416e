//! `imagemill batch results`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use job::{BatchName, StateName};

/// Print what came of a batch: a line of JSON for each job, in the order of the input
#[derive(Debug, Args)]
#[command(after_help = "\
A line has custom_id, job_id, state, model, account, task_id, request_id, seed, size, images (index, key, uri, bytes, sha256, width,
height; or why one is lost), billed, cost, times, and an error for a job that did not succeed: class, code, message, hint.

--errors writes the jobs that failed, expired or were canceled, each as a line that `imagemill enqueue` takes again once it is mended,
with the reason in `error`, which is passed over there. A mended line goes into another batch: in the same one its custom_id is that of
the old job, which is kept unless --replace is given. What is to run again as it is needs no file: `imagemill batch retry`. Held jobs and
jobs that only lack images are counted, not written: their images may be paid for. The file has prompts and input links in it.

--download brings the images to DIR/<custom_id>/<index>.png, each checked by its SHA-256. It may be repeated: files that are there
and right are left alone. Lines are then printed only to --out.

Of a refresh, `key` is that of the job's own version, which later refreshes delete once more than `keep` of them came, and `stable_key`
shows the item's newest images; a job whose images never came there has none, and is `unpublished`. With keep = 0 there are no
versions: `key` is the stable one, and no more of this job once another has refreshed the item; `sha256` tells. --download fetches
no other image than the job's, and says which were replaced.

The exit code says how the jobs ended: 0 well, 1 some failed or could not be fetched, 3 some images are missing or were replaced since,
4 held jobs remain, 69 the download was given up, since the store was away or the disk full.

Examples:
  imagemill batch results spring --out results.jsonl --errors errors.jsonl
  imagemill enqueue errors.jsonl --batch spring-mended
  imagemill batch results spring --state succeeded --links 1h | jq -r '.custom_id as $id | .images[] | [$id, .link] | @tsv'
  imagemill batch results spring --wait --download images/")]
pub(crate) struct BatchResults {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,

    /// Write the lines to FILE, whole or not at all, in place of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Write the jobs that did not succeed to FILE, to be mended and enqueued again
    #[arg(long, value_name = "FILE")]
    pub(crate) errors: Option<PathBuf>,

    /// Only jobs in these states, such as `succeeded,failed`
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<StateName>,

    /// Give each image a link that opens it for so long, such as `1h`; at most 7 days
    #[arg(long, value_name = "TIME", value_parser = link_life)]
    pub(crate) links: Option<Duration>,

    /// Fetch the images into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) download: Option<PathBuf>,

    /// Print what each job asked for as well, with its prompt
    #[arg(long)]
    pub(crate) with_request: bool,

    /// Wait for the batch to end first
    #[arg(long)]
    pub(crate) wait: bool,
}

/// How long a link lives.
fn link_life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text)
        .map_err(|_| "it is a time with its unit, such as `1h`, `30m` or `7d`".to_owned())?;
    if life > archive::PRESIGN_MAX {
        return Err("a link lives for at most 7 days: S3 signs none for longer".to_owned());
    }
    if life < Duration::from_secs(1) {
        return Err("a link lives for at least a second".to_owned());
    }
    Ok(life)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lives_for_a_second_to_seven_days() {
        assert_eq!(link_life("7d"), Ok(archive::PRESIGN_MAX));
        let all: Vec<String> =
            ["8d", "0s", "soon", "5"].into_iter().map(|text| link_life(text).unwrap_err()).collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        a link lives for at most 7 days: S3 signs none for longer
        a link lives for at least a second
        it is a time with its unit, such as `1h`, `30m` or `7d`
        it is a time with its unit, such as `1h`, `30m` or `7d`
        ");
    }
}
