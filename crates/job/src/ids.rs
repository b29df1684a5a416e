//! Names and numbers that identify things: each a newtype with a checked constructor.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {what}: {rule}")]
pub struct InvalidName {
    /// What the name was meant to be, such as "batch name".
    pub what: &'static str,
    /// The refused text, cut to 80 characters.
    pub value: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: value.chars().take(80).collect(), rule }
    }
}

/// A job's identity: 128 bits, written as 26 characters of Crockford's base 32.
///
/// A job with a `custom_id` gets a digest of namespace, batch and `custom_id`, so that the same line enqueued twice is the
/// same job. Any other job gets a ULID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Ulid);

impl JobId {
    /// The id of the job that `custom_id` names in `batch`.
    pub fn of_custom_id(namespace: &str, batch: Option<&BatchName>, custom_id: &CustomId) -> Self {
        let mut hash = Sha256::new();
        for part in [namespace, batch.map_or("", BatchName::as_str), custom_id.as_str()] {
            // Length-prefixed, so that no two different triples feed the hash the same bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(Ulid::from_bytes(bytes))
    }

    /// A new id for a job without a `custom_id`: `unix_ms` orders it, `random` (80 bits are used) tells it from its neighbours.
    pub fn fresh(unix_ms: u64, random: u128) -> Self {
        Self(Ulid::from_parts(unix_ms, random))
    }

    /// The 128 bits, for tables of many jobs.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Ulid::from_string(text)
            .map(Self)
            .map_err(|_| InvalidName::new("job id", text, "26 characters of 0-9 and A-Z without I, L, O, U"))
    }
}

impl Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("A checked ", $what, ": ", $rule, ".")]
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName::new($what, text, $rule)) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Letters, digits, `.`, `_` and `-`, beginning with a letter or digit: safe in a Redis key, an object key and a file name.
fn is_plain(text: &str, chars_max: usize) -> bool {
    text.len() <= chars_max
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !text.contains("..")
}

name!(
    /// The name of a batch: jobs that were enqueued together.
    BatchName,
    "batch name",
    |text| is_plain(text, 64),
    "1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, without `..`"
);

name!(
    /// A user's own name for a job, unique within its batch.
    CustomId,
    "custom_id",
    |text| !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control),
    "1 to 256 bytes without control characters"
);

name!(
    /// The name of an account in the settings: one main account in one region.
    AccountName,
    "account name",
    |text| is_plain(text, 32) && text != "any",
    "1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, and not `any`"
);

name!(
    /// The name of a webhook in the settings: somebody who is told when a batch has ended.
    WebhookName,
    "webhook name",
    |text| is_plain(text, 32),
    "1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, without `..`"
);

name!(
    /// The name of a region that accounts stand in.
    RegionName,
    "region",
    |text| is_plain(text, 32) && text != "any",
    "1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, and not `any`"
);

name!(
    /// The name of a schedule in the settings.
    ScheduleName,
    "schedule name",
    |text| is_plain(text, 32),
    "1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, without `..`"
);

/// Where alone a job may run, where its user said so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PinnedTo {
    /// On this account.
    Account(AccountName),
    /// On any account of this region.
    Region(RegionName),
}

impl PinnedTo {
    /// Whether an account may run what is pinned here.
    pub fn allows(&self, account: &AccountName, region: Option<&RegionName>) -> bool {
        match self {
            Self::Account(only) => only == account,
            Self::Region(only) => Some(only) == region,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(text: &str) -> CustomId {
        CustomId::parse(text).unwrap()
    }

    #[test]
    fn the_same_custom_id_in_the_same_batch_is_the_same_job() {
        let batch = BatchName::parse("spring").unwrap();
        let id = JobId::of_custom_id("imagemill", Some(&batch), &custom("sku-1"));
        assert_eq!(id, JobId::of_custom_id("imagemill", Some(&batch), &custom("sku-1")));
        assert_ne!(id, JobId::of_custom_id("imagemill", None, &custom("sku-1")));
        assert_ne!(id, JobId::of_custom_id("other", Some(&batch), &custom("sku-1")));
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        assert_eq!(id.to_string().len(), 26);
    }

    #[test]
    fn moving_a_character_between_batch_and_custom_id_changes_the_job() {
        let (ab, a) = (BatchName::parse("ab").unwrap(), BatchName::parse("a").unwrap());
        assert_ne!(
            JobId::of_custom_id("n", Some(&ab), &custom("c")),
            JobId::of_custom_id("n", Some(&a), &custom("bc"))
        );
    }

    #[test]
    fn names_refuse_what_could_leave_a_folder_or_a_key() {
        for bad in ["", ".", "..", "a..b", "-a", "a/b", "a:b", "a b", "é", &"x".repeat(65)] {
            assert!(BatchName::parse(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["a", "2026-11-23", "spring_catalogue.v2", &"x".repeat(64)] {
            assert!(BatchName::parse(good).is_ok(), "{good:?} was refused");
        }
        assert!(AccountName::parse("any").is_err());
        assert!(CustomId::parse("line\nbreak").is_err());
        assert!(CustomId::parse("鞋 1042/红").is_ok());
    }
}
