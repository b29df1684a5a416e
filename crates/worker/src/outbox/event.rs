//! What receivers are told: the events' ids and bodies. Pure.

use job::{BatchName, Micros, ObjectKey, StateName, Timestamp, WebhookName};
use queue::BatchSummary;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::EventKind;
use super::config::OutboxConfig;

#[derive(Serialize)]
struct Event<'a, D: Serialize> {
    r#type: &'static str,
    id: &'a str,
    timestamp: Timestamp,
    data: D,
}

/// What is told of a batch that has ended. Read by programs: fields are added, never changed.
#[derive(Serialize)]
struct BatchEnded<'a> {
    batch: &'a str,
    /// The how manieth end of the batch: a retry, or more jobs, let it run again.
    end: u32,
    state: &'static str,
    jobs: Jobs,
    images: Images,
    cost: Cost<'a>,
    lost: Lost<'a>,
    created_at: Timestamp,
    ended_at: Timestamp,
    /// The object with the results, where it could be written.
    manifest: Option<Manifest>,
}

#[derive(Serialize)]
struct Jobs {
    total: u64,
    queued: u64,
    in_flight: u64,
    succeeded: u64,
    failed: u64,
    canceled: u64,
    expired: u64,
    held: u64,
    partial: u64,
}

#[derive(Serialize)]
struct Images {
    expected: u64,
    billed: u64,
    stored: u64,
}

#[derive(Serialize)]
struct Cost<'a> {
    amount: f64,
    micros: i64,
    currency: &'a str,
}

#[derive(Serialize)]
struct Lost<'a> {
    images: u64,
    cost: Cost<'a>,
}

#[derive(Serialize)]
struct Manifest {
    key: String,
    uri: Option<String>,
}

/// An end of a batch, as all receivers are told of it.
#[derive(Clone, Copy)]
pub(super) struct BatchEnd<'a> {
    pub(super) summary: &'a BatchSummary,
    pub(super) batch: &'a BatchName,
    /// When it began, in ms.
    pub(super) created: i64,
    pub(super) end: u32,
    pub(super) ended_at: Timestamp,
    /// The manifest, if it was written.
    pub(super) manifest: Option<&'a ObjectKey>,
    pub(super) currency: &'a str,
}

