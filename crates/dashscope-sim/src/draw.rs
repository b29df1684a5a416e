//! Chance that is a function of the seed.
//!
//! Every draw is a digest of the seed, a purpose, and the identity of the thing drawn for: the k-th task of one request
//! body, the k-th query of one task. So the outcome does not depend on the order in which concurrent calls arrive, and
//! the same seed with the same calls gives the same bytes. There is no generator whose state could be shared.

use sha2::{Digest, Sha256};

/// One draw: 32 bytes that look random and never change.
#[derive(Clone, Copy)]
pub(crate) struct Draw([u8; 32]);

impl Draw {
    /// The draw for `purpose` and `identity` under `seed`.
    pub(crate) fn new(seed: u64, purpose: &str, identity: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(purpose.as_bytes());
        for part in identity {
            // The length keeps ["ab", "c"] apart from ["a", "bc"].
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// A number in `[0, 1)`; `index` 0 to 3 picks one of four independent ones.
    pub(crate) fn unit(&self, index: usize) -> f64 {
        (self.word(index) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A standard normal deviate, from the last two words (Box-Muller).
    pub(crate) fn normal(&self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit(2)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit(3)).cos()
    }

    /// An integer in `[low, high]`.
    pub(crate) fn between(&self, low: u32, high: u32) -> u32 {
        let span = f64::from(high - low) + 1.0;
        low + (self.unit(0) * span) as u32
    }

    /// The form in which the service shows task and request ids.
    pub(crate) fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid(bytes)
    }

    fn word(&self, index: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.0[index * 8..index * 8 + 8]);
        u64::from_be_bytes(word)
    }
}

/// A task or request id: 128 bits, shown as `8-4-4-4-12` lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Uuid([u8; 16]);

impl Uuid {
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the shown form; anything else is an id that the service never issued.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
            return None;
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(groups.concat(), &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl std::fmt::Display for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = hex::encode(self.0);
        let (a, b, c, d, e) = (&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_boundaries_between_parts_of_an_identity_count() {
        let one = Draw::new(7, "task", &[b"ab", b"c"]);
        let other = Draw::new(7, "task", &[b"a", b"bc"]);
        assert_ne!(one.bytes(), other.bytes());
    }

    #[test]
    fn another_seed_gives_another_draw() {
        assert_ne!(Draw::new(7, "task", &[]).bytes(), Draw::new(8, "task", &[]).bytes());
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text_form(seed: u64) {
            let id = Draw::new(seed, "task", &[]).uuid();
            prop_assert_eq!(Uuid::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn integers_stay_within_their_bounds(seed: u64, low in 1u32..10, more in 0u32..10) {
            let drawn = Draw::new(seed, "count", &[]).between(low, low + more);
            prop_assert!((low..=low + more).contains(&drawn));
        }
    }

    #[test]
    fn a_text_that_is_no_id_is_not_read_as_one() {
        for text in ["", "nonsense", "0385dc79-5ff8-4d82-bcb6", "0385dc795ff84d82bcb6000000000000"] {
            assert_eq!(Uuid::parse(text), None, "{text}");
        }
    }
}
