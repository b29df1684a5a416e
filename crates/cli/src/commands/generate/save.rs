//! From a task's report to files: every image that can be had is saved, whatever becomes of the others.

use std::time::Duration;

use archive::{ByteBudget, Downloader};
use dashscope::TaskId;
use dashscope::response::TaskReport;
use serde::Serialize;

use super::files::Target;
use crate::app::App;
use crate::failure::Failure;

/// How often an image is fetched before it is given up.
const FETCH_TRIES: u32 = 5;

/// An image on disk.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SavedImage {
    /// Its file.
    pub(super) path: String,
    bytes: u64,
    width: u32,
    height: u32,
    sha256: String,
}

#[cfg(test)]
impl SavedImage {
    /// One at `path`.
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.to_owned(), bytes: 1, width: 1, height: 1, sha256: String::new() }
    }
}

/// Fetches and saves every image of a task. What cannot be had is said on stderr; `saved` is told of each that is on disk.
pub(super) async fn save_all(
    app: &App,
    downloader: &Downloader,
    report: &TaskReport,
    task: &TaskId,
    target: &Target,
    mut saved: impl FnMut(SavedImage),
) {
    let budget = ByteBudget::new(archive::BODY_BYTES_MAX);
    let several = report.output.images.len() > 1;
    let warn = |failure: Failure| {
        let said: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
        app.out.note(&format!("warning: {}", said.join(": ")));
    };
    for (index, image) in report.output.images.iter().enumerate() {
        let mut tries = 0;
        let fetched = loop {
            tries += 1;
            match downloader.fetch(&image.url, &budget).await {
                Err(error) if error.is_retryable() && tries < FETCH_TRIES => {
                    tokio::time::sleep(Duration::from_secs(1) * tries).await;
                }
                result => break result,
            }
        };
        let image = match fetched {
            Ok(image) => image,
            Err(error) => {
                warn(Failure::new(error).context(format!("image {index} could not be fetched")));
                continue;
            }
        };
        let path = target.path(task, index, several);
        match target.save(&path, &image.body) {
            Ok(()) => saved(SavedImage {
                path: path.display().to_string(),
                bytes: image.facts.bytes,
                width: image.facts.width,
                height: image.facts.height,
                sha256: image.facts.sha256.to_string(),
            }),
            Err(failure) => warn(failure),
        }
    }
    for item in &report.output.unusable {
        app.out.note(&format!("warning: an image is missing: {}", item.reason));
    }
}
