//! `imagemill generate`.

use std::path::PathBuf;

use clap::Args;
use job::AccountName;

use super::RequestFlags;

/// Make images from one prompt right here, without the queue.
///
/// The task is created, followed and fetched by this command, and its images are saved as checked PNG files. It needs a key
/// and nothing else. Where Redis is set, it keeps the account's limits together with the workers, `max_images_per_day` and
/// the budgets of the day among them; without Redis nothing is known of what others send, and no limit is kept. If it is ended early, the task is made and
/// billed all the same: its id is printed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imagemill generate \"A lighthouse at dusk\" -o lighthouse.png
  imagemill generate \"Make the shoe red\" --image shoe.png --size 2K
  imagemill generate \"Four seasons of one tree\" --set-of-images -n 4 -o tree.png   # tree-0.png, tree-1.png, …")]
pub(crate) struct GenerateArgs {
    /// What the image is to show
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: String,

    /// Where to save it; several images get -0, -1, … before the ending [default: image-TASK.png]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,

    /// An input image: link, path, s3://bucket/key or data URI; may be repeated
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Vec<String>,

    /// Make a set of images that belong together; -n is the most
    #[arg(long)]
    pub(crate) set_of_images: bool,

    /// What the request gets.
    #[command(flatten)]
    pub(crate) request: RequestFlags,

    /// The account [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountName>,
}
