//! Ticks against a slow reading of the same rules, around every change of the clock; and a loop of schedulers on a made-up clock.

use jiff::civil;
use proptest::prelude::*;

use super::*;

fn ticks(cron: &str, zone: &str) -> Ticks {
    Ticks { cron: Cron::parse(cron).unwrap(), zone: TimeZone::get(zone).unwrap() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// All ticks in (`from`, `to`], as times on the wall with the offset.
fn all(ticks: &Ticks, from: &str, to: &str) -> Vec<String> {
    let (mut at, to) = (at(from), at(to));
    std::iter::from_fn(|| {
        at = ticks.next(at).filter(|next| *next <= to)?;
        Some(at.to_zoned(ticks.zone.clone()).strftime("%d %H:%M%:z").to_string())
    })
    .collect()
}

#[test]
fn a_time_that_the_clock_jumps_over_ticks_once_just_after_the_gap() {
    let (from, to) = ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(all(&ticks("30 2 * * *", "Europe/Berlin"), from, to), ["29 03:00+02:00", "30 02:30+02:00"]);
    assert_eq!(
        all(&ticks("0,30 2,3 * * *", "Europe/Berlin"), from, "2026-03-29T12:00:00Z"),
        ["29 03:00+02:00", "29 03:30+02:00"]
    );
    // At the very beginning of the gap.
    assert_eq!(all(&ticks("0 2 * * *", "Europe/Berlin"), from, to), ["29 03:00+02:00", "30 02:00+02:00"]);
    let (from, to) = ("2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z");
    assert_eq!(all(&ticks("0 0 * * *", "America/Havana"), from, to), ["08 01:00-04:00", "09 00:00-04:00"]);
    assert_eq!(all(&ticks("0 2 * * *", "America/New_York"), from, to), ["08 03:00-04:00", "09 02:00-04:00"]);
    let (from, to) = ("2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z");
    assert_eq!(all(&ticks("15 2 * * *", "Australia/Lord_Howe"), from, to), ["04 02:30+11:00"]);
}

#[test]
fn a_time_that_comes_twice_ticks_the_first_time() {
    let (from, to) = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
    assert_eq!(all(&ticks("30 2 * * *", "Europe/Berlin"), from, to), ["25 02:30+02:00", "26 02:30+01:00"]);
    assert_eq!(
        all(&ticks("30 */2 * * *", "Europe/Berlin"), "2026-10-24T22:00:00Z", "2026-10-25T04:00:00Z"),
        ["25 00:30+02:00", "25 02:30+02:00", "25 04:30+01:00"]
    );
}

#[test]
fn every_hour_is_every_hour_that_passes() {
    assert_eq!(
        all(&ticks("30 * * * *", "Europe/Berlin"), "2026-10-24T23:00:00Z", "2026-10-25T02:30:00Z"),
        ["25 01:30+02:00", "25 02:30+02:00", "25 02:30+01:00", "25 03:30+01:00"]
    );
    assert_eq!(
        all(&ticks("0 * * * *", "America/New_York"), "2026-03-08T05:30:00Z", "2026-03-08T08:00:00Z"),
        ["08 01:00-05:00", "08 03:00-04:00", "08 04:00-04:00"]
    );
}

#[test]
fn equal_times_of_two_ticks_have_different_names() {
    let hourly = ticks("30 * * * *", "Europe/Berlin");
    let names = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"].map(|time| hourly.name_parts(at(time)));
    assert_eq!(names, [("2026-10-25".into(), "0230".into()), ("2026-10-25".into(), "0230-again".into())]);
}

#[test]
fn the_field_that_is_wrong_is_named() {
    let wrong = |text: &str| Cron::parse(text).unwrap_err().to_string();
    insta::assert_snapshot!(
        ["60 3 * * *", "0 24 * * *", "0 3 32 * *", "0 3 * FOO *", "0 3 * * 8", "0 3 * *", "", "@daily", "0 3 30 2 *", "5-1 * * * *",
         "0 0 3 * * *"]
            .map(|text| format!("{text:?}: {}", wrong(text)))
            .join("\n"),
        @r#"
    "60 3 * * *": its minute `60` cannot be read: it holds 0 to 59
    "0 24 * * *": its hour `24` cannot be read: it holds 0 to 23
    "0 3 32 * *": its day of the month `32` cannot be read: it holds 1 to 31, or L for the last
    "0 3 * FOO *": its month `FOO` cannot be read: it holds 1 to 12, or JAN to DEC
    "0 3 * * 8": its day of the week `8` cannot be read: it holds 0 to 7 (both Sunday), or SUN to SAT
    "0 3 * *": it has 4 of the five fields: minute, hour, day of the month, month, day of the week
    "": it has 0 of the five fields: minute, hour, day of the month, month, day of the week
    "@daily": it has 1 of the five fields: minute, hour, day of the month, month, day of the week
    "0 3 30 2 *": it names a day that no year has
    "5-1 * * * *": its minute `5-1` cannot be read: it holds 0 to 59
    "0 0 3 * * *": it has 6 of the five fields: minute, hour, day of the month, month, day of the week
    "#
    );
}

#[test]
fn missed_ticks_are_caught_up_once_or_left_out() {
    let daily = ticks("0 3 * * *", "Europe/Berlin");
    let (last, now) = (at("2026-11-01T02:00:00Z"), at("2026-11-26T12:00:00Z"));
    let (missed, next) = (at("2026-11-26T02:00:00Z"), at("2026-11-27T02:00:00Z"));
    assert_eq!(daily.due(last, now, Missed::CatchUp), Due::Tick(missed));
    assert_eq!(daily.due(missed, now, Missed::CatchUp), Due::Wait(Some(next)));
    assert_eq!(daily.due(last, now, Missed::Skip), Due::Wait(Some(next)));
    assert_eq!(daily.due(last, missed + Duration::from_secs(90), Missed::Skip), Due::Tick(missed));
    assert_eq!(daily.due(missed, missed, Missed::CatchUp), Due::Wait(Some(next)));
}

#[test]
fn the_latest_tick_is_found_however_rare_ticks_are() {
    let now = at("2027-02-28T12:00:00Z");
    let long_ago = at("2020-01-01T00:00:00Z");
    assert_eq!(ticks("0 0 29 2 *", "UTC").latest(long_ago, now), Some(at("2024-02-29T00:00:00Z")));
    assert_eq!(ticks("* * * * *", "UTC").latest(long_ago, now), Some(now));
    assert_eq!(ticks("0 0 1 1 *", "UTC").latest(long_ago, now), Some(at("2027-01-01T00:00:00Z")));
}

/// Each minute of the wall's clock, asked one by one: what [`Ticks::next`] does in steps of the expression.
fn slowly(ticks: &Ticks, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let minute = Duration::from_secs(60);
    let matches = |wall: DateTime| {
        let utc = wall.to_zoned(TimeZone::UTC).unwrap().timestamp();
        ticks.cron.times.matches(utc).unwrap()
    };
    let mut found = Vec::new();
    if ticks.cron.every_hour {
        let mut time = from + minute;
        while time <= to {
            if matches(ticks.zone.to_datetime(time)) {
                found.push(time);
            }
            time += minute;
        }
    } else {
        // Every time that a clock on this wall may show, and some before and after.
        let hours = jiff::SignedDuration::from_hours(30);
        let mut wall = TimeZone::UTC.to_datetime(from) - hours;
        while wall <= TimeZone::UTC.to_datetime(to) + hours {
            if matches(wall) {
                // The first moment at which the clock shows this time or a later one.
                let mut zoned = wall.to_zoned(ticks.zone.clone()).unwrap();
                if zoned.datetime() != wall {
                    zoned = zoned.with().minute(0).build().unwrap();
                    while (&zoned - jiff::SignedDuration::from_mins(1)).datetime() > wall {
                        zoned = &zoned - jiff::SignedDuration::from_mins(1);
                    }
                    while zoned.datetime() < wall {
                        zoned = &zoned + jiff::SignedDuration::from_mins(1);
                    }
                }
                found.push(zoned.timestamp());
            }
            wall += jiff::SignedDuration::from_mins(1);
        }
        found.retain(|tick| *tick > from && *tick <= to);
    }
    found.sort();
    found.dedup();
    found
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana"];

fn expression() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        Just("*".to_owned()),
        (0..60u8).prop_map(|minute| minute.to_string()),
        Just("0".to_owned()),
        (1..30u8).prop_map(|step| format!("*/{step}")),
        (0..30u8, 30..60u8).prop_map(|(a, b)| format!("{a},{b}")),
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        (0..24u8).prop_map(|hour| hour.to_string()),
        (0..4u8).prop_map(|hour| hour.to_string()),
        (1..12u8).prop_map(|step| format!("*/{step}")),
        (0..3u8, 3..6u8).prop_map(|(a, b)| format!("{a}-{b}")),
    ];
    let day = prop_oneof![3 => Just("*".to_owned()), 1 => (1..29u8).prop_map(|day| day.to_string())];
    let weekday = prop_oneof![3 => Just("*".to_owned()), 1 => (0..7u8).prop_map(|day| day.to_string())];
    (minute, hour, day, weekday)
        .prop_map(|(minute, hour, day, weekday)| format!("{minute} {hour} {day} * {weekday}"))
}

/// A day and a half that lies around a change of the clock, where the zone has one.
fn around_a_change(zone: &str, nth: usize) -> (Timestamp, Timestamp) {
    let zone = TimeZone::get(zone).unwrap();
    let from = at("2020-01-01T00:00:00Z");
    let change = zone.following(from).nth(nth).map_or(from, |change| change.timestamp());
    // What a zone's file ends with is a change that changes nothing, at a second of its own.
    let change = change.round(jiff::Unit::Minute).unwrap();
    (change - Duration::from_secs(18 * 3_600), change + Duration::from_secs(18 * 3_600))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn no_tick_is_lost_or_doubled(cron in expression(), zone in 0..ZONES.len(), nth in 0..12usize) {
        let ticks = ticks(&cron, ZONES[zone]);
        let (from, to) = around_a_change(ZONES[zone], nth);
        let mut found = Vec::new();
        let mut at = from;
        while let Some(next) = ticks.next(at).filter(|next| *next <= to) {
            prop_assert!(next > at);
            found.push(next);
            at = next;
        }
        let exact = slowly(&ticks, from, to);
        let differ = found.iter().zip(&exact).find(|(found, exact)| found != exact);
        prop_assert!(found.len() == exact.len() && differ.is_none(), "{} of {}: {differ:?}", found.len(), exact.len());
    }

    /// Schedulers look when they look, each at what was done last: all ticks come once, or the latest of those that were missed.
    #[test]
    fn however_late_schedulers_look_each_tick_is_done_once_and_in_order(
        cron in expression(), zone in 0..ZONES.len(), nth in 0..12usize, waits in prop::collection::vec(1..9_000u64, 1..60),
    ) {
        let ticks = ticks(&cron, ZONES[zone]);
        let (from, to) = around_a_change(ZONES[zone], nth);
        let (mut last, mut now, mut done) = (from, from, Vec::new());
        for wait in waits.iter().cycle() {
            if now > to {
                break;
            }
            match ticks.due(last, now, Missed::CatchUp) {
                Due::Tick(tick) => {
                    prop_assert!(tick > last && tick <= now);
                    prop_assert!(ticks.next(tick).is_none_or(|next| next > now), "a later one was due");
                    done.push(tick);
                    last = tick;
                }
                Due::Wait(next) => {
                    prop_assert!(ticks.latest(last, now).is_none(), "one was due");
                    prop_assert!(next.is_none_or(|next| next > now));
                }
            }
            now += Duration::from_secs(*wait);
        }
        let exact = slowly(&ticks, from, to);
        prop_assert!(done.iter().all(|tick| exact.contains(tick)));
        prop_assert!(done.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn names_of_two_ticks_differ(cron in expression(), zone in 0..ZONES.len(), nth in 0..12usize) {
        let ticks = ticks(&cron, ZONES[zone]);
        let (from, to) = around_a_change(ZONES[zone], nth);
        let exact = slowly(&ticks, from, to);
        let names: std::collections::BTreeSet<_> = exact.iter().map(|tick| ticks.name_parts(*tick)).collect();
        prop_assert_eq!(names.len(), exact.len());
    }
}

#[test]
fn a_year_of_hours_has_as_many_ticks_as_hours() {
    let hourly = ticks("0 * * * *", "America/New_York");
    let daily = ticks("30 2 * * *", "America/New_York");
    let (from, to) = ("2026-01-01T05:00:00Z", "2027-01-01T05:00:00Z");
    assert_eq!(all(&hourly, from, to).len(), 365 * 24);
    assert_eq!(all(&daily, from, to).len(), 365);
    assert_eq!(civil::date(2026, 1, 1).days_in_year(), 365);
}
