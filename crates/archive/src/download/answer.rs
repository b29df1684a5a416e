//! Reads what an object host says when it does not give the image.

use reqwest::Response;

use super::error::FetchError;

/// The most of a refusal that is read. Source: our own guard; the known ones have under 1 KiB.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// The longest code that is believed. Source: our own guard; the longest known has 40 characters.
const CODE_CHARS_MAX: usize = 64;

/// The start of the body, as text. A broken connection ends it; it is only read for its words.
pub(super) async fn read_refusal(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        bytes.extend_from_slice(&piece[..piece.len().min(REFUSAL_BYTES_MAX - bytes.len())]);
        if bytes.len() == REFUSAL_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Judges an answer that is not a 200 by its status and the XML in its body. Nothing of the body is kept but its code: the
/// rest may repeat the signed request.
///
/// A redirect counts as unavailable: object hosts send none, but a network's portal does, for a while.
pub(super) fn classify(status: u16, body: &str) -> FetchError {
    let code = code(body);
    match status {
        403 if is_expiry(code.as_deref(), body) => FetchError::LinkExpired,
        404 | 410 => FetchError::LinkGone,
        408 | 425 | 429 => FetchError::Unavailable { status, code },
        400..=499 => FetchError::Denied { status, code },
        _ => FetchError::Unavailable { status, code },
    }
}

/// OSS and S3 say AccessDenied with "Request has expired." and the times; security tokens have codes of their own.
fn is_expiry(code: Option<&str>, body: &str) -> bool {
    match code {
        Some("AccessDenied") => {
            element(body, "Expires").is_some()
                || element(body, "Message").is_some_and(|text| text.to_ascii_lowercase().contains("expired"))
        }
        Some(code) => {
            matches!(code, "ExpiredToken" | "SecurityTokenExpired" | "InvalidSecurityToken.Expired")
        }
        None => false,
    }
}

/// The store's code, if it looks like one.
fn code(body: &str) -> Option<String> {
    let code = element(body, "Code")?;
    let fits = !code.is_empty()
        && code.len() <= CODE_CHARS_MAX
        && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    fits.then(|| code.to_owned())
}

/// The text of the first `<name>` element. Enough for these flat documents; what is not one has no such element.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = after.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str, message: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n  \
             <RequestId>65</RequestId><HostId>h</HostId>\n</Error>"
        )
    }

    #[test]
    fn each_answer_of_an_object_host_has_its_meaning() {
        let expired = xml("AccessDenied", "Request has expired.");
        let by_times = "<Error><Code>AccessDenied</Code><Expires>2026-04-02T00:00:00.000Z</Expires></Error>";
        let cases = [
            (403, expired.as_str(), "link_expired", false, true),
            (403, by_times, "link_expired", false, true),
            (403, &xml("SecurityTokenExpired", "…"), "link_expired", false, true),
            (
                403,
                &xml("AccessDenied", "You have no right to access this object."),
                "source_denied",
                false,
                true,
            ),
            (403, &xml("SignatureDoesNotMatch", "…"), "source_denied", false, true),
            (403, "", "source_denied", false, true),
            (400, &xml("InvalidArgument", "…"), "source_denied", false, true),
            (404, &xml("NoSuchKey", "…"), "link_gone", false, true),
            (404, "<html>", "link_gone", false, true),
            (429, "", "source_unavailable", true, false),
            (408, "", "source_unavailable", true, false),
            (500, &xml("InternalError", "…"), "source_unavailable", true, false),
            (503, &xml("SlowDown", "…"), "source_unavailable", true, false),
            (302, "<html>", "source_unavailable", true, false),
            (204, "", "source_unavailable", true, false),
            (206, "", "source_unavailable", true, false),
        ];
        for (status, body, name, retryable, fresh) in cases {
            let error = classify(status, body);
            let told = (error.code(), error.is_retryable(), error.needs_fresh_link());
            assert_eq!(told, (name, retryable, fresh), "{status} {body}");
        }
    }

    #[test]
    fn nothing_of_the_body_but_a_plausible_code_is_kept() {
        let body = xml("SignatureDoesNotMatch", "s3cr3t") + "<StringToSign>GET /1.png?s3cr3t</StringToSign>";
        let error = classify(403, &body);
        assert_eq!(
            error.to_string(),
            "the object host refused the request with status 403 (SignatureDoesNotMatch)"
        );
        assert!(!format!("{error:?}").contains("s3cr3t"));
        assert_eq!(
            classify(500, &xml("<b>s3cr3t", "")).to_string(),
            "the object host answered with status 500"
        );
        assert_eq!(code(&xml(&"A".repeat(65), "")), None);
    }
}
