//! Signatures of the Standard Webhooks scheme: HMAC-SHA256 over `id.timestamp.body`, so that a receiver can check with any of its
//! libraries who sends, that nothing was changed, and that it is not an old event sent again. Pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The shortest secret, in bytes. Source: the Standard Webhooks specification (24 to 64 bytes).
const SECRET_BYTES_MIN: usize = 24;

/// The longest secret, in bytes. Source: as above.
const SECRET_BYTES_MAX: usize = 64;

/// What events are signed with. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// Why a secret cannot be used. Says nothing of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// It is not base64.
    #[error("it is not base64, with or without `whsec_` before it")]
    NotBase64,
    /// It is too short or too long.
    #[error("it has {0} bytes, and must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Length(usize),
}

impl WebhookSecret {
    /// A secret as receivers know it: base64, with or without `whsec_` before it.
    ///
    /// # Errors
    ///
    /// [`SecretFault`].
    pub fn parse(text: &str) -> Result<Self, SecretFault> {
        let encoded = text.trim();
        let encoded = encoded.strip_prefix("whsec_").unwrap_or(encoded);
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretFault::NotBase64)?;
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(SecretFault::Length(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The header `webhook-signature` of an event that is sent at `timestamp`, in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        for part in [id, ".", &timestamp.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_the_schemes_own_libraries_make() {
        // Source: the test vector of the reference libraries.
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(WebhookSecret::parse(" MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), Ok(secret.clone()));
        assert_ne!(secret.sign("msg_2", 1_614_265_330, r#"{"test": 2432232314}"#), signed);
        assert!(!format!("{secret:?}").contains("MfKQ"));
    }

    #[test]
    fn a_secret_that_is_none_is_refused_without_being_told() {
        assert_eq!(WebhookSecret::parse("whsec_!!"), Err(SecretFault::NotBase64));
        assert_eq!(WebhookSecret::parse("c2hvcnQ="), Err(SecretFault::Length(5)));
        assert_eq!(WebhookSecret::parse(""), Err(SecretFault::Length(0)));
    }
}
