//! What the head of an answer tells.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The parts of an answer's head that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) http_status: u16,
    /// The provider's id of the call, where the body has none.
    pub(super) request_id: Option<String>,
    /// The provider's clock.
    pub(super) date: Option<Timestamp>,
    pub(super) retry_after: Option<Duration>,
}

impl Meta {
    pub(super) fn read(http_status: u16, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = ["x-request-id", "x-dashscope-requestid"].into_iter().find_map(text);
        let date = text(DATE.as_str()).and_then(http_date);
        let retry_after = text("retry-after-ms")
            .and_then(|value| seconds(value).map(|wait| wait / 1000))
            .or_else(|| text(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, date)));
        Self { http_status, request_id: request_id.map(str::to_owned), date, retry_after }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.http_status)
    }
}

/// Seconds, or a date, which is measured against the clock of whoever wrote it.
fn retry_after(value: &str, date: Option<Timestamp>) -> Option<Duration> {
    seconds(value).or_else(|| {
        let wait = http_date(value)?.duration_since(date?);
        Some(Duration::try_from(wait).unwrap_or_default()) // a moment that has passed
    })
}

fn seconds(value: &str) -> Option<Duration> {
    let number: f64 = value.trim().parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

fn http_date(value: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(value.trim()).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    fn read(headers: Headers) -> Meta {
        let header = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        Meta::read(429, &headers.iter().map(header).collect())
    }

    #[test]
    fn the_wait_is_read_as_seconds_milliseconds_or_a_date() {
        const DATE: (&str, &str) = ("date", "Thu, 26 Mar 2026 09:16:01 GMT");
        let cases: [(Headers, Option<u64>); 10] = [
            (&[("retry-after", "3")], Some(3_000)),
            (&[("retry-after", " 1.5 ")], Some(1_500)),
            (&[("retry-after", "1850000")], Some(1_850_000_000)),
            (&[("retry-after-ms", "250"), ("retry-after", "3")], Some(250)),
            (&[("retry-after", "Thu, 26 Mar 2026 09:16:31 GMT"), DATE], Some(30_000)),
            (&[("retry-after", "Thu, 26 Mar 2026 09:16:00 GMT"), DATE], Some(0)),
            (&[("retry-after", "Thu, 26 Mar 2026 09:16:31 GMT")], None),
            (&[("retry-after", "soon"), DATE], None),
            (&[("retry-after", "-1")], None),
            (&[], None),
        ];
        for (headers, wait_ms) in cases {
            assert_eq!(read(headers).retry_after, wait_ms.map(Duration::from_millis), "{headers:?}");
        }
    }

    #[test]
    fn the_id_of_the_call_and_the_clock_are_read() {
        let meta = read(&[("x-request-id", "r1"), ("date", "Thu, 26 Mar 2026 09:16:01 GMT")]);
        assert_eq!(meta.request_id.as_deref(), Some("r1"));
        assert_eq!(meta.date.unwrap().to_string(), "2026-03-26T09:16:01Z");
        assert_eq!(read(&[("x-dashscope-requestid", "r2")]).request_id.as_deref(), Some("r2"));
        assert!(!meta.is_success());
    }
}
