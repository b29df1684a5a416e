//! Webhooks, and what became of what they were to be told.

use job::Timestamp;
use queue::{DeliveryOf, DeliveryState, HookCounts};
use serde::Serialize;

use super::table::{Column, table};
use super::words::{count, relative};

/// What became of telling a webhook of a batch's end. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeliveryView {
    /// The webhook.
    pub(crate) webhook: String,
    /// The how manieth end of the batch.
    pub(crate) end: u32,
    /// Where it is.
    pub(crate) state: DeliveryState,
    /// How often it was tried.
    pub(crate) tries: u32,
    /// When that was said.
    pub(crate) at: Option<Timestamp>,
    /// When it is tried again.
    pub(crate) next_at: Option<Timestamp>,
    /// The event's id, as the receiver sees it.
    pub(crate) event_id: String,
    /// What went wrong the last time.
    pub(crate) error: Option<String>,
}

impl From<DeliveryOf> for DeliveryView {
    fn from(of: DeliveryOf) -> Self {
        let DeliveryOf { hook, end, delivery } = of;
        let time = |ms| Timestamp::from_millisecond(ms).ok();
        Self {
            webhook: hook,
            end,
            state: delivery.state,
            tries: delivery.tries,
            at: time(delivery.at),
            next_at: delivery.next_at.and_then(time),
            event_id: delivery.id,
            error: delivery.error,
        }
    }
}

impl DeliveryView {
    /// For people, in one line.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        let when = |time: Option<Timestamp>| time.map(|time| relative(time, now)).unwrap_or_default();
        let tries = match self.tries {
            0 | 1 => String::new(),
            tries => format!(" after {tries} tries"),
        };
        let why = self.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let name = &self.webhook;
        match self.state {
            DeliveryState::Delivered => format!("{name} was told {}{tries}", when(self.at)),
            DeliveryState::Waiting if self.next_at.is_none() => format!("{name} is told next"),
            DeliveryState::Waiting => format!("{name} is tried again {}{tries}{why}", when(self.next_at)),
            DeliveryState::GivenUp => format!("{name} was given up {}{tries}{why}", when(self.at)),
            DeliveryState::Dropped => format!("{name} was not told{why}"),
        }
    }
}

/// A webhook in numbers. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HookView {
    /// Its name.
    pub(crate) webhook: String,
    /// Its address, without what may be a secret in it; none where the settings do not have it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Events that it has taken.
    pub(crate) delivered: u64,
    /// Events that wait for a try.
    pub(crate) waiting: u64,
    /// Events that were given up.
    pub(crate) given_up: u64,
    /// When something went wrong last.
    pub(crate) last_error_at: Option<Timestamp>,
    /// What that was.
    pub(crate) last_error: Option<String>,
}

impl From<HookCounts> for HookView {
    fn from(counts: HookCounts) -> Self {
        let (at, error) = match counts.last_error {
            Some(last) => (Timestamp::from_millisecond(last.at).ok(), Some(last.error)),
            None => (None, None),
        };
        Self {
            webhook: counts.hook,
            address: None,
            delivered: counts.delivered,
            waiting: counts.waiting,
            given_up: counts.given_up,
            last_error_at: at,
            last_error: error,
        }
    }
}

impl HookView {
    /// Whether `status` has anything to say of it.
    pub(crate) fn is_amiss(&self) -> bool {
        self.waiting > 0 || self.given_up > 0
    }

    /// For people, in one line.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        let mut parts = vec![format!("{} told", count(self.delivered))];
        let more = [(self.waiting, "waiting for a try"), (self.given_up, "given up")];
        parts.extend(more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))));
        format!("webhook {}: {}{}", self.webhook, parts.join(", "), self.error(now))
    }

    fn error(&self, now: Timestamp) -> String {
        match (&self.last_error, self.last_error_at) {
            (Some(error), Some(at)) => format!("; last error {}: {error}", relative(at, now)),
            _ => String::new(),
        }
    }
}

/// The table of `webhook ls`.
pub(crate) fn list(hooks: &[HookView], now: Timestamp) -> String {
    let columns = [
        Column::Left("WEBHOOK"),
        Column::Left("ADDRESS"),
        Column::Right("TOLD"),
        Column::Right("WAITING"),
        Column::Right("GIVEN UP"),
        Column::Left("LAST ERROR"),
    ];
    let row = |hook: &HookView| {
        let error = hook.error(now);
        vec![
            hook.webhook.clone(),
            hook.address.clone().unwrap_or_else(|| "(not in the settings)".to_owned()),
            count(hook.delivered),
            count(hook.waiting),
            count(hook.given_up),
            error.trim_start_matches("; last error ").to_owned(),
        ]
    };
    table(&columns, hooks.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use queue::{Delivery, HookError};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_delivery_is_said_in_one_line() {
        let line = |state, tries, next_at: Option<i64>, error: Option<&str>| {
            let delivery = Delivery {
                state,
                tries,
                at: 90_000,
                next_at,
                id: "evt_1".into(),
                error: error.map(str::to_owned),
            };
            DeliveryView::from(DeliveryOf { hook: "shop".into(), end: 1, delivery }).render(at(100))
        };
        let all = [
            line(DeliveryState::Waiting, 0, None, None),
            line(DeliveryState::Waiting, 2, Some(130_000), Some("HTTP 503")),
            line(DeliveryState::Delivered, 1, None, None),
            line(DeliveryState::Delivered, 6, None, None),
            line(DeliveryState::GivenUp, 18, None, Some("HTTP 503")),
            line(DeliveryState::Dropped, 0, None, Some("the settings have no such webhook any more")),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        shop is told next
        shop is tried again in 30s after 2 tries: HTTP 503
        shop was told 10s ago
        shop was told 10s ago after 6 tries
        shop was given up 10s ago after 18 tries: HTTP 503
        shop was not told: the settings have no such webhook any more
        ");
    }

    #[test]
    fn a_webhook_is_said_with_what_went_wrong_last() {
        let counts = HookCounts {
            hook: "shop".into(),
            delivered: 1_200,
            given_up: 1,
            waiting: 2,
            last_error: Some(HookError { at: 40_000, error: "HTTP 503".into() }),
        };
        let view = HookView::from(counts);
        assert!(view.is_amiss());
        insta::assert_snapshot!(view.line(at(100)), @"webhook shop: 1,200 told, 2 waiting for a try, 1 given up; last error 1m 00s ago: HTTP 503");
        let quiet = HookView::from(HookCounts { hook: "site".into(), delivered: 3, ..HookCounts::default() });
        assert!(!quiet.is_amiss());
        insta::assert_snapshot!(quiet.line(at(100)), @"webhook site: 3 told");
    }
}
