//! A batch has ended: its results go into the bucket, line by line, and one entry for each webhook takes the place of the batch's.

use std::time::Duration;

use job::{BatchName, ObjectKey, ResultLine, Timestamp};
use queue::{BatchSummary, Delivery, DeliveryState, Entry, EntryDocument, EntryEnd, EntryOf};
use tracing::{error, info, warn};

use super::Courier;
use super::EventKind;
use super::event::BatchEnd;
use crate::place::Place;
use crate::ports::{JobsFault, StoreFault};

/// How long an end waits for the one before it. Source: ours; that is rare, and takes as long as a manifest takes.
const AFTER_ANOTHER: Duration = Duration::from_secs(1);

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
enum NoManifest {
    #[error("its results cannot be read")]
    Results(#[from] JobsFault),
    #[error("the store does not take it")]
    Store(#[from] StoreFault),
    #[error("the batch was removed, or has ended again, while it was written")]
    Overtaken,
}

impl NoManifest {
    /// Whether waiting may help.
    fn later(&self) -> bool {
        match self {
            Self::Results(fault) => matches!(fault, JobsFault::Away(_)),
            Self::Store(fault) => fault.later,
            Self::Overtaken => false,
        }
    }
}

impl Courier {
    /// Deals with an end of a batch. `None`: it could not even be looked at, and comes back when its lease ends.
    pub(super) async fn end_of_batch(&self, entry: &Entry, batch: &BatchName, end: u32) -> Option<EntryEnd> {
        let now_there = match self.look_at(entry, batch, end).await {
            Ok(Look::Batch(summary)) => *summary,
            Ok(Look::Gone) => {
                warn!(batch = %batch, "Batch {batch} was removed before its end was told; nothing is told of it");
                return Some(EntryEnd::Spread(Vec::new()));
            }
            Ok(Look::NotYet) => return Some(put_back(entry, AFTER_ANOTHER)),
            Err(fault) => {
                super::unasked(&fault);
                return None;
            }
        };
        let now = self.outbox.now();
        // A later end writes it with all that came since.
        let manifest = match self.config.batch_manifest && now_there.ends <= end {
            true => {
                // Each has some megabytes in hand.
                let Ok(_one_of_few) = self.manifests_at_once.try_acquire() else {
                    return Some(put_back(entry, AFTER_ANOTHER));
                };
                match self.manifest(entry, batch, end).await {
                    Ok(key) => Some(key),
                    Err(NoManifest::Overtaken) => return Some(put_back(entry, AFTER_ANOTHER)),
                    Err(fault) if fault.later() && !self.is_too_old(&entry.document, now) => {
                        return Some(self.manifest_later(entry, batch, &fault, now));
                    }
                    Err(fault) => {
                        error!(
                            batch = %batch, error = &fault as &dyn std::error::Error,
                            "The manifest of batch {batch} is given up; `imagemill batch results` has the same lines"
                        );
                        None
                    }
                }
            }
            false => None,
        };
        self.places.pass(Place::ManifestWritten).await;
        let ended_at = entry.document.ended_at().unwrap_or(now);
        info!(batch = %batch, end, "Batch {batch} has ended");
        // As it was at its end, whatever has become of it since.
        let summary = entry.document.summary(batch).unwrap_or(now_there);
        let told = BatchEnd {
            summary: &summary,
            batch,
            created: entry.of.created(),
            end,
            ended_at,
            manifest: manifest.as_ref(),
            currency: &self.currency,
        };
        Some(EntryEnd::Spread(self.events(&told, now)))
    }

    /// An entry for each webhook that wants to know.
    fn events(&self, told: &BatchEnd<'_>, now: Timestamp) -> Vec<(EntryOf, EntryDocument, Delivery)> {
        let webhooks = self.webhooks.now();
        let hooks = webhooks.iter().filter(|hook| hook.events.contains(&EventKind::BatchEnded));
        let events = hooks.map(|hook| {
            let id = told.id(&self.config, &hook.name);
            let document = EntryDocument {
                at: told.ended_at.as_millisecond(),
                id: Some(id.clone()),
                body: Some(told.body(&self.config, &id)),
                ..EntryDocument::default()
            };
            let (hook, batch) = (hook.name.clone(), told.batch.clone());
            let of = EntryOf::Hook { hook, batch, created: told.created, end: told.end };
            let at = now.as_millisecond();
            let delivery =
                Delivery { state: DeliveryState::Waiting, tries: 0, at, next_at: None, id, error: None };
            (of, document, delivery)
        });
        events.collect()
    }

    async fn look_at(&self, entry: &Entry, batch: &BatchName, end: u32) -> Result<Look, JobsFault> {
        let created = entry.of.created();
        // Two ends of one batch write the same manifest: the older one first.
        if let Some(before) = end.checked_sub(1).filter(|before| *before > 0) {
            let before = EntryOf::Batch { batch: batch.clone(), created, end: before };
            if self.outbox.is_open(&before).await? {
                return Ok(Look::NotYet);
            }
        }
        let there = self.outbox.batch(batch).await?;
        // Another of its name has begun at another time.
        let same = there.filter(|summary| summary.created_at.as_millisecond() == created);
        Ok(same.map_or(Look::Gone, |summary| Look::Batch(Box::new(summary))))
    }

    /// Writes the batch's results into the bucket.
    async fn manifest(&self, entry: &Entry, batch: &BatchName, end: u32) -> Result<ObjectKey, NoManifest> {
        let key = self.template.batch_manifest_key(batch).map_err(|error| StoreFault {
            code: "no_key",
            reason: error.to_string(),
            later: false,
            of_object: false,
        })?;
        let mut upload = self.manifests.begin(&key).await;
        let mut after = None;
        loop {
            let page = self.outbox.results(batch, after).await?;
            let mut lines = String::new();
            for known in &page.jobs {
                let line = ResultLine::new(known, self.config.place.as_ref(), &self.currency);
                lines.push_str(&line.to_json_line());
            }
            upload.write(lines).await?;
            after = page.next;
            if after.is_none() {
                // Until here nothing stands in the place of an older manifest: it must not be a part, or another batch's.
                match self.look_at(entry, batch, end).await? {
                    Look::Batch(summary) if summary.ends <= end => {}
                    _ => return Err(NoManifest::Overtaken),
                }
                upload.end().await?;
                return Ok(key);
            }
        }
    }

    fn manifest_later(
        &self,
        entry: &Entry,
        batch: &BatchName,
        fault: &NoManifest,
        now: Timestamp,
    ) -> EntryEnd {
        let wait = self.config.retry.wait_with_jitter(entry.document.tries, self.chance.draw());
        warn!(
            batch = %batch, error = fault as &dyn std::error::Error,
            "The manifest of batch {batch} is not written yet; the next try is in {} s", wait.as_secs()
        );
        EntryEnd::Later { wait, document: entry.document.tried(now), delivery: None }
    }

    /// Whether something was tried for so long that it is given up.
    pub(super) fn is_too_old(&self, document: &EntryDocument, now: Timestamp) -> bool {
        let Some(first_at) = document.first_at.and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
            return false;
        };
        let age = Duration::try_from(now.duration_since(first_at)).unwrap_or_default();
        age >= self.config.give_up_after
    }
}

/// The entry as it is, due again after a while.
pub(super) fn put_back(entry: &Entry, wait: Duration) -> EntryEnd {
    EntryEnd::Later { wait, document: entry.document.clone(), delivery: None }
}

/// A batch whose end is to be told.
enum Look {
    Batch(Box<BatchSummary>),
    /// It was removed.
    Gone,
    /// An earlier end is told first.
    NotYet,
}
