//! The workers' settings under a time scale: each span of time in `[poll]` is divided by it. Leases and timeouts stay, and so does
//! how long the provider keeps tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::settings::{Settings, effective_json};

/// Spans of `[poll]` that are no steps.
const NO_STEPS: [&str; 1] = ["task_retention"];

/// No step becomes shorter: the settings refuse it, and the machine's own times would be what is measured.
const STEP_MIN: Duration = Duration::from_millis(20);

/// What a run has of its own: whatever the user has set of it for real must not reach a worker.
const OWN: [&str; 5] = ["redis.url", "redis.namespace", "redis.ca_file", "redis.replicas", "s3."];

/// The user's flags but for those that speak of servers.
pub(super) fn flags_of(user: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = |name: &str| OWN.iter().any(|own| name.starts_with(own));
    user.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The flags `--set` for workers: those of the user, and each step of `[poll]` (the user's, else the default) divided by `scale`.
pub(super) fn settings(user: &BTreeMap<String, String>, effective: &Settings, scale: u32) -> Vec<String> {
    let mut flags: BTreeMap<String, String> = user.clone();
    if let Value::Object(poll) = &effective_json(effective)["poll"] {
        for (name, setting) in poll {
            let span = setting["value"].as_str().and_then(|text| humantime::parse_duration(text).ok());
            if let Some(span) = span.filter(|_| !NO_STEPS.contains(&name.as_str())) {
                flags.insert(format!("poll.{name}"), show(span / scale));
            }
        }
    }
    flags.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn show(span: Duration) -> String {
    let ms = span.max(STEP_MIN).as_millis();
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

    fn of(flags: &[(&str, &str)], scale: u32) -> Vec<String> {
        let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), flags, ..Sources::default() };
        settings(&sources.flags, &Settings::load(&sources).unwrap(), scale)
    }

    #[test]
    fn each_step_is_divided_and_what_the_provider_keeps_is_not() {
        let flags = of(&[], 20);
        assert!(flags.contains(&"poll.first=150ms".to_owned()), "{flags:?}");
        assert!(flags.contains(&"poll.slow_after=30000ms".to_owned()), "{flags:?}");
        assert!(
            !flags.iter().any(|flag| flag.contains("task_retention") || flag.contains("factor")),
            "{flags:?}"
        );
    }

    #[test]
    fn what_the_user_sets_is_in_service_time_and_is_divided_as_well() {
        let flags = of(&[("poll.first", "8s"), ("worker.poll_concurrency", "3")], 4);
        assert!(flags.contains(&"poll.first=2000ms".to_owned()), "{flags:?}");
        assert!(flags.contains(&"worker.poll_concurrency=3".to_owned()), "{flags:?}");
    }

    #[test]
    fn servers_of_the_user_reach_no_worker() {
        let flags = [("redis.url", "redis://real"), ("s3.bucket", "real"), ("redis.lease", "2s")];
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(flags_of(&flags).into_keys().collect::<Vec<_>>(), ["redis.lease"]);
    }

    #[test]
    fn no_step_falls_below_what_settings_take() {
        assert!(of(&[("poll.step", "100ms")], 50).contains(&"poll.step=20ms".to_owned()));
    }
}
