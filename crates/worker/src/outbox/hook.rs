//! A webhook is told of something: one request, and what follows from its answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use job::{BatchName, Timestamp, WebhookName};
use queue::{Delivery, DeliveryState, Entry, EntryEnd, EntryOf};
use tracing::{info, warn};

use super::batch_end::put_back;
use super::port::{Post, Receivers, SendFault};
use super::{Courier, Webhook, event};
use crate::place::Place;

/// The status by which a receiver says that it will never take anything again.
const GONE: u16 = 410;

/// Events that a worker sends to one receiver at once. Source: ours; a tenth of all that it works on at once.
const AT_ONCE_EACH: usize = 3;

/// How long an event waits for another turn of its receiver. Source: ours; long enough that the others go first.
const ANOTHER_TURN: Duration = Duration::from_secs(2);

/// What an event waits longer for each that was turned away before it since a turn was last over, and how long it waits at most.
///
/// Source: ours; with a thousand events behind a receiver that hangs, some fifty to a hundred a second are looked at in vain, and not five
/// hundred. One that answers again gets the last of them a minute later.
const FOR_EACH_BEFORE: Duration = Duration::from_millis(60);
const ANOTHER_TURN_MAX: Duration = Duration::from_secs(60);

/// Who is being told just now.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<WebhookName, AtReceiver>>);

/// What is known here of a receiver.
#[derive(Debug, Default)]
struct AtReceiver {
    /// Turns that are taken.
    taken: usize,
    /// Events that were turned away since the last turn was over.
    turned_away: u32,
}

/// A turn of a receiver, until it is dropped.
#[derive(Debug)]
struct OneTurn<'a> {
    turns: &'a Turns,
    hook: WebhookName,
}

impl Turns {
    /// A turn; or how long to wait before another is asked for.
    fn take(&self, hook: &WebhookName) -> Result<OneTurn<'_>, Duration> {
        let mut receivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = receivers.entry(hook.clone()).or_default();
        if receiver.taken >= AT_ONCE_EACH {
            let wait = ANOTHER_TURN + FOR_EACH_BEFORE.saturating_mul(receiver.turned_away);
            receiver.turned_away = receiver.turned_away.saturating_add(1);
            return Err(wait.min(ANOTHER_TURN_MAX));
        }
        receiver.taken += 1;
        Ok(OneTurn { turns: self, hook: hook.clone() })
    }
}

impl Drop for OneTurn<'_> {
    fn drop(&mut self) {
        let mut receivers = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = receivers.get_mut(&self.hook) {
            receiver.taken = receiver.taken.saturating_sub(1);
            receiver.turned_away = 0;
        }
    }
}

/// What a receiver made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Taken,
    /// Later tries may help.
    NotTaken(String),
    /// They will not.
    Never(String),
}

impl Answer {
    fn of(sent: Result<u16, SendFault>) -> Self {
        match sent {
            Ok(200..=299) => Self::Taken,
            Ok(GONE) => Self::Never("HTTP 410: the receiver is gone for good".to_owned()),
            Ok(status @ 300..=399) => Self::NotTaken(format!("HTTP {status}: redirects are not followed")),
            Ok(status) => Self::NotTaken(format!("HTTP {status}")),
            Err(fault) => Self::NotTaken(fault.to_string()),
        }
    }
}

