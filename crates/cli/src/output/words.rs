//! Numbers, spans and times as people say them. Pure.

use std::time::Duration;

use job::{Micros, Timestamp};

/// A count with separators: `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 job`, `2 jobs`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(number)) }
}

/// A span in its two largest units: `45s`, `12m 05s`, `3h 20m`, `4d 6h`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days}d {hours}h")
    } else if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// How far a time is from now: `in 5s`, `3m 02s ago`, `now`.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    let distance = now.duration_since(time);
    if distance.unsigned_abs() < Duration::from_secs(1) {
        "now".to_owned()
    } else if distance.is_negative() {
        format!("in {}", span(distance.unsigned_abs()))
    } else {
        format!("{} ago", span(distance.unsigned_abs()))
    }
}

/// An amount with its currency: `12.50 USD`.
pub(crate) fn money(amount: Micros, currency: &str) -> String {
    format!("{amount} {currency}")
}

/// A size in the largest unit that leaves a number above 1: `1.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// A time for tables: UTC, to the second.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The width of a terminal that a text must fit, in characters. Source: ours; what most windows show.
const WIDTH: usize = 100;

/// The text with lines that are too long broken between words; what goes on is indented so far. A word that is longer than a line stays.
pub(crate) fn folded(text: &str, indent: usize) -> String {
    let mut folded = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut width = 0;
        for word in line.split_inclusive(' ') {
            let letters = word.trim_end().chars().count();
            if width + letters > WIDTH && width > indent {
                folded.truncate(folded.trim_end_matches(' ').len());
                folded.push('\n');
                folded.extend(std::iter::repeat_n(' ', indent));
                width = indent;
            }
            folded.push_str(word);
            width += word.chars().count();
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "job"), counted(2_000, "job")), ("1 job".into(), "2,000 jobs".into()));
        assert_eq!([0, 999, 1_400, 20_000_000].map(size), ["0 B", "999 B", "1.4 kB", "20.0 MB"]);
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([5, 65, 3_600, 90_000].map(said), ["5s", "1m 05s", "1h 00m", "1d 1h"]);
    }

    #[test]
    fn times_are_said_by_their_distance() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(relative(at(100), at(100)), "now");
        assert_eq!(relative(at(105), at(100)), "in 5s");
        assert_eq!(relative(at(30), at(100)), "1m 10s ago");
        assert_eq!(time(at(0)), "1970-01-01 00:00:00");
    }

    #[test]
    fn long_lines_are_broken_between_words_and_short_ones_are_not() {
        let short = "a  b\n\nc\n";
        assert_eq!(folded(short, 2), short);
        let line = format!("{} {} {}\nend", "x".repeat(60), "y".repeat(39), "z".repeat(120));
        let parts = ["x".repeat(60), "y".repeat(39), "z".repeat(120)];
        assert_eq!(folded(&line, 4), format!("{} {}\n    {}\nend", parts[0], parts[1], parts[2]));
    }
}
