//! The list of items that a schedule names: a file, an object, or a link, as something that can be read several times.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use archive::fetch_file;

use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::rows::Format;
use crate::input::source::Source;
use crate::refresh::Objects;
use crate::settings::SourcePlace;

/// The most bytes that a list may have. Source: ours; a million lines of a prompt each.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The most bytes of a list that comes through memory. Source: ours; half a million lines of a prompt each.
const OBJECT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How long a list may take to come. Source: ours; a GiB at 2 MB/s.
const WITHIN: Duration = Duration::from_secs(600);

/// Opens the list at `place`; a path is relative to `folder`, and so are the paths of images in a list that comes from elsewhere.
///
/// # Errors
///
/// It cannot be had now (69): another try may.
pub(super) async fn open(
    place: &SourcePlace,
    folder: &Path,
    objects: &Objects,
    format: Option<Format>,
) -> Result<Source, Failure> {
    let shown = place.to_string();
    let later = |failure: Failure| failure.exit(exit_code::UNAVAILABLE);
    let panicked = "a part of this command panicked";
    let named = |name: &str| format.unwrap_or_else(|| Format::of(Path::new(name)));
    let source = match place {
        SourcePlace::File(path) => {
            let path = folder.join(path);
            let opened = tokio::task::spawn_blocking(move || Source::open(&path)).await.or_fail(panicked)?;
            let opened = opened.or_fail("failed to read the items").map_err(later)?;
            return Ok(match format {
                Some(format) => opened.written_as(format),
                None => opened,
            });
        }
        SourcePlace::Object { bucket, key } => {
            let bytes = objects.whole(bucket, key, OBJECT_BYTES_MAX).await?;
            let format = named(key.as_str());
            let folder = folder.to_owned();
            let kept = move || Source::kept(Cursor::new(bytes), shown, folder, format);
            tokio::task::spawn_blocking(kept).await.or_fail(panicked)?
        }
        SourcePlace::Link(link) => {
            let mut file = tempfile::tempfile().or_fail("failed to make a file for the items")?;
            let fetched = fetch_file(link, BYTES_MAX, WITHIN, &mut file).await;
            fetched.or_fail(format!("failed to fetch {shown}")).map_err(later)?;
            Ok(Source::of_file(file, shown, folder.to_owned(), named(link.path())))
        }
    };
    source.or_fail("failed to put the items aside").map_err(later)
}
