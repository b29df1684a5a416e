//! `imagemill enqueue`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use dashscope::{Model, Size};
use job::{AccountName, BatchName, InvalidName, Micros, Priority, RefreshRule, RegionName, Timestamp};
use queue::BatchBudget;

use crate::input::rows::Format;
use crate::input::template::Template;
use crate::settings::{Money, Setting as _};

/// Put jobs into the queue: from a file of JSONL or CSV, from stdin, or single prompts.
///
/// The whole input is judged first. If one line is wrong, nothing is enqueued, and every fault is said with its line. The same
/// file enqueued twice is the same jobs: nothing is made or paid for again.
#[derive(Debug, Args)]
#[command(after_help = "\
A line is one job:
  {\"custom_id\": \"sku-1042\", \"prompt\": \"A red shoe on white\", \"size\": \"2K\", \"images\": [\"shoe.png\"]}
with any of: custom_id, prompt, model, size, n, images, bbox_list, color_palette, enable_sequential, thinking_mode,
watermark, seed, priority, account, not_before; or with DashScope's own request body:
  {\"custom_id\": \"sku-1042\", \"body\": {\"model\": …, \"input\": …, \"parameters\": …}}
Images are https links, paths relative to the file, s3://bucket/key, or data URIs. A line without a custom_id gets one
from what it asks for. In CSV a header names these fields; several images stand in one cell with | between them, and
further columns are for --template, which makes the prompts. There {{ and }} are braces of the prompt.

Examples:
  imagemill enqueue prompts.jsonl --batch spring --watch
  generate-prompts | imagemill enqueue - --batch spring --model wan2.7-image-pro
  imagemill enqueue shoes.csv --batch shoes --template \"studio photo of {name}, {colour}\"
  imagemill enqueue catalogue.jsonl --batch \"{name}-{date}T{time}\" --refresh if_changed
  imagemill enqueue prompts.jsonl --batch spring --skip-invalid --errors faulty.jsonl
  imagemill enqueue --prompt \"A lighthouse at dusk\" --size 4K --model wan2.7-image-pro --wait")]
pub(crate) struct EnqueueArgs {
    /// The file, JSONL or CSV, also packed with gzip or zstd; `-` reads stdin
    #[arg(value_name = "FILE", required_unless_present = "prompt", conflicts_with = "prompt")]
    pub(crate) file: Option<PathBuf>,

    /// The batch that the jobs go to; required for a file
    #[arg(long, short, value_name = "NAME")]
    pub(crate) batch: Option<BatchArg>,

    /// Replace images of a catalogue: `always`, those of items that changed (`if_changed`), or those that are old too (`max_age=30d`). Items
    /// whose manifest in the bucket cannot be read are named and left out
    #[arg(long, value_name = "RULE", requires = "file", conflicts_with_all = ["not_before", "replace"])]
    pub(crate) refresh: Option<RefreshRule>,

    /// With --refresh: the folder of the images' stable keys [default: the name of the file]
    #[arg(long, value_name = "COLLECTION", requires = "refresh")]
    pub(crate) into: Option<BatchName>,

    /// With --refresh: keep so many old versions of an item's images
    #[arg(long, value_name = "N", requires = "refresh", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) keep: u8,

    /// How the file is written [default: csv if its name ends so, else jsonl]
    #[arg(long, value_name = "FORMAT", requires = "file")]
    pub(crate) format: Option<Format>,

    /// Make the prompts of the fields or columns of each line, as in "photo of {name}, {colour}"
    #[arg(long, value_name = "TEXT", requires = "file")]
    pub(crate) template: Option<Template>,

