//! What images cost: exact, in millionths of the currency's unit.

use std::fmt;

use dashscope::Model;
use serde::{Deserialize, Serialize};

/// An amount of money in millionths of a unit: 75_000 is 0.075.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// This many times the amount.
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Micros {
    /// At least two decimals, and no more than are needed: `0.075`, `1.50`, `12.00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, whole) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let fraction = format!("{:06}", whole % 1_000_000);
        let kept = fraction.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{}.{}", whole / 1_000_000, &fraction[..kept])
    }
}

/// A price per image for each model, in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// Such as `USD`.
    pub currency: String,
    /// Per image of `wan2.7-image-pro`.
    pub pro: Micros,
    /// Per image of `wan2.7-image`.
    pub standard: Micros,
}

impl Default for Prices {
    /// The list prices of Singapore.
    ///
    /// Source: Model Studio price list, September 2026: USD 0.075 and USD 0.03 an image, flat over all sizes.
    fn default() -> Self {
        Self { currency: "USD".to_owned(), pro: Micros(75_000), standard: Micros(30_000) }
    }
}

impl Prices {
    /// What one image of `model` costs.
    pub fn per_image(&self, model: Model) -> Micros {
        match model {
            Model::Wan27ImagePro => self.pro,
            Model::Wan27Image => self.standard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_short() {
        let shown = |micros| Micros(micros).to_string();
        assert_eq!(shown(75_000), "0.075");
        assert_eq!(shown(1_500_000), "1.50");
        assert_eq!(shown(12_000_000), "12.00");
        assert_eq!(shown(-30_000), "-0.03");
        assert_eq!(Micros(75_000).times(3).to_string(), "0.225");
        assert_eq!((0..1_000).map(|_| 30_000).sum::<i64>(), 30_000_000);
    }
}