impl BatchEnd<'_> {
    /// The event's id: the same for each try, and another for every other end, receiver and namespace, also when a batch of the same name
    /// comes after this one was removed.
    pub(super) fn id(&self, config: &OutboxConfig, hook: &WebhookName) -> String {
        let created = self.created.to_string();
        let end = self.end.to_string();
        let mut hash = Sha256::new();
        for part in [&config.namespace, self.batch.as_str(), &created, &end, hook.as_str()] {
            // Length-prefixed, so that no two different lists feed the hash the same bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        digest.iter().take(16).fold("evt_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
    }

    /// The body of the event.
    pub(super) fn body(&self, config: &OutboxConfig, id: &str) -> String {
        let Self { summary, batch, end, ended_at, manifest, currency, .. } = *self;
        let count = |state| summary.count(state);
        let cost = |amount: Micros| Cost { amount: amount.0 as f64 / 1e6, micros: amount.0, currency };
        let data = BatchEnded {
            batch: batch.as_str(),
            end,
            state: state(summary),
            jobs: Jobs {
                total: summary.total,
                queued: count(StateName::Queued),
                in_flight: summary.in_flight(),
                succeeded: count(StateName::Succeeded),
                failed: count(StateName::Failed),
                canceled: count(StateName::Canceled),
                expired: count(StateName::Expired),
                held: count(StateName::Held),
                partial: summary.partial,
            },
            images: Images { expected: summary.expected, billed: summary.billed, stored: summary.stored },
            cost: cost(summary.cost),
            lost: Lost { images: summary.lost, cost: cost(summary.lost_cost) },
            created_at: summary.created_at,
            ended_at,
            manifest: manifest.map(|key| Manifest {
                key: key.to_string(),
                uri: config.place.as_ref().map(|place| place.uri(key)),
            }),
        };
        json(&Event { r#type: EventKind::BatchEnded.as_str(), id, timestamp: ended_at, data })
    }
}

/// The body of an event that says nothing but that it came.
pub(super) fn ping(id: &str, hook: &WebhookName, now: Timestamp) -> String {
    let data = serde_json::json!({ "webhook": hook.as_str() });
    json(&Event { r#type: EventKind::Ping.as_str(), id, timestamp: now, data })
}

fn json(event: &impl Serialize) -> String {
    serde_json::to_string(event).expect("an event is plain data and always serializes")
}

/// How a batch ended, in one word: all images are there, some are, none is.
fn state(summary: &BatchSummary) -> &'static str {
    let succeeded = summary.count(StateName::Succeeded);
    if succeeded == summary.total && summary.partial == 0 {
        "succeeded"
    } else if succeeded == 0 && summary.stored == 0 {
        "failed"
    } else {
        "partial"
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(in crate::outbox) fn summary(counts: &[(StateName, u64)], stored: u64) -> BatchSummary {
        BatchSummary {
            name: Some("spring".parse().unwrap()),
            total: counts.iter().map(|(_, count)| count).sum(),
            left: 0,
            by_state: counts.iter().copied().collect::<BTreeMap<_, _>>(),
            expected: 4,
            billed: stored,
            stored,
            partial: 0,
            cost: Micros(60_000),
            extra_images: 0,
            extra_cost: Micros(0),
            lost: 0,
            lost_cost: Micros(0),
            reserved: Micros(0),
            budget: queue::BatchBudget::OfSettings,
            waits_since: None,
            sealed: true,
            paused: false,
            created_at: Timestamp::from_second(1).unwrap(),
            ended_at: Timestamp::from_second(9).ok(),
            ends: 1,
            undelivered: 0,
        }
    }

    #[test]
    fn the_state_says_whether_all_some_or_none_of_the_images_are_there() {
        let mixed = [(StateName::Succeeded, 1), (StateName::Failed, 2)];
        assert_eq!(state(&summary(&[(StateName::Succeeded, 3)], 3)), "succeeded");
        assert_eq!(
            state(&BatchSummary { partial: 1, ..summary(&[(StateName::Succeeded, 3)], 3) }),
            "partial"
        );
        assert_eq!(state(&summary(&mixed, 1)), "partial");
        assert_eq!(state(&summary(&[(StateName::Failed, 2), (StateName::Canceled, 1)], 0)), "failed");
        assert_eq!(state(&summary(&[(StateName::Expired, 1)], 1)), "partial");
    }

    #[test]
    fn an_event_has_an_id_of_its_own_for_each_end_receiver_and_batch_and_the_documented_body() {
        let summary = summary(&[(StateName::Succeeded, 2)], 2);
        let batch: BatchName = "spring".parse().unwrap();
        let key = ObjectKey::parse("spring/manifest.jsonl").unwrap();
        let place = Some(job::BucketPlace::new("images", "shop"));
        let config = OutboxConfig { place, ..OutboxConfig::default() };
        let end = BatchEnd {
            summary: &summary,
            batch: &batch,
            created: 1_000,
            end: 1,
            ended_at: Timestamp::from_second(9).unwrap(),
            manifest: Some(&key),
            currency: "USD",
        };
        let hook = |name: &str| name.parse::<WebhookName>().unwrap();
        let id = end.id(&config, &hook("shop"));
        assert_eq!(id, end.id(&config, &hook("shop")));
        let others = [
            end.id(&config, &hook("shop2")),
            BatchEnd { end: 2, ..end }.id(&config, &hook("shop")),
            BatchEnd { created: 2_000, ..end }.id(&config, &hook("shop")),
            end.id(&OutboxConfig { namespace: "other".into(), ..config.clone() }, &hook("shop")),
        ];
        assert!(others.iter().all(|other| *other != id));
        let body: serde_json::Value = serde_json::from_str(&end.body(&config, &id)).unwrap();
        let money = |micros: i64| serde_json::json!({"amount": micros as f64 / 1e6, "micros": micros, "currency": "USD"});
        let expected = serde_json::json!({
            "type": "batch.ended", "id": id, "timestamp": "1970-01-01T00:00:09Z",
            "data": {
                "batch": "spring", "end": 1, "state": "succeeded",
                "jobs": {"total": 2, "queued": 0, "in_flight": 0, "succeeded": 2, "failed": 0, "canceled": 0, "expired": 0,
                    "held": 0, "partial": 0},
                "images": {"expected": 4, "billed": 2, "stored": 2},
                "cost": money(60_000), "lost": {"images": 0, "cost": money(0)},
                "created_at": "1970-01-01T00:00:01Z", "ended_at": "1970-01-01T00:00:09Z",
                "manifest": {"key": "spring/manifest.jsonl", "uri": "s3://images/shop/spring/manifest.jsonl"},
            },
        });
        assert_eq!(body, expected, "{body:#}");
    }
}
