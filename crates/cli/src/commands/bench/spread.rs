//! Percentiles. Pure.

/// Values in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spread(Vec<f64>);

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl Spread {
    /// The value that `percent` of all are not above (nearest rank); `None` without any.
    pub(super) fn at(&self, percent: f64) -> Option<f64> {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil().max(1.0) as usize;
        self.0.get(rank.min(self.0.len()).checked_sub(1)?).copied()
    }

    /// The middle one; of an even number the mean of the two in the middle.
    pub(super) fn median(&self) -> Option<f64> {
        let middle = self.0.len() / 2;
        let upper = *self.0.get(middle)?;
        let even = self.0.len().is_multiple_of(2);
        Some(if even { f64::midpoint(self.0[middle - 1], upper) } else { upper })
    }

    /// The largest.
    pub(super) fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let spread: Spread = (1..=100).map(f64::from).collect();
        assert_eq!((spread.at(50.0), spread.at(95.0), spread.at(99.0)), (Some(50.0), Some(95.0), Some(99.0)));
        assert_eq!((spread.max(), spread.len()), (Some(100.0), 100));
        assert_eq!(Spread::default().at(50.0), None);
        assert_eq!(Spread::default().median(), None);
    }

    #[test]
    fn the_median_of_three_is_the_one_in_the_middle() {
        assert_eq!(Spread::from_iter([3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Spread::from_iter([3.0, 1.0]).median(), Some(2.0));
    }

    proptest! {
        #[test]
        fn so_many_are_not_above_it(values in prop::collection::vec(-1e6f64..1e6, 1..100), percent in 0.0f64..=100.0) {
            let spread: Spread = values.iter().copied().collect();
            let at = spread.at(percent).unwrap();
            let below = values.iter().filter(|value| **value <= at).count();
            prop_assert!(below as f64 >= percent / 100.0 * values.len() as f64 - 1e-6);
        }
    }
}
