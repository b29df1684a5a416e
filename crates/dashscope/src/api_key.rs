//! The key of an account: a secret type.

use std::fmt;

/// Keys of the personal plans begin so. They belong to other hosts, and the plans' terms exclude automated use.
const PLAN_KEY_PREFIX: &str = "sk-sp-";

/// The longest key that is accepted, in bytes. Source: our own guard; keys have some 35 bytes.
const KEY_BYTES_MAX: usize = 512;

/// A Model Studio API key. `Debug` and `Display` show nothing of it, and it cannot be serialized.
///
/// A key belongs to one region; used at another region's host it is refused with `InvalidApiKey`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Accepts a key as the console shows it, with white space around it removed.
    ///
    /// # Errors
    ///
    /// The text cannot be a key, or is one that does not work here.
    pub fn new(key: &str) -> Result<Self, ApiKeyError> {
        let key = key.trim();
        if key.is_empty() {
            Err(ApiKeyError::Empty)
        } else if key.len() > KEY_BYTES_MAX {
            Err(ApiKeyError::TooLong)
        } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(ApiKeyError::ForbiddenCharacter)
        } else if key.starts_with(PLAN_KEY_PREFIX) {
            Err(ApiKeyError::PlanKey)
        } else {
            Ok(Self(key.to_owned()))
        }
    }

    /// The key itself, for the header it is sent in, or to make a digest of it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a text is not a usable key. No variant repeats any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// There is no text.
    #[error("the API key is empty")]
    Empty,
    /// It is far longer than any key.
    #[error("the API key has more than {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// It holds something that no key has.
    #[error("the API key holds a space or a character that is not ASCII")]
    ForbiddenCharacter,
    /// It belongs to a personal plan.
    #[error(
        "the API key begins with `sk-sp-`: it belongs to a plan whose hosts and terms are not for automated use; create a pay-as-you-go key"
    )]
    PlanKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed() {
        let key = ApiKey::new(" sk-SECRET\n").unwrap();
        assert_eq!(key.expose(), "sk-SECRET");
        assert!(!format!("{key} {key:?} {key:#?}").contains("SECRET"));
    }

    #[test]
    fn what_cannot_be_a_key_or_is_a_plans_key_is_refused() {
        let cases = [
            ("", ApiKeyError::Empty),
            (" \n", ApiKeyError::Empty),
            ("sk-a b", ApiKeyError::ForbiddenCharacter),
            ("sk-é", ApiKeyError::ForbiddenCharacter),
            ("sk-sp-abc", ApiKeyError::PlanKey),
            (&"x".repeat(KEY_BYTES_MAX + 1), ApiKeyError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(ApiKey::new(text), Err(error));
        }
    }
}
