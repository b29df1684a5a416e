//! A set of lines, a bit for each: what the first pass over an input found good, for the second.

/// Numbers of lines, from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    bits: Vec<u64>,
}

impl Marks {
    /// Adds a line. Lines beyond what memory can address are none.
    pub(crate) fn insert(&mut self, line: u64) {
        let (word, bit) = place(line);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
    }

    /// Whether the line is in it.
    pub(crate) fn contains(&self, line: u64) -> bool {
        let (word, bit) = place(line);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(line: u64) -> (usize, u64) {
    (usize::try_from(line / 64).unwrap_or(usize::MAX - 1), 1 << (line % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_in_it_and_nothing_else() {
        let mut marks = Marks::default();
        for line in [1, 63, 64, 1_000_000, 64] {
            marks.insert(line);
        }
        let all: Vec<u64> = (0..1_000_100).filter(|line| marks.contains(*line)).collect();
        assert_eq!(all, [1, 63, 64, 1_000_000]);
        assert!(!marks.contains(u64::MAX));
    }
}
