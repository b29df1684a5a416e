//! Which jobs an input has named so far: a few bytes for each, since there may be millions.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use job::JobId;

/// The line of each job, by its id: 20 bytes a job, and the table's room.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<[u8; 16], u32, BuildHasherDefault<Digits>>);

impl Names {
    /// The line that had this job before; else `line` is the first.
    pub(crate) fn first_line(&mut self, id: JobId, line: u64) -> Option<u32> {
        // An input of more lines than that would fill a disk; of one that far down the first line is named too low.
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let mut known = Some(line);
        self.0.entry(id.to_bytes()).or_insert_with(|| {
            known = None;
            line
        });
        known.and_then(|_| self.0.get(&id.to_bytes()).copied())
    }
}

/// How often the same job was asked for without a `custom_id`: equal lines are told apart by their order.
#[derive(Debug, Default)]
pub(crate) struct Unnamed(HashMap<u64, u32, BuildHasherDefault<Digits>>);

impl Unnamed {
    /// The next name for what has this digest (16 hex digits).
    pub(crate) fn name(&mut self, digest: &str) -> String {
        let key = u64::from_str_radix(digest, 16).unwrap_or(0);
        let count = self.0.entry(key).or_insert(0);
        *count += 1;
        if *count == 1 { format!("auto-{digest}") } else { format!("auto-{digest}-{count}") }
    }
}

/// What is stored here are digests already: their last bytes will do as a hash.
#[derive(Debug, Default)]
struct Digits(u64);

impl Hasher for Digits {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write_usize(&mut self, _: usize) {} // the length of an array, which is always the same

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_name_is_remembered_and_the_others_are_not() {
        let mut names = Names::default();
        let ids: Vec<JobId> = (0..1_000).map(|n| JobId::fresh(1, n)).collect();
        for (id, line) in ids.iter().zip(1..) {
            assert_eq!(names.first_line(*id, line), None);
        }
        assert_eq!(names.first_line(ids[7], 2_000), Some(8));
        assert_eq!(names.first_line(ids[7], 3_000), Some(8));
    }

    #[test]
    fn equal_digests_are_counted() {
        let mut unnamed = Unnamed::default();
        let named =
            ["00000000000000ff", "0123456789abcdef", "00000000000000ff"].map(|digest| unnamed.name(digest));
        assert_eq!(named, ["auto-00000000000000ff", "auto-0123456789abcdef", "auto-00000000000000ff-2"]);
    }

    #[test]
    fn a_table_of_jobs_is_small() {
        assert_eq!(size_of::<([u8; 16], u32)>(), 20);
    }
}
