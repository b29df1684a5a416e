//! What the demo says.

use std::path::Path;

use super::Exported;
use crate::commands::stand_ins::end_of;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::table::{Column, table};

pub(super) fn servers(out: Output, redis: &str, store: &str, simulator: &str) -> Result<(), Failure> {
    out.print(&format!(
        "\
Everything runs on this machine: no key, no cost.
  Redis      {redis}  (append-only file, appendfsync always)
  store      {store}  (S3 protocol over plain files)
  DashScope  {simulator}  (simulator, six times as fast)

"
    ))
}

pub(super) fn images(out: Output, images: &[Exported], folder: &Path) -> Result<(), Failure> {
    let rows = images.iter().map(|image| {
        let pixels =
            image.size.map_or_else(|| "damaged".to_owned(), |(width, height)| format!("{width} x {height}"));
        vec![image.name.clone(), pixels, image.bytes.to_string()]
    });
    let columns = [Column::Left("OBJECT"), Column::Right("PIXELS"), Column::Right("BYTES")];
    let table = table(&columns, rows.collect());
    out.print(&format!("{table}\nThe images are plain PNG files below {}", folder.display()))
}

pub(super) fn ledger(out: Output, tasks: u64, billed: u64, stored: usize) -> Result<(), Failure> {
    out.print(&format!(
        "The simulator's ledger: {tasks} tasks created, {billed} images billed; {stored} images stored."
    ))
}

pub(super) fn stay(out: Output, environment: &[(&'static str, String)]) -> Result<(), Failure> {
    out.print("\nThe servers stay until Ctrl-C. In another terminal, this points any command at them:")?;
    environment.iter().try_for_each(|(name, value)| out.print(&format!("  export {name}={value}")))
}

/// The end of the worker's log, where something went wrong.
pub(super) fn log(out: Output, file: &Path) {
    out.note("The end of the worker's log:");
    for line in end_of(file, 20) {
        out.note(&format!("  {line}"));
    }
}
