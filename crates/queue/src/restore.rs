//! Notices that Redis went back in time: restored from an older copy, flushed, or started without its last writes.
//!
//! Owns what this process has seen of Redis: the counter of claims, and Redis's incarnation. What was paid for since the copy
//! was made is not written down here: that is `worker::restore`, which drives this. Nothing is claimed for submit meanwhile
//! (`lua/claim_submit.lua`, `lua/recover.lua`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use job::Timestamp;

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::RECOVER;

/// What this process has seen of Redis.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The highest counter of claims.
    claims: i64,
    /// Redis's incarnation; empty before the first claim.
    incarnation: String,
}

impl Memory {
    /// The highest counter and the incarnation that were seen.
    pub(crate) fn seen(&self) -> (i64, String) {
        let seen = self.lock();
        (seen.claims, seen.incarnation.clone())
    }

    /// Takes note of an answer. An incarnation that is known is only ever replaced by [`Self::accept`]: an answer may be late.
    pub(crate) fn note(&self, claims: i64, incarnation: &str) {
        let mut seen = self.lock();
        seen.claims = seen.claims.max(claims);
        if seen.incarnation.is_empty() {
            incarnation.clone_into(&mut seen.incarnation);
        }
    }

    fn accept(&self, claims: i64, incarnation: String) {
        let mut seen = self.lock();
        seen.claims = seen.claims.max(claims);
        seen.incarnation = incarnation;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a Redis with this counter and incarnation is an older one than what was `seen`. Pure.
fn is_older(seen: &(i64, String), claims: i64, incarnation: Option<&str>) -> bool {
    let (seen_claims, seen_incarnation) = seen;
    claims < *seen_claims || (!seen_incarnation.is_empty() && incarnation != Some(seen_incarnation))
}

/// What a worker wrote down again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Tasks that Redis no longer knew.
    pub written: u64,
    /// Those of them that their jobs took.
    pub taken: u64,
    /// Those that are one too many, or whose job is gone.
    pub extra: u64,
}

/// What Redis was told, and said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whether this worker was the first to take note.
    pub first: bool,
    /// Until when nothing is claimed for submit.
    pub held_until: Timestamp,
}

/// The last time that Redis went back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreNote {
    /// When the first worker took note.
    pub at: Timestamp,
    /// What all workers wrote down again.
    pub rewritten: Rewritten,
}

impl Queue {
    /// Whether Redis is an older one than this process has seen already.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn went_back(&self) -> Result<bool, QueueError> {
        // Looked up before: what is noted while the question is under way is no contradiction.
        let seen = self.memory().seen();
        let keys = self.keys();
        let mut pipeline = redis::pipe();
        pipeline.get(keys.claims()).hget(keys.incarnation(), "word");
        let (claims, word): (Option<i64>, Option<String>) = self.link().pipeline(&pipeline).await?;
        Ok(is_older(&seen, claims.unwrap_or(0), word.as_deref()))
    }

    /// Tells Redis that it went back in time, before, while and after what is known here is written down again. From the first time
    /// on this process works with it as it is; until `hold` after the last call of any worker nobody claims for submit.
    ///
    /// Waits for as long as Redis is away.
    ///
    /// # Errors
    ///
    /// Redis answers nonsense.
    pub async fn recover(&self, rewritten: Rewritten, hold: Duration) -> Result<Recovery, QueueError> {
        let nonce = self.nonce();
        let (mark, incarnation) = self.memory().seen();
        let keys = self.keys();
        let key_names = [keys.claims(), keys.incarnation(), keys.restored(), keys.reply(&nonce)];
        let args = [
            mark.to_string(),
            incarnation,
            nonce,
            hold.as_millis().to_string(),
            rewritten.written.to_string(),
            rewritten.taken.to_string(),
            rewritten.extra.to_string(),
        ];
        let mut reply = self
            .link()
            .persist("what was lost with an older Redis", || {
                self.script("recover", &RECOVER, &key_names, &args, TimeAt::First)
            })
            .await?;
        reply.int()?;
        let (claims, word, held) = (reply.int()?, reply.text()?, reply.int()?);
        let first = reply.int()? == 1;
        self.memory().accept(claims, word);
        let held_until = Timestamp::from_millisecond(held).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Recovery { first, held_until })
    }

    /// The last time that Redis went back in time, if it ever did.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn last_restore(&self) -> Result<Option<RestoreNote>, QueueError> {
        let fields: HashMap<String, i64> =
            self.link().query(redis::cmd("HGETALL").arg(self.keys().restored())).await?;
        let number = |field: &str| fields.get(field).and_then(|n| u64::try_from(*n).ok()).unwrap_or(0);
        let at = fields.get("at").and_then(|ms| Timestamp::from_millisecond(*ms).ok());
        let rewritten =
            Rewritten { written: number("written"), taken: number("taken"), extra: number("extra") };
        Ok(at.map(|at| RestoreNote { at, rewritten }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lower_counter_or_another_incarnation_shows_an_older_redis() {
        let memory = Memory::default();
        let older = |claims, incarnation| is_older(&memory.seen(), claims, incarnation);
        assert!(!older(0, None), "a fresh start against an empty Redis");
        assert!(!older(7, Some("a")), "a fresh start against one that was used");
        memory.note(7, "a");
        assert!(!older(7, Some("a")) && !older(9, Some("a")));
        assert!(older(6, Some("a")) && older(9, Some("b")));
        assert!(older(0, None), "flushed");
        // A late answer of before changes nothing; what was accepted does.
        memory.note(3, "b");
        assert_eq!(memory.seen(), (7, "a".to_owned()));
        memory.accept(7, "b".to_owned());
        assert!(!older(7, Some("b")));
    }
}
