//! `imagemill batch sheet`.

use std::path::PathBuf;

use clap::Args;
use job::BatchName;

/// Show a batch's images as thumbnails on an HTML page
#[derive(Debug, Args)]
#[command(after_help = "\
The page needs nothing else: thumbnails stand in it, so that it can be sent or put anywhere. What failed has a tile with the reason.
A page that is full goes on in another file, such as spring~2.html.

Example:
  imagemill batch sheet spring --out spring.html")]
pub(crate) struct BatchSheet {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,

    /// Write the page to FILE [default: the batch's name and `.html`]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// The longest side of a thumbnail, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(32..=1024))]
    pub(crate) thumb: u16,

    /// At most so many tiles on a page
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) per_page: u16,
}
