//! Decides whether an object in the store is the one that was meant. Pure.

use std::collections::BTreeMap;

use crate::digest::Sha256Digest;

/// The user metadata entry that holds the SHA-256 of every object we write, as 64 hex digits: the one checksum that every
/// store keeps.
pub const SHA256_METADATA: &str = "sha256";

/// What a store says about an object without giving it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256: the store's own if it keeps one over the whole object, else what its writer put into the metadata.
    pub sha256: Option<Sha256Digest>,
    /// The store's own SHA-256 over the whole object, which it checked when the object was written.
    pub checked_sha256: Option<Sha256Digest>,
    /// The entity tag, quotes included, as conditions take it.
    pub etag: Option<String>,
    /// The media type.
    pub content_type: Option<String>,
    /// The user metadata, with names in lower case.
    pub metadata: BTreeMap<String, String>,
}

impl ObjectFacts {
    /// What the writer says the sum is.
    fn claimed_sha256(&self) -> Option<Sha256Digest> {
        self.metadata.get(SHA256_METADATA)?.parse().ok()
    }

    /// Whether this is the object of `sha256` and `bytes`, whole.
    #[must_use]
    pub fn is(&self, sha256: Sha256Digest, bytes: u64) -> bool {
        self.resemblance(sha256, bytes) == Resemblance::Same
    }

    /// How this object relates to the one of `sha256` and `bytes`.
    pub(crate) fn resemblance(&self, sha256: Sha256Digest, bytes: u64) -> Resemblance {
        let same_bytes = self.bytes == bytes && self.checked_sha256.is_none_or(|checked| checked == sha256);
        match (self.claimed_sha256() == Some(sha256), same_bytes) {
            (true, true) => Resemblance::Same,
            (true, false) => Resemblance::Damaged,
            (false, true) if self.checked_sha256.is_some() => Resemblance::Same,
            (false, _) => Resemblance::Other,
        }
    }
}

/// How an object in the store relates to the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resemblance {
    /// It is that object.
    Same,
    /// It was written as that object, but the bytes are not those: a store or a proxy lost some.
    Damaged,
    /// It is another object, or one that nothing is known about.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_the_same_damaged_or_another() {
        let ours = Sha256Digest::of(b"ours");
        let theirs = Sha256Digest::of(b"theirs");
        // Size, the store's sum, the metadata's sum.
        let cases = [
            (4, Some(ours), Some(ours), Resemblance::Same),
            (4, Some(ours), None, Resemblance::Same),
            (4, None, Some(ours), Resemblance::Same),
            (4, Some(ours), Some(theirs), Resemblance::Same),
            (3, None, Some(ours), Resemblance::Damaged),
            (4, Some(theirs), Some(ours), Resemblance::Damaged),
            (3, Some(ours), Some(ours), Resemblance::Damaged),
            (4, None, None, Resemblance::Other),
            (4, Some(theirs), None, Resemblance::Other),
            (4, None, Some(theirs), Resemblance::Other),
            (6, Some(theirs), Some(theirs), Resemblance::Other),
            (3, Some(ours), None, Resemblance::Other),
        ];
        for (bytes, checked, claimed, expected) in cases {
            let facts = ObjectFacts {
                bytes,
                sha256: checked.or(claimed),
                checked_sha256: checked,
                etag: None,
                content_type: None,
                metadata: claimed
                    .map(|sum| (SHA256_METADATA.to_owned(), sum.to_string()))
                    .into_iter()
                    .collect(),
            };
            assert_eq!(facts.resemblance(ours, 4), expected, "{bytes} {checked:?} {claimed:?}");
        }
    }
}
