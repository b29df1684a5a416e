//! Breakers: a call of an account, or of one of its models, that nobody makes until a probe has shown that it works again.
//!
//! A breaker stands in Redis, so that all workers together send one probe at a time. Opened and closed by the worker's tables;
//! held against claims by `claim_submit.lua`, `claim_due.lua` and `take_permit.lua`. Never decides what an answer means.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use job::{AccountName, Curve, Timestamp};

use crate::Queue;
use crate::error::QueueError;
use crate::limits::Call;
use crate::link::TimeAt;
use crate::scripts::BREAKER;

/// How long after its permit the answer to a query that probes is there at the latest.
///
/// Source: ours; above the timeouts of a cancel and a query together.
pub const QUERY_PROBE_WINDOW: Duration = Duration::from_secs(60);

/// From here on the waits of a breaker grow no more, whatever its curve says: so many fit well into one argument.
const STEPS_MAX: u32 = 16;

/// What is to become of a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The call does not work: nobody makes it, but for probes.
    Open {
        /// A short stable code: the service's, or ours.
        code: String,
        /// Why, for people.
        why: String,
        /// No probe before so long, whatever the curve says.
        wait_min: Duration,
    },
    /// It works: everybody goes on.
    Close,
    /// The probe said nothing: another may go out.
    Release,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was closed and is open.
    Opened,
    /// Its probe failed: it waits longer.
    Reopened,
    /// Everybody goes on.
    Closed,
    /// Another probe may go out.
    Released,
    /// What it was.
    Unchanged,
}

/// A breaker that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBreaker {
    /// `create`, `create:<model>` or `query`.
    pub call: String,
    /// Since when.
    pub since: Timestamp,
    /// The code of what opened it.
    pub code: String,
    /// Why, for people.
    pub why: String,
    /// When the next probe may go out; with one under way, the time after which it counts as lost.
    pub next_probe: Timestamp,
    /// Whether a probe is under way.
    pub probing: bool,
}

impl Queue {
    /// Opens, closes or releases the breaker of one of an account's calls, for every worker.
    ///
    /// `probe` names the claim that was let through an open breaker, `<job>:<attempt>`; `*` stands for whichever is out. An open
    /// breaker is moved by its probe only.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn turn_breaker(
        &self,
        account: &AccountName,
        call: Call,
        probe: Option<&str>,
        turn: &Turn,
        waits: &Curve,
    ) -> Result<Became, QueueError> {
        let (word, code, why, wait_min) = match turn {
            Turn::Open { code, why, wait_min } => ("open", code.as_str(), why.as_str(), *wait_min),
            Turn::Close => ("close", "", "", Duration::ZERO),
            Turn::Release => ("release", "", "", Duration::ZERO),
        };
        let args = [
            call.name(),
            word.to_owned(),
            probe.unwrap_or_default().to_owned(),
            waits_ms(waits),
            wait_min.as_millis().to_string(),
            code.chars().take(64).collect(),
            why.chars().take(200).collect(),
        ];
        let keys = [self.keys().account(account)];
        let mut reply = self.script("breaker", &BREAKER, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(match reply.text()?.as_str() {
            "opened" => Became::Opened,
            "reopened" => Became::Reopened,
            "closed" => Became::Closed,
            "released" => Became::Released,
            _ => Became::Unchanged,
        })
    }
}

/// The waits before each probe, as the script takes them: its cap is the last.
fn waits_ms(curve: &Curve) -> String {
    let waits: Vec<String> = (0..STEPS_MAX).map(|step| curve.wait(step).as_millis().to_string()).collect();
    waits.join(" ")
}

/// The open breakers, and how often each has opened, from an account's fields.
pub(crate) fn read(state: &HashMap<String, String>) -> (Vec<OpenBreaker>, BTreeMap<String, u64>) {
    let time = |field: String| {
        state.get(&field).and_then(|ms| ms.parse().ok()).and_then(|ms| Timestamp::from_millisecond(ms).ok())
    };
    let text = |field: String| state.get(&field).cloned().unwrap_or_default();
    let mut open: Vec<OpenBreaker> = state
        .keys()
        .filter_map(|field| {
            let call = field.strip_prefix("open:")?.to_owned();
            let next_probe = time(field.clone())?;
            Some(OpenBreaker {
                since: time(format!("since:{call}")).unwrap_or(next_probe),
                code: text(format!("code:{call}")),
                why: text(format!("reason:{call}")),
                next_probe,
                probing: state.contains_key(&format!("probe:{call}")),
                call,
            })
        })
        .collect();
    open.sort_by(|a, b| a.call.cmp(&b.call));
    let openings = state
        .iter()
        .filter_map(|(field, count)| Some((field.strip_prefix("opened:")?.to_owned(), count.parse().ok()?)));
    (open, openings.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_breaker_waits_a_minute_and_then_longer_up_to_ten() {
        let waits = waits_ms(&job::Rules::default().breaker);
        assert!(waits.starts_with("60000 120000 240000 480000 600000 600000 "), "{waits}");
        assert_eq!(waits.split(' ').count(), STEPS_MAX as usize);
    }

    proptest! {
        #[test]
        fn no_wait_is_shorter_than_the_one_before_or_over_the_cap(first in 0u64..100_000, factor in 0.1f64..10.0, cap in 0u64..1_000_000) {
            let ms = Duration::from_millis;
            let waits = waits_ms(&Curve { first: ms(first), factor, cap: ms(cap) });
            let waits: Vec<u64> = waits.split(' ').map(|wait| wait.parse().unwrap()).collect();
            prop_assert!(waits.is_sorted() && waits.iter().all(|wait| *wait <= cap), "{:?}", waits);
        }
    }
}
