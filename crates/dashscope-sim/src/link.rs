//! Result links: made, and checked byte for byte. Pure.
//!
//! A link is signed for a bare GET of one path until one moment, in the object store's first signature form
//! (`Expires`, `OSSAccessKeyId`, `Signature`), with the signature percent-encoded.

use base64::Engine;

use crate::draw::{Draw, Uuid};

/// The access key id that result links show.
const ACCESS_KEY_ID: &str = "LTAI5tSimulatedResult0";

/// The path below which results lie.
pub(crate) const RESULTS: &str = "/results";
/// The path to which uploads are posted.
pub(crate) const UPLOAD_HOST: &str = "/upload-host";

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkFault {
    /// The query is not the signed one.
    Altered,
    /// It was good until this second of the epoch.
    Expired { at_s: i64 },
}

/// The link to an image of a task, below `origin` (scheme and host), valid until `expires_s` seconds of the epoch.
pub(crate) fn result_link(origin: &str, seed: u64, task: Uuid, image: u8, expires_s: i64) -> String {
    format!("{origin}{RESULTS}/{task}/{image}.png?{}", query(seed, task, image, expires_s))
}

/// Checks the raw query of a download.
pub(crate) fn check(raw_query: &str, seed: u64, task: Uuid, image: u8, now_ms: i64) -> Result<(), LinkFault> {
    let expires = raw_query.strip_prefix("Expires=").and_then(|rest| rest.split('&').next());
    let expires_s: i64 = expires.and_then(|digits| digits.parse().ok()).ok_or(LinkFault::Altered)?;
    if raw_query != query(seed, task, image, expires_s) {
        return Err(LinkFault::Altered);
    }
    if now_ms.div_euclid(1_000) >= expires_s {
        return Err(LinkFault::Expired { at_s: expires_s });
    }
    Ok(())
}

fn query(seed: u64, task: Uuid, image: u8, expires_s: i64) -> String {
    let signed = Draw::new(seed, "link", &[task.as_bytes(), &[image], &expires_s.to_be_bytes()]);
    let signature = base64::engine::general_purpose::STANDARD.encode(&signed.bytes()[..20]);
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("Expires={expires_s}&OSSAccessKeyId={ACCESS_KEY_ID}&Signature={signature}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(seed: u64) -> (Uuid, String) {
        let task = Draw::new(seed, "task", &[]).uuid();
        let link = result_link("http://127.0.0.1:1", seed, task, 0, 1_000);
        (task, link.split_once('?').unwrap().1.to_owned())
    }

    #[test]
    fn a_link_is_good_up_to_the_second_it_names() {
        let (task, query) = parts(7);
        assert_eq!(check(&query, 7, task, 0, 999_999), Ok(()));
        assert_eq!(check(&query, 7, task, 0, 1_000_000), Err(LinkFault::Expired { at_s: 1_000 }));
    }

    #[test]
    fn a_decoded_query_is_another_query() {
        let (task, query) = parts(7);
        assert!(query.contains("%3D"));
        assert_eq!(check(&query.replace("%3D", "="), 7, task, 0, 0), Err(LinkFault::Altered));
    }

    #[test]
    fn a_link_opens_its_own_image_only() {
        let (task, query) = parts(7);
        assert_eq!(check(&query, 7, task, 1, 0), Err(LinkFault::Altered));
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(seed: u64, at in 0usize..60, byte in b'!'..b'~') {
            let (task, query) = parts(seed);
            let mut changed = query.clone().into_bytes();
            prop_assume!(changed[at] != byte);
            changed[at] = byte;
            prop_assert!(check(&String::from_utf8(changed).unwrap(), seed, task, 0, 0).is_err());
        }
    }
}
