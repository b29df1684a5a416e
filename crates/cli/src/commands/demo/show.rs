//! What the demo says.

use std::path::Path;

use super::Exported;
use crate::output::table::{Column, table};

pub(super) fn servers(redis: &str, store: &str, simulator: &str) {
    println!("Everything runs on this machine: no key, no cost.");
    println!("  Redis      {redis}  (append-only file, appendfsync always)");
    println!("  store      {store}  (S3 protocol over plain files)");
    println!("  DashScope  {simulator}  (simulator, six times as fast)");
    println!();
}

pub(super) fn images(images: &[Exported], folder: &Path) {
    let rows = images.iter().map(|image| {
        let pixels =
            image.size.map_or_else(|| "damaged".to_owned(), |(width, height)| format!("{width} x {height}"));
        vec![image.name.clone(), pixels, image.bytes.to_string()]
    });
    print!(
        "{}",
        table(&[Column::Left("OBJECT"), Column::Right("PIXELS"), Column::Right("BYTES")], rows.collect())
    );
    println!();
    println!("The images are plain PNG files below {}", folder.display());
}

pub(super) fn ledger(tasks: u64, billed: u64, stored: usize) {
    println!(
        "The simulator's ledger: {tasks} tasks created, {billed} images billed; {stored} images stored."
    );
}

pub(super) fn stay(environment: &[(&'static str, String)]) {
    println!();
    println!("The servers stay until Ctrl-C. In another terminal, this points any command at them:");
    for (name, value) in environment {
        println!("  export {name}={value}");
    }
}

/// The end of the worker's log, where something went wrong.
pub(super) fn log(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("The end of the worker's log:");
    for line in &lines[lines.len().saturating_sub(20)..] {
        eprintln!("  {line}");
    }
}