    /// A prompt in place of a file; may be repeated
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) prompt: Vec<String>,

    /// An input image of each --prompt: link, path, s3://bucket/key; may be repeated
    #[arg(long, value_name = "IMAGE", requires = "prompt", conflicts_with = "file")]
    pub(crate) image: Vec<String>,

    /// Your own name for the job of a single --prompt
    #[arg(long, value_name = "ID", requires = "prompt", conflicts_with = "file")]
    pub(crate) custom_id: Option<String>,

    /// What lines get that do not say otherwise.
    #[command(flatten)]
    pub(crate) request: RequestFlags,

    /// Run jobs that do not say otherwise with this urgency: 0 goes first, 9 last [default: 5]
    #[arg(long, value_name = "0-9", value_parser = priority)]
    pub(crate) priority: Option<Priority>,

    /// Run jobs that do not say otherwise on this account only
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountName>,

    /// Run jobs that do not say otherwise on accounts of this region only
    #[arg(long, value_name = "NAME", conflicts_with = "account")]
    pub(crate) region: Option<RegionName>,

    /// Do not start jobs that do not say otherwise before this time, such as 2026-12-24T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<Timestamp>,

    /// Enqueue the lines that are good, and leave out the others
    #[arg(long)]
    pub(crate) skip_invalid: bool,

    /// Write the lines that were left out to FILE, with the reasons
    #[arg(long, value_name = "FILE", requires = "skip_invalid")]
    pub(crate) errors: Option<PathBuf>,

    /// Spend at most AMOUNT on the batch, also with jobs that it has already; what does not fit waits. `none`: no budget
    #[arg(long, value_name = "AMOUNT", requires = "batch", value_parser = super::budget::budget, allow_negative_numbers = true)]
    pub(crate) budget: Option<BatchBudget>,

    /// Replace jobs of the same custom_id that ask for something else: those that wait, and those that have ended, which run again
    #[arg(long, requires = "batch")]
    pub(crate) replace: bool,

    /// Do not ask what replaced jobs may cost
    #[arg(long, short, requires = "replace")]
    pub(crate) yes: bool,

    /// Enqueue nothing if what is new could cost more than this, such as 10.00
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub(crate) max_cost: Option<Micros>,

    /// Only judge the input, and say what of it is there already, and what the rest would cost on which accounts and how long it would take
    #[arg(long, conflicts_with_all = ["watch", "wait"])]
    pub(crate) dry_run: bool,

    /// Show progress until the jobs are done; the exit code says how they ended
    #[arg(long)]
    pub(crate) watch: bool,

    /// Wait in silence until the jobs are done; the exit code says how they ended
    #[arg(long, conflicts_with = "watch")]
    pub(crate) wait: bool,
}

/// A batch by its name, or with places for the time: `shoes-{date}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BatchArg {
    /// A name.
    Name(BatchName),
    /// A text with braces.
    Template(String),
}

impl FromStr for BatchArg {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.contains(['{', '}']) {
            Ok(Self::Template(text.to_owned()))
        } else {
            BatchName::parse(text).map(Self::Name)
        }
    }
}

impl EnqueueArgs {
    /// The batch, once it has a name.
    pub(crate) fn batch(&self) -> Option<&BatchName> {
        match &self.batch {
            Some(BatchArg::Name(name)) => Some(name),
            _ => None,
        }
    }
}

/// What a request gets where nothing else is said.
#[derive(Debug, Clone, Args)]
pub(crate) struct RequestFlags {
    /// The model [default: wan2.7-image, the cheaper one]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<Model>,

    /// The size: 1K, 2K, 4K, or W*H in pixels [default: 2K]
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Size>,

    /// How many images; each costs [default: 1]
    #[arg(long, short, value_name = "N")]
    pub(crate) n: Option<u8>,

    /// Similar images for equal seeds, 0 to 2147483647
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u32>,
}

fn amount(text: &str) -> Result<Micros, String> {
    Money::from_text(text).map(|money| money.0).map_err(|wrong| wrong.what)
}

fn priority(text: &str) -> Result<Priority, String> {
    let number: u8 = text.parse().map_err(|_| "write a number from 0 to 9".to_owned())?;
    Priority::try_from(number).map_err(|error| error.to_string())
}