impl Courier {
    /// Sends an event once.
    pub(super) async fn event(&self, entry: &Entry, name: &WebhookName, batch: &BatchName) -> EntryEnd {
        let now = self.outbox.now();
        let (Some(id), Some(body)) = (&entry.document.id, &entry.document.body) else {
            warn!(entry = %entry.of, "{} has nothing to send and is closed", entry.of);
            let why = Some("nothing is known of what was to be sent".to_owned());
            return EntryEnd::Closed(self.said(entry, "", DeliveryState::Dropped, None, why));
        };
        let webhooks = self.webhooks.now();
        let Some(hook) = webhooks.iter().find(|hook| hook.name == *name) else {
            // Another worker may know it already, or still.
            let why = Some("the settings have no such webhook".to_owned());
            if !self.is_too_old(&entry.document, now) {
                let document = entry.document.first_tried(now);
                let wait = self.config.retry.wait_with_jitter(0, self.chance.draw());
                let delivery = self.said(entry, id, DeliveryState::Waiting, Some(wait), why);
                return EntryEnd::Later { wait, document, delivery: Some(delivery) };
            }
            warn!(
                batch = %batch, webhook = %name,
                "Webhook {name} is not in the settings of any worker any more: it is not told of batch {batch}"
            );
            return EntryEnd::Closed(self.said(entry, id, DeliveryState::Dropped, None, why));
        };
        // A receiver that takes its whole time for each event must not take every place.
        let _turn = match self.turns.take(name) {
            Ok(turn) => turn,
            Err(wait) => return put_back(entry, wait),
        };
        let post = post(hook, id, body, self.outbox.now(), self.config.timeout);
        let answer = Answer::of(self.receivers.send(&post).await);
        self.places.pass(Place::EventAnswered).await;
        let now = self.outbox.now();
        let why = match answer {
            Answer::Taken => {
                info!(batch = %batch, webhook = %name, event.id = id, "Webhook {name} was told that batch {batch} has ended");
                return EntryEnd::Closed(self.said(entry, id, DeliveryState::Delivered, None, None));
            }
            Answer::NotTaken(why) if !self.is_too_old(&entry.document, now) => {
                let wait = self.config.retry.wait_with_jitter(entry.document.tries, self.chance.draw());
                warn!(
                    batch = %batch, webhook = %name, event.id = id,
                    "Webhook {name} did not take the end of batch {batch} ({why}); the next try is in {} s", wait.as_secs()
                );
                let delivery = self.said(entry, id, DeliveryState::Waiting, Some(wait), Some(why));
                let document = entry.document.tried(now);
                return EntryEnd::Later { wait, document, delivery: Some(delivery) };
            }
            Answer::NotTaken(why) | Answer::Never(why) => why,
        };
        warn!(
            batch = %batch, webhook = %name, event.id = id,
            "Webhook {name} is given up for the end of batch {batch} after {} tries: {why}", entry.document.tries + 1
        );
        EntryEnd::Closed(self.said(entry, id, DeliveryState::GivenUp, None, Some(why)))
    }

    fn said(
        &self,
        entry: &Entry,
        id: &str,
        state: DeliveryState,
        wait: Option<Duration>,
        error: Option<String>,
    ) -> Delivery {
        let at = self.outbox.now().as_millisecond();
        let wait_ms = wait.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let sent = self.webhooks.now().iter().any(|hook| names(entry, &hook.name));
        Delivery {
            state,
            tries: entry.document.tries + u32::from(sent),
            at,
            next_at: wait_ms.map(|wait| at.saturating_add(wait)),
            id: id.to_owned(),
            error,
        }
    }
}

/// Whether an entry is for a webhook.
fn names(entry: &Entry, hook: &WebhookName) -> bool {
    matches!(&entry.of, EntryOf::Hook { hook: named, .. } if named == hook)
}

fn post(hook: &Webhook, id: &str, body: &str, now: Timestamp, timeout: Duration) -> Post {
    let timestamp = now.as_second();
    Post {
        url: hook.url.clone(),
        id: id.to_owned(),
        timestamp,
        signature: hook.secret.sign(id, timestamp, body),
        body: body.to_owned(),
        timeout,
    }
}

/// What came back when a receiver was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ponged {
    /// It took the event.
    Taken,
    /// It did not, and why.
    NotTaken(String),
}

/// Sends an event of type `ping`, once, and says what came back. `id` names it.
pub async fn ping(
    receivers: &dyn Receivers,
    hook: &Webhook,
    id: &str,
    now: Timestamp,
    timeout: Duration,
) -> Ponged {
    let body = event::ping(id, &hook.name, now);
    match Answer::of(receivers.send(&post(hook, id, &body, now, timeout)).await) {
        Answer::Taken => Ponged::Taken,
        Answer::NotTaken(why) | Answer::Never(why) => Ponged::NotTaken(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_events_are_before_one_that_finds_no_turn_the_longer_it_waits() {
        let (turns, hook) = (Turns::default(), "shop".parse().unwrap());
        let mut taken: Vec<_> = (0..AT_ONCE_EACH).map(|_| turns.take(&hook).unwrap()).collect();
        let waits: Vec<u64> = (0..2_000).map(|_| turns.take(&hook).unwrap_err().as_millis() as u64).collect();
        assert_eq!(waits[..3], [2_000, 2_060, 2_120]);
        assert_eq!((waits[966], waits[967], waits[1_999]), (59_960, 60_000, 60_000));
        // Another receiver's are none of theirs.
        assert!(turns.take(&"other".parse().unwrap()).is_ok());
        taken.pop();
        taken.push(turns.take(&hook).unwrap());
        assert_eq!(turns.take(&hook).unwrap_err(), ANOTHER_TURN);
    }
}
