//! The task list: which tasks a page shows. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::Task;
use crate::config::Config;
use crate::refusal::Refusal;

/// The widest window. Source: Model Studio, "Manage asynchronous tasks".
const WINDOW_MAX_MS: i64 = 24 * 3_600 * 1_000;
/// The page size when none is given. Source: the same page.
const PAGE_SIZE: usize = 10;

/// The query string of a list call, as text.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct ListQuery {
    pub(crate) task_id: Option<String>,
    pub(crate) start_time: Option<String>,
    pub(crate) end_time: Option<String>,
    pub(crate) model_name: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) api_key_id: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) page_no: Option<String>,
    pub(crate) page_size: Option<String>,
}

/// One page, newest tasks first.
pub(crate) struct Page<'a> {
    pub(crate) tasks: Vec<&'a Task>,
    pub(crate) page_no: usize,
    pub(crate) page_size: usize,
    pub(crate) total: usize,
}

pub(super) fn list<'a>(
    tasks: &'a [Task],
    query: &ListQuery,
    config: &Config,
    now_ms: i64,
) -> Result<Page<'a>, Refusal> {
    let (from_ms, to_ms) = window(query, now_ms)?;
    let page_no = positive("page_no", query.page_no.as_deref(), 1)?;
    let page_size = positive("page_size", query.page_size.as_deref(), PAGE_SIZE)?;
    let page_size = page_size.min(config.limits.list_page_max.max(1) as usize);
    let lag_ms = i64::try_from(config.limits.list_lag_ms).unwrap_or(i64::MAX);
    let kept_ms = i64::try_from(config.retention.task_s).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);

    // Tasks stand in order of creation, so both ends of the window can be searched for.
    let first =
        tasks.partition_point(|task| task.created_ms < from_ms.max(now_ms.saturating_sub(kept_ms) + 1));
    let end = tasks.partition_point(|task| task.created_ms <= to_ms.min(now_ms.saturating_sub(lag_ms)));
    let window = tasks.get(first..end).unwrap_or_default();
    let wanted = |task: &&Task| {
        let is = |asked: &Option<String>, value: &str| asked.as_deref().is_none_or(|asked| asked == value);
        !task.sync
            && is(&query.model_name, task.model.name())
            && is(&query.status, task.state.name())
            && is(&query.api_key_id, &task.api_key_id)
            && is(&query.region, &config.region)
            && query.task_id.as_ref().is_none_or(|asked| *asked == task.id.to_string())
    };
    let skip = (page_no - 1).saturating_mul(page_size);
    let mut total = 0;
    let mut page = Vec::new();
    for task in window.iter().rev().filter(wanted) {
        if total >= skip && page.len() < page_size {
            page.push(task);
        }
        total += 1;
    }
    Ok(Page { tasks: page, page_no, page_size, total })
}

/// The window asked for: at most 24 hours; a missing end is 24 hours from the other, and both missing mean the last 24.
fn window(query: &ListQuery, now_ms: i64) -> Result<(i64, i64), Refusal> {
    let start_ms = query.start_time.as_deref().map(|text| digits_ms("start_time", text)).transpose()?;
    let end_ms = query.end_time.as_deref().map(|text| digits_ms("end_time", text)).transpose()?;
    let (from_ms, to_ms) = match (start_ms, end_ms) {
        (Some(start), Some(end)) => (start, end),
        (Some(start), None) => (start, start + WINDOW_MAX_MS),
        (None, Some(end)) => (end - WINDOW_MAX_MS, end),
        (None, None) => (now_ms - WINDOW_MAX_MS, now_ms),
    };
    match to_ms - from_ms {
        0..=WINDOW_MAX_MS => Ok((from_ms, to_ms)),
        _ => Err(Refusal::parameter("the time from start_time to end_time must be within 24 hours")),
    }
}

/// 14 digits from year to second, taken as UTC+8 like every other time text of the service. The zone is not documented.
fn digits_ms(name: &str, text: &str) -> Result<i64, Refusal> {
    let refuse = || Refusal::parameter(format!("{name} must be of the form YYYYMMDDhhmmss"));
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    let civil = DateTime::strptime("%Y%m%d%H%M%S", text).map_err(|_| refuse())?;
    let zone = TimeZone::fixed(Offset::constant(8));
    let at: Timestamp = zone.to_timestamp(civil).map_err(|_| refuse())?;
    Ok(at.as_millisecond())
}

fn positive(name: &str, text: Option<&str>, default: usize) -> Result<usize, Refusal> {
    let Some(text) = text else { return Ok(default) };
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Refusal::parameter(format!("{name} must be a positive integer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = WINDOW_MAX_MS;
    /// 2026-03-31 12:00:00 UTC, which is 20:00:00 in UTC+8.
    const NOON_MS: i64 = 1_774_958_400_000;

    fn of(start: Option<&str>, end: Option<&str>) -> Result<(i64, i64), Refusal> {
        let query = ListQuery {
            start_time: start.map(str::to_owned),
            end_time: end.map(str::to_owned),
            ..ListQuery::default()
        };
        window(&query, NOON_MS)
    }

    #[test]
    fn a_window_of_24_hours_is_allowed_and_a_second_more_is_not() {
        assert_eq!(of(Some("20260330200000"), Some("20260331200000")), Ok((NOON_MS - DAY_MS, NOON_MS)));
        assert!(of(Some("20260330195959"), Some("20260331200000")).is_err());
        assert!(of(Some("20260331200001"), Some("20260331200000")).is_err(), "ends before it starts");
    }

    #[test]
    fn a_missing_end_of_the_window_is_24_hours_from_the_other() {
        assert_eq!(of(None, None), Ok((NOON_MS - DAY_MS, NOON_MS)));
        assert_eq!(of(Some("20260331200000"), None), Ok((NOON_MS, NOON_MS + DAY_MS)));
        assert_eq!(of(None, Some("20260331200000")), Ok((NOON_MS - DAY_MS, NOON_MS)));
    }

    #[test]
    fn times_that_are_not_14_digits_of_a_real_moment_are_refused() {
        for text in ["2026033120000", "20261331200000", "2026-03-31 20:0", "20260331250000"] {
            assert!(of(Some(text), None).is_err(), "{text}");
        }
    }
}
