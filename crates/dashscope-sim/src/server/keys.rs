//! Keys: who calls. Pure.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::refusal::Refusal;

/// The owner of an accepted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) api_key_id: String,
}

pub(super) fn caller(config: &Config, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let value = headers.get(AUTHORIZATION).ok_or_else(Refusal::no_key)?;
    let key = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let key = key.filter(|key| !key.is_empty()).ok_or_else(Refusal::no_key)?;
    if config.keys.is_empty() {
        // Plan keys belong to other hosts.
        let accepted = key.starts_with("sk-") && key.len() > 3 && !key.starts_with("sk-sp-");
        return if accepted { Ok(Caller { api_key_id: derived_id(key) }) } else { Err(Refusal::wrong_key()) };
    }
    let known = config.keys.iter().find(|known| known.key == key);
    match known.filter(|known| known.region.as_ref().is_none_or(|region| *region == config.region)) {
        Some(known) => Ok(Caller { api_key_id: known.api_key_id.clone() }),
        None => Err(Refusal::wrong_key()),
    }
}

/// A number that belongs to the key and does not give it away.
fn derived_id(key: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let [a, b, c, d, ..] = digest;
    (1_000_000 + u32::from_be_bytes([a, b, c, d]) % 9_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    fn call(config: &Config, authorization: &str) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        caller(config, &headers).map(|caller| caller.api_key_id).map_err(|refusal| refusal.message)
    }

    #[test]
    fn by_default_any_key_of_the_usual_form_is_accepted_and_plan_keys_are_not() {
        let config = Config::default();
        assert_eq!(call(&config, "Bearer sk-a"), call(&config, "Bearer sk-a"));
        assert_ne!(call(&config, "Bearer sk-a"), call(&config, "Bearer sk-b"));
        assert_eq!(call(&config, "Bearer other").unwrap_err(), "Invalid API-key provided.");
        assert_eq!(call(&config, "Bearer sk-sp-a").unwrap_err(), "Invalid API-key provided.");
        assert_eq!(call(&config, "sk-a").unwrap_err(), "No API-key provided.");
        assert_eq!(caller(&config, &HeaderMap::new()).unwrap_err().message, "No API-key provided.");
    }

    #[test]
    fn listed_keys_alone_are_accepted_and_only_in_their_region() {
        let key = |key: &str, id: &str, region: Option<&str>| Key {
            key: key.into(),
            api_key_id: id.into(),
            region: region.map(Into::into),
        };
        let keys = vec![key("sk-a", "1", None), key("sk-b", "2", Some("cn-beijing"))];
        let config = Config { keys, ..Config::default() };
        assert_eq!(call(&config, "Bearer sk-a"), Ok("1".to_owned()));
        assert!(call(&config, "Bearer sk-b").is_err());
        assert!(call(&config, "Bearer sk-c").is_err());
    }
}
