//! SHA-256 sums as a type.
//!
//! The one sum this crate counts on: the verifier makes it while an image streams in, the store is given it with the
//! upload, and records keep it. Pure.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 sum of some bytes. Prints, and is stored, as 64 lower-case hex digits.
///
/// ```
/// use archive::Sha256Digest;
///
/// let sum = Sha256Digest::of(b"abc");
/// assert_eq!(sum.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// assert_eq!(sum.to_string().parse::<Sha256Digest>()?, sum);
/// # Ok::<(), archive::NotASha256>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The sum of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes a sum that was made elsewhere.
    #[must_use]
    pub const fn from_bytes(sum: [u8; 32]) -> Self {
        Self(sum)
    }

    /// The 32 bytes of the sum.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The form that S3 headers carry (`x-amz-checksum-sha256`): base64 with padding.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads the form that S3 headers carry. A composite sum of a multipart object (`…-3`) is not the sum of the
    /// object's bytes and is refused like any other text.
    ///
    /// # Errors
    ///
    /// [`NotASha256`] for any text that is not the base64 of 32 bytes.
    pub fn parse_base64(text: &str) -> Result<Self, NotASha256> {
        let bytes = STANDARD.decode(text).map_err(|_| NotASha256)?;
        bytes.try_into().map(Self).map_err(|_| NotASha256)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

impl std::str::FromStr for Sha256Digest {
    type Err = NotASha256;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut sum = [0; 32];
        hex::decode_to_slice(text, &mut sum).map_err(|_| NotASha256)?;
        Ok(Self(sum))
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = NotASha256;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Sha256Digest> for String {
    fn from(sum: Sha256Digest) -> Self {
        sum.to_string()
    }
}

/// The text is not a SHA-256 sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 sum")]
pub struct NotASha256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_survives_each_of_its_written_forms() {
        let sum = Sha256Digest::of(b"an image");
        assert_eq!(sum.to_string().parse(), Ok(sum));
        assert_eq!(sum.to_string().to_uppercase().parse(), Ok(sum));
        assert_eq!(Sha256Digest::parse_base64(&sum.to_base64()), Ok(sum));
        let json = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<Sha256Digest>(&json).unwrap(), sum);
    }

    #[test]
    fn a_composite_sum_and_other_texts_are_not_taken_for_the_sum_of_the_bytes() {
        let composite = format!("{}-2", Sha256Digest::of(b"x").to_base64());
        for text in [composite.as_str(), "", "AAAA", "not base64!"] {
            assert_eq!(Sha256Digest::parse_base64(text), Err(NotASha256), "{text}");
        }
        assert_eq!("ba78".parse::<Sha256Digest>(), Err(NotASha256));
    }
}
