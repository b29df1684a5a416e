//! When to stop asking a store for image after image: `batch results --download` and `batch sheet`. Pure.

use archive::StoreError;

/// What came of asking for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The store has answered, be it with nothing.
    Answered,
    /// What kept it away would keep the next one away as well.
    InVain,
}

impl Asked {
    /// What an error of the store says of other images.
    pub(super) fn of(error: &StoreError) -> Self {
        if error.lies_in_store() { Self::InVain } else { Self::Answered }
    }
}

/// Images in a row that were asked for in vain.
#[derive(Debug, Default)]
pub(super) struct InVain(u64);

impl InVain {
    /// As many are enough. Source: ours; three rounds of a download. A store that is away takes seconds for each of some ten thousand.
    pub(super) const MAX: u64 = 24;

    /// Counts one.
    pub(super) fn note(&mut self, asked: Asked) {
        self.0 = match asked {
            Asked::Answered => 0,
            Asked::InVain => self.0 + 1,
        };
    }

    /// Whether no more are to be tried.
    pub(super) fn is_enough(&self) -> bool {
        self.0 >= Self::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_in_a_row_count() {
        let mut in_vain = InVain::default();
        for _ in 1..InVain::MAX {
            in_vain.note(Asked::InVain);
        }
        in_vain.note(Asked::Answered);
        for _ in 1..InVain::MAX {
            in_vain.note(Asked::InVain);
        }
        assert!(!in_vain.is_enough());
        in_vain.note(Asked::InVain);
        assert!(in_vain.is_enough());
    }
}
