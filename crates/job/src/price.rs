//! What images cost: exact, in millionths of the currency's unit.

use std::fmt;
use std::str::FromStr;

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

/// A text that is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// It has other things in it than digits and one point.
    #[error("it is written such as `0.075`")]
    NoNumber,
    /// It is below zero.
    #[error("it must be 0 or more")]
    Negative,
    /// It says more than can be counted exactly.
    #[error("it has more than 6 decimals, and money is counted to a millionth")]
    TooFine,
    /// Nobody pays that for images.
    #[error("it is more than 999999999")]
    TooMuch,
}

impl FromStr for Micros {
    type Err = InvalidAmount;

    /// Exact decimals such as `12` or `0.075`: no exponent, no sign, no comma.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let (negative, amount) = match text.strip_prefix('-') {
            Some(amount) => (true, amount),
            None => (false, text),
        };
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || amount.ends_with('.') {
            return Err(InvalidAmount::NoNumber);
        }
        if negative {
            return Err(InvalidAmount::Negative);
        }
        if fraction.len() > 6 {
            return Err(InvalidAmount::TooFine);
        }
        let whole = whole.trim_start_matches('0');
        if whole.len() > 9 {
            return Err(InvalidAmount::TooMuch);
        }
        let number = |text: &str| text.parse::<i64>().unwrap_or(0);
        Ok(Self(number(whole) * 1_000_000 + number(&format!("{fraction:0<6}"))))
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
    fn an_amount_is_read_exactly_or_not_at_all() {
        let read = |text: &str| text.parse::<Micros>().map(|amount| amount.0);
        assert_eq!(read("0.075"), Ok(75_000));
        assert_eq!(read("12"), Ok(12_000_000));
        assert_eq!(read("0.000001"), Ok(1));
        assert_eq!(read("999999999.999999"), Ok(999_999_999_999_999));
        for text in ["", ".5", "5.", "1e3", "0,5", "1.2.3", "+1", " 1", "ten"] {
            assert_eq!(read(text), Err(InvalidAmount::NoNumber), "{text}");
        }
        assert_eq!(read("-1"), Err(InvalidAmount::Negative));
        assert_eq!(read("0.0000001"), Err(InvalidAmount::TooFine));
        assert_eq!(read("9999999999"), Err(InvalidAmount::TooMuch));
    }

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
