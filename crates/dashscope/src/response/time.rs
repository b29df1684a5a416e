//! The service's times: UTC+8 without a zone in the results of tasks, epoch milliseconds in lists.

use jiff::{Timestamp, civil, tz::Offset};
use serde_json::Value;

/// The zone of every time that the service writes without one.
///
/// Source: the API page, `submit_time` and its neighbours.
/// Applies to: the results of tasks; assumed for the times of a listing's query.
pub(crate) const SERVICE_ZONE: Offset = Offset::constant(8);

/// Reads `2026-03-26 17:16:01.663`, with or without the fraction, as UTC+8; a text that names its own zone by it.
///
/// ```
/// let time = dashscope::response::parse_service_time("2026-03-26 17:16:01.663").unwrap();
/// assert_eq!(time.to_string(), "2026-03-26T09:16:01.663Z");
/// ```
#[must_use]
pub fn parse_service_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    // First with a zone: a time without one is read from such a text as well, and its zone dropped.
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: civil::DateTime = text.parse().ok()?;
        SERVICE_ZONE.to_timestamp(civil).ok()
    })
}

/// A time in either form.
pub(super) fn service_time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => Timestamp::from_millisecond(number.as_i64()?).ok(),
        Value::String(text) => match text.parse() {
            Ok(millisecond) => Timestamp::from_millisecond(millisecond).ok(),
            Err(_) => parse_service_time(text),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_without_a_zone_is_in_utc_plus_8() {
        let cases = [
            ("2026-03-26 17:16:01.663", "2026-03-26T09:16:01.663Z"),
            ("2026-03-26 17:16:01", "2026-03-26T09:16:01Z"),
            ("2026-03-26T17:16:01.6", "2026-03-26T09:16:01.6Z"),
            ("2026-01-01 00:00:00.000", "2025-12-31T16:00:00Z"),
            ("2026-03-26T09:16:01Z", "2026-03-26T09:16:01Z"),
            ("2026-03-26T09:16:01+02:00", "2026-03-26T07:16:01Z"),
        ];
        for (text, utc) in cases {
            assert_eq!(parse_service_time(text).map(|time| time.to_string()).as_deref(), Some(utc), "{text}");
        }
    }

    #[test]
    fn a_number_is_epoch_milliseconds() {
        let expected = Timestamp::from_millisecond(1_774_516_561_663).ok();
        assert_eq!(service_time(&json!(1_774_516_561_663_i64)), expected);
        assert_eq!(service_time(&json!("1774516561663")), expected);
    }

    #[test]
    fn anything_else_is_no_time() {
        for value in
            [json!(null), json!(""), json!("soon"), json!(true), json!(1.5), json!("2026-13-01 00:00:00")]
        {
            assert_eq!(service_time(&value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_service_time(&text);
            let _ = service_time(&Value::from(text));
        }
    }
}
