//! The files of a sheet: one after the other, each put to its place when it is whole.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::page::{Head, Tile, begin, end, tile};
use crate::failure::{Failure, OrFail as _};
use crate::whole_file::OutFile;

/// Pages of at most so many tiles.
#[derive(Debug)]
pub(super) struct Pages {
    first: PathBuf,
    batch: String,
    said: String,
    per_page: usize,
    file: OutFile,
    /// On the page that is written.
    tiles: usize,
    /// All files, the one that is written among them.
    files: Vec<PathBuf>,
}

impl Pages {
    /// Begins the first page.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub(super) fn begin(first: PathBuf, batch: &str, said: &str, per_page: usize) -> Result<Self, Failure> {
        let mut file = create(&first)?;
        let head = Head { batch, said, number: 1, before: None };
        written(&first, file.write_all(begin(&head).as_bytes()))?;
        let files = vec![first.clone()];
        Ok(Self { first, batch: batch.to_owned(), said: said.to_owned(), per_page, file, tiles: 0, files })
    }

    /// Adds a tile, on another page where this one is full.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn add(&mut self, next: &Tile) -> Result<(), Failure> {
        if self.tiles == self.per_page {
            self.turn()?;
        }
        self.tiles += 1;
        written(&self.first, self.file.write_all(tile(next).as_bytes()))
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let number = self.files.len() + 1;
        let path = nth(&self.first, number);
        let before = self.files.last().map(|path| file_name(path)).unwrap_or_default();
        let head = Head { batch: &self.batch, said: &self.said, number, before: Some(&before) };
        let mut file = create(&path)?;
        written(&path, file.write_all(begin(&head).as_bytes()))?;
        let mut full = std::mem::replace(&mut self.file, file);
        written(&self.first, full.write_all(end(Some(&file_name(&path))).as_bytes()))?;
        written(&self.first, full.end())?;
        self.files.push(path);
        self.tiles = 0;
        Ok(())
    }

    /// Ends the last page. Returns the files.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn end(mut self) -> Result<Vec<String>, Failure> {
        written(&self.first, self.file.write_all(end(None).as_bytes()))?;
        written(&self.first, self.file.end())?;
        Ok(self.files.iter().map(|path| path.display().to_string()).collect())
    }
}

fn create(path: &Path) -> Result<OutFile, Failure> {
    OutFile::begin(path).or_fail(format!("failed to create {}", path.display()))
}

fn written(path: &Path, result: std::io::Result<()>) -> Result<(), Failure> {
    result.or_fail(format!("failed to write the pages that begin with {}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The file of another page: `spring~2.html` beside `spring.html`. No batch has such a name, so that it is no other sheet's.
fn nth(first: &Path, number: usize) -> PathBuf {
    let stem = first.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = match first.extension() {
        Some(extension) => format!("{stem}~{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}~{number}"),
    };
    first.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_is_followed_by_another_and_none_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("a.b.html");
        let tile = Tile::Missing { name: "x".into(), word: "failed".into(), reason: "y".into() };
        let mut pages = Pages::begin(first.clone(), "b", "said", 2).unwrap();
        for _ in 0..4 {
            pages.add(&tile).unwrap();
        }
        let files = pages.end().unwrap();
        assert_eq!(files.len(), 2);
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let (one, two) = (text("a.b.html"), text("a.b~2.html"));
        assert_eq!((one.matches("<figure").count(), two.matches("<figure").count()), (2, 2));
        assert!(one.contains("next page") && two.contains("page before") && two.ends_with("</html>\n"));
    }
}
