//! Colours and the share of the image each should have.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One colour of `color_palette`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaletteColor {
    /// The colour, written `#RRGGBB`.
    pub hex: HexColor,
    /// Its share, written `NN.NN%`.
    pub ratio: Ratio,
}

/// A colour as red, green and blue; written `#RRGGBB` with capital digits, read in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexColor([u8; 3]);

impl HexColor {
    /// The colour of these three parts.
    #[must_use]
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self([red, green, blue])
    }

    /// Red, green and blue.
    #[must_use]
    pub const fn parts(self) -> [u8; 3] {
        self.0
    }
}

impl fmt::Display for HexColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02X}{green:02X}{blue:02X}")
    }
}

impl FromStr for HexColor {
    type Err = InvalidHexColor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or(InvalidHexColor)?;
        let [_, red, green, blue] = value.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

/// A text that is not a colour of the form `#RRGGBB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour is written `#RRGGBB`, as in `#C2D1E6`")]
pub struct InvalidHexColor;

/// A share of the image in hundredths of a percent; written with exactly two decimals and `%`, as in `23.51%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ratio(u16);

impl Ratio {
    /// The share of so many hundredths of a percent; `None` above 100.00 %.
    #[must_use]
    pub fn from_hundredths(hundredths: u16) -> Option<Self> {
        (u32::from(hundredths) <= crate::limits::PALETTE_TOTAL_HUNDREDTHS).then_some(Self(hundredths))
    }

    /// The share in hundredths of a percent.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

impl FromStr for Ratio {
    type Err = InvalidRatio;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, part) =
            text.strip_suffix('%').and_then(|number| number.split_once('.')).ok_or(InvalidRatio)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !(1..=3).contains(&whole.len()) || part.len() != 2 || !digits(whole) || !digits(part) {
            return Err(InvalidRatio);
        }
        let hundredths = format!("{whole}{part}").parse().map_err(|_| InvalidRatio)?;
        Self::from_hundredths(hundredths).ok_or(InvalidRatio)
    }
}

/// A text that is not a share of the form `NN.NN%`, or one above 100.00 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share is written with two decimals and `%`, as in `23.51%`, and is at most `100.00%`")]
pub struct InvalidRatio;

macro_rules! text_value {
    ($($name:ident: $error:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}

text_value!(HexColor: InvalidHexColor, Ratio: InvalidRatio);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_colour_is_a_hash_and_six_hexadecimal_digits() {
        for (text, written) in [("#C2D1E6", "#C2D1E6"), ("#c2d1e6", "#C2D1E6"), ("#000000", "#000000")] {
            assert_eq!(text.parse::<HexColor>().unwrap().to_string(), written);
        }
        for text in ["", "#", "C2D1E6", "#C2D1E", "#C2D1E67", "#C2D1EG", "#+2D1E6", "# C2D1E", "red", "#ÄÖÜ"]
        {
            assert_eq!(text.parse::<HexColor>(), Err(InvalidHexColor), "{text:?}");
        }
    }

    #[test]
    fn a_ratio_has_exactly_two_decimals_and_a_percent_sign() {
        for (text, hundredths) in
            [("23.51%", 2351), ("8.93%", 893), ("100.00%", 10_000), ("0.01%", 1), ("08.93%", 893)]
        {
            assert_eq!(text.parse::<Ratio>().unwrap().hundredths(), hundredths, "{text:?}");
        }
        for text in [
            "", "%", "25%", "25.0%", "25.000%", "25.00", ".50%", "100.01%", "1000.00%", "-1.00%", "+1.00%",
            "25,00%", " 25.00%",
        ] {
            assert_eq!(text.parse::<Ratio>(), Err(InvalidRatio), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_colour_and_every_ratio_is_read_back(parts: [u8; 3], hundredths in 0u16..=10_000) {
            let [red, green, blue] = parts;
            let hex = HexColor::new(red, green, blue);
            prop_assert_eq!(hex.to_string().parse(), Ok(hex));
            let ratio = Ratio::from_hundredths(hundredths).unwrap();
            prop_assert_eq!(ratio.to_string().parse(), Ok(ratio));
        }
    }
}
